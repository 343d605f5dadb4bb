/**
 * x87 arithmetic on 80-bit extended reals (Intel SDM vol. 1, chapters 4 and 8), bit-exact.
 *
 * Scheme of every function here:
 * - a value lives in a 16-byte slot of linear memory: significand (u64) at +0, sign and exponent (u16) at +8; `dst` may equal an operand;
 * - `control` is the x87 control word (masks, PC, RC);
 * - the result is the set of raised flags as in the status word: IE..PE in bits 0-5, C1 in bit 9 (last rounding was away
 *   from zero), and for comparisons, FPREM and FXAM also C0 (8), C2 (10), C3 (14);
 * - an unmasked IE, DE or ZE (`flags & ~control & 7`) leaves `dst` untouched, and then nothing is popped;
 * - an unmasked OE or UE of a register operation stores the result with its exponent biased by 24576; of a store to
 *   memory (`f80_to_*`) it leaves `dst` untouched.
 * Stack faults, TOP, tags and sticky flags belong to the caller.
 */
import {
  add,
  C1,
  DE,
  divide,
  IE,
  multiply,
  normalize,
  OE,
  PE,
  rExp,
  rHi,
  rLo,
  roundSignificand,
  roundTo,
  rSign,
  setResult,
  squareRoot,
  UE,
  ZE,
} from './unpacked';
import { div_remainder, udiv128 } from './integer';

export const C0 = 0x100;
export const C2 = 0x400;
export const C3 = 0x4000;

export const ZERO = 0;
export const NORMAL = 1;
export const SUBNORMAL = 2;
export const INFINITY = 3;
export const QNAN = 4;
export const SNAN = 5;
/** Unnormals, pseudo-NaNs and pseudo-infinities: invalid operands since the 387. */
export const UNSUPPORTED = 6;

export const TOP: u64 = 0x8000000000000000;
const QUIET: u64 = 0x4000000000000000;
export const BIAS = 16383;
export const EMIN = -16382;
export const EMAX = 16383;
/** Added to or taken from the exponent on an unmasked underflow or overflow. */
const WRAP = 24576;

/* The unpacked operands. */
export let aClass: i32 = 0;
export let aSign: i32 = 0;
export let aExp: i32 = 0;
export let aSig: u64 = 0;
export let bClass: i32 = 0;
export let bSign: i32 = 0;
export let bExp: i32 = 0;
export let bSig: u64 = 0;

function classify(sig: u64, field: i32): i32 {
  if (field == 0) return sig == 0 ? ZERO : SUBNORMAL;
  if (sig >> 63 == 0) return UNSUPPORTED;
  if (field != 0x7fff) return NORMAL;
  if (sig << 1 == 0) return INFINITY;
  return sig & QUIET ? QNAN : SNAN;
}

export function unpackA(a: i32): void {
  const se = <i32>load<u16>(a, 8);
  aSig = load<u64>(a);
  aSign = se >> 15;
  const field = se & 0x7fff;
  aClass = classify(aSig, field);
  aExp = field - BIAS;
  if (aClass == SUBNORMAL) {
    const shift = <i32>clz<u64>(aSig);
    aSig <<= shift;
    aExp = EMIN - shift;
  }
}

export function unpackB(b: i32): void {
  const se = <i32>load<u16>(b, 8);
  bSig = load<u64>(b);
  bSign = se >> 15;
  const field = se & 0x7fff;
  bClass = classify(bSig, field);
  bExp = field - BIAS;
  if (bClass == SUBNORMAL) {
    const shift = <i32>clz<u64>(bSig);
    bSig <<= shift;
    bExp = EMIN - shift;
  }
}

export function put(dst: i32, sign: i32, field: i32, sig: u64): void {
  store<u64>(dst, sig);
  store<u16>(dst, (sign << 15) | field, 8);
}

export function putZero(dst: i32, sign: i32): void {
  put(dst, sign, 0, 0);
}

export function putInfinity(dst: i32, sign: i32): void {
  put(dst, sign, 0x7fff, TOP);
}

/** Invalid operation: the real indefinite, unless IE is unmasked. */
export function invalid(dst: i32, control: i32): i32 {
  if (control & IE) put(dst, 1, 0x7fff, 0xc000000000000000);
  return IE;
}

/** The response to operands of which one at least is a NaN or unsupported. */
export function propagate2(dst: i32, control: i32): i32 {
  if (aClass == UNSUPPORTED || bClass == UNSUPPORTED) return invalid(dst, control);
  const flags = aClass == SNAN || bClass == SNAN ? IE : 0;
  if (flags & ~control) return flags;
  let takeA: bool;
  if (aClass < QNAN) takeA = false;
  else if (bClass < QNAN) takeA = true;
  else if (aClass != bClass) takeA = aClass == QNAN;
  else if (aSig != bSig) takeA = aSig > bSig;
  else takeA = aSign == 0;
  if (takeA) put(dst, aSign, 0x7fff, aSig | QUIET);
  else put(dst, bSign, 0x7fff, bSig | QUIET);
  return flags;
}

export function propagate1(dst: i32, control: i32): i32 {
  if (aClass == UNSUPPORTED) return invalid(dst, control);
  const flags = aClass == SNAN ? IE : 0;
  if ((flags & ~control) == 0) put(dst, aSign, 0x7fff, aSig | QUIET);
  return flags;
}

export function rounding(control: i32): i32 {
  return (control >> 10) & 3;
}

function precision(control: i32): i32 {
  const pc = (control >> 8) & 3;
  return pc == 0 ? 24 : pc == 2 ? 53 : 64;
}

/** Rounds the unpacked result and stores it. */
export function finish(dst: i32, bits: i32, control: i32, flags: i32): i32 {
  if (rHi == 0) {
    putZero(dst, rSign);
    return flags;
  }
  const raised = roundTo(bits, EMIN, EMAX, rounding(control), control);
  let field = rExp + BIAS;
  if (raised & ~control & OE) field -= WRAP;
  else if (raised & ~control & UE) field += WRAP;
  else if (rHi >> 63 == 0) field = 0;
  put(dst, rSign, field, rHi);
  return flags | raised;
}

/** Sign of an exact zero sum of numbers of opposite signs. */
function zeroSign(control: i32): i32 {
  return <i32>(rounding(control) == 1);
}

function sum(dst: i32, flip: i32, control: i32): i32 {
  if (aClass >= QNAN || bClass >= QNAN) return propagate2(dst, control);
  bSign ^= flip;
  if (aClass == INFINITY && bClass == INFINITY && aSign != bSign) return invalid(dst, control);
  const flags = aClass == SUBNORMAL || bClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  if (aClass == INFINITY || bClass == INFINITY) {
    putInfinity(dst, aClass == INFINITY ? aSign : bSign);
    return flags;
  }
  if (aClass == ZERO) {
    if (bClass == ZERO) {
      putZero(dst, aSign == bSign ? aSign : zeroSign(control));
      return flags;
    }
    setResult(bSign, bExp, bSig, 0);
  } else if (bClass == ZERO) {
    setResult(aSign, aExp, aSig, 0);
  } else {
    add(aSign, aExp, aSig, 0, bSign, bExp, bSig, 0);
    if (rHi == 0) {
      putZero(dst, zeroSign(control));
      return flags;
    }
  }
  return finish(dst, precision(control), control, flags);
}

/** a + b */
export function f80_add(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  return sum(dst, 0, control);
}

/** a - b */
export function f80_sub(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  return sum(dst, 1, control);
}

/** b - a */
export function f80_subr(dst: i32, a: i32, b: i32, control: i32): i32 {
  return f80_sub(dst, b, a, control);
}

/** a * b */
export function f80_mul(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  if (aClass >= QNAN || bClass >= QNAN) return propagate2(dst, control);
  if ((aClass == INFINITY && bClass == ZERO) || (aClass == ZERO && bClass == INFINITY)) return invalid(dst, control);
  const flags = aClass == SUBNORMAL || bClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  if (aClass == INFINITY || bClass == INFINITY) {
    putInfinity(dst, aSign ^ bSign);
    return flags;
  }
  if (aClass == ZERO || bClass == ZERO) {
    putZero(dst, aSign ^ bSign);
    return flags;
  }
  multiply(aSign, aExp, aSig, bSign, bExp, bSig);
  return finish(dst, precision(control), control, flags);
}

/** a / b */
export function f80_div(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  if (aClass >= QNAN || bClass >= QNAN) return propagate2(dst, control);
  if (aClass == bClass && (aClass == INFINITY || aClass == ZERO)) return invalid(dst, control);
  let flags = aClass == SUBNORMAL || bClass == SUBNORMAL ? DE : 0;
  // Division by zero takes precedence over a denormal dividend.
  if (bClass == ZERO && aClass != INFINITY) flags = ZE;
  if (flags & ~control) return flags;
  if (aClass == INFINITY || bClass == ZERO) {
    putInfinity(dst, aSign ^ bSign);
    return flags;
  }
  if (aClass == ZERO || bClass == INFINITY) {
    putZero(dst, aSign ^ bSign);
    return flags;
  }
  divide(aSign, aExp, aSig, bSign, bExp, bSig);
  return finish(dst, precision(control), control, flags);
}

/** b / a */
export function f80_divr(dst: i32, a: i32, b: i32, control: i32): i32 {
  return f80_div(dst, b, a, control);
}

export function f80_sqrt(dst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  if (aClass >= QNAN) return propagate1(dst, control);
  if (aClass == ZERO) {
    putZero(dst, aSign);
    return 0;
  }
  if (aSign) return invalid(dst, control);
  const flags = aClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  if (aClass == INFINITY) {
    putInfinity(dst, 0);
    return flags;
  }
  squareRoot(aExp, aSig);
  return finish(dst, precision(control), control, flags);
}

export function f80_abs(dst: i32, a: i32): void {
  store<u64>(dst, load<u64>(a));
  store<u16>(dst, load<u16>(a, 8) & 0x7fff, 8);
}

export function f80_chs(dst: i32, a: i32): void {
  store<u64>(dst, load<u64>(a));
  store<u16>(dst, load<u16>(a, 8) ^ 0x8000, 8);
}

/** FXAM of a register that is not empty (empty is C3|C0, with C1 the sign all the same). */
export function f80_xam(a: i32): i32 {
  unpackA(a);
  const sign = aSign ? C1 : 0;
  if (aClass == ZERO) return sign | C3;
  if (aClass == NORMAL) return sign | C2;
  if (aClass == SUBNORMAL) return sign | C3 | C2;
  if (aClass == INFINITY) return sign | C2 | C0;
  if (aClass == UNSUPPORTED) return sign;
  return sign | C0;
}

function compare(control: i32, quiet: bool): i32 {
  if (aClass >= QNAN || bClass >= QNAN) {
    const isInvalid = !quiet || aClass > QNAN || bClass > QNAN;
    return isInvalid ? C3 | C2 | C0 | IE : C3 | C2 | C0;
  }
  const flags = aClass == SUBNORMAL || bClass == SUBNORMAL ? DE : 0;
  if (aClass == ZERO && bClass == ZERO) return flags | C3;
  if (aClass == ZERO) return flags | (bSign ? 0 : C0);
  if (bClass == ZERO || aSign != bSign) return flags | (aSign ? C0 : 0);
  if (aExp == bExp && aSig == bSig) return flags | C3;
  const smaller = aExp < bExp || (aExp == bExp && aSig < bSig);
  return flags | (smaller != (aSign != 0) ? C0 : 0);
}

/**
 * FCOM and FCOMI of a (ST0) with b: IE, DE and C3, C2, C0, which FCOMI puts in ZF, PF, CF. The caller leaves the
 * condition codes alone when an exception is unmasked.
 */
export function f80_com(a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  return compare(control, false);
}

/** FUCOM and FUCOMI: as `f80_com`, but quiet NaNs raise nothing. */
export function f80_ucom(a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  return compare(control, true);
}

/** FTST: compares with +0. */
export function f80_tst(a: i32, control: i32): i32 {
  unpackA(a);
  bClass = ZERO;
  bSign = 0;
  return compare(control, false);
}

/**
 * Rounds the unpacked operand to an integer in `rHi`. Returns PE and C1, or -1 when its magnitude does not fit 64 bits.
 */
export function integerOf(mode: i32): i32 {
  if (aClass == ZERO) {
    setResult(aSign, 63, 0, 0);
    return 0;
  }
  if (aExp > 63) return -1;
  // As hi:lo with the binary point between them.
  let flags = 0;
  const shift = 63 - aExp;
  let integer: u64 = aSig;
  let fraction: u64 = 0;
  let sticky = false;
  if (shift >= 128) {
    integer = 0;
    sticky = true;
  } else if (shift > 64) {
    integer = 0;
    fraction = aSig >> (shift - 64);
    sticky = aSig << (128 - shift) != 0;
  } else if (shift == 64) {
    integer = 0;
    fraction = aSig;
  } else if (shift > 0) {
    integer = aSig >> shift;
    fraction = aSig << (64 - shift);
  }
  if (fraction != 0 || sticky) {
    flags = PE;
    let away: bool;
    if (mode == 0) away = fraction >> 63 != 0 && (fraction << 1 != 0 || sticky || (integer & 1) != 0);
    else away = mode != 3 && (mode == 1) == (aSign != 0);
    if (away) {
      flags |= C1;
      integer++;
      if (integer == 0) return -1;
    }
  }
  setResult(aSign, 63, integer, 0);
  return flags;
}

export function f80_rndint(dst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  if (aClass >= QNAN) return propagate1(dst, control);
  if (aClass == INFINITY) {
    putInfinity(dst, aSign);
    return 0;
  }
  const flags = aClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  if (aClass == ZERO || aExp >= 63) {
    put(dst, aSign, aClass == ZERO ? 0 : aExp + BIAS, aSig);
    return flags;
  }
  const raised = integerOf(rounding(control));
  normalize();
  put(dst, rSign, rHi == 0 ? 0 : rExp + BIAS, rHi);
  return flags | raised;
}

/** FSCALE: a * 2^trunc(b) */
export function f80_scale(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  if (aClass >= QNAN || bClass >= QNAN) return propagate2(dst, control);
  if (bClass == INFINITY && ((bSign != 0 && aClass == INFINITY) || (bSign == 0 && aClass == ZERO))) return invalid(dst, control);
  const flags = aClass == SUBNORMAL || bClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  if (aClass == INFINITY || (bClass == INFINITY && bSign == 0)) {
    putInfinity(dst, aSign);
    return flags;
  }
  if (aClass == ZERO || bClass == INFINITY) {
    putZero(dst, aSign);
    return flags;
  }
  // Beyond 2^16 every result overflows or vanishes even after wrapping.
  let shift = 0;
  if (bClass != ZERO && bExp >= 0) shift = bExp > 16 ? 0x20000 : <i32>(bSig >> (63 - bExp));
  const exp = aExp + (bSign ? -shift : shift);
  // "Massive" overflow and underflow stay out of range even after wrapping (SDM vol. 1, 8.5.4 and 8.5.5).
  if (exp - WRAP > EMAX && (control & OE) == 0) {
    putInfinity(dst, aSign);
    return flags | OE | PE | C1;
  }
  if (exp + WRAP < EMIN && (control & UE) == 0) {
    putZero(dst, aSign);
    return flags | UE | PE;
  }
  setResult(aSign, exp, aSig, 0);
  return finish(dst, 64, control, flags);
}

/** FXTRACT: the exponent of a as a real to `exponentDst`, the significand to `significandDst` (the new ST0). */
export function f80_xtract(exponentDst: i32, significandDst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  if (aClass >= QNAN) {
    const flags = propagate1(exponentDst, control);
    if ((flags & ~control) == 0) put(significandDst, load<u16>(exponentDst, 8) >> 15, 0x7fff, load<u64>(exponentDst));
    return flags;
  }
  if (aClass == INFINITY) {
    putInfinity(exponentDst, 0);
    putInfinity(significandDst, aSign);
    return 0;
  }
  if (aClass == ZERO) {
    if ((control & ZE) == 0) return ZE;
    putInfinity(exponentDst, 1);
    putZero(significandDst, aSign);
    return ZE;
  }
  const flags = aClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  f80_from_i64(exponentDst, <i64>aExp);
  put(significandDst, aSign, BIAS, aSig);
  return flags;
}

/** Quotient bits of FPREM and FPREM1: C0, C3, C1 = bits 2, 1, 0. */
function quotientBits(quotient: u64): i32 {
  const low = <i32>quotient;
  return (low & 4 ? C0 : 0) | (low & 2 ? C3 : 0) | (low & 1 ? C1 : 0);
}

function remainder(dst: i32, nearest: bool, control: i32): i32 {
  if (aClass >= QNAN || bClass >= QNAN) return propagate2(dst, control);
  if (aClass == INFINITY || bClass == ZERO) return invalid(dst, control);
  const flags = aClass == SUBNORMAL || bClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  if (aClass == ZERO) {
    putZero(dst, aSign);
    return flags;
  }
  const difference = aExp - bExp;
  if (bClass == INFINITY || difference < -1 || (difference < 0 && !nearest)) {
    setResult(aSign, aExp, aSig, 0);
    return finish(dst, 64, control, flags);
  }
  if (difference > 63) {
    // Partial reduction by a multiple that leaves an exponent difference of 63 - 31 = 32 to 63 (SDM: implementation dependent).
    const step = (difference & 31) | 32;
    divideSteps(aSig, bSig, step);
    setResult(aSign, bExp + difference - step, partialRest, 0);
    normalize();
    return finish(dst, 64, control, flags) | C2;
  }
  let quotient: u64 = 0;
  if (difference < 0) {
    // a is between b/4 and b: in units of a's last place, b = 2 * bSig.
    partialRest = aSig;
    quotient = 0;
    if (aSig > bSig) {
      // a > b/2: the nearest multiple is b itself, and b - a = 2 * bSig - aSig.
      setResult(aSign ^ 1, aExp, bSig - (aSig - bSig), 0);
      quotient = 1;
    } else {
      setResult(aSign, aExp, aSig, 0);
    }
  } else {
    quotient = divideSteps(aSig, bSig, difference);
    const rest = partialRest;
    if (nearest && (rest > bSig - rest || (rest == bSig - rest && (quotient & 1) != 0))) {
      quotient++;
      setResult(aSign ^ 1, bExp, bSig - rest, 0);
    } else {
      setResult(aSign, bExp, rest, 0);
    }
  }
  const bits = quotientBits(quotient);
  if (rHi == 0) {
    putZero(dst, aSign);
    return flags | bits;
  }
  normalize();
  return finish(dst, 64, control, flags) | bits;
}

let partialRest: u64 = 0;

/** `(x << steps) / y` for steps <= 63, y normalized; leaves the remainder in `partialRest`. */
function divideSteps(x: u64, y: u64, steps: i32): u64 {
  const high = steps == 0 ? 0 : x >> (64 - steps);
  const quotient = udiv128(high, x << steps, y);
  partialRest = div_remainder;
  return quotient;
}

/** FPREM: remainder of a / b, truncating; C2 set when the reduction is partial. */
export function f80_prem(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  return remainder(dst, false, control);
}

/** FPREM1: IEEE remainder of a / b; C2 set when the reduction is partial. */
export function f80_prem1(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  return remainder(dst, true, control);
}

/** Also FILD of 16 and 32 bits, sign-extended. Never raises anything. */
export function f80_from_i64(dst: i32, value: i64): void {
  if (value == 0) {
    putZero(dst, 0);
    return;
  }
  const sign = <i32>(value < 0);
  const magnitude = <u64>(value < 0 ? -value : value);
  const shift = <i32>clz<u64>(magnitude);
  put(dst, sign, BIAS + 63 - shift, magnitude << shift);
}
