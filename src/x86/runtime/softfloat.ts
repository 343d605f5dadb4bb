/**
 * SSE and AVX floating point on scalars, exact in every MXCSR mode. Each operation reads the modes from MXCSR and ORs the
 * flags it raises into it; unmasked ones go to SSE_FAULT as well (see mxcsr.ts), and then the result is meaningless.
 *
 * The common case comes first: rounding to nearest, everything masked, PE already set, normal operands and result: the
 * host's operation and a few comparisons. While PE is not set, cheap error terms tell whether the result is exact. All
 * else goes through integers (ieee.ts).
 */
import { IE, PE } from './unpacked';
import { commit, isDefault, isSettled, MXCSR_DAZ, mxcsr, raise } from './mxcsr';
import {
  ADD,
  arithmetic,
  bitsOf,
  compare,
  convert,
  DIV,
  EQUAL,
  fromBits,
  fromInteger,
  GREATER,
  LESS,
  MAX,
  MIN,
  MUL,
  SQRT,
  SUB,
  UNORDERED,
} from './ieee';

function precisionOf<T>(): i32 {
  return sizeof<T>() == 8 ? 53 : 24;
}

function minNormal<T>(): T {
  return sizeof<T>() == 8 ? <T>f64.MIN_NORMAL_VALUE : <T>f32.MIN_NORMAL_VALUE;
}

function maxFinite<T>(): T {
  return sizeof<T>() == 8 ? <T>f64.MAX_VALUE : <T>f32.MAX_VALUE;
}

/** Neither denormal nor NaN. */
function isPlain<T>(value: T): bool {
  return abs<T>(value) >= minNormal<T>() || value == <T>0;
}

/** Not denormal; may be a NaN. Cheaper than `isPlain`. */
export function isNotDenormal<T>(value: T): bool {
  if (sizeof<T>() == 8) return (reinterpret<u64>(<f64>value) << 1) - 1 >= <u64>0x1fffffffffffff;
  return (reinterpret<u32>(<f32>value) << 1) - 1 >= <u32>0xffffff;
}

/** Normal, and not the least normal number, which a result may have reached by rounding up from a tiny one. */
export function isInner<T>(value: T): bool {
  if (sizeof<T>() == 8) return (reinterpret<u64>(<f64>value) << 1) - 0x20000000000001 < <u64>0xffbfffffffffffff;
  return (reinterpret<u32>(<f32>value) << 1) - 0x1000001 < <u32>0xfdffffff;
}

/** Whether x * y has no more digits than the format; for normal operands. */
export function isExactProduct<T>(x: T, y: T): bool {
  if (sizeof<T>() == 4) {
    const product = <f64>x * <f64>y;
    return <f64>(<f32>product) == product;
  }
  const implicit: u64 = 0x10000000000000;
  const a = (reinterpret<u64>(<f64>x) & (implicit - 1)) | implicit;
  const b = (reinterpret<u64>(<f64>y) & (implicit - 1)) | implicit;
  const zerosA = ctz<u64>(a);
  const zerosB = ctz<u64>(b);
  const zeros = zerosA + zerosB;
  // Of odd factors with m and n digits, the product is odd and has m + n or m + n - 1 digits.
  if (zeros >= 53) return true;
  if (zeros < 52) return false;
  return (a >> zerosA) * (b >> zerosB) < (<u64>1) << 53;
}

/** Knuth's two-sum: exact unless near the end of the range, where it may only claim too much. */
function isExactSum<T>(a: T, b: T, sum: T): bool {
  const virtual = sum - a;
  return a - (sum - virtual) + (b - virtual) == <T>0;
}

/** One element of a binary operation; flags are collected, not committed. */
export function element<T>(op: i32, a: T, b: T): T {
  if (isDefault(mxcsr())) {
    if (op == ADD || op == SUB) {
      const y = op == ADD ? b : -b;
      const sum = a + y;
      // Far from overflow, where the error term cannot be computed.
      if (isInner<T>(sum) && abs<T>(sum) < maxFinite<T>() * <T>0.25 && isPlain<T>(a) && isPlain<T>(b)) {
        if (!isExactSum<T>(a, y, sum)) raise(PE);
        return sum;
      }
      if (sum == <T>0 && isPlain<T>(a) && isPlain<T>(b)) return sum;
    } else if (op == MUL) {
      const product = a * b;
      if (isInner<T>(product) && isPlain<T>(a) && isPlain<T>(b)) {
        if (!isExactProduct<T>(a, b)) raise(PE);
        return product;
      }
      if (product == <T>0 && isPlain<T>(a) && isPlain<T>(b) && (a == <T>0 || b == <T>0)) return product;
    } else if (op == DIV) {
      const quotient = a / b;
      if (isInner<T>(quotient) && isPlain<T>(a) && isPlain<T>(b)) {
        if (!isExactProduct<T>(quotient, b) || quotient * b != a) raise(PE);
        return quotient;
      }
      if (a == <T>0 && quotient == <T>0 && isPlain<T>(b)) return quotient;
    } else if (op == SQRT) {
      const root = sqrt<T>(b);
      if (isInner<T>(root) && isPlain<T>(b)) {
        if (!isExactProduct<T>(root, root) || root * root != b) raise(PE);
        return root;
      }
    }
  }
  return fromBits<T>(arithmetic(op, bitsOf<T>(a), bitsOf<T>(b), precisionOf<T>()));
}

function slow<T>(op: i32, a: T, b: T): T {
  const result = element<T>(op, a, b);
  commit();
  return result;
}

/** Small enough that a sum's error term can be computed. */
function isBelowOverflow<T>(value: T): bool {
  return abs<T>(value) < maxFinite<T>() * <T>0.25;
}

function addFast<T>(a: T, b: T): T {
  const sum = a + b;
  if ((isInner<T>(sum) || sum == <T>0) && isNotDenormal<T>(a) && isNotDenormal<T>(b)) {
    const control = mxcsr();
    if (isSettled(control)) return sum;
    // Programs that count in floating point have exact results only.
    if (isDefault(control) && isBelowOverflow<T>(sum) && isExactSum<T>(a, b, sum)) return sum;
  }
  return slow<T>(ADD, a, b);
}

function subFast<T>(a: T, b: T): T {
  const difference = a - b;
  if ((isInner<T>(difference) || difference == <T>0) && isNotDenormal<T>(a) && isNotDenormal<T>(b)) {
    const control = mxcsr();
    if (isSettled(control)) return difference;
    if (isDefault(control) && isBelowOverflow<T>(difference) && isExactSum<T>(a, -b, difference)) return difference;
  }
  return slow<T>(SUB, a, b);
}

function mulFast<T>(a: T, b: T): T {
  const product = a * b;
  if (isNotDenormal<T>(a) && isNotDenormal<T>(b)) {
    if (isInner<T>(product)) {
      const control = mxcsr();
      if (isSettled(control) || (isDefault(control) && isExactProduct<T>(a, b))) return product;
    } else if (product == <T>0 && (a == <T>0 || b == <T>0)) {
      return product;
    }
  }
  return slow<T>(MUL, a, b);
}

function divFast<T>(a: T, b: T): T {
  const quotient = a / b;
  if (isInner<T>(quotient) && isNotDenormal<T>(a) && isNotDenormal<T>(b)) {
    const control = mxcsr();
    if (isSettled(control) || (isDefault(control) && quotient * b == a && isExactProduct<T>(quotient, b))) return quotient;
  }
  return slow<T>(DIV, a, b);
}

function sqrtFast<T>(a: T): T {
  const root = sqrt<T>(a);
  if (isInner<T>(root) && isNotDenormal<T>(a)) {
    const control = mxcsr();
    if (isSettled(control) || (isDefault(control) && root * root == a && isExactProduct<T>(root, root))) return root;
  }
  return slow<T>(SQRT, a, a);
}

export function sse_add_f32(a: f32, b: f32): f32 {
  return addFast<f32>(a, b);
}

export function sse_add_f64(a: f64, b: f64): f64 {
  return addFast<f64>(a, b);
}

export function sse_sub_f32(a: f32, b: f32): f32 {
  return subFast<f32>(a, b);
}

export function sse_sub_f64(a: f64, b: f64): f64 {
  return subFast<f64>(a, b);
}

export function sse_mul_f32(a: f32, b: f32): f32 {
  return mulFast<f32>(a, b);
}

export function sse_mul_f64(a: f64, b: f64): f64 {
  return mulFast<f64>(a, b);
}

export function sse_div_f32(a: f32, b: f32): f32 {
  return divFast<f32>(a, b);
}

export function sse_div_f64(a: f64, b: f64): f64 {
  return divFast<f64>(a, b);
}

export function sse_sqrt_f32(a: f32): f32 {
  return sqrtFast<f32>(a);
}

export function sse_sqrt_f64(a: f64): f64 {
  return sqrtFast<f64>(a);
}

/** MINSS: b when either is a NaN or both are zeros. */
export function sse_min_f32(a: f32, b: f32): f32 {
  if (isPlain<f32>(a) && isPlain<f32>(b)) return a < b ? a : b;
  return slow<f32>(MIN, a, b);
}

export function sse_min_f64(a: f64, b: f64): f64 {
  if (isPlain<f64>(a) && isPlain<f64>(b)) return a < b ? a : b;
  return slow<f64>(MIN, a, b);
}

export function sse_max_f32(a: f32, b: f32): f32 {
  if (isPlain<f32>(a) && isPlain<f32>(b)) return a > b ? a : b;
  return slow<f32>(MAX, a, b);
}

export function sse_max_f64(a: f64, b: f64): f64 {
  if (isPlain<f64>(a) && isPlain<f64>(b)) return a > b ? a : b;
  return slow<f64>(MAX, a, b);
}

/** For each predicate, a nibble of the relations that satisfy it. */
const PREDICATES: u64 = 0xf4650b9a7ced8312;

/** Predicates 1, 2, 5, 6, 9, 10, 13, 14 signal quiet NaNs; from 16 on the others do. */
export function isSignaling(predicate: i32): bool {
  return (((predicate + 1) & 2) != 0) != ((predicate & 16) != 0);
}

function relate<T>(a: T, b: T, signaling: bool): i32 {
  if (isPlain<T>(a) && isPlain<T>(b)) return a < b ? LESS : a == b ? EQUAL : GREATER;
  const relation = compare(bitsOf<T>(a), bitsOf<T>(b), precisionOf<T>(), signaling, (mxcsr() & MXCSR_DAZ) != 0);
  return relation;
}

/** One element of a comparison by any of the 32 predicates; flags are collected, not committed. */
export function compareElement<T>(a: T, b: T, predicate: i32): bool {
  const relation = relate<T>(a, b, isSignaling(predicate));
  return (<i32>(PREDICATES >> ((<u64>(predicate & 15)) << 2)) & relation) != 0;
}

/** CMPSS: all ones or zero. */
export function sse_cmp_f32(a: f32, b: f32, predicate: i32): i32 {
  const result = compareElement<f32>(a, b, predicate);
  commit();
  return -(<i32>result);
}

/** CMPSD: all ones or zero. */
export function sse_cmp_f64(a: f64, b: f64, predicate: i32): i64 {
  const result = compareElement<f64>(a, b, predicate);
  commit();
  return -(<i64>result);
}

/** ZF, PF, CF at their places in EFLAGS. */
function comparisonFlags(relation: i32): i32 {
  commit();
  if (relation == LESS) return 1;
  if (relation == GREATER) return 0;
  return relation == EQUAL ? 0x40 : 0x45;
}

/** COMISS: EFLAGS bits ZF (6), PF (2), CF (0). */
export function sse_comi_f32(a: f32, b: f32): i32 {
  return comparisonFlags(relate<f32>(a, b, true));
}

export function sse_comi_f64(a: f64, b: f64): i32 {
  return comparisonFlags(relate<f64>(a, b, true));
}

/** UCOMISS: as COMISS, but quiet NaNs raise nothing. */
export function sse_ucomi_f32(a: f32, b: f32): i32 {
  return comparisonFlags(relate<f32>(a, b, false));
}

export function sse_ucomi_f64(a: f64, b: f64): i32 {
  return comparisonFlags(relate<f64>(a, b, false));
}

/** To an integral value by `mode` (as RC); exact operations of the host. */
function integral<T>(a: T, mode: i32): T {
  if (mode == 0) return nearest<T>(a);
  if (mode == 1) return floor<T>(a);
  if (mode == 2) return ceil<T>(a);
  return trunc<T>(a);
}

/** One element of ROUNDPS; `imm`: mode in bits 0-1, MXCSR's with bit 2, no PE with bit 3. */
export function roundElement<T>(a: T, imm: i32): T {
  if (a != a) {
    const bits = bitsOf<T>(a);
    const quiet = (<u64>1) << (precisionOf<T>() - 2);
    if ((bits & quiet) == 0) raise(IE);
    return fromBits<T>(bits | quiet);
  }
  const control = mxcsr();
  if (control & MXCSR_DAZ && !isPlain<T>(a)) return copysign<T>(<T>0, a);
  const result = integral<T>(a, imm & 4 ? (control >> 13) & 3 : imm & 3);
  if (result != a && (imm & 8) == 0) raise(PE);
  // -0 for what rounds to zero from below.
  return copysign<T>(result, a);
}

export function sse_round_f32(a: f32, imm: i32): f32 {
  const result = roundElement<f32>(a, imm);
  commit();
  return result;
}

export function sse_round_f64(a: f64, imm: i32): f64 {
  const result = roundElement<f64>(a, imm);
  commit();
  return result;
}

/** CVTSS2SD of one element, not committed. */
export function widenElement(a: f32): f64 {
  if (isPlain<f32>(a)) return <f64>a;
  return reinterpret<f64>(convert(<u64>reinterpret<u32>(a), 24, 53));
}

/** CVTSD2SS of one element, not committed. */
export function narrowElement(a: f64): f32 {
  if (isDefault(mxcsr())) {
    const result = <f32>a;
    if (isInner<f32>(result) && isPlain<f64>(a)) {
      if (<f64>result != a) raise(PE);
      return result;
    }
  }
  return reinterpret<f32>(<u32>convert(reinterpret<u64>(a), 53, 24));
}

export function sse_f32_to_f64(a: f32): f64 {
  const result = widenElement(a);
  commit();
  return result;
}

export function sse_f64_to_f32(a: f64): f32 {
  const result = narrowElement(a);
  commit();
  return result;
}

/** CVTSI2SS of one element, not committed. */
export function singleOfInteger(value: i64): f32 {
  if (isSettled(mxcsr())) return <f32>value;
  return reinterpret<f32>(<u32>fromInteger(value, 24));
}

export function sse_i64_to_f32(value: i64): f32 {
  const result = singleOfInteger(value);
  commit();
  return result;
}

export function sse_i32_to_f32(value: i32): f32 {
  return sse_i64_to_f32(<i64>value);
}

/** Always exact, for which reason no flag can arise. */
export function sse_i32_to_f64(value: i32): f64 {
  return <f64>value;
}

export function sse_i64_to_f64(value: i64): f64 {
  if (isSettled(mxcsr()) || value == (value << 11) >> 11) return <f64>value;
  const result = reinterpret<f64>(fromInteger(value, 53));
  commit();
  return result;
}

/** One element to a 32-bit integer by `mode`; not committed. Invalid gives 0x80000000. */
export function toInt32<T>(a: T, mode: i32): i32 {
  let value = <f64>a;
  if (!isPlain<T>(a) && (mxcsr() & MXCSR_DAZ) != 0 && a == a) value = 0;
  const result = integral<f64>(value, mode);
  if (!(result >= -2147483648.0 && result <= 2147483647.0)) {
    raise(IE);
    return i32.MIN_VALUE;
  }
  if (result != value) raise(PE);
  return <i32>result;
}

/** One element to a 64-bit integer by `mode`; not committed. Invalid gives 1 << 63. */
function toInt64<T>(a: T, mode: i32): i64 {
  let value = <f64>a;
  if (!isPlain<T>(a) && (mxcsr() & MXCSR_DAZ) != 0 && a == a) value = 0;
  const result = integral<f64>(value, mode);
  if (!(result >= -9223372036854775808.0 && result < 9223372036854775808.0)) {
    raise(IE);
    return i64.MIN_VALUE;
  }
  if (result != value) raise(PE);
  return <i64>result;
}

const TRUNCATE = 3;

export function sse_f32_to_i32(a: f32): i32 {
  const result = toInt32<f32>(a, (mxcsr() >> 13) & 3);
  commit();
  return result;
}

export function sse_f64_to_i32(a: f64): i32 {
  const result = toInt32<f64>(a, (mxcsr() >> 13) & 3);
  commit();
  return result;
}

export function sse_f32_to_i64(a: f32): i64 {
  const result = toInt64<f32>(a, (mxcsr() >> 13) & 3);
  commit();
  return result;
}

export function sse_f64_to_i64(a: f64): i64 {
  const result = toInt64<f64>(a, (mxcsr() >> 13) & 3);
  commit();
  return result;
}

/** CVTTSS2SI r32 */
export function sse_trunc_f32_to_i32(a: f32): i32 {
  if (isSettled(mxcsr()) && abs<f32>(a) < 2147483648.0) return <i32>a;
  const result = toInt32<f32>(a, TRUNCATE);
  commit();
  return result;
}

export function sse_trunc_f64_to_i32(a: f64): i32 {
  if (isSettled(mxcsr()) && abs<f64>(a) < 2147483648.0) return <i32>a;
  const result = toInt32<f64>(a, TRUNCATE);
  commit();
  return result;
}

export function sse_trunc_f32_to_i64(a: f32): i64 {
  if (isSettled(mxcsr()) && abs<f32>(a) < 9223372036854775808.0) return <i64>a;
  const result = toInt64<f32>(a, TRUNCATE);
  commit();
  return result;
}

export function sse_trunc_f64_to_i64(a: f64): i64 {
  if (isSettled(mxcsr()) && abs<f64>(a) < 9223372036854775808.0) return <i64>a;
  const result = toInt64<f64>(a, TRUNCATE);
  commit();
  return result;
}
