import type { GuestClock, Timer } from './clock.ts';
import type { TimeScale } from './vcpu.ts';

interface Entry {
  deadlineNs: number;
  readonly callback: () => void;
}

/** What a virtual clock needs of the machine. */
export interface ClockHost {
  /** Instructions executed so far. */
  executed(): number;
  /** A timer has been armed to expire before all others. */
  sooner(deadlineNs: number): void;
  /** A device's access takes time. */
  passed(ns: number): void;
}

/**
 * Guest time as the pacer lets it pass, and the timers that wait for it. Time moves only by `advanceTo`, or with the
 * instructions that the vCPU executes at the present rate, or with accesses to devices that take some.
 */
export class VirtualClock implements GuestClock, TimeScale {
  readonly epochMs: number;
  readonly #host: ClockHost;
  readonly #armed: Entry[] = [];
  baseNs = 0;
  start = 0;
  /** Nanoseconds of guest time an instruction takes. */
  rate = 1;

  constructor(epochMs: number, host: ClockHost) {
    this.epochMs = epochMs;
    this.#host = host;
  }

  now(): number {
    return this.at(this.#host.executed());
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
    this.start = this.#host.executed();
  }

  pass(ns: number): void {
    this.#host.passed(ns);
  }

  /** Puts the clock where a saved state had it. */
  restore(ns: number): void {
    this.baseNs = ns;
    this.start = this.#host.executed();
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
        if (index === 0) this.#host.sooner(deadlineNs);
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
