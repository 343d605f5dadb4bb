import type { GuestClock, Timer } from './clock.ts';
import type { TimeScale } from './vcpu.ts';

interface Entry {
  deadlineNs: number;
  readonly callback: () => void;
}

/**
 * Guest time as the pacer lets it pass, and the timers that wait for it. Time moves only by `advanceTo`, or with the
 * instructions that the vCPU executes at the present rate.
 */
export class VirtualClock implements GuestClock, TimeScale {
  readonly epochMs: number;
  /** Instructions executed so far. */
  readonly #executed: () => number;
  /** Called when a timer is armed to expire before all others. */
  readonly #sooner: (deadlineNs: number) => void;
  readonly #armed: Entry[] = [];
  baseNs = 0;
  start = 0;
  /** Nanoseconds of guest time an instruction takes. */
  rate = 1;

  constructor(epochMs: number, executed: () => number, sooner: (deadlineNs: number) => void) {
    this.epochMs = epochMs;
    this.#executed = executed;
    this.#sooner = sooner;
  }

  now(): number {
    return this.at(this.#executed());
  }

  /** Guest time at an instruction count of the present stretch. */
  at(executed: number): number {
    return this.baseNs + Math.floor((executed - this.start) * this.rate);
  }

  /** Starts a stretch in which each instruction takes `rate` ns. */
  setRate(rate: number): void {
    this.advanceTo(this.now());
    this.rate = rate;
  }

  /** Jumps forward (idle time), never back. */
  advanceTo(ns: number): void {
    // Real time has fractions, guest time and the TSC have none.
    this.baseNs = Math.max(Math.floor(ns), this.now());
    this.start = this.#executed();
  }

  /** Puts the clock where a saved state had it. */
  restore(ns: number): void {
    this.baseNs = ns;
    this.start = this.#executed();
  }

  /** Instructions until a point in guest time at the present rate. */
  instructionsUntil(ns: number): number {
    return Math.ceil((ns - this.now()) / this.rate);
  }

  get nextDeadlineNs(): number {
    return this.#armed[0]?.deadlineNs ?? Infinity;
  }

  timer(callback: () => void): Timer {
    const entry: Entry = { deadlineNs: Infinity, callback };
    const remove = (): void => {
      const index = this.#armed.indexOf(entry);
      if (index >= 0) this.#armed.splice(index, 1);
    };
    return {
      arm: (deadlineNs) => {
        remove();
        entry.deadlineNs = deadlineNs;
        if (deadlineNs === Infinity) return;
        let index = this.#armed.length;
        while (index > 0 && this.#armed[index - 1]!.deadlineNs > deadlineNs) index--;
        this.#armed.splice(index, 0, entry);
        if (index === 0) this.#sooner(deadlineNs);
      },
      cancel: remove,
    };
  }

  /** Calls every timer that is due, in order of deadlines. */
  expire(): void {
    // A callback that arms its timer in the past would be called for ever: such ones wait for the next call.
    const now = this.now();
    const due = this.#armed.filter((entry) => entry.deadlineNs <= now);
    for (const entry of due) {
      const index = this.#armed.indexOf(entry);
      if (index < 0 || entry.deadlineNs > now) continue;
      this.#armed.splice(index, 1);
      entry.callback();
    }
  }
}
