import { expect, test } from 'vitest';
import { ENCODINGS } from './table.ts';
import { binary, native, vex } from './vector-forms.ts';

test('an opcode is written the same way with VEX', () => {
  expect(vex('66 0F 38 00', '128')).toBe('VEX.128.66.0F38.WIG 00');
  expect(vex('NP 0F 58', 'LIG', 'W0')).toBe('VEX.LIG.NP.0F.W0 58');
  expect(() => vex('0F 58', '128')).toThrow('bug');
});

test('one description of an operation gives its legacy, VEX and MMX rows', () => {
  const rows = binary('paddb', '66 0F FC', native('i8x16.add'), { wide: 'avx2', mmx: 'low' });
  expect(rows.map(({ mnemonic, encodings, unit, feature }) => [mnemonic, encodings[0], unit, feature])).toEqual([
    ['paddb', '66 0F FC /r: Vdq+ Wdq', 'sse', undefined],
    ['vpaddb', 'VEX.128.66.0F.WIG FC /r: Vdq= Hdq Wdq', 'avx', 'avx'],
    ['vpaddb', 'VEX.256.66.0F.WIG FC /r: Vqq= Hqq Wqq', 'avx', 'avx2'],
    ['paddb', 'NP 0F FC /r: Pq+ Qq', 'mmx', undefined],
  ]);
});

test('every instruction with vector operands says which unit it needs', () => {
  const silent = ENCODINGS.filter(({ operands, row }) => !row.unit && operands.some(({ letter }) => 'VWUHPQNX'.includes(letter)));
  expect(silent.map(({ text }) => text)).toEqual([]);
});

test('no two rows claim the same encoding', () => {
  const claims = new Map<string, string>();
  for (const { row, text } of ENCODINGS.filter(({ row: { unit } }) => unit === 'sse' || unit === 'avx' || unit === 'mmx')) {
    const pattern = text.split(':')[0]!;
    expect(claims.get(pattern), `${row.mnemonic} ${pattern}`).toBe(undefined);
    claims.set(pattern, row.mnemonic);
  }
});
