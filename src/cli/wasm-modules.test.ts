import { expect, test } from 'vitest';
import { budgetOf } from './wasm-modules.ts';

test('the runs before V8 optimises a function grow with its size', () => {
  const runs = (size: number): number => budgetOf([size]) / size;
  expect(runs(2000)).toBeGreaterThan(runs(1000) * 1.9);
  expect(runs(1000)).toBeGreaterThan(runs(500));
});

test('functions of one module have the budget of their mean size', () => {
  expect(budgetOf([500, 1500])).toBe(budgetOf([1000]));
});

test('the budget is one that V8 can keep, however large or small the functions are', () => {
  expect(budgetOf([1 << 20])).toBe(1e9);
  expect(budgetOf([1])).toBe(1_800_000);
});
