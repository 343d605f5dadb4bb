import { expect, test } from 'vitest';
import { Symbols } from './symbols.ts';

const MAP = `0000000000000000 D fixed_percpu_data
0000000000020000 D per_cpu_end
ffffffff81000100 t second
ffffffff81000000 T _text
ffffffff81000000 T first
ffffffff81000200 R rodata
ffffffff81000300 T last\t[module]
`;
const symbols = new Symbols(MAP, 'map');

test.each([
  [0xffffffff81000000n, '_text'],
  [0xffffffff81000010n, '_text+0x10'],
  [0xffffffff810001ffn, 'second+0xff'],
  [0xffffffff81000300n, 'last'],
  [0xffffffff81000fffn, 'last+0xcff'],
])('%x is named %s', (address, name) => {
  expect(symbols.nameOf(address)).toBe(name);
});

test.each([
  ['data', 0xffffffff81000250n],
  ['what lies far behind the last symbol', 0xffffffff81001300n],
  ['a program’s code between the data of processors and the kernel', 0x401000n],
])('%s has no name', (_, address) => {
  expect(symbols.nameOf(address)).toBeUndefined();
});

test('an address before every symbol has no name', () => {
  expect(new Symbols('1000 T only', 'map').nameOf(0xfffn)).toBeUndefined();
});

test('a file without symbols is refused, and so is one whose addresses are hidden', () => {
  expect(() => new Symbols('\x7fELF', 'vmlinux')).toThrow(/vmlinux: no symbols/);
  expect(() => new Symbols('0000000000000000 T _text\n0000000000000000 T x\n', 'kallsyms')).toThrow(/root/);
});
