/** One timer of a device; its deadline lives in the device's state, so `sync()` can arm it again. */
export interface Timer {
  /** Calls back once at `deadlineNs` of guest time, or as soon as possible when it is past. Replaces an earlier deadline. */
  arm(deadlineNs: number): void;
  cancel(): void;
}

/**
 * Guest time, in nanoseconds since power-on. It stands still while the machine is paused, is the same for every
 * device, and is the only time a device may see.
 */
export interface GuestClock {
  now(): number;
  timer(callback: () => void): Timer;
  /** Wall-clock time at guest time 0, in milliseconds since 1970, for a real-time clock. */
  readonly epochMs: number;
}
