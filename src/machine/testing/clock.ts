import type { GuestClock, Timer } from '../clock.ts';

interface Entry {
  deadlineNs: number;
  readonly callback: () => void;
}

/** Guest time that moves only by `advance`, calling timers in the order of their deadlines. */
export class TestClock implements GuestClock {
  readonly epochMs: number;
  /** Timer callbacks so far, to show that a device bounds them. */
  callbacks = 0;
  /** Time that accesses took: told, not added. */
  passedNs = 0;
  #now = 0;
  readonly #timers: Entry[] = [];

  constructor(epochMs = Date.UTC(2026, 10, 22, 12, 34, 56)) {
    this.epochMs = epochMs;
  }

  now(): number {
    return this.#now;
  }

  pass(ns: number): void {
    this.passedNs += ns;
  }

  timer(callback: () => void): Timer {
    const entry: Entry = { deadlineNs: Infinity, callback };
    this.#timers.push(entry);
    return {
      arm: (deadlineNs) => void (entry.deadlineNs = deadlineNs),
      cancel: () => void (entry.deadlineNs = Infinity),
    };
  }

  /** Earliest deadline of all armed timers; Infinity when none is. */
  get nextDeadlineNs(): number {
    return Math.min(Infinity, ...this.#timers.map((timer) => timer.deadlineNs));
  }

  /** Lets `ns` pass. A timer that is armed again within that time is called again. */
  advance(ns: number): void {
    const end = this.#now + ns;
    for (;;) {
      const next = this.#timers.reduce<Entry | undefined>(
        (first, timer) => (timer.deadlineNs < (first?.deadlineNs ?? Infinity) ? timer : first),
        undefined,
      );
      if (!next || next.deadlineNs > end) break;
      this.#now = Math.max(this.#now, next.deadlineNs);
      next.deadlineNs = Infinity;
      this.callbacks++;
      next.callback();
    }
    this.#now = end;
  }
}
