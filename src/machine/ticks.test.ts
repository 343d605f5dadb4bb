import { expect, test } from 'vitest';
import { seededRandom } from './testing/random.ts';
import { ticksAt, timeOfTick } from './ticks.ts';

test('a tick has happened at its time and not a nanosecond before', () => {
  const random = seededRandom(1);
  for (const hz of [1_193_182, 3_579_545, 32_768, 1e8, 1e9, 14_318_180]) {
    for (let i = 0; i < 2000; i++) {
      const tick = random(2 ** 31) + 1;
      const ns = timeOfTick(tick, hz);
      expect(ticksAt(ns, hz)).toBeGreaterThanOrEqual(tick);
      expect(ticksAt(ns - 1, hz)).toBeLessThan(tick);
    }
  }
});
