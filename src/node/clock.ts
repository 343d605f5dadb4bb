/** `WallClock` and `Random` of Node. */
import { randomFillSync } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { WallClock } from '../platform/clock.ts';
import type { Random } from '../platform/random.ts';

export class NodeClock implements WallClock {
  nowMs(): number {
    return Date.now();
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await delay(ms, undefined, signal ? { signal } : {}).catch(() => {});
  }
}

export class NodeRandom implements Random {
  fill(into: Uint8Array): void {
    randomFillSync(into);
  }
}
