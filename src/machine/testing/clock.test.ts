import { expect, test } from 'vitest';
import { TestClock } from './clock.ts';

test('timers fire in the order of their deadlines, at their deadlines', () => {
  const clock = new TestClock();
  const fired: [string, number][] = [];
  const late = clock.timer(() => fired.push(['late', clock.now()]));
  const early = clock.timer(() => fired.push(['early', clock.now()]));
  late.arm(200);
  early.arm(100);
  clock.advance(150);
  expect(fired).toEqual([['early', 100]]);
  clock.advance(100);
  expect(fired).toEqual([
    ['early', 100],
    ['late', 200],
  ]);
});

test('a deadline in the past fires at once, and a cancelled one never', () => {
  const clock = new TestClock();
  let fired = 0;
  clock.advance(1000);
  const timer = clock.timer(() => fired++);
  timer.arm(10);
  clock.advance(0);
  expect(fired).toBe(1);
  timer.arm(1010);
  timer.cancel();
  clock.advance(100);
  expect(fired).toBe(1);
});
