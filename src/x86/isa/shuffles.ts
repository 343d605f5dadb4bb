/**
 * Shuffles and blends whose elements the immediate chooses: WebAssembly's shuffle where the instruction is known, a function of the
 * runtime otherwise. And packed integer arithmetic that WebAssembly has in several steps. SDM vol. 2.
 */
import type { Ops } from '../ops.ts';
import { callRuntime, immediateByte, shuffle, zeroVector } from '../vector.ts';
import type { Node } from '../wasm/ir.ts';
import type { Part, UnaryPart } from './vector-forms.ts';

/** Number `n` of the fields of `bits` bits. */
const field = (immediate: number, n: number, bits: 1 | 2): number => (immediate >> (n * bits)) & ((1 << bits) - 1);

const count = (elements: number): readonly number[] => Array.from({ length: elements }, (_, n) => n);

/** One operand by the immediate. */
function byImmediate(name: string, bytes: number, elements: (immediate: number) => readonly number[]): UnaryPart {
  return (o, a) => {
    const known = o.knownByte();
    return known === undefined ? callRuntime(o, name, a, immediateByte(o)) : shuffle(o, a, a, bytes, elements(known));
  };
}

export const shuffleDoublewords = byImmediate('pshufd', 4, (immediate) => count(4).map((n) => field(immediate, n, 2)));
export const shuffleLowWords = byImmediate('pshuflw', 2, (immediate) => count(8).map((n) => (n < 4 ? field(immediate, n, 2) : n)));
export const shuffleHighWords = byImmediate('pshufhw', 2, (immediate) => count(8).map((n) => (n < 4 ? n : 4 + field(immediate, n - 4, 2))));

/** Two operands by the immediate, of which each half of a YMM register uses `step` bits of its own. */
function pairByImmediate(name: string, bytes: number, step: number, elements: (immediate: number) => readonly number[]): Part {
  return (o, a, b, n) => {
    const known = o.knownByte();
    if (known !== undefined) return shuffle(o, a, b, bytes, elements(known >> (step * n)));
    return callRuntime(o, name, a, b, o.b.op('i32.shr_u', immediateByte(o), o.b.i32(step * n)));
  };
}

/** SHUFPS: two elements of each. */
export const shuffleSingles = pairByImmediate('shufps', 4, 0, (immediate) => count(4).map((n) => field(immediate, n, 2) + (n < 2 ? 0 : 4)));
export const shuffleDoubles = pairByImmediate('shufpd', 8, 2, (immediate) => count(2).map((n) => field(immediate, n, 1) + 2 * n));

/** Elements of the second operand where the immediate's bit is set. */
const blended = (elements: number) => (immediate: number) => count(elements).map((n) => n + elements * field(immediate, n, 1));

export const blendWords = pairByImmediate('blend16', 2, 0, blended(8));
export const blendSingles = pairByImmediate('blend32', 4, 4, blended(4));
export const blendDoubles = pairByImmediate('blend64', 8, 2, blended(2));

/** Bytes from `by` on of a vector with zeros above it; `by` may be negative. */
function moveBytes(o: Ops, a: Node, by: number): Node {
  return shuffle(o, a, zeroVector(o), 1, count(16).map((n) => (n + by < 0 || n + by > 15 ? 16 : n + by))); // prettier-ignore
}

/** PSLLDQ and PSRLDQ. */
export function shiftBytes(o: Ops, name: 'pslldq' | 'psrldq', a: Node): Node {
  const known = o.knownByte();
  if (known === undefined) return callRuntime(o, name, a, immediateByte(o));
  return moveBytes(o, a, name === 'psrldq' ? known : -known);
}

/** PALIGNR: from the immediate's byte on of the second operand and, above it, the first. */
export const alignRight: Part = (o, a, b) => {
  const known = o.knownByte();
  if (known === undefined) return callRuntime(o, 'palignr', a, b, immediateByte(o));
  return known <= 16 ? shuffle(o, b, a, 1, count(16).map((n) => n + known)) : moveBytes(o, a, known - 16); // prettier-ignore
};

/** A half of VPERMQ's result: two of four quadwords. */
export function permuteQuadwords(o: Ops, low: Node, high: Node, half: number): Node {
  const known = o.knownByte();
  if (known !== undefined) return shuffle(o, low, high, 8, [field(known, 2 * half, 2), field(known, 2 * half + 1, 2)]);
  return callRuntime(o, 'vpermq', low, high, o.b.op('i32.shr_u', immediateByte(o), o.b.i32(4 * half)));
}

/** A half of VPERM2F128's result: one of four halves, or zero. */
export function permuteHalves(o: Ops, halves: readonly [Node, Node, Node, Node], half: number): Node {
  const known = o.knownByte();
  if (known === undefined) return callRuntime(o, 'vperm2f128', ...halves, o.b.op('i32.shr_u', immediateByte(o), o.b.i32(4 * half)));
  return (known >> (4 * half)) & 8 ? zeroVector(o) : halves[field(known, 2 * half, 2)]!;
}

/** Bytes numbers of doublewords from their numbers. */
function bytesOfDoublewords(o: Ops, numbers: Node): Node {
  const { b } = o;
  const four = b.op('i32x4.mul', numbers, b.v128(0x0404_0404_0404_0404n, 0x0404_0404_0404_0404n));
  return b.op('i32x4.add', four, b.v128(0x0302_0100_0302_0100n, 0x0302_0100_0302_0100n));
}

/** VPERMILPS: each lane of the control chooses a lane. */
export const permuteSingles: Part = (o, a, control) =>
  o.b.op('i8x16.swizzle', a, bytesOfDoublewords(o, o.b.op('v128.and', control, o.b.v128(0x3_0000_0003n, 0x3_0000_0003n))));

/** VPERMILPD: bit 1 of each lane of the control chooses. */
export const permuteDoubles: Part = (o, a, control) => {
  const { b } = o;
  const odd = b.op('i64x2.shr_s', b.op('i64x2.shl', control, b.i32(62)), b.i32(63));
  return b.op('v128.bitselect', shuffle(o, a, a, 8, [1, 1]), shuffle(o, a, a, 8, [0, 0]), odd);
};

/** A half of VPERMD's result: each lane of the control chooses among the eight of both halves. */
export function permuteDoublewords(o: Ops, low: Node, high: Node, control: Node): Node {
  const { b } = o;
  const bytes = bytesOfDoublewords(o, b.op('v128.and', control, b.v128(0x7_0000_0007n, 0x7_0000_0007n)));
  const beyond = b.op('i8x16.sub', bytes, b.v128(0x1010_1010_1010_1010n, 0x1010_1010_1010_1010n));
  return b.op('v128.or', b.op('i8x16.swizzle', low, bytes), b.op('i8x16.swizzle', high, beyond));
}

// Packed integers

/** High words of the products. */
export const multiplyHigh =
  (sign: 's' | 'u'): Part =>
  (o, a, b) => {
    const [low, high] = ['low', 'high'].map((half) => o.b.op(`i32x4.extmul_${half}_i16x8_${sign}`, a, b)) as [Node, Node];
    return shuffle(o, low, high, 2, [1, 3, 5, 7, 9, 11, 13, 15]);
  };

/** PMULHRSW. WebAssembly's saturates -1 * -1, which here wraps. */
export const multiplyRounded: Part = (o, a, b) => {
  const least = o.b.v128(0x8000_8000_8000_8000n, 0x8000_8000_8000_8000n);
  const both = o.b.op('v128.and', o.b.op('i16x8.eq', a, least), o.b.op('i16x8.eq', b, least));
  return o.b.op('v128.xor', o.b.op('i16x8.q15mulr_sat_s', a, b), both);
};

/** PMADDUBSW: unsigned bytes of a times signed bytes of b, adjacent products added with signed saturation. */
export const multiplyAddBytes: Part = (o, a, b) => {
  const { b: build } = o;
  const eight = build.i32(8);
  const low = build.v128(0x00ff_00ff_00ff_00ffn, 0x00ff_00ff_00ff_00ffn);
  const even = build.op('i16x8.mul', build.op('v128.and', a, low), build.op('i16x8.shr_s', build.op('i16x8.shl', b, eight), eight));
  const odd = build.op('i16x8.mul', build.op('i16x8.shr_u', a, eight), build.op('i16x8.shr_s', b, eight));
  return build.op('i16x8.add_sat_s', even, odd);
};

/** PSADBW: sums of absolute differences of each half's eight bytes, as quadwords. */
export const sumDifferences: Part = (o, a, b) => {
  const { b: build } = o;
  const differences = build.op('i8x16.sub', build.op('i8x16.max_u', a, b), build.op('i8x16.min_u', a, b));
  const sums = build.op('i32x4.extadd_pairwise_i16x8_u', build.op('i16x8.extadd_pairwise_i8x16_u', differences));
  const low = build.op('v128.and', sums, build.v128(0xffff_ffffn, 0xffff_ffffn));
  return build.op('i64x2.add', low, build.op('i64x2.shr_u', sums, build.i32(32)));
};
