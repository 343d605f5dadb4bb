/**
 * SSE arithmetic in place: WebAssembly's own operation, wherever it gives what the processor would. It does when rounding is to
 * nearest, every exception is masked and PE is set already, so that an inexact result changes nothing, and when operands and
 * results are normal numbers inside the range. All else is the runtime's, which is exact in every mode
 * (runtime/softfloat.ts). SDM vol. 1, 4.8, 4.9 and 11.5.
 */
import type { Ops } from './ops.ts';
import * as L from './runtime/layout.ts';
import { extract, floating, replace, type FloatType } from './vector.ts';
import type { Node } from './wasm/ir.ts';

export type FloatShape = 'f32x4' | 'f64x2';

/** What WebAssembly's operation gives for one part. */
export interface Attempt {
  readonly result: Node;
  /** Lanes whose top bit is set have the processor's result, and the processor raises no exception but PE for them. */
  readonly sure: Node;
}

/** RC, all masks, and PE. */
const MODES = 0x7f80 | 0x20;
const SETTLED = 0x1f80 | 0x20;

interface Format {
  readonly integer: 'i32x4' | 'i64x2';
  readonly type: FloatType;
  readonly allLanes: number;
  /** Bits of the fraction. */
  readonly fraction: number;
  /** The least normal and the greatest finite number, as bits of a pair of doubles or four singles. */
  readonly least: bigint;
  readonly most: bigint;
}

const SINGLES: Format = {
  integer: 'i32x4',
  type: 'f32',
  allLanes: 15,
  fraction: 23,
  least: 0x0080_0000_0080_0000n,
  most: 0x7f7f_ffff_7f7f_ffffn,
};
const DOUBLES: Format = {
  integer: 'i64x2',
  type: 'f64',
  allLanes: 3,
  fraction: 52,
  least: 0x0010_0000_0000_0000n,
  most: 0x7fef_ffff_ffff_ffffn,
};
const FORMATS: Readonly<Record<FloatShape, Format>> = { f32x4: SINGLES, f64x2: DOUBLES };

export const shapeOf = (type: FloatType): FloatShape => (type === 'f32' ? 'f32x4' : 'f64x2');

/** Not zero (as i32) unless MXCSR is such that an inexact result changes nothing. */
export function unsettled(o: Ops): Node {
  return o.b.op('i32.xor', o.b.op('i32.and', o.state32(L.MXCSR), o.b.i32(MODES)), o.b.i32(SETTLED));
}

/** Lanes where the operands are normal numbers, and the result is one that has not come from below the least one. */
function inside(o: Ops, shape: FloatShape, result: Node, ...operands: readonly Node[]): Node {
  const { b } = o;
  const { least, most } = FORMATS[shape];
  const magnitude = b.op(`${shape}.abs`, result);
  // Where an operand is a NaN, so is the result, and `pmin` keeps a NaN that is its first argument.
  const smallest = operands.reduce((x, y) => b.op(`${shape}.pmin`, x, b.op(`${shape}.abs`, y)), magnitude);
  return b.op('v128.and', b.op(`${shape}.gt`, smallest, b.v128(least, least)), b.op(`${shape}.le`, magnitude, b.v128(most, most)));
}

/** Lanes with neither a denormal number (the least normal one counts as such) nor a NaN. */
export function ordinary(o: Ops, shape: FloatShape, ...operands: readonly Node[]): Node {
  const { b } = o;
  const { integer, fraction } = FORMATS[shape];
  const lanes = operands.flatMap((x) => {
    // The exponent, of one less, is 0 for denormal numbers and all ones for zeros.
    const exponent = b.op(`${integer}.shr_u`, b.op(`${integer}.add`, b.op(`${integer}.add`, x, x), b.v128(-1n, -1n)), b.i32(fraction + 1));
    return [b.op(`${integer}.sub`, b.v128(0n, 0n), exponent), b.op(`${shape}.eq`, x, x)];
  });
  return lanes.reduce((x, y) => b.op('v128.and', x, y));
}

/** The four basic operations and the square root, which depend on MXCSR being settled. */
export type Arithmetic = 'add' | 'sub' | 'mul' | 'div' | 'sqrt';
export type Selection = 'min' | 'max';

export function attemptArithmetic(o: Ops, shape: FloatShape, name: Arithmetic, x: Node, y: Node): Attempt {
  const { b } = o;
  if (name === 'sqrt') {
    const { least } = FORMATS[shape];
    return { result: b.op(`${shape}.sqrt`, y), sure: b.op(`${shape}.gt`, y, b.v128(least, least)) };
  }
  const result = b.op(`${shape}.${name}`, x, y);
  return { result, sure: inside(o, shape, result, x, y) };
}

/** MINPS and the like: the second operand where they are equal. */
export function attemptSelection(o: Ops, shape: FloatShape, name: Selection, x: Node, y: Node): Attempt {
  return { result: o.b.op(`${shape}.p${name}`, y, x), sure: ordinary(o, shape, x, y) };
}

/** Of rounding to integers, by the low two bits of ROUNDPS's immediate. */
const ROUNDINGS = ['nearest', 'floor', 'ceil', 'trunc'] as const;

/** Whether a rounding by an immediate depends on MXCSR: on its mode, or by an inexact result. */
export const roundingNeedsSettled = (immediate: number): boolean => (immediate & 4) !== 0 || (immediate & 8) === 0;

export function attemptRounding(o: Ops, shape: FloatShape, immediate: number, x: Node): Attempt {
  return { result: o.b.op(`${shape}.${ROUNDINGS[immediate & 4 ? 0 : immediate & 3]}`, x), sure: ordinary(o, shape, x) };
}

/** CVTPS2DQ and the like, to 32-bit integers; those of doubles come at the low end, with zeros above. */
export function attemptToIntegers(o: Ops, shape: FloatShape, truncate: boolean, x: Node): Attempt {
  const { b } = o;
  const whole = truncate ? x : b.op(`${shape}.nearest`, x);
  // 2^31, or for doubles, which may be rounded up to that, 1 less.
  const bound = shape === 'f32x4' ? 0x4f00_0000_4f00_0000n : 0x41df_ffff_ffc0_0000n;
  return {
    result: b.op(shape === 'f32x4' ? 'i32x4.trunc_sat_f32x4_s' : 'i32x4.trunc_sat_f64x2_s_zero', whole),
    sure: b.op(`${shape}.lt`, b.op(`${shape}.abs`, x), b.v128(bound, bound)),
  };
}

/** CVTPD2PS: the two results, with zeros above. */
export function attemptNarrowing(o: Ops, x: Node): Attempt {
  const result = o.b.op('f32x4.demote_f64x2_zero', x);
  return { result, sure: inside(o, 'f32x4', result) };
}

/** CVTPS2PD of the two low elements. */
export function attemptWidening(o: Ops, x: Node): Attempt {
  return { result: o.b.op('f64x2.promote_low_f32x4', x), sure: ordinary(o, 'f32x4', x) };
}

/** By predicates 0 to 7; with VEX, 8 to 31 differ from them for NaNs only. */
const RELATIONS = ['eq', 'lt', 'le', undefined, 'ne', 'ge', 'gt', undefined] as const;

/** CMPPS by a predicate that is known. */
export function attemptComparison(o: Ops, shape: FloatShape, predicate: number, x: Node, y: Node): Attempt {
  const relation = RELATIONS[predicate & 7];
  const always = predicate & 4 ? -1n : 0n;
  const result = relation ? o.b.op(`${shape}.${relation}`, x, y) : o.b.v128(always, always);
  return { result, sure: ordinary(o, shape, x, y) };
}

/** Not zero (as i32) unless the given lanes (bits of a number) of all parts are sure. */
export function unsureLanes(o: Ops, shape: FloatShape, parts: readonly Node[], lanes: number): Node {
  const { b } = o;
  const { integer, allLanes } = FORMATS[shape];
  const mask = b.op(`${integer}.bitmask`, parts.reduce((x, y) => b.op('v128.and', x, y))); // prettier-ignore
  return b.op('i32.xor', lanes === allLanes ? mask : b.op('i32.and', mask, b.i32(lanes)), b.i32(lanes));
}

/** `fast`, or where `unsure` (i32) is not zero what the runtime's calls of `slow` give, with the exceptions that they raise. */
export function unless(o: Ops, unsure: Node, fast: readonly Node[], slow: () => readonly Node[]): Node[] {
  const { b } = o;
  const results = fast.map((value) => b.variable(value.type!, value));
  o.if(unsure, () => {
    floating(o, results.length, slow).forEach((value, n) => b.set(results[n]!, value));
  });
  return results.map((variable) => b.get(variable));
}

/**
 * Packed operations: one attempt for each part.
 * @param lanes bits of the lanes that count, if not all of them
 */
export function attempted(
  o: Ops,
  shape: FloatShape,
  needsSettled: boolean,
  attempts: readonly Attempt[],
  slow: () => readonly Node[],
  lanes = FORMATS[shape].allLanes,
): Node[] {
  const unsure = unsureLanes(o, shape, attempts.map(({ sure }) => sure), lanes); // prettier-ignore
  return unless(
    o,
    needsSettled ? o.b.op('i32.or', unsettled(o), unsure) : unsure,
    attempts.map(({ result }) => result),
    slow,
  );
}

/** A scalar operation on the low lanes of two parts: the first one with the result in it. */
function scalarOf(o: Ops, shape: FloatShape, operation: string, x: Node, ...operands: readonly Node[]): Node {
  const { type } = FORMATS[shape];
  return replace(o, type, x, 0, o.b.op(`${type}.${operation}`, ...operands.map((each) => extract(o, type, each, 0))));
}

/** ADDSS and the like: the first part with the result in its low lane. */
export function scalarArithmetic(o: Ops, shape: FloatShape, name: Arithmetic, x: Node, y: Node, slow: () => Node): Node {
  const { least } = FORMATS[shape];
  const root = name === 'sqrt';
  const result = root ? scalarOf(o, shape, name, x, y) : scalarOf(o, shape, name, x, x, y);
  const sure = root ? o.b.op(`${shape}.gt`, y, o.b.v128(least, least)) : inside(o, shape, result, x, y);
  return scalarUnless(o, shape, o.b.op('i32.or', unsettled(o), unsureLanes(o, shape, [sure], 1)), x, result, slow);
}

/** MINSS, MAXSS, CMPSS: the low lane of an attempt in the first part. */
export function scalarAttempt(o: Ops, shape: FloatShape, x: Node, { result, sure }: Attempt, slow: () => Node, needsSettled = false): Node {
  const { integer } = FORMATS[shape];
  const low = o.b.op(`${integer}.replace_lane`, x, o.b.op(`${integer}.extract_lane`, result, 0), 0);
  const unsure = unsureLanes(o, shape, [sure], 1);
  return scalarUnless(o, shape, needsSettled ? o.b.op('i32.or', unsettled(o), unsure) : unsure, x, low, slow);
}

function scalarUnless(o: Ops, shape: FloatShape, unsure: Node, x: Node, result: Node, slow: () => Node): Node {
  const { type } = FORMATS[shape];
  return unless(o, unsure, [result], () => {
    const value = slow();
    return [replace(o, value.type === 'i32' || value.type === 'i64' ? value.type : type, x, 0, value)];
  })[0]!;
}

/** Sets the flags of COMISS and the like; `slow` gives them at their places in EFLAGS. */
export function compareFlags(o: Ops, shape: FloatShape, x: Node, y: Node, slow: () => Node): void {
  const { b } = o;
  const { type } = FORMATS[shape];
  const [left, right] = [x, y].map((each) => extract(o, type, each, 0)) as [Node, Node];
  const equal = b.variable('i32', b.op(`${type}.eq`, left, right));
  const below = b.variable('i32', b.op(`${type}.lt`, left, right));
  const odd = b.variable('i32', b.i32(0));
  o.if(unsureLanes(o, shape, [ordinary(o, shape, x, y)], 1), () => {
    const flags = floating(o, 1, slow);
    const bit = (n: number): Node => b.op('i32.and', b.op('i32.shr_u', flags, b.i32(n)), b.i32(1));
    b.set(equal, bit(6));
    b.set(below, bit(0));
    b.set(odd, bit(2));
  });
  // A result of 0 has PF, one of 1 has not: see flags.ts.
  const parity = b.op('i32.xor', b.get(equal), b.get(odd));
  o.setFlagState(o.wide(b.op('i32.eqz', b.get(equal))), b.op('i32.or', b.op('i32.shl', parity, b.i32(2)), b.get(below)));
}
