/** Constants and identities, so that specialised code comes out clean. */
import type { Node } from './ir.ts';
import { OPERATIONS } from './opcodes.ts';

/** Kind of the last nodes, in order of kinds, that are values without an effect: see ir.ts. */
const LAST_VALUE = 4;

type Fold64 = (x: bigint, y: bigint) => bigint | number;
type Fold32 = (x: number, y: number) => number;

const unsigned = (x: bigint): bigint => BigInt.asUintN(64, x);
const bit = (x: boolean): number => (x ? 1 : 0);

const FOLD64: Readonly<Record<string, Fold64>> = {
  'i64.add': (x, y) => x + y,
  'i64.sub': (x, y) => x - y,
  'i64.mul': (x, y) => x * y,
  'i64.and': (x, y) => x & y,
  'i64.or': (x, y) => x | y,
  'i64.xor': (x, y) => x ^ y,
  'i64.shl': (x, y) => x << (y & 63n),
  'i64.shr_u': (x, y) => unsigned(x) >> (y & 63n),
  'i64.shr_s': (x, y) => x >> (y & 63n),
  'i64.eq': (x, y) => bit(x === y),
  'i64.ne': (x, y) => bit(x !== y),
  'i64.lt_u': (x, y) => bit(unsigned(x) < unsigned(y)),
  'i64.lt_s': (x, y) => bit(x < y),
};

const FOLD32: Readonly<Record<string, Fold32>> = {
  'i32.add': (x, y) => x + y,
  'i32.sub': (x, y) => x - y,
  'i32.and': (x, y) => x & y,
  'i32.or': (x, y) => x | y,
  'i32.xor': (x, y) => x ^ y,
  'i32.shl': (x, y) => x << y,
  'i32.shr_u': (x, y) => x >>> y,
  'i32.shr_s': (x, y) => x >> y,
  'i32.eq': (x, y) => bit(x === y),
  'i32.ne': (x, y) => bit(x !== y),
};

const FOLD_ONE: Readonly<Record<string, (x: bigint | number) => bigint | number>> = {
  'i32.wrap_i64': (x) => Number(BigInt.asIntN(32, x as bigint)),
  'i64.extend_i32_u': (x) => BigInt((x as number) >>> 0),
  'i64.extend_i32_s': (x) => BigInt(x as number),
  'i64.eqz': (x) => bit(x === 0n),
  'i32.eqz': (x) => bit(x === 0),
  'i64.extend32_s': (x) => BigInt.asIntN(32, x as bigint),
  'i64.extend16_s': (x) => BigInt.asIntN(16, x as bigint),
  'i64.extend8_s': (x) => BigInt.asIntN(8, x as bigint),
};

/** Operations that a zero on the right leaves as they are. */
const ZERO_IS_NEUTRAL: ReadonlySet<string> = new Set(
  ['i32', 'i64'].flatMap((type) => ['add', 'sub', 'or', 'xor', 'shl', 'shr_s', 'shr_u', 'rotl', 'rotr'].map((name) => `${type}.${name}`)),
);

/** What an operation gives for equal arguments: the argument, or a number. */
const OF_EQUALS: Readonly<Record<string, 'itself' | 0n | 0 | 1>> = {
  'i64.and': 'itself',
  'i64.or': 'itself',
  'i64.xor': 0n,
  'i64.sub': 0n,
  'i64.eq': 1,
  'i64.ne': 0,
  'i64.lt_u': 0,
  'i64.lt_s': 0,
};

/** Deeper expressions are not looked at. */
const DEPTH = 4;

/** Whether two expressions have the same value for sure: the same operations on what has not changed in between. */
function same(a: Node, b: Node, depth = 0): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind || a.code !== b.code || a.immediate !== b.immediate || a.value !== b.value || depth === DEPTH) return false;
  if (a.value === undefined && (a.epoch !== b.epoch || a.more !== b.more || a.kind > LAST_VALUE)) return false;
  return a.args.every((arg, n) => same(arg, b.args[n]!, depth + 1));
}

/** Bits that are left of an argument, by the operations that look at no others. */
const LOOKS_AT: Readonly<Record<string, bigint>> = {
  'i32.wrap_i64': 0xffff_ffffn,
  'i64.extend8_s': 0xffn,
  'i64.extend16_s': 0xffffn,
  'i64.extend32_s': 0xffff_ffffn,
};

const AND = OPERATIONS.get('i64.and')!.code;
const EXTEND = OPERATIONS.get('i64.extend_i32_u')!.code;
const WRAP = OPERATIONS.get('i32.wrap_i64')!.code;

/** The argument of an operation without what was cut off it before, when the operation cuts as much itself. */
export function uncut(name: string, arg: Node): Node {
  const bits = LOOKS_AT[name];
  if (bits === undefined) return arg;
  const mask = arg.code === AND ? arg.args[1]!.value : undefined;
  if (typeof mask === 'bigint' && (mask & bits) === bits) return arg.args[0]!;
  if (arg.code === EXTEND && arg.args[0]!.code === WRAP) return arg.args[0]!.args[0]!;
  return arg;
}

/** The value of an operation when it is known: a constant, or one of its arguments. */
export function fold(name: string, args: readonly Node[]): Node | bigint | number | undefined {
  if (args.length === 3) {
    const chosen = args[2]!.value;
    return chosen === undefined ? undefined : chosen === 0 ? args[1] : args[0];
  }
  const a = args[0]!;
  const x = a.value;
  if (args.length === 1) {
    if (x !== undefined) return FOLD_ONE[name]?.(x);
    return name === 'i32.wrap_i64' && a.code === EXTEND ? a.args[0] : undefined;
  }
  const b = args[1]!;
  const y = b.value;
  if (y === undefined) {
    const equal = OF_EQUALS[name];
    return equal !== undefined && same(a, b) ? (equal === 'itself' ? a : equal) : undefined;
  }
  if (typeof y === 'bigint') {
    if (y === 0n && ZERO_IS_NEUTRAL.has(name)) return a;
    if (y === -1n && name === 'i64.and') return a;
    if (y === 0n && name === 'i64.and') return 0n;
    return typeof x === 'bigint' ? FOLD64[name]?.(x, y) : undefined;
  }
  if (y === 0 && ZERO_IS_NEUTRAL.has(name)) return a;
  if (y === -1 && name === 'i32.and') return a;
  if (y === 0 && name === 'i32.and') return 0;
  return typeof x === 'number' ? FOLD32[name]?.(x, y) : undefined;
}
