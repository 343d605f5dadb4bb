import { expect, test } from 'vitest';
import type { VCpuCounts } from '../machine/vcpu.ts';
import { countsOf } from '../machine/testing/counts.ts';
import { formatCount, statsLines } from './stats.ts';

const counts: VCpuCounts = {
  instructions: 2_000_000_000,
  interpreted: 150_000_000,
  compiled: 1_850_000_000,
  decoded: 412_345,
  tlbMisses: 4_100_000,
  invalidations: 123,
  exits: { budget: 1000, fault: 0, lookup: 3000 },
  compiler: {
    regions: 5312,
    dropped: 12,
    steps: 99_999,
    modules: 83,
    bytes: 24_500_000,
    refused: 0,
    findMs: 120.4,
    emitMs: 880,
    moduleMs: 400,
  },
};

test('the report has a line for each count, in columns, with shares and units; causes come by size', () => {
  expect(statsLines(counts)).toEqual([
    'instructions        2.0 G',
    '  interpreted     150.0 M  7.5 %',
    '  compiled          1.9 G  92.5 %',
    '  decoded           412 k',
    'regions             5,312  of 99,999 instructions; 12 dropped',
    'modules                83  24.5 MB',
    'compile time        1.4 s  find 120 ms, emit 880 ms, module 400 ms',
    'exits               4,000',
    '  lookup            3,000  75.0 %',
    '  budget            1,000  25.0 %',
    'TLB misses          4.1 M',
    'invalidations         123',
  ]);
});

test('the report of an interpreter says nothing of compiling', () => {
  expect(statsLines(countsOf(7)).join('\n')).not.toMatch(/compile|region|module/);
});

test('modules that the host did not take are told when there are any', () => {
  const told = statsLines({ ...counts, compiler: { ...counts.compiler!, refused: 2 } });
  expect(told).toContain('modules                83  24.5 MB; 2 more that the host refused');
});

test('a machine that has done nothing has no shares', () => {
  expect(statsLines(countsOf(0)).join('\n')).not.toMatch(/%|NaN/);
});

test.each([
  [0, '0'],
  [99_999, '99,999'],
  [100_000, '100 k'],
  [999_999, '999 k'],
  [1e6, '1.0 M'],
  [12_345_678_901, '12.3 G'],
])('%d is shown as %s', (count, text) => {
  expect(formatCount(count)).toBe(text);
});
