/**
 * FMA, under the rules of softfloat.ts. The common case is done with the host's operations: the product and its rounding
 * error, a sum and its error, the errors added with rounding to odd, and one last rounding (S. Boldo, G. Melquiond,
 * "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Transactions on Computers 57, 2008).
 */
import { bitsOf, fromBits, fusedMultiplyAdd } from './ieee';
import { commit, isSettled, mxcsr } from './mxcsr';
import { isInner, isNotDenormal } from './softfloat';

const FRACTION: u64 = 0xfffffffffffff;
const IMPLICIT: u64 = 0x10000000000000;

/** A magnitude from 2^-440 to 2^441, so that neither a product nor its rounding error leaves the range. */
// @ts-ignore: decorator
@inline
function isFactor(bits: u64): bool {
  return (bits << 1) - ((<u64>583) << 53) < (<u64>881) << 53;
}

/** A magnitude from 2^-880 to 2^1000. */
// @ts-ignore: decorator
@inline
function isAddend(bits: u64): bool {
  return (bits << 1) - ((<u64>143) << 53) < (<u64>1880) << 53;
}

/** a + b where `error` is what rounding took off, to odd: the last bit is set when the result is not exact. */
// @ts-ignore: decorator
@inline
function toOdd(sum: f64, error: f64): f64 {
  const bits = reinterpret<u64>(sum);
  const inexact = <u64>(error != 0);
  const beyond = (bits ^ reinterpret<u64>(error)) >> 63;
  return reinterpret<f64>((bits - (beyond & inexact)) | inexact);
}

/** Knuth's two-sum: the rounding error of sum = a + b. */
// @ts-ignore: decorator
@inline
function errorOfSum(a: f64, b: f64, sum: f64): f64 {
  const virtual = sum - a;
  return a - (sum - virtual) + (b - virtual);
}

/** x * y + z rounded to nearest; for factors and an addend as above. */
// @ts-ignore: decorator
@inline
function fuse(x: u64, y: u64, z: f64): f64 {
  const product = reinterpret<f64>(x) * reinterpret<f64>(y);
  const bits = reinterpret<u64>(product);
  // Significands multiply to 106 bits, and the error has no more than 53 of them: the low 64 tell it. Only the low
  // six bits of the shift count, so that signs above exponents do not disturb.
  const shift = (bits >> 52) - (x >> 52) - (y >> 52) + 1075;
  const error = ((x & FRACTION) | IMPLICIT) * ((y & FRACTION) | IMPLICIT) - (((bits & FRACTION) | IMPLICIT) << shift);
  const unit = (x & ~FRACTION) + (y & ~FRACTION) - ((<u64>1127) << 52);
  const low = <f64>(<i64>error) * reinterpret<f64>(unit);
  const sum = product + z;
  const rest = errorOfSum(product, z, sum);
  const tail = rest + low;
  const result = sum + tail;
  // Only where the last sum lies in the middle between two numbers does it matter what the one before has lost.
  const off = tail - (result - sum);
  if (reinterpret<u64>(off) << 12 != 0 || off == 0) return result;
  return sum + toOdd(tail, errorOfSum(rest, low, tail));
}

/** What rounds to x * y + z: the product is exact in f64, and the sum has enough more digits than f32 to be rounded again. */
// @ts-ignore: decorator
@inline
function fuseSingle(x: f32, y: f32, z: f32): f64 {
  const product = <f64>x * <f64>y;
  const sum = product + <f64>z;
  // In the middle between two numbers of f32, what the sum has lost decides.
  if ((reinterpret<u64>(sum) & 0x1fffffff) != 0x10000000) return sum;
  return toOdd(sum, errorOfSum(product, <f64>z, sum));
}

/**
 * One element of x * y + z, not committed. `flip` bit 0 negates the product, bit 1 the addend. Of several NaNs the first
 * in the order x, y, z is the result.
 */
// @ts-ignore: decorator
@inline
export function fmaElement<T>(x: T, y: T, z: T, flip: i32): T {
  if (isSettled(mxcsr())) {
    const sign = sizeof<T>() * 8 - 1;
    const a = fromBits<T>(bitsOf<T>(x) ^ ((<u64>(flip & 1)) << sign));
    const c = fromBits<T>(bitsOf<T>(z) ^ ((<u64>(flip >> 1)) << sign));
    if (sizeof<T>() == 4) {
      const whole = fuseSingle(<f32>a, <f32>y, <f32>c);
      const result = <f32>whole;
      if ((isInner<f32>(result) || whole == 0) && isNotDenormal<T>(x) && isNotDenormal<T>(y) && isNotDenormal<T>(z)) return <T>result;
    } else if (isFactor(bitsOf<T>(a)) && isFactor(bitsOf<T>(y)) && isAddend(bitsOf<T>(c))) {
      const result = fuse(bitsOf<T>(a), bitsOf<T>(y), <f64>c);
      if (isInner<f64>(result) || result == 0) return <T>result;
    } else if ((x == <T>0 || y == <T>0 || z == <T>0) && isNotDenormal<T>(x) && isNotDenormal<T>(y) && isNotDenormal<T>(z)) {
      // Only one of the two operations can round.
      const result = a * y + c;
      if (isInner<T>(result) || (result == <T>0 && (x == <T>0 || y == <T>0))) return result;
    }
  }
  return fromBits<T>(fusedMultiplyAdd(bitsOf<T>(x), bitsOf<T>(y), bitsOf<T>(z), flip, sizeof<T>() == 8 ? 53 : 24));
}

export function sse_fma_f32(x: f32, y: f32, z: f32, flip: i32): f32 {
  const result = fmaElement<f32>(x, y, z, flip);
  commit();
  return result;
}

export function sse_fma_f64(x: f64, y: f64, z: f64, flip: i32): f64 {
  const result = fmaElement<f64>(x, y, z, flip);
  commit();
  return result;
}

/** Packed `sse_fma_f32`. */
export function sse_fma_f32x4(x: v128, y: v128, z: v128, flip: i32): v128 {
  return multiplyAdd<f32>(x, y, z, flip, flip);
}

/** Packed `sse_fma_f64`. */
export function sse_fma_f64x2(x: v128, y: v128, z: v128, flip: i32): v128 {
  return multiplyAdd<f64>(x, y, z, flip, flip);
}

/** VFMADDSUB and VFMSUBADD: `flip` for even lanes, `flipOdd` for odd ones. */
export function sse_fma_alternating_f32x4(x: v128, y: v128, z: v128, flip: i32, flipOdd: i32): v128 {
  return multiplyAdd<f32>(x, y, z, flip, flipOdd);
}

export function sse_fma_alternating_f64x2(x: v128, y: v128, z: v128, flip: i32, flipOdd: i32): v128 {
  return multiplyAdd<f64>(x, y, z, flip, flipOdd);
}

function multiplyAdd<T>(x: v128, y: v128, z: v128, even: i32, odd: i32): v128 {
  const r0 = fmaElement<T>(v128.extract_lane<T>(x, 0), v128.extract_lane<T>(y, 0), v128.extract_lane<T>(z, 0), even);
  const r1 = fmaElement<T>(v128.extract_lane<T>(x, 1), v128.extract_lane<T>(y, 1), v128.extract_lane<T>(z, 1), odd);
  let result = v128.replace_lane<T>(v128.splat<T>(r0), 1, r1);
  if (sizeof<T>() == 4) {
    const r2 = fmaElement<f32>(v128.extract_lane<f32>(x, 2), v128.extract_lane<f32>(y, 2), v128.extract_lane<f32>(z, 2), even);
    const r3 = fmaElement<f32>(v128.extract_lane<f32>(x, 3), v128.extract_lane<f32>(y, 3), v128.extract_lane<f32>(z, 3), odd);
    result = v128.replace_lane<f32>(v128.replace_lane<f32>(result, 2, r2), 3, r3);
  }
  commit();
  return result;
}
