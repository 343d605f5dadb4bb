import type { Disposable } from '../base/disposable.ts';
import { Rest } from '../base/rest.ts';
import type { Pace } from '../platform/pace.ts';

/** HTML, "timers": a delay is a signed 32-bit number. */
const LONGEST_MS = 2 ** 31 - 1;

/** Pace of a page or worker. */
export class BrowserPace implements Pace, Disposable {
  /** A message to oneself comes after the events that wait; a timer of 0 ms would be held up for 4 ms. */
  readonly #channel = new MessageChannel();
  readonly #breathing: (() => void)[] = [];
  /** A page may not hold its thread, and only isolated ones have memory to do it by. */
  readonly #rest = !('document' in globalThis) && 'SharedArrayBuffer' in globalThis ? new Rest() : undefined;

  constructor() {
    this.#channel.port1.onmessage = () => this.#breathing.shift()?.();
  }

  nowMs(): number {
    return performance.now();
  }

  breathe(idleMs = 0): Promise<void> {
    this.#rest?.hold(idleMs);
    return new Promise((resolve) => {
      this.#breathing.push(resolve);
      this.#channel.port2.postMessage(undefined);
    });
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

  /** Nobody may be breathing. */
  dispose(): void {
    this.#channel.port1.close();
  }
}
