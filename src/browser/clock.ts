/** `WallClock` and `Random` of a browser. */
import type { WallClock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';

/** Web Cryptography API, 10.1.1: more at once is refused. */
const RANDOM_MAX = 65536;

export class BrowserClock implements WallClock {
  nowMs(): number {
    return Date.now();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal?.addEventListener('abort', end);
    });
  }
}

export class BrowserRandom implements Random {
  readonly #bytes = new Uint8Array(RANDOM_MAX);

  /** `into` may be the guest's memory, which is shared and so refused by the browser: the bytes go by way of our own. */
  fill(into: Uint8Array): void {
    for (let at = 0; at < into.length; at += RANDOM_MAX) {
      const piece = this.#bytes.subarray(0, Math.min(RANDOM_MAX, into.length - at));
      into.set(crypto.getRandomValues(piece), at);
    }
  }
}
