/** The map of the engine's memory (src/x86/runtime/layout.ts): nothing in it lies on anything else. */
import { describe, expect, test } from 'vitest';
import { textOf } from './sources.ts';

const FILE = 'src/x86/runtime/layout.ts';
const LAST = 'RAM';
const UNITS: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, f64: 8 };

interface Constant {
  readonly name: string;
  /** As it is written. */
  readonly literal: string;
  readonly value: number;
  /** What stands behind it, without what follows a colon. */
  readonly note: string;
}

function constantsOf(text: string): Constant[] {
  return [...text.matchAll(/^export const (\w+) = (\w+);(?: \/\/ ([^:\n]*))?/gm)].map((match) => {
    const [, name, literal, note] = match;
    return { name: name!, literal: literal!, value: Number(literal), note: (note ?? '').trim() };
  });
}

/** Sums and products of numbers, names and units, from left to right with the usual precedence. */
function evaluate(expression: string, known: ReadonlyMap<string, number>): number {
  const value = (word: string): number => UNITS[word] ?? known.get(word) ?? (/^\d+$/.test(word) ? Number(word) : Number.NaN);
  const product = (term: string): number =>
    term.split(/(?=[*/])/).reduce((so, factor) => {
      const operand = value(factor.replace(/^[*/]/, '').trim());
      return factor.startsWith('/') ? so / operand : so * operand;
    }, 1);
  return expression.split(/(?=[+-])/).reduce((sum, term) => {
    const operand = product(term.replace(/^[+-]/, '').trim());
    return term.startsWith('-') ? sum - operand : sum + operand;
  }, 0);
}

/** What is wrong with a map, in words. */
function faultsOf(text: string): string[] {
  const all = constantsOf(text);
  const known = new Map(all.map(({ name, value }) => [name, value]));
  const map = all.slice(
    0,
    all.findIndex(({ name }) => name === LAST),
  );
  const faults: string[] = [];
  const places: { name: string; from: number; to: number }[] = [{ name: LAST, from: known.get(LAST)!, to: Number.MAX_SAFE_INTEGER }];
  for (const { name, literal, value, note } of map) {
    if (!literal.startsWith('0x')) continue; // a number of things, or an offset in one
    if (note.startsWith('=')) {
      if (evaluate(note.slice(1), known) !== value) faults.push(`${name} is not ${note.slice(1).trim()}`);
      continue;
    }
    if (name.endsWith('_END')) continue;
    const size = note === '' ? (known.get(`${name}_END`) ?? Number.NaN) - value : evaluate(note, known);
    if (!(size > 0)) faults.push(`${name} has no size: put it behind the address, as in "// 4 * u32", or give it a ${name}_END`);
    const unit = Object.keys(UNITS).find((one) => note.endsWith(one));
    if (unit !== undefined && value % UNITS[unit]! !== 0) faults.push(`${name} is not aligned to its ${unit}`);
    places.push({ name, from: value, to: value + size });
  }
  places.sort((a, b) => a.from - b.from);
  places.slice(1).forEach((place, n) => {
    const before = places[n]!;
    if (place.from < before.to) faults.push(`${place.name} lies on ${before.name}, which ends at 0x${before.to.toString(16)}`);
  });
  return faults;
}

describe('the map of the engine’s memory', () => {
  const text = textOf(FILE);

  test('gives every field a place of its own, below the guest’s RAM', () => {
    expect(faultsOf(text)).toEqual([]);
    expect(constantsOf(text).length).toBe(text.match(/^export /gm)!.length);
  });

  test('is refused when two fields clash, one runs out of its area, or a size is missing', () => {
    const changed = (from: string | RegExp, to: string): string[] => {
      expect(text).toMatch(from);
      return faultsOf(text.replace(from, to));
    };
    expect(changed(/CPL = 0x80bc/, 'CPL = 0x80b8')).toEqual(['CPL lies on TLB_CODE, which ends at 0x80bc']);
    expect(changed(/(GPR = 0x8000; \/\/) 16/, '$1 17')).toEqual(['ZERO lies on GPR, which ends at 0x8088']);
    expect(changed(/DROPPED_SIZE = 1024/, 'DROPPED_SIZE = 1025')).toEqual(['CROSSING lies on DROPPED, which ends at 0x42004']);
    expect(changed(/TLB_PART_BYTES = 0x18000/, 'TLB_PART_BYTES = 0x18010')).toEqual([
      'TLB_PART_BYTES is not 2 * TLB_SET_BYTES',
      expect.stringMatching(/^TLB_END is not /),
    ]);
    expect(changed(/(HOT = \w+;) .*/, '$1')).toEqual([expect.stringMatching(/^HOT has no size/)]);
    expect(changed(/LAZY_A = 0x8a78/, 'LAZY_A = 0x8a74')).toEqual(['LAZY_A is not aligned to its u64']);
    expect(changed(/(DECODE_HANDLERS = \w+; \/\/) DECODE_SHAPES/, '$1 DECODE_SHAPES * 2')).toEqual([
      'DECODE_PAIRS lies on DECODE_HANDLERS, which ends at 0xbf60000',
    ]);
  });
});
