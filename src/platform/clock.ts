/** The host's clocks. Guest time is something else: machine/clock.ts. */
export interface WallClock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** Resolves after that long, or early when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}
