/** x87 loads, stores and constants: conversions of 80-bit reals. Calling scheme as in softfloat80.ts. */
import { C1, DE, IE, OE, rExp, rHi, roundTo, rSign, setResult, UE } from './unpacked';
import {
  aClass,
  aExp,
  aSig,
  aSign,
  BIAS,
  f80_from_i64,
  INFINITY,
  integerOf,
  invalid,
  put,
  putInfinity,
  putZero,
  QNAN,
  rounding,
  SNAN,
  TOP,
  unpackA,
  UNSUPPORTED,
  ZERO,
} from './softfloat80';

const TRUNCATE = 3;

/** FLD m32 and 32-bit memory operands of arithmetic: `bits` is the binary32 value. */
export function f80_from_f32(dst: i32, bits: u32, control: i32): i32 {
  const sign = <i32>(bits >> 31);
  const field = <i32>((bits >> 23) & 0xff);
  const fraction = (<u64>(bits & 0x7fffff)) << 40;
  if (field == 0xff) {
    if (fraction == 0) {
      putInfinity(dst, sign);
      return 0;
    }
    const flags = fraction >> 62 ? 0 : IE;
    if ((flags & ~control) == 0) put(dst, sign, 0x7fff, fraction | 0xc000000000000000);
    return flags;
  }
  if (field != 0) {
    put(dst, sign, field - 127 + BIAS, fraction | TOP);
    return 0;
  }
  if (fraction == 0) {
    putZero(dst, sign);
    return 0;
  }
  if (control & DE) {
    const shift = <i32>clz<u64>(fraction);
    put(dst, sign, -126 + BIAS - shift, fraction << shift);
  }
  return DE;
}

/** FLD m64 and 64-bit memory operands of arithmetic: `bits` is the binary64 value. */
export function f80_from_f64(dst: i32, bits: u64, control: i32): i32 {
  const sign = <i32>(bits >> 63);
  const field = <i32>((bits >> 52) & 0x7ff);
  const fraction = (bits & 0xfffffffffffff) << 11;
  if (field == 0x7ff) {
    if (fraction == 0) {
      putInfinity(dst, sign);
      return 0;
    }
    const flags = fraction >> 62 ? 0 : IE;
    if ((flags & ~control) == 0) put(dst, sign, 0x7fff, fraction | 0xc000000000000000);
    return flags;
  }
  if (field != 0) {
    put(dst, sign, field - 1023 + BIAS, fraction | TOP);
    return 0;
  }
  if (fraction == 0) {
    putZero(dst, sign);
    return 0;
  }
  if (control & DE) {
    const shift = <i32>clz<u64>(fraction);
    put(dst, sign, -1022 + BIAS - shift, fraction << shift);
  }
  return DE;
}

/**
 * The operand as a smaller binary format, right-aligned in `narrowed`. Returns the flags; nothing is to be stored when
 * IE, OE or UE is raised and unmasked.
 */
let narrowed: u64 = 0;
function narrow(precision: i32, bias: i32, control: i32): i32 {
  const fractionBits = precision - 1;
  const ones = <u64>(2 * bias + 1);
  narrowed = (<u64>aSign) << (fractionBits + (precision == 24 ? 8 : 11));
  if (aClass == ZERO) return 0;
  if (aClass == INFINITY) {
    narrowed |= ones << fractionBits;
    return 0;
  }
  if (aClass == UNSUPPORTED) {
    narrowed = precision == 24 ? 0xffc00000 : 0xfff8000000000000;
    return IE;
  }
  if (aClass >= QNAN) {
    narrowed |= (ones << fractionBits) | (((aSig | 0x4000000000000000) << 1) >> (65 - precision));
    return aClass == SNAN ? IE : 0;
  }
  setResult(aSign, aExp, aSig, 0);
  const flags = roundTo(precision, 1 - bias, bias, rounding(control), control);
  // Nothing is stored, so nothing was rounded.
  if (flags & ~control & (OE | UE)) return flags & (OE | UE);
  const kept = rHi >> (64 - precision);
  const isSubnormal = kept >> fractionBits == 0;
  narrowed |= (isSubnormal ? 0 : (<u64>(rExp + bias)) << fractionBits) | (kept & (((<u64>1) << fractionBits) - 1));
  return flags;
}

/** FST m32 */
export function f80_to_f32(dst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  const flags = narrow(24, 127, control);
  if ((flags & ~control & (IE | OE | UE)) == 0) store<u32>(dst, <u32>narrowed);
  return flags;
}

/** FST m64 */
export function f80_to_f64(dst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  const flags = narrow(53, 1023, control);
  if ((flags & ~control & (IE | OE | UE)) == 0) store<u64>(dst, narrowed);
  return flags;
}

/** Integer value of the operand if it is in [-limit, limit - 1]; else IE. The value is left in `integer`. */
let integer: i64 = 0;
function toInteger(a: i32, mode: i32, limit: u64): i32 {
  unpackA(a);
  if (aClass >= INFINITY) return IE;
  const flags = integerOf(mode);
  if (flags < 0) return IE;
  if (rHi > limit || (rHi == limit && rSign == 0)) return IE;
  integer = rSign ? <i64>(0 - rHi) : <i64>rHi;
  return flags;
}

function storeI16(dst: i32, a: i32, mode: i32, control: i32): i32 {
  const flags = toInteger(a, mode, 0x8000);
  if ((flags & IE) == 0) store<u16>(dst, <u16>integer);
  else if (control & IE) store<u16>(dst, 0x8000);
  return flags;
}

function storeI32(dst: i32, a: i32, mode: i32, control: i32): i32 {
  const flags = toInteger(a, mode, 0x80000000);
  if ((flags & IE) == 0) store<u32>(dst, <u32>integer);
  else if (control & IE) store<u32>(dst, 0x80000000);
  return flags;
}

function storeI64(dst: i32, a: i32, mode: i32, control: i32): i32 {
  const flags = toInteger(a, mode, TOP);
  if ((flags & IE) == 0) store<u64>(dst, <u64>integer);
  else if (control & IE) store<u64>(dst, TOP);
  return flags;
}

/** FIST m16 */
export function f80_to_i16(dst: i32, a: i32, control: i32): i32 {
  return storeI16(dst, a, rounding(control), control);
}

/** FIST m32 */
export function f80_to_i32(dst: i32, a: i32, control: i32): i32 {
  return storeI32(dst, a, rounding(control), control);
}

/** FISTP m64 */
export function f80_to_i64(dst: i32, a: i32, control: i32): i32 {
  return storeI64(dst, a, rounding(control), control);
}

/** FISTTP m16 */
export function f80_trunc_i16(dst: i32, a: i32, control: i32): i32 {
  return storeI16(dst, a, TRUNCATE, control);
}

/** FISTTP m32 */
export function f80_trunc_i32(dst: i32, a: i32, control: i32): i32 {
  return storeI32(dst, a, TRUNCATE, control);
}

/** FISTTP m64 */
export function f80_trunc_i64(dst: i32, a: i32, control: i32): i32 {
  return storeI64(dst, a, TRUNCATE, control);
}

/** FBLD of the 10 bytes at `src`; digits above 9 are undefined and taken as they come. */
export function f80_from_bcd(dst: i32, src: i32): void {
  let value: i64 = 0;
  for (let i = 8; i >= 0; i--) {
    const byte = <i64>load<u8>(src + i);
    value = value * 100 + (byte >> 4) * 10 + (byte & 15);
  }
  const sign = load<u8>(src, 9) >> 7;
  f80_from_i64(dst, value);
  if (sign) store<u8>(dst, load<u8>(dst, 9) | 0x80, 9);
}

/** FBSTP: 18 digits and a sign to the 10 bytes at `dst`. */
export function f80_to_bcd(dst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  let flags = aClass >= INFINITY ? IE : integerOf(rounding(control));
  if (flags < 0 || ((flags & IE) == 0 && rHi > 999999999999999999)) flags = IE;
  if (flags & IE) {
    if (control & IE) {
      store<u64>(dst, 0xc000000000000000);
      store<u16>(dst, 0xffff, 8);
    }
    return IE;
  }
  let rest = rHi;
  for (let i = 0; i < 9; i++) {
    const pair = <i32>(rest % 100);
    rest /= 100;
    store<u8>(dst + i, ((pair / 10) << 4) | (pair % 10));
  }
  store<u8>(dst, aSign << 7, 9);
  return flags;
}

/**
 * FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ for `index` 0 to 6 (the low bits of the opcode): rounded by RC from
 * 66 bits, of which the last two say how far the nearest value lies.
 */
export function f80_constant(dst: i32, index: i32, control: i32): void {
  const mode = rounding(control);
  const up = mode == 2;
  const down = mode == 1 || mode == 3;
  if (index == 0) put(dst, 0, BIAS, TOP);
  else if (index == 1) put(dst, 0, BIAS + 1, up ? 0xd49a784bcd1b8aff : 0xd49a784bcd1b8afe);
  else if (index == 2) put(dst, 0, BIAS, down ? 0xb8aa3b295c17f0bb : 0xb8aa3b295c17f0bc);
  else if (index == 3) put(dst, 0, BIAS + 1, down ? 0xc90fdaa22168c234 : 0xc90fdaa22168c235);
  else if (index == 4) put(dst, 0, BIAS - 2, down ? 0x9a209a84fbcff798 : 0x9a209a84fbcff799);
  else if (index == 5) put(dst, 0, BIAS - 1, down ? 0xb17217f7d1cf79ab : 0xb17217f7d1cf79ac);
  else putZero(dst, 0);
}
