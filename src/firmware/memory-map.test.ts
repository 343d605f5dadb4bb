import { expect, test } from 'vitest';
import { memoryMap } from './memory-map.ts';
import { pcDescription } from './testing/pc-description.ts';

const GIB = 2 ** 30;

test('the map is sorted, without overlaps, and has RAM below and above 4 GiB', () => {
  const map = memoryMap(
    [
      { base: 0, size: 2 * GIB },
      { base: 4 * GIB, size: GIB },
    ],
    pcDescription,
  );
  expect(map).toEqual([
    { base: 0, size: 0x9_fc00, kind: 'ram' },
    { base: 0x9_fc00, size: 0x400, kind: 'reserved' },
    { base: 0xe_0000, size: 0x2_0000, kind: 'reserved' },
    { base: 0x10_0000, size: 2 * GIB - 0x10_0000, kind: 'ram' },
    { base: 0xb000_0000, size: 0x1000_0000, kind: 'reserved' },
    { base: 4 * GIB, size: GIB, kind: 'ram' },
  ]);
});

test('RAM under the PCI configuration window is not offered', () => {
  const map = memoryMap([{ base: 0, size: 3 * GIB }], pcDescription);
  expect(map.at(-2)).toEqual({ base: 0x10_0000, size: 0xb000_0000 - 0x10_0000, kind: 'ram' });
  expect(map.at(-1)).toEqual({ base: 0xb000_0000, size: 0x1000_0000, kind: 'reserved' });
});
