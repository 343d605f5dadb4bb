/**
 * Pairs of instructions that one handler does together, because programs of all kinds run them next to each other: a
 * comparison and its jump, moves, stack traffic. Half a dispatch less for each, and the flags need not be looked up.
 *
 * The first of a pair must not change the bytes of the second, so it writes no memory; PUSH, which does, looks whether
 * the second has become stale. The record of the second keeps its own handler for those who jump to it.
 */
import { CONDITIONS } from '../flags.ts';
import type { Variant } from '../ops.ts';
import { H_FIRST } from '../runtime/layout.ts';
import type { Variants } from './variants.ts';

/** An encoding's pattern and the shapes of it: operand sizes (0 any) and memory kinds. */
type Shape = readonly [pattern: string, sizes: readonly number[], memory: readonly string[]];

const REG = ['none'];
const LOAD = ['simple'];
const BOTH = ['none', 'simple'];
const WIDE = [32, 64];

/** Set flags that a jump then looks at. */
const TESTS: readonly Shape[] = [
  ['39 /r', WIDE, BOTH], ['3B /r', WIDE, LOAD], ['83 /7', WIDE, BOTH], ['81 /7', WIDE, REG], ['3D', WIDE, REG], ['38 /r', [0], REG], ['3A /r', [0], LOAD],
  ['3C', [0], REG], ['80 /7', [0], BOTH], ['85 /r', WIDE, REG], ['84 /r', [0], REG], ['A8', [0], REG], ['F6 /0', [0], BOTH],
  ['83 /4', WIDE, REG], ['21 /r', WIDE, REG], ['83 /0', WIDE, REG], ['83 /5', WIDE, REG], ['29 /r', WIDE, REG], ['01 /r', WIDE, REG],
  ['FF /0', WIDE, REG], ['FF /1', WIDE, REG], ['0F BA /4', WIDE, REG],
]; // prettier-ignore

const hex = (n: number): string => n.toString(16).toUpperCase().padStart(2, '0');
/** Conditional jumps, but for those on overflow and parity. */
const JUMPS: readonly Shape[] = CONDITIONS.flatMap((name, code) =>
  /^n?[op]$/.test(name)
    ? []
    : ([
        [hex(0x70 + code), [64], REG],
        [`0F ${hex(0x80 + code)}`, [64], REG],
      ] as Shape[]),
);

/** Common before anything. */
const MOVERS: readonly Shape[] = [
  ['89 /r', WIDE, REG], ['8B /r', WIDE, LOAD], ['B8 +r', [32], REG], ['31 /r', [32], REG], ['01 /r', WIDE, REG], ['29 /r', [64], REG], ['83 /0', WIDE, REG],
  ['83 /5', [64], REG], ['8D /r mem', [64], LOAD], ['0F B6 /r', [32], BOTH], ['63 /r', [64], REG], ['C1 /4', WIDE, REG], ['C1 /5', WIDE, REG],
  ['21 /r', WIDE, REG], ['83 /4', WIDE, REG], ['50 +r', [64], REG], ['58 +r', [64], REG], ['FF /0', WIDE, REG], ['FF /1', WIDE, REG], ['0F AF /r', [64], REG],
]; // prettier-ignore

/** Common after anything. */
const FOLLOWERS: readonly Shape[] = [
  ['89 /r', WIDE, BOTH], ['8B /r', WIDE, LOAD], ['50 +r', [64], REG], ['58 +r', [64], REG], ['E8', [64], REG], ['C3', [64], REG], ['EB', [64], REG], ['E9', [64], REG],
  ['01 /r', WIDE, REG], ['31 /r', WIDE, REG], ['83 /0', WIDE, REG], ['83 /5', [64], REG], ['29 /r', WIDE, REG], ['21 /r', WIDE, REG], ['8D /r mem', [64], LOAD],
  ['39 /r', WIDE, REG], ['85 /r', WIDE, REG], ['C1 /4', WIDE, REG], ['C1 /5', WIDE, REG], ['0F B6 /r', [32], BOTH], ['63 /r', [64], REG], ['0F AF /r', [64], REG],
]; // prettier-ignore

export interface Fused {
  readonly first: Variant;
  readonly second: Variant;
}

/** Each of the firsts with each of the seconds, by handler numbers. */
interface Group {
  readonly firsts: readonly number[];
  readonly seconds: readonly number[];
  /** Handler number of the first pair: those of the first of the firsts come first. */
  readonly base: number;
}

export class Fusion {
  /** `all[i]` has the handler number after the last variant's, plus i. */
  readonly all: readonly Fused[];
  /** A second is in one of them only. */
  readonly groups: readonly Group[];
  readonly #base: number;

  constructor(variants: Variants) {
    this.#base = H_FIRST + variants.all.length;
    const byPattern = new Map<string, number[]>();
    variants.all.forEach(({ encoding, long, rep }, n) => {
      if (encoding.vex || !long || rep !== 'none') return;
      const pattern = encoding.text.slice(0, encoding.text.indexOf(':'));
      const numbers = byPattern.get(pattern);
      if (numbers) numbers.push(n);
      else byPattern.set(pattern, [n]);
    });
    const pick = (shapes: readonly Shape[]): number[] =>
      shapes.flatMap(([pattern, sizes, kinds]) =>
        (byPattern.get(pattern) ?? []).filter((n) => {
          const { encoding, operandSize, memory } = variants.all[n]!;
          return kinds.includes(memory) && sizes.includes(encoding.sized ? operandSize : 0);
        }),
      );
    const all: Fused[] = [];
    const groups: Group[] = [];
    for (const [before, after] of [
      [TESTS, JUMPS],
      [MOVERS, FOLLOWERS],
    ] as const) {
      const firsts = pick(before);
      const seconds = pick(after);
      const base = this.#base + all.length;
      groups.push({ firsts: firsts.map((n) => H_FIRST + n), seconds: seconds.map((n) => H_FIRST + n), base });
      for (const a of firsts) for (const b of seconds) all.push({ first: variants.all[a]!, second: variants.all[b]! });
    }
    this.all = all;
    this.groups = groups;
  }

  /** The pair behind a handler number, if it is one. */
  pair(handler: number): Fused | undefined {
    return this.all[handler - this.#base];
  }
}
