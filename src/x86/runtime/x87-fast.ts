/**
 * Shortcuts for what x87 code does most: sums, products and stores of ordinary numbers, rounded to nearest with 64-bit
 * precision. Each gives the same result and flags as its counterpart in softfloat80.ts or convert80.ts, or -1 and nothing
 * done when an operand or the result is not a normal number.
 */
import { umulh } from './integer';
import { BIAS, TOP } from './softfloat80';
import { C1, PE } from './unpacked';

/** RC and PC in the control word, and their values for round to nearest and 64 bits. */
const MODES = 0xf00;
const USUAL_MODES = 0x300;
const RC = 0xc00;
const SIGN = 0x8000;

// @ts-ignore: decorator
@inline
export function hasUsualModes(control: i32): bool {
  return (control & MODES) == USUAL_MODES;
}

/** Exponent fields that leave room for a carry, and the integer bit. */
// @ts-ignore: decorator
@inline
function isOrdinary(field: i32, significand: u64): bool {
  return <u32>(field - 1) < 0x7ffd && <i64>significand < 0;
}

/** Rounds `hi:lo`, normalized, to 64 bits. */
// @ts-ignore: decorator
@inline
function round(dst: i32, sign: i32, field: i32, hi: u64, lo: u64): i32 {
  let flags = 0;
  if (lo != 0) {
    flags = PE;
    if (lo > TOP || (lo == TOP && (hi & 1) != 0)) {
      flags |= C1;
      hi++;
      if (hi == 0) {
        hi = TOP;
        field++;
      }
    }
  }
  if (<u32>(field - 1) >= 0x7ffe) return -1;
  store<u64>(dst, hi);
  store<u16>(dst, sign | field, 8);
  return flags;
}

/** a + b, or a - b when `flip` is SIGN. */
export function fastSum(dst: i32, a: i32, b: i32, flip: i32): i32 {
  const aSign = <i32>load<u16>(a, 8);
  const bSign = <i32>load<u16>(b, 8) ^ flip;
  let big = load<u64>(a);
  let small = load<u64>(b);
  let field = aSign & 0x7fff;
  const other = bSign & 0x7fff;
  if (!isOrdinary(field, big) || !isOrdinary(other, small)) return -1;
  let sign = aSign & SIGN;
  let distance = field - other;
  if (distance < 0 || (distance == 0 && big < small)) {
    const swapped = big;
    big = small;
    small = swapped;
    sign = bSign & SIGN;
    field = other;
    distance = -distance;
  }
  if (distance > 63) return -1;
  let lo: u64 = distance ? small << (64 - distance) : 0;
  small >>= distance;
  let hi: u64;
  if ((aSign ^ bSign) & SIGN) {
    hi = big - small - <u64>(lo != 0);
    lo = 0 - lo;
    if (hi == 0) return -1;
    const shift = <i32>clz<u64>(hi);
    if (shift) {
      hi = (hi << shift) | (lo >> (64 - shift));
      lo <<= shift;
      field -= shift;
    }
  } else {
    hi = big + small;
    if (hi < big) {
      lo = (hi << 63) | (lo >> 1) | (lo & 1);
      hi = (hi >> 1) | TOP;
      field++;
    }
  }
  return round(dst, sign, field, hi, lo);
}

export function fastProduct(dst: i32, a: i32, b: i32): i32 {
  const aSign = <i32>load<u16>(a, 8);
  const bSign = <i32>load<u16>(b, 8);
  const x = load<u64>(a);
  const y = load<u64>(b);
  if (!isOrdinary(aSign & 0x7fff, x) || !isOrdinary(bSign & 0x7fff, y)) return -1;
  let field = (aSign & 0x7fff) + (bSign & 0x7fff) - BIAS + 1;
  let hi = umulh(x, y);
  let lo = x * y;
  if (<i64>hi >= 0) {
    hi = (hi << 1) | (lo >> 63);
    lo <<= 1;
    field--;
  }
  // Underflow, and results that rounding might save from it, are not for here.
  if (field <= 0) return -1;
  return round(dst, (aSign ^ bSign) & SIGN, field, hi, lo);
}

/** FST m64 */
export function fastToF64(dst: i32, a: i32, control: i32): i32 {
  const signed = <i32>load<u16>(a, 8);
  const significand = load<u64>(a);
  const field = (signed & 0x7fff) - BIAS + 1023;
  if (control & RC || <u32>(field - 1) >= 2045 || <i64>significand >= 0) return -1;
  const rest = <i32>significand & 0x7ff;
  let fraction = (significand >> 11) & 0xfffffffffffff;
  let flags = 0;
  if (rest) {
    flags = PE;
    if (rest > 0x400 || (rest == 0x400 && (fraction & 1) != 0)) {
      flags |= C1;
      fraction++;
    }
  }
  // A carry out of the fraction goes into the exponent, as it should.
  store<u64>(dst, ((<u64>(signed & SIGN)) << 48) | (((<u64>field) << 52) + fraction));
  return flags;
}

/** FST m32 */
export function fastToF32(dst: i32, a: i32, control: i32): i32 {
  const signed = <i32>load<u16>(a, 8);
  const significand = load<u64>(a);
  const field = (signed & 0x7fff) - BIAS + 127;
  if (control & RC || <u32>(field - 1) >= 253 || <i64>significand >= 0) return -1;
  const rest = significand & 0xffffffffff;
  let fraction = <u32>(significand >> 40) & 0x7fffff;
  let flags = 0;
  if (rest) {
    flags = PE;
    if (rest > 0x8000000000 || (rest == 0x8000000000 && (fraction & 1) != 0)) {
      flags |= C1;
      fraction++;
    }
  }
  store<u32>(dst, (<u32>(signed & SIGN) << 16) | (((<u32>field) << 23) + fraction));
  return flags;
}
