import { afterEach, beforeEach, expect, test } from 'vitest';
import { BrowserPace } from './pace.ts';

let pace: BrowserPace;
beforeEach(() => (pace = new BrowserPace()));
afterEach(() => pace.dispose());

test('breathing lets in what waits, such as a timer', async () => {
  const timer = new AbortController();
  setTimeout(() => timer.abort(), 0);
  for (let breath = 0; breath < 100_000 && !timer.signal.aborted; breath++) await pace.breathe();
  expect(timer.signal.aborted).toBe(true);
});

test('several may breathe at once', async () => {
  const order: number[] = [];
  await Promise.all([1, 2, 3].map((n) => pace.breathe().then(() => order.push(n))));
  expect(order).toEqual([1, 2, 3]);
});

test('sleep ends by time, and early by the function it hands out', async () => {
  await pace.sleep(1, () => {});
  let wake = (): void => {};
  const asleep = pace.sleep(Infinity, (by) => (wake = by));
  wake();
  await asleep;
});
