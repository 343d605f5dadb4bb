import { expect, test } from 'vitest';
import { NodePace } from './pace.ts';

test('a wait of less than a millisecond is breathed away in a few breaths, not in as many as the host can', async () => {
  const pace = new NodePace();
  const until = pace.nowMs() + 0.9;
  let breaths = 0;
  for (let left = 0.9; left > 0; left = until - pace.nowMs()) {
    await pace.breathe(left);
    breaths++;
  }
  // Rests of a fifth of a millisecond, and the last bit of looking.
  expect(breaths).toBeLessThan(40);
});

test('a breath lets in what waits, however little time there is', async () => {
  const pace = new NodePace();
  const timer = new AbortController();
  setTimeout(() => timer.abort(), 1);
  for (let breath = 0; breath < 10_000 && !timer.signal.aborted; breath++) await pace.breathe(0.5);
  expect(timer.signal.aborted).toBe(true);
});
