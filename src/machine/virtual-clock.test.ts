import { expect, test } from 'vitest';
import { VirtualClock } from './virtual-clock.ts';

test('guest time is whole nanoseconds, though real time is not', () => {
  const clock = new VirtualClock(0, { executed: () => 0, sooner() {}, passed() {} });
  clock.advanceTo(1234.75);
  expect(clock.now()).toBe(1234);
  clock.advanceTo(1000);
  expect(clock.now()).toBe(1234);
});
