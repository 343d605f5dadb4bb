/**
 * Arithmetic on unpacked binary floating-point numbers of any format: a sign, a true exponent and a 128-bit significand
 * `hi:lo` with the binary point after bit 127. Results are exact, or carry a sticky low bit that stands for what was
 * shifted out, so that one rounding afterwards is correct for every format of at most 64 bits of precision.
 * The result of an operation is in the globals `rSign`, `rExp`, `rHi`, `rLo`; a zero result has `rHi == 0`.
 */
import { div_remainder, udiv128, umulh } from './integer';

/** Exception flags, at the same places in the x87 status word and MXCSR; their mask bits in the x87 control word too. */
export const IE = 1;
export const DE = 2;
export const ZE = 4;
export const OE = 8;
export const UE = 16;
export const PE = 32;
/** x87 C1: the last rounding was away from zero. */
export const C1 = 0x200;
/** In `masks` of `roundTo`: flush a tiny result to zero. */
export const FLUSH = 0x1000;

/** Rounding modes as encoded in RC. */
export const NEAREST = 0;
export const DOWN = 1;
export const UP = 2;
export const TRUNCATE = 3;

const TOP: u64 = 0x8000000000000000;

export let rSign: i32 = 0;
export let rExp: i32 = 0;
export let rHi: u64 = 0;
export let rLo: u64 = 0;

export function setResult(sign: i32, exp: i32, hi: u64, lo: u64): void {
  rSign = sign;
  rExp = exp;
  rHi = hi;
  rLo = lo;
}

/** Shifts `rHi:rLo` right, keeping in the low bit whether anything was lost. */
export function shiftRightSticky(count: i32): void {
  if (count <= 0) return;
  const hi = rHi;
  const lo = rLo;
  if (count < 64) {
    const lost = lo << (64 - count) != 0;
    rLo = (lo >> count) | (hi << (64 - count)) | <u64>lost;
    rHi = hi >> count;
  } else if (count == 64) {
    rLo = hi | <u64>(lo != 0);
    rHi = 0;
  } else if (count < 128) {
    const lost = ((hi << (128 - count)) | lo) != 0;
    rLo = (hi >> (count - 64)) | <u64>lost;
    rHi = 0;
  } else {
    rLo = <u64>((hi | lo) != 0);
    rHi = 0;
  }
}

/** Shifts left until bit 127 is set; a zero significand stays zero. */
export function normalize(): void {
  if (rHi == 0) {
    if (rLo == 0) return;
    rHi = rLo;
    rLo = 0;
    rExp -= 64;
  }
  const count = <i32>clz<u64>(rHi);
  if (count != 0) {
    rHi = (rHi << count) | (rLo >> (64 - count));
    rLo <<= count;
    rExp -= count;
  }
}

/** Sum of two non-zero numbers. */
export function add(aSign: i32, aExp: i32, aHi: u64, aLo: u64, bSign: i32, bExp: i32, bHi: u64, bLo: u64): void {
  const swap = aExp < bExp || (aExp == bExp && (aHi < bHi || (aHi == bHi && aLo < bLo)));
  if (swap) {
    const difference = bExp - aExp;
    setResult(bSign, bExp, aHi, aLo);
    shiftRightSticky(difference);
    aHi = bHi;
    aLo = bLo;
  } else {
    setResult(aSign, aExp, bHi, bLo);
    shiftRightSticky(aExp - bExp);
  }
  if (aSign == bSign) {
    const lo = aLo + rLo;
    const carry = <u64>(lo < aLo);
    const sum = aHi + rHi;
    const hi = sum + carry;
    const overflow = sum < aHi || hi < sum;
    rHi = hi;
    rLo = lo;
    if (overflow) {
      rLo = (lo >> 1) | (hi << 63) | (lo & 1);
      rHi = (hi >> 1) | TOP;
      rExp++;
    }
  } else {
    const borrow = <u64>(aLo < rLo);
    rLo = aLo - rLo;
    rHi = aHi - rHi - borrow;
    normalize();
  }
}

/** Product of two non-zero numbers with 64-bit significands; exact. */
export function multiply(aSign: i32, aExp: i32, aSig: u64, bSign: i32, bExp: i32, bSig: u64): void {
  rSign = aSign ^ bSign;
  rExp = aExp + bExp + 1;
  rHi = umulh(aSig, bSig);
  rLo = aSig * bSig;
  if (rHi & TOP) return;
  rHi = (rHi << 1) | (rLo >> 63);
  rLo <<= 1;
  rExp--;
}

/** Quotient of two non-zero numbers with 64-bit significands. */
export function divide(aSign: i32, aExp: i32, aSig: u64, bSign: i32, bExp: i32, bSig: u64): void {
  rSign = aSign ^ bSign;
  rExp = aExp - bExp;
  let quotient: u64;
  if (aSig >= bSig) {
    quotient = udiv128(aSig >> 1, aSig << 63, bSig);
  } else {
    quotient = udiv128(aSig, 0, bSig);
    rExp--;
  }
  let rest = div_remainder;
  let lo: u64 = 0;
  if (rest >= bSig - rest) {
    lo = TOP;
    rest -= bSig - rest;
  }
  rHi = quotient;
  rLo = lo | <u64>(rest != 0);
}

/** Square root of a positive number with a 64-bit significand. */
export function squareRoot(exp: i32, sig: u64): void {
  // The radicand n = hi:lo in [2^126, 2^128) has a root in [2^63, 2^64).
  let hi = sig;
  let lo: u64 = 0;
  if ((exp & 1) == 0) {
    hi = sig >> 1;
    lo = sig << 63;
  }
  rSign = 0;
  rExp = exp >> 1;
  // 53 good bits from the host, then one Newton step and a correction of the last place.
  const estimate = sqrt<f64>(<f64>hi) * 4294967296.0;
  let root = estimate >= 18446744073709551615.0 ? <u64>-1 : <u64>estimate;
  let squareHi = umulh(root, root);
  let squareLo = root * root;
  let errorLo = lo - squareLo;
  let errorHi = hi - squareHi - <u64>(lo < squareLo);
  const error = <f64>(<i64>errorHi) * 18446744073709551616.0 + <f64>errorLo;
  const step = <i64>floor(error / (2.0 * <f64>root));
  if (step >= 0) {
    const next = root + <u64>step;
    root = next < root ? <u64>-1 : next;
  } else {
    root += <u64>step;
  }
  while (true) {
    squareHi = umulh(root, root);
    squareLo = root * root;
    errorLo = lo - squareLo;
    errorHi = hi - squareHi - <u64>(lo < squareLo);
    if (<i64>errorHi < 0) {
      root--;
    } else if (errorHi > 1 || (errorHi == 1 && errorLo > root << 1) || (errorHi == 0 && root >> 63 == 0 && errorLo > root << 1)) {
      // remainder > 2 * root (root has bit 63 set, so 2 * root = 2^64 + (root << 1))
      root++;
    } else {
      break;
    }
  }
  rHi = root;
  rLo = errorHi != 0 || errorLo > root ? TOP | 1 : <u64>(errorLo != 0);
}

function roundsAway(mode: i32, half: bool, rest: bool, odd: bool): bool {
  if (mode == NEAREST) return half && (rest || odd);
  if (mode == TRUNCATE) return false;
  return (half || rest) && (mode == DOWN) == (rSign != 0);
}

/** Rounds the significand to its top `precision` bits. Returns PE and C1. */
export function roundSignificand(precision: i32, mode: i32): i32 {
  const shift = 64 - precision;
  const below = shift == 0 ? rLo : rHi << precision;
  const lower = shift == 0 ? 0 : rLo;
  rLo = 0;
  const unit = (<u64>1) << shift;
  const kept = rHi & (0 - unit);
  const half = below >> 63 != 0;
  const rest = (below << 1) | lower;
  const away = roundsAway(mode, half, rest != 0, (kept & unit) != 0);
  rHi = kept;
  if ((below | lower) == 0) return 0;
  if (!away) return PE;
  rHi = kept + unit;
  if (rHi == 0) {
    rHi = TOP;
    rExp++;
  }
  return PE | C1;
}

/**
 * Rounds the result to a format with the given precision and exponent range, with the masked or unmasked response that
 * `masks` (OE, UE, FLUSH) chooses. Returns the flags raised. Afterwards: overflow to infinity has `rExp == emax + 1`;
 * a subnormal has `rExp == emin` and bit 63 of `rHi` clear; an unmasked OE or UE leaves the true exponent.
 */
export function roundTo(precision: i32, emin: i32, emax: i32, mode: i32, masks: i32): i32 {
  if (rHi == 0) return 0;
  if (rExp >= emin) {
    const flags = roundSignificand(precision, mode);
    if (rExp <= emax) return flags;
    if ((masks & OE) == 0) return flags | OE;
    if (mode == NEAREST || (mode != TRUNCATE && (mode == DOWN) == (rSign != 0))) {
      rExp = emax + 1;
      rHi = TOP;
      return OE | PE | C1;
    }
    rExp = emax;
    rHi = 0 - ((<u64>1) << (64 - precision));
    return OE | PE;
  }
  // Tininess is judged after rounding to the precision with an unbounded exponent (SDM vol. 1, 4.9.1.5).
  const exp = rExp;
  const hi = rHi;
  const lo = rLo;
  const flags = roundSignificand(precision, mode);
  const tiny = rExp < emin;
  if (!tiny) return flags;
  if ((masks & UE) == 0) return flags | UE;
  if (masks & FLUSH) {
    rExp = emin;
    rHi = 0;
    return UE | PE;
  }
  rExp = exp;
  rHi = hi;
  rLo = lo;
  shiftRightSticky(emin - exp);
  rExp = emin;
  const denormalFlags = roundSignificand(precision, mode);
  return denormalFlags & PE ? denormalFlags | UE : denormalFlags;
}
