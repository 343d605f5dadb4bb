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
  /**
   * The access that a device is serving takes so many nanoseconds, as it does on hardware: reading a register of a clock some hundreds. A
   * guest that reads one until some time is over then does so a thousand times, not a hundred thousand.
   */
  pass(ns: number): void;
  timer(callback: () => void): Timer;
  /** Wall-clock time at guest time 0, in milliseconds since 1970, for a real-time clock. */
  readonly epochMs: number;
}
