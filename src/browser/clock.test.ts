import { describe, expect, test } from 'vitest';
import { BrowserClock, BrowserRandom } from './clock.ts';

describe('the clock', () => {
  test('sleeps, and wakes early when aborted', async () => {
    const clock = new BrowserClock();
    await clock.sleep(1);
    const abort = new AbortController();
    const asleep = clock.sleep(1e9, abort.signal);
    abort.abort();
    await asleep;
    await clock.sleep(1e9, abort.signal);
  });
});

describe('random bytes', () => {
  test('fill more than a browser gives at once, to the last byte', () => {
    const bytes = new Uint8Array(200_001);
    new BrowserRandom().fill(bytes);
    // 32 zeros by chance: once in 2 ** 256.
    for (const at of [0, 65536 - 16, 131072 - 16, bytes.length - 32])
      expect(bytes.subarray(at, at + 32).some((byte) => byte !== 0)).toBe(true);
  });

  test('fill shared memory', () => {
    const bytes = new Uint8Array(new SharedArrayBuffer(32));
    new BrowserRandom().fill(bytes);
    expect(bytes.some((byte) => byte !== 0)).toBe(true);
  });
});
