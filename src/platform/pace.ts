/** How a machine shares its thread with the host. */
export interface Pace {
  /** A monotonic clock, in milliseconds with fractions. */
  nowMs(): number;
  /** Lets the host's pending events in. */
  breathe(): Promise<void>;
  /** Resolves after that long (Infinity: never), or as soon as the function handed to `interruptible` is called. */
  sleep(ms: number, interruptible: (wake: () => void) => void): Promise<void>;
}
