/**
 * SSE and AVX floating point on 128-bit vectors (256-bit ones are two calls): the operations of softfloat.ts on every
 * element, under the same rules. Only the elements given count for flags.
 */
import { commit, isDefault, isSettled, mxcsr } from './mxcsr';
import { ADD, DIV, halfFromSingle, MAX, MIN, MUL, SQRT, SUB, convert } from './ieee';
import { compareElement, element, isExactProduct, narrowElement, roundElement, singleOfInteger, toInt32, widenElement } from './softfloat';

function plainLanes<T>(a: v128): v128 {
  const least = sizeof<T>() == 8 ? <T>f64.MIN_NORMAL_VALUE : <T>f32.MIN_NORMAL_VALUE;
  return v128.or(v128.ge<T>(v128.abs<T>(a), v128.splat<T>(least)), v128.eq<T>(a, v128.splat<T>(<T>0)));
}

function innerLanes<T>(a: v128): v128 {
  const least = sizeof<T>() == 8 ? <T>f64.MIN_NORMAL_VALUE : <T>f32.MIN_NORMAL_VALUE;
  const most = sizeof<T>() == 8 ? <T>f64.MAX_VALUE : <T>f32.MAX_VALUE;
  const magnitude = v128.abs<T>(a);
  return v128.and(v128.gt<T>(magnitude, v128.splat<T>(least)), v128.le<T>(magnitude, v128.splat<T>(most)));
}

function all<T>(mask: v128): bool {
  return sizeof<T>() == 8 ? i64x2.all_true(mask) : i32x4.all_true(mask);
}

function arePlain<T>(a: v128, b: v128): bool {
  return all<T>(v128.and(plainLanes<T>(a), plainLanes<T>(b)));
}

function zeroLanes<T>(a: v128): v128 {
  return v128.eq<T>(a, v128.splat<T>(<T>0));
}

/** Each element by itself, with operation `even` in even lanes and `odd` in odd ones. */
function elements<T>(even: i32, odd: i32, a: v128, b: v128): v128 {
  let result = v128.splat<T>(element<T>(even, v128.extract_lane<T>(a, 0), v128.extract_lane<T>(b, 0)));
  result = v128.replace_lane<T>(result, 1, element<T>(odd, v128.extract_lane<T>(a, 1), v128.extract_lane<T>(b, 1)));
  if (sizeof<T>() == 4) {
    result = v128.replace_lane<f32>(result, 2, element<f32>(even, v128.extract_lane<f32>(a, 2), v128.extract_lane<f32>(b, 2)));
    result = v128.replace_lane<f32>(result, 3, element<f32>(odd, v128.extract_lane<f32>(a, 3), v128.extract_lane<f32>(b, 3)));
  }
  commit();
  return result;
}

/** Lanes where a + b = sum exactly, by Knuth's two-sum, far from overflow. */
function exactSums<T>(a: v128, b: v128, sum: v128): v128 {
  const virtual = v128.sub<T>(sum, a);
  const error = v128.add<T>(v128.sub<T>(a, v128.sub<T>(sum, virtual)), v128.sub<T>(b, virtual));
  const most = sizeof<T>() == 8 ? <T>f64.MAX_VALUE : <T>f32.MAX_VALUE;
  return v128.and(zeroLanes<T>(error), v128.lt<T>(v128.abs<T>(sum), v128.splat<T>(most * <T>0.25)));
}

function exactProducts<T>(a: v128, b: v128, product: v128): bool {
  if (sizeof<T>() == 8) {
    return (
      isExactProduct<f64>(v128.extract_lane<f64>(a, 0), v128.extract_lane<f64>(b, 0)) &&
      isExactProduct<f64>(v128.extract_lane<f64>(a, 1), v128.extract_lane<f64>(b, 1))
    );
  }
  const low = f64x2.mul(f64x2.promote_low_f32x4(a), f64x2.promote_low_f32x4(b));
  const upperA = f64x2.promote_low_f32x4(v128.shuffle<i64>(a, a, 1, 1));
  const high = f64x2.mul(upperA, f64x2.promote_low_f32x4(v128.shuffle<i64>(b, b, 1, 1)));
  const lowIs = f64x2.eq(low, f64x2.promote_low_f32x4(product));
  return i64x2.all_true(v128.and(lowIs, f64x2.eq(high, f64x2.promote_low_f32x4(v128.shuffle<i64>(product, product, 1, 1)))));
}

function addPacked<T>(a: v128, b: v128): v128 {
  const sum = v128.add<T>(a, b);
  const control = mxcsr();
  if (isDefault(control) && all<T>(v128.or(innerLanes<T>(sum), zeroLanes<T>(sum))) && arePlain<T>(a, b)) {
    if (isSettled(control) || all<T>(exactSums<T>(a, b, sum))) return sum;
  }
  return elements<T>(ADD, ADD, a, b);
}

function subPacked<T>(a: v128, b: v128): v128 {
  const difference = v128.sub<T>(a, b);
  const control = mxcsr();
  if (isDefault(control) && all<T>(v128.or(innerLanes<T>(difference), zeroLanes<T>(difference))) && arePlain<T>(a, b)) {
    if (isSettled(control) || all<T>(exactSums<T>(a, v128.neg<T>(b), difference))) return difference;
  }
  return elements<T>(SUB, SUB, a, b);
}

function mulPacked<T>(a: v128, b: v128): v128 {
  const product = v128.mul<T>(a, b);
  const control = mxcsr();
  if (isDefault(control) && arePlain<T>(a, b)) {
    const zero = v128.and(zeroLanes<T>(product), v128.or(zeroLanes<T>(a), zeroLanes<T>(b)));
    if (all<T>(v128.or(innerLanes<T>(product), zero)) && (isSettled(control) || exactProducts<T>(a, b, product))) return product;
  }
  return elements<T>(MUL, MUL, a, b);
}

function divPacked<T>(a: v128, b: v128): v128 {
  const quotient = v128.div<T>(a, b);
  if (isSettled(mxcsr()) && all<T>(innerLanes<T>(quotient)) && arePlain<T>(a, b)) return quotient;
  return elements<T>(DIV, DIV, a, b);
}

function sqrtPacked<T>(a: v128): v128 {
  const root = v128.sqrt<T>(a);
  if (isSettled(mxcsr()) && all<T>(v128.or(innerLanes<T>(root), zeroLanes<T>(root))) && arePlain<T>(a, a)) return root;
  return elements<T>(SQRT, SQRT, a, a);
}

export function sse_add_f32x4(a: v128, b: v128): v128 {
  return addPacked<f32>(a, b);
}

export function sse_add_f64x2(a: v128, b: v128): v128 {
  return addPacked<f64>(a, b);
}

export function sse_sub_f32x4(a: v128, b: v128): v128 {
  return subPacked<f32>(a, b);
}

export function sse_sub_f64x2(a: v128, b: v128): v128 {
  return subPacked<f64>(a, b);
}

export function sse_mul_f32x4(a: v128, b: v128): v128 {
  return mulPacked<f32>(a, b);
}

export function sse_mul_f64x2(a: v128, b: v128): v128 {
  return mulPacked<f64>(a, b);
}

export function sse_div_f32x4(a: v128, b: v128): v128 {
  return divPacked<f32>(a, b);
}

export function sse_div_f64x2(a: v128, b: v128): v128 {
  return divPacked<f64>(a, b);
}

export function sse_sqrt_f32x4(a: v128): v128 {
  return sqrtPacked<f32>(a);
}

export function sse_sqrt_f64x2(a: v128): v128 {
  return sqrtPacked<f64>(a);
}

export function sse_min_f32x4(a: v128, b: v128): v128 {
  if (arePlain<f32>(a, b)) return f32x4.pmin(b, a);
  return elements<f32>(MIN, MIN, a, b);
}

export function sse_min_f64x2(a: v128, b: v128): v128 {
  if (arePlain<f64>(a, b)) return f64x2.pmin(b, a);
  return elements<f64>(MIN, MIN, a, b);
}

export function sse_max_f32x4(a: v128, b: v128): v128 {
  if (arePlain<f32>(a, b)) return f32x4.pmax(b, a);
  return elements<f32>(MAX, MAX, a, b);
}

export function sse_max_f64x2(a: v128, b: v128): v128 {
  if (arePlain<f64>(a, b)) return f64x2.pmax(b, a);
  return elements<f64>(MAX, MAX, a, b);
}

/** ADDSUBPS: subtracts in even lanes, adds in odd ones. */
export function sse_addsub_f32x4(a: v128, b: v128): v128 {
  return elements<f32>(SUB, ADD, a, b);
}

export function sse_addsub_f64x2(a: v128, b: v128): v128 {
  return elements<f64>(SUB, ADD, a, b);
}

export function sse_hadd_f32x4(a: v128, b: v128): v128 {
  return sse_add_f32x4(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7));
}

export function sse_hadd_f64x2(a: v128, b: v128): v128 {
  return sse_add_f64x2(v128.shuffle<i64>(a, b, 0, 2), v128.shuffle<i64>(a, b, 1, 3));
}

export function sse_hsub_f32x4(a: v128, b: v128): v128 {
  return sse_sub_f32x4(v128.shuffle<i32>(a, b, 0, 2, 4, 6), v128.shuffle<i32>(a, b, 1, 3, 5, 7));
}

export function sse_hsub_f64x2(a: v128, b: v128): v128 {
  return sse_sub_f64x2(v128.shuffle<i64>(a, b, 0, 2), v128.shuffle<i64>(a, b, 1, 3));
}

/** Lanes of 32 bits whose bit in the low four of `bits` is set. */
/** CMPPS by any of the 32 predicates. */
export function sse_cmp_f32x4(a: v128, b: v128, predicate: i32): v128 {
  const result = i32x4(-(<i32>compareElement<f32>(v128.extract_lane<f32>(a, 0), v128.extract_lane<f32>(b, 0), predicate)), 0, 0, 0);
  const r1 = i32x4.replace_lane(
    result,
    1,
    -(<i32>compareElement<f32>(v128.extract_lane<f32>(a, 1), v128.extract_lane<f32>(b, 1), predicate)),
  );
  const r2 = i32x4.replace_lane(r1, 2, -(<i32>compareElement<f32>(v128.extract_lane<f32>(a, 2), v128.extract_lane<f32>(b, 2), predicate)));
  const r3 = i32x4.replace_lane(r2, 3, -(<i32>compareElement<f32>(v128.extract_lane<f32>(a, 3), v128.extract_lane<f32>(b, 3), predicate)));
  commit();
  return r3;
}

/** CMPPD by any of the 32 predicates. */
export function sse_cmp_f64x2(a: v128, b: v128, predicate: i32): v128 {
  const low = -(<i64>compareElement<f64>(v128.extract_lane<f64>(a, 0), v128.extract_lane<f64>(b, 0), predicate));
  const high = -(<i64>compareElement<f64>(v128.extract_lane<f64>(a, 1), v128.extract_lane<f64>(b, 1), predicate));
  commit();
  return i64x2.replace_lane(i64x2.splat(low), 1, high);
}

/** ROUNDPS */
export function sse_round_f32x4(a: v128, imm: i32): v128 {
  let result = v128.splat<f32>(roundElement<f32>(v128.extract_lane<f32>(a, 0), imm));
  result = v128.replace_lane<f32>(result, 1, roundElement<f32>(v128.extract_lane<f32>(a, 1), imm));
  result = v128.replace_lane<f32>(result, 2, roundElement<f32>(v128.extract_lane<f32>(a, 2), imm));
  result = v128.replace_lane<f32>(result, 3, roundElement<f32>(v128.extract_lane<f32>(a, 3), imm));
  commit();
  return result;
}

/** ROUNDPD */
export function sse_round_f64x2(a: v128, imm: i32): v128 {
  let result = v128.splat<f64>(roundElement<f64>(v128.extract_lane<f64>(a, 0), imm));
  result = v128.replace_lane<f64>(result, 1, roundElement<f64>(v128.extract_lane<f64>(a, 1), imm));
  commit();
  return result;
}

/** CVTPS2PD of the two low elements. */
export function sse_f32x2_to_f64x2(a: v128): v128 {
  const low = widenElement(v128.extract_lane<f32>(a, 0));
  const high = widenElement(v128.extract_lane<f32>(a, 1));
  commit();
  return v128.replace_lane<f64>(v128.splat<f64>(low), 1, high);
}

/** CVTPD2PS: two elements at the low end, zeros above. */
export function sse_f64x2_to_f32x2(a: v128): v128 {
  const low = narrowElement(v128.extract_lane<f64>(a, 0));
  const high = narrowElement(v128.extract_lane<f64>(a, 1));
  commit();
  return v128.replace_lane<f32>(v128.replace_lane<f32>(i64x2.splat(0), 0, low), 1, high);
}

/** CVTDQ2PS */
export function sse_i32x4_to_f32x4(a: v128): v128 {
  if (isSettled(mxcsr())) return f32x4.convert_i32x4_s(a);
  let result = v128.splat<f32>(singleOfInteger(<i64>i32x4.extract_lane(a, 0)));
  result = v128.replace_lane<f32>(result, 1, singleOfInteger(<i64>i32x4.extract_lane(a, 1)));
  result = v128.replace_lane<f32>(result, 2, singleOfInteger(<i64>i32x4.extract_lane(a, 2)));
  result = v128.replace_lane<f32>(result, 3, singleOfInteger(<i64>i32x4.extract_lane(a, 3)));
  commit();
  return result;
}

/** CVTDQ2PD of the two low elements; always exact. */
export function sse_i32x2_to_f64x2(a: v128): v128 {
  return f64x2.convert_low_i32x4_s(a);
}

function singlesToIntegers(a: v128, mode: i32): v128 {
  let result = i32x4.splat(toInt32<f32>(v128.extract_lane<f32>(a, 0), mode));
  result = i32x4.replace_lane(result, 1, toInt32<f32>(v128.extract_lane<f32>(a, 1), mode));
  result = i32x4.replace_lane(result, 2, toInt32<f32>(v128.extract_lane<f32>(a, 2), mode));
  result = i32x4.replace_lane(result, 3, toInt32<f32>(v128.extract_lane<f32>(a, 3), mode));
  commit();
  return result;
}

function doublesToIntegers(a: v128, mode: i32): v128 {
  const low = toInt32<f64>(v128.extract_lane<f64>(a, 0), mode);
  const high = toInt32<f64>(v128.extract_lane<f64>(a, 1), mode);
  commit();
  return i32x4.replace_lane(i32x4.replace_lane(i64x2.splat(0), 0, low), 1, high);
}

/** CVTPS2DQ */
export function sse_f32x4_to_i32x4(a: v128): v128 {
  return singlesToIntegers(a, (mxcsr() >> 13) & 3);
}

/** CVTTPS2DQ */
export function sse_trunc_f32x4_to_i32x4(a: v128): v128 {
  const inRange = f32x4.lt(f32x4.abs(a), f32x4.splat(2147483648.0));
  if (isSettled(mxcsr()) && i32x4.all_true(inRange)) return i32x4.trunc_sat_f32x4_s(a);
  return singlesToIntegers(a, 3);
}

/** CVTPS2PI of the two low elements, zeros above. */
export function sse_f32x2_to_i32x2(a: v128, truncate: i32): v128 {
  const mode = truncate ? 3 : (mxcsr() >> 13) & 3;
  const low = toInt32<f32>(v128.extract_lane<f32>(a, 0), mode);
  const high = toInt32<f32>(v128.extract_lane<f32>(a, 1), mode);
  commit();
  return i32x4.replace_lane(i32x4.replace_lane(i64x2.splat(0), 0, low), 1, high);
}

/** CVTPI2PS: two elements at the low end, zeros above. */
export function sse_i32x2_to_f32x2(a: v128): v128 {
  const low = singleOfInteger(<i64>i32x4.extract_lane(a, 0));
  const high = singleOfInteger(<i64>i32x4.extract_lane(a, 1));
  commit();
  return v128.replace_lane<f32>(v128.replace_lane<f32>(i64x2.splat(0), 0, low), 1, high);
}

/** CVTPD2DQ: two elements at the low end, zeros above. */
export function sse_f64x2_to_i32x2(a: v128): v128 {
  return doublesToIntegers(a, (mxcsr() >> 13) & 3);
}

/** CVTTPD2DQ: two elements at the low end, zeros above. */
export function sse_trunc_f64x2_to_i32x2(a: v128): v128 {
  return doublesToIntegers(a, 3);
}

/** VCVTPH2PS of the four low halves. */
export function sse_f16x4_to_f32x4(a: v128): v128 {
  let result = i32x4.splat(<i32>convert(<u64>i16x8.extract_lane_u(a, 0), 11, 24));
  result = i32x4.replace_lane(result, 1, <i32>convert(<u64>i16x8.extract_lane_u(a, 1), 11, 24));
  result = i32x4.replace_lane(result, 2, <i32>convert(<u64>i16x8.extract_lane_u(a, 2), 11, 24));
  result = i32x4.replace_lane(result, 3, <i32>convert(<u64>i16x8.extract_lane_u(a, 3), 11, 24));
  commit();
  return result;
}

/** VCVTPS2PH: four halves at the low end, zeros above; `imm` bits 0-1 are RC, bit 2 takes MXCSR's. */
export function sse_f32x4_to_f16x4(a: v128, imm: i32): v128 {
  let result = i64x2.splat(0);
  result = i16x8.replace_lane(result, 0, <i16>halfFromSingle(i32x4.extract_lane(a, 0), imm));
  result = i16x8.replace_lane(result, 1, <i16>halfFromSingle(i32x4.extract_lane(a, 1), imm));
  result = i16x8.replace_lane(result, 2, <i16>halfFromSingle(i32x4.extract_lane(a, 2), imm));
  result = i16x8.replace_lane(result, 3, <i16>halfFromSingle(i32x4.extract_lane(a, 3), imm));
  commit();
  return result;
}
