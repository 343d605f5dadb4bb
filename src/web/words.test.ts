import { expect, test } from 'vitest';
import { countsOf } from '../machine/testing/counts.ts';
import type { EndMessage, FiguresMessage } from './protocol.ts';
import { endWords, figureWords, short } from './words.ts';

const figures = (instructions: number, elapsedMs: number): FiguresMessage => ({
  type: 'figures',
  stats: countsOf(instructions),
  elapsedMs,
});

test('the speed is that since the last figures', () => {
  expect(figureWords(figures(50e6, 1000), undefined)).toBe('50 million instructions/s · 50.0 M in 0:01');
  expect(figureWords(figures(2.05e9, 65_000), figures(50e6, 45_000))).toBe('100 million instructions/s · 2.0 G in 1:05');
  expect(figureWords(figures(55e6, 3000), figures(50e6, 2000))).toContain('5.0 million');
});

test('figures of the same moment give no speed', () => {
  expect(figureWords(figures(7, 10), figures(7, 10))).toBe('0.0 million instructions/s · 7 in 0:00');
});

test.each([
  [999_999, '999999'],
  [1e6, '1.0 M'],
  [2.5e12, '2.5 T'],
])('%d is %s', (count, text) => {
  expect(short(count)).toBe(text);
});

test.each<[EndMessage, RegExp]>([
  [{ type: 'ended', kind: 'poweroff' }, /powered off/],
  [{ type: 'ended', kind: 'reset' }, /reset/],
  [{ type: 'ended', kind: 'stopped' }, /stopped/],
  [{ type: 'ended', kind: 'debug-exit', value: 5 }, /with 5/],
  [{ type: 'ended', kind: 'failed', message: 'no kernel' }, /failed/],
])('an end is said in words: %j', (end, words) => {
  expect(endWords(end)).toMatch(words);
});
