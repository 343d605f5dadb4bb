import { Rest } from '../base/rest.ts';
import type { Pace } from '../platform/pace.ts';

/** Longest delay that a Node timer takes. */
const LONGEST_MS = 2 ** 31 - 1;

export class NodePace implements Pace {
  readonly #rest = new Rest();

  nowMs(): number {
    return performance.now();
  }

  breathe(idleMs = 0): Promise<void> {
    this.#rest.hold(idleMs);
    return new Promise((resolve) => setImmediate(resolve));
  }

  sleep(ms: number, interruptible: (wake: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(ms, LONGEST_MS));
      interruptible(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
