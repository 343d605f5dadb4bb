/**
 * SSE arithmetic on one element by integer operations only: exact in every mode, with flags. `T` is f32 or f64. Flags are
 * collected by `raise`; NaN and masked responses are those of SDM vol. 1, 4.8.3.5 and 11.5.
 */
import { add, DE, divide, FLUSH, IE, multiply, rExp, rHi, rLo, roundTo, rSign, setResult, squareRoot, UE, ZE } from './unpacked';
import { MXCSR_DAZ, MXCSR_FTZ, mxcsr, raise } from './mxcsr';

export const ADD = 0;
export const SUB = 1;
export const MUL = 2;
export const DIV = 3;
export const MIN = 4;
export const MAX = 5;
/** Of the second operand. */
export const SQRT = 6;

const ZERO = 0;
const NORMAL = 1;
const SUBNORMAL = 2;
const INFINITY = 3;
const QNAN = 4;
const SNAN = 5;

/* What `unpack` found. */
let uSign: i32 = 0;
let uExp: i32 = 0;
let uSig: u64 = 0;

export function bitsOf<T>(value: T): u64 {
  if (sizeof<T>() == 8) return reinterpret<u64>(<f64>value);
  return <u64>reinterpret<u32>(<f32>value);
}

export function fromBits<T>(bits: u64): T {
  if (sizeof<T>() == 8) return <T>reinterpret<f64>(bits);
  return <T>reinterpret<f32>(<u32>bits);
}

/** Digits of the significand, and thereby the format: 11 (f16), 24 (f32) or 53 (f64). */
function biasOf(precision: i32): i32 {
  return precision == 53 ? 1023 : precision == 24 ? 127 : 15;
}

function signBit(precision: i32): i32 {
  return precision == 53 ? 63 : precision == 24 ? 31 : 15;
}

function infinityBits(precision: i32): u64 {
  return precision == 53 ? 0x7ff0000000000000 : precision == 24 ? 0x7f800000 : 0x7c00;
}

function quietBit(precision: i32): u64 {
  return (<u64>1) << (precision - 2);
}

/** Negative and quiet: what invalid operations give. */
export function defaultNan(precision: i32): u64 {
  return precision == 53 ? 0xfff8000000000000 : precision == 24 ? 0xffc00000 : 0xfe00;
}

/** Class of the operand; its parts go to `uSign`, `uExp`, `uSig` (bit 63 set unless zero). */
function unpack(bits: u64, precision: i32, zeroDenormals: bool): i32 {
  const bias = biasOf(precision);
  const fractionBits = precision - 1;
  const field = <i32>(bits >> fractionBits) & (2 * bias + 1);
  const fraction = bits << (64 - fractionBits);
  uSign = <i32>(bits >> signBit(precision)) & 1;
  uExp = field - bias;
  uSig = (fraction >> 1) | 0x8000000000000000;
  if (field == 2 * bias + 1) {
    if (fraction == 0) return INFINITY;
    return fraction >> 63 ? QNAN : SNAN;
  }
  if (field != 0) return NORMAL;
  if (fraction == 0 || zeroDenormals) return ZERO;
  const shift = <i32>clz<u64>(fraction);
  uSig = fraction << shift;
  uExp = -bias - shift;
  return SUBNORMAL;
}

/** Rounds the unpacked result to the format and returns its bits. */
function pack(precision: i32, mode: i32, masks: i32): u64 {
  const bias = biasOf(precision);
  const sign = (<u64>rSign) << signBit(precision);
  if (rHi == 0) return sign;
  raise(roundTo(precision, 1 - bias, bias, mode, masks));
  // rSign does not change in rounding.
  if (rHi == 0) return sign;
  const kept = rHi >> (64 - precision);
  const fraction = kept & (((<u64>1) << (precision - 1)) - 1);
  const field = rHi >> 63 == 0 ? 0 : <u64>(rExp + bias);
  return sign | (field << (precision - 1)) | fraction;
}

function packByControl(precision: i32, control: i32): u64 {
  let masks = (control >> 7) & 0x3f;
  if ((control & MXCSR_FTZ) != 0 && (masks & UE) != 0) masks |= FLUSH;
  return pack(precision, (control >> 13) & 3, masks);
}

/** What `a op b` gives, bits to bits. */
export function arithmetic(op: i32, a: u64, b: u64, precision: i32): u64 {
  const control = mxcsr();
  const daz = (control & MXCSR_DAZ) != 0;
  if (op >= MIN) return op == SQRT ? root(b, precision, control) : extremum(op, a, b, precision, daz);
  const aClass = unpack(a, precision, daz);
  const aSign = uSign;
  const aExp = uExp;
  const aSig = uSig;
  const bClass = unpack(b, precision, daz);
  let bSign = uSign;
  const bExp = uExp;
  const bSig = uSig;
  const signShift = signBit(precision);
  if (aClass >= QNAN || bClass >= QNAN) {
    if (aClass == SNAN || bClass == SNAN) raise(IE);
    return (aClass >= QNAN ? a : b) | quietBit(precision);
  }
  const denormal = aClass == SUBNORMAL || bClass == SUBNORMAL ? DE : 0;
  const infinity = infinityBits(precision);
  if (op <= SUB) {
    bSign ^= op;
    if (aClass == INFINITY || bClass == INFINITY) {
      if (aClass == bClass && aSign != bSign) {
        raise(IE);
        return defaultNan(precision);
      }
      raise(denormal);
      return infinity | ((<u64>(aClass == INFINITY ? aSign : bSign)) << signShift);
    }
    raise(denormal);
    const zeroSign = <i32>(((control >> 13) & 3) == 1);
    if (aClass == ZERO) {
      if (bClass == ZERO) return (<u64>(aSign == bSign ? aSign : zeroSign)) << signShift;
      setResult(bSign, bExp, bSig, 0);
    } else if (bClass == ZERO) {
      setResult(aSign, aExp, aSig, 0);
    } else {
      add(aSign, aExp, aSig, 0, bSign, bExp, bSig, 0);
      if (rHi == 0) return (<u64>zeroSign) << signShift;
    }
    return packByControl(precision, control);
  }
  const sign = (<u64>(aSign ^ bSign)) << signShift;
  if (op == MUL) {
    if ((aClass == INFINITY && bClass == ZERO) || (aClass == ZERO && bClass == INFINITY)) {
      raise(IE);
      return defaultNan(precision);
    }
    raise(denormal);
    if (aClass == INFINITY || bClass == INFINITY) return sign | infinity;
    if (aClass == ZERO || bClass == ZERO) return sign;
    multiply(aSign, aExp, aSig, bSign, bExp, bSig);
    return packByControl(precision, control);
  }
  if (aClass == bClass && (aClass == INFINITY || aClass == ZERO)) {
    raise(IE);
    return defaultNan(precision);
  }
  if (bClass == ZERO && aClass != INFINITY) {
    raise(ZE);
    return sign | infinity;
  }
  raise(denormal);
  if (aClass == INFINITY) return sign | infinity;
  if (aClass == ZERO || bClass == INFINITY) return sign;
  divide(aSign, aExp, aSig, bSign, bExp, bSig);
  return packByControl(precision, control);
}

function root(b: u64, precision: i32, control: i32): u64 {
  const bClass = unpack(b, precision, (control & MXCSR_DAZ) != 0);
  if (bClass >= QNAN) {
    if (bClass == SNAN) raise(IE);
    return b | quietBit(precision);
  }
  if (bClass == ZERO) return (<u64>uSign) << signBit(precision);
  if (uSign) {
    raise(IE);
    return defaultNan(precision);
  }
  if (bClass == SUBNORMAL) raise(DE);
  if (bClass == INFINITY) return b;
  squareRoot(uExp, uSig);
  return packByControl(precision, control);
}

/** MIN and MAX: the second operand, as it is, when either is a NaN or both are zeros. */
function extremum(op: i32, a: u64, b: u64, precision: i32, daz: bool): u64 {
  const relation = compare(a, b, precision, true, daz);
  const takeA = relation == (op == MIN ? LESS : GREATER);
  const taken = takeA ? a : b;
  if (daz && unpack(taken, precision, true) == ZERO) return (<u64>uSign) << signBit(precision);
  return taken;
}

export const LESS = 1;
export const EQUAL = 2;
export const GREATER = 4;
export const UNORDERED = 8;

/** The relation of a to b; raises IE for a signaling NaN and, if `signaling`, for a quiet one; DE for denormals. */
export function compare(a: u64, b: u64, precision: i32, signaling: bool, daz: bool): i32 {
  const aClass = unpack(a, precision, daz);
  const bClass = unpack(b, precision, daz);
  if (aClass >= QNAN || bClass >= QNAN) {
    if (signaling || aClass == SNAN || bClass == SNAN) raise(IE);
    return UNORDERED;
  }
  if (aClass == SUBNORMAL || bClass == SUBNORMAL) raise(DE);
  // As sign and magnitude on a number line of integers.
  const shift = 63 - signBit(precision);
  const top: u64 = 0x8000000000000000;
  const x = aClass == ZERO ? 0 : <i64>((a << shift) & ~top);
  const y = bClass == ZERO ? 0 : <i64>((b << shift) & ~top);
  const left = (a << shift) & top ? -x : x;
  const right = (b << shift) & top ? -y : y;
  return left < right ? LESS : left == right ? EQUAL : GREATER;
}

/** a in the format of `from` digits, rounded to that of `to` digits. */
export function convert(a: u64, from: i32, to: i32): u64 {
  const control = mxcsr();
  return convertBy(a, from, to, (control >> 13) & 3, control);
}

function convertBy(a: u64, from: i32, to: i32, mode: i32, control: i32): u64 {
  // Half precision ignores FTZ and, as a source, DAZ and DE (SDM: VCVTPH2PS, VCVTPS2PH).
  const daz = (control & MXCSR_DAZ) != 0 && from != 11;
  const aClass = unpack(a, from, daz);
  const sign = (<u64>uSign) << signBit(to);
  if (aClass == ZERO) return sign;
  if (aClass == INFINITY) return sign | infinityBits(to);
  if (aClass >= QNAN) {
    if (aClass == SNAN) raise(IE);
    return sign | infinityBits(to) | quietBit(to) | ((uSig << 1) >> (65 - to));
  }
  if (aClass == SUBNORMAL && from != 11) raise(DE);
  setResult(uSign, uExp, uSig, 0);
  if (to == 11 || from == 11) return pack(to, mode, (control >> 7) & 0x3f);
  return packByControl(to, control);
}

/** VCVTPS2PH of one element: rounding control in `imm` bits 0-1, or MXCSR's with bit 2. */
export function halfFromSingle(a: u32, imm: i32): u32 {
  const control = mxcsr();
  return <u32>convertBy(a, 24, 11, imm & 4 ? (control >> 13) & 3 : imm & 3, control);
}

/** A 64-bit integer as a number of the format. */
export function fromInteger(value: i64, precision: i32): u64 {
  if (value == 0) return 0;
  const magnitude = <u64>(value < 0 ? -value : value);
  const shift = <i32>clz<u64>(magnitude);
  setResult(<i32>(value < 0), 63 - shift, magnitude << shift, 0);
  return packByControl(precision, mxcsr());
}

/**
 * x * y + z with one rounding; `flip` bit 0 negates the product, bit 1 the addend. Of several NaNs the first in this order
 * is the result.
 */
export function fusedMultiplyAdd(x: u64, y: u64, z: u64, flip: i32, precision: i32): u64 {
  const control = mxcsr();
  const daz = (control & MXCSR_DAZ) != 0;
  const xClass = unpack(x, precision, daz);
  const xSign = uSign;
  const xExp = uExp;
  const xSig = uSig;
  const yClass = unpack(y, precision, daz);
  const ySign = uSign ^ (flip & 1);
  const yExp = uExp;
  const ySig = uSig;
  const zClass = unpack(z, precision, daz);
  const zSign = uSign ^ (flip >> 1);
  const zExp = uExp;
  const zSig = uSig;
  const sign = xSign ^ ySign;
  const signShift = signBit(precision);
  if (xClass >= QNAN || yClass >= QNAN || zClass >= QNAN) {
    if (xClass == SNAN || yClass == SNAN || zClass == SNAN) raise(IE);
    return (xClass >= QNAN ? x : yClass >= QNAN ? y : z) | quietBit(precision);
  }
  const productInfinite = xClass == INFINITY || yClass == INFINITY;
  if ((productInfinite && (xClass == ZERO || yClass == ZERO)) || (productInfinite && zClass == INFINITY && sign != zSign)) {
    raise(IE);
    return defaultNan(precision);
  }
  if (xClass == SUBNORMAL || yClass == SUBNORMAL || zClass == SUBNORMAL) raise(DE);
  if (productInfinite) return infinityBits(precision) | ((<u64>sign) << signShift);
  if (zClass == INFINITY) return infinityBits(precision) | ((<u64>zSign) << signShift);
  const zeroSign = <u64>(((control >> 13) & 3) == 1);
  if (xClass == ZERO || yClass == ZERO) {
    if (zClass == ZERO) return (sign == zSign ? <u64>sign : zeroSign) << signShift;
    setResult(zSign, zExp, zSig, 0);
    return packByControl(precision, control);
  }
  multiply(xSign, xExp, xSig, ySign, yExp, ySig);
  if (zClass != ZERO) {
    add(rSign, rExp, rHi, rLo, zSign, zExp, zSig, 0);
    if (rHi == 0) return zeroSign << signShift;
  }
  return packByControl(precision, control);
}
