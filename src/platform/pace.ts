/** How a machine shares its thread with the host. */
export interface Pace {
  /** A monotonic clock, in milliseconds with fractions. */
  nowMs(): number;
  /**
   * Lets the host's pending events in. Where `idleMs` (with fractions) is known to have nothing else to do, the thread may be held for a part of
   * it before, rather than come here again and again.
   */
  breathe(idleMs?: number): Promise<void>;
  /** Resolves after that long (Infinity: never), or as soon as the function handed to `interruptible` is called. */
  sleep(ms: number, interruptible: (wake: () => void) => void): Promise<void>;
}
