import { describe, expect, test } from 'vitest';
import { compareVersions, versionFits } from './version.ts';

describe('order of versions, each pair older first', () => {
  // deb-version(7) and Policy 5.6.12.
  test.each([
    ['1.0', '1.1'],
    ['1.9', '1.10'],
    ['1.0~rc1', '1.0'],
    ['1.0~~', '1.0~'],
    ['1.0~~a', '1.0~'],
    ['1.0', '1.0-1'],
    ['1.0-1', '1.0-1+b1'],
    ['1.0-1', '1.0-1.1'],
    ['1.0-1~bpo12+1', '1.0-1'],
    ['9:1', '10:0'],
    ['2', '1:1'],
    ['1.0a', '1.0b'],
    ['1.0', '1.0a'],
    ['1.0a', '1.0+'],
    ['1-1-1', '1-1-2'],
    ['7.2.9+deb14', '7.2.13+deb14'],
    ['0.00000000000000000001', '0.2'],
    ['1.99999999999999999998', '1.99999999999999999999'],
  ])('%s before %s', (older, newer) => {
    expect(compareVersions(older, newer)).toBeLessThan(0);
    expect(compareVersions(newer, older)).toBeGreaterThan(0);
  });

  test.each([
    ['1.0', '1.0'],
    ['0:1.0', '1.0'],
    ['1.01', '1.1'],
    ['1.0-0', '1.0'],
  ])('%s is the same as %s', (a, b) => {
    expect(compareVersions(a, b)).toBe(0);
  });
});

test('relations hold as their names say', () => {
  expect((['<<', '<=', '=', '>=', '>>'] as const).map((relation) => versionFits('1', relation, '2'))).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
  expect((['<<', '<=', '=', '>=', '>>'] as const).map((relation) => versionFits('2', relation, '2'))).toEqual([
    false,
    true,
    true,
    true,
    false,
  ]);
});
