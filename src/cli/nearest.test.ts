import { expect, test } from 'vitest';
import { nearest } from './nearest.ts';

const VERBS = ['try', 'boot', 'ps', 'publish', 'prune', 'pull', 'update'];

test.each([
  ['tyr', 'try'], // exchanged
  ['bot', 'boot'], // left out
  ['booot', 'boot'], // added
  ['poll', 'pull'], // changed
  ['pub', 'publish'], // not finished
  ['pulbihs', 'publish'], // two mistakes in seven letters
])('%s is taken for %s', (word, meant) => {
  expect(nearest(word, VERBS)).toBe(meant);
});

test.each(['', 'x', 'fly', 'upgrade-all', 'constructor'])('%j is taken for nothing', (word) => {
  expect(nearest(word, VERBS)).toBeUndefined();
});
