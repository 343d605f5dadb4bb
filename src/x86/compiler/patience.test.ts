import { expect, test } from 'vitest';
import { Patience } from './patience.ts';

/** Times that a page has to be hot before it is compiled. */
function asked(patience: Patience, page: number): number {
  for (let count = 1; ; count++) if (patience.allows(page)) return count;
}

test('a page is compiled at once, and after each change it has to be twice as hot, up to a limit', () => {
  const patience = new Patience(4);
  const waits: number[] = [asked(patience, 7)];
  for (let n = 0; n < 6; n++) {
    patience.changed(7, 0);
    waits.push(asked(patience, 7));
  }
  expect(waits).toEqual([1, 1, 2, 4, 8, 8, 8]);
  expect(asked(patience, 8)).toBe(1);
});

test('a page that was quiet for long is trusted again', () => {
  const patience = new Patience(8);
  for (let n = 0; n < 8; n++) patience.changed(7, 0);
  patience.changed(7, 10_000);
  expect(asked(patience, 7)).toBe(1);
});

test('without patience every page is compiled at once, however often it changes', () => {
  const patience = new Patience(0);
  for (let n = 0; n < 8; n++) patience.changed(7, 0);
  expect(asked(patience, 7)).toBe(1);
});
