/**
 * The x87's transcendental functions (SDM vol. 1, 8.3.6 and 8.3.10): computed with 128-bit significands and rounded once, so
 * practically always the correctly rounded result; processors are within 0.6 units of the last place of it. Arguments of
 * the trigonometric functions are reduced, as processors do, by a π of 66 bits, exactly.
 * Calling scheme as in softfloat80.ts.
 */
import { add, C1, DE, PE, rExp, rHi, rLo, rSign, setResult, UE, ZE } from './unpacked';
import { udiv128, umulh } from './integer';
import {
  aClass,
  aExp,
  aSig,
  aSign,
  bClass,
  bExp,
  BIAS,
  bSig,
  bSign,
  C2,
  finish,
  INFINITY,
  invalid,
  propagate1,
  propagate2,
  put,
  putInfinity,
  putZero,
  QNAN,
  SUBNORMAL,
  TOP,
  unpackA,
  unpackB,
  ZERO,
} from './softfloat80';
import { ARCTANGENTS, CONSTANTS, INVERSE_FACTORIALS, INVERSE_ODDS } from './tables80';

/* The accumulator is the result of unpacked.ts; each operation below changes it. */

function times(sign: i32, exp: i32, hi: u64, lo: u64): void {
  if (rHi == 0) return;
  if (hi == 0) {
    setResult(rSign ^ sign, 0, 0, 0);
    return;
  }
  let productHi = umulh(rHi, hi);
  let productLo = rHi * hi;
  const cross1 = umulh(rHi, lo);
  const cross2 = umulh(rLo, hi);
  productLo += cross1;
  productHi += <u64>(productLo < cross1);
  productLo += cross2;
  productHi += <u64>(productLo < cross2);
  if (productHi & TOP) setResult(rSign ^ sign, rExp + exp + 1, productHi, productLo);
  else setResult(rSign ^ sign, rExp + exp, (productHi << 1) | (productLo >> 63), productLo << 1);
}

function plus(sign: i32, exp: i32, hi: u64, lo: u64): void {
  if (hi == 0) return;
  if (rHi == 0) setResult(sign, exp, hi, lo);
  else add(rSign, rExp, rHi, rLo, sign, exp, hi, lo);
}

/** Entry of a table of tables80.ts. */
function entry(table: usize, index: i32): usize {
  return table + index * 24;
}

function set(at: usize): void {
  setResult(0, <i32>load<u64>(at, 16), load<u64>(at), load<u64>(at, 8));
}

function plusEntry(sign: i32, at: usize): void {
  plus(sign, <i32>load<u64>(at, 16), load<u64>(at), load<u64>(at, 8));
}

function timesEntry(at: usize): void {
  times(0, <i32>load<u64>(at, 16), load<u64>(at), load<u64>(at, 8));
}

/** Divides by a number with one Newton step on a reciprocal of 63 good bits. */
function dividedBy(sign: i32, exp: i32, hi: u64, lo: u64): void {
  const nSign = rSign;
  const nExp = rExp;
  const nHi = rHi;
  const nLo = rLo;
  // 2^127 / hi, for which hi = 2^63 is one too much.
  const first = hi == TOP ? <u64>-1 : udiv128(TOP, 0, hi);
  setResult(0, -1, first, 0);
  times(1, 0, hi, lo);
  plus(0, 0, TOP, 0);
  times(0, -1, first, 0);
  plus(0, -1, first, 0);
  times(nSign ^ sign, nExp - exp, nHi, nLo);
}

/** The sum of `coefficient[first + k * step] * z^k` for k below `count`, with z the accumulator. */
function series(table: usize, first: i32, step: i32, count: i32): void {
  const zSign = rSign;
  const zExp = rExp;
  const zHi = rHi;
  const zLo = rLo;
  let k = count - 1;
  // Terms that a small z makes vanish are left out.
  if (zHi == 0) k = 0;
  else if (zExp < -6) k = min(k, 110 / -zExp + 1);
  set(entry(table, first + k * step));
  for (k--; k >= 0; k--) {
    times(zSign, zExp, zHi, zLo);
    plusEntry(0, entry(table, first + k * step));
  }
}

/** Rounds the accumulator, an irrational number, to the destination. */
function finishInexact(dst: i32, control: i32, flags: i32): i32 {
  setResult(rSign, rExp, rHi, rLo | 1);
  return finish(dst, 64, control, flags);
}

/** A constant of CONSTANTS times 2^shift. */
function putConstant(dst: i32, index: i32, shift: i32, sign: i32, control: i32, flags: i32): i32 {
  set(entry(CONSTANTS, index));
  setResult(sign, rExp + shift, rHi, rLo);
  return finishInexact(dst, control, flags);
}

const PI = 0;
const LN2 = 1;
const LOG2E = 2;

/** F2XM1: 2^a - 1 for a from -1 to 1; beyond, where the manual defines nothing, a itself. */
export function f80_2xm1(dst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  if (aClass >= QNAN) return propagate1(dst, control);
  if (aClass == INFINITY) {
    if (aSign) put(dst, 1, BIAS, TOP);
    else putInfinity(dst, 0);
    return 0;
  }
  if (aClass == ZERO) {
    putZero(dst, aSign);
    return 0;
  }
  const flags = aClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  if (aExp >= 0) {
    if (aExp == 0 && aSig == TOP) put(dst, aSign, aSign ? BIAS - 1 : BIAS, TOP);
    else put(dst, aSign, aExp + BIAS, aSig);
    return flags | PE;
  }
  setResult(aSign, aExp, aSig, 0);
  timesEntry(entry(CONSTANTS, LN2));
  const sign = rSign;
  const exp = rExp;
  const hi = rHi;
  const lo = rLo;
  // (e^t - 1) / t
  series(INVERSE_FACTORIALS, 1, 1, 26);
  times(sign, exp, hi, lo);
  return finishInexact(dst, control, flags);
}

/** log2((1 + s) / (1 - s)) with s the accumulator, at most 0.18 in magnitude. */
function logarithmOfRatio(): void {
  const sign = rSign;
  const exp = rExp;
  const hi = rHi;
  const lo = rLo;
  times(sign, exp, hi, lo);
  series(INVERSE_ODDS, 0, 1, 22);
  times(sign, exp + 1, hi, lo);
  timesEntry(entry(CONSTANTS, LOG2E));
}

/** log2 of the number with the given exponent and significand, which is not a power of two. */
function logarithm(exp: i32, hi: u64, lo: u64): void {
  // To a significand from sqrt(1/2) to sqrt(2).
  if (hi > 0xb504f333f9de6484) {
    exp++;
    setResult(0, -1, hi, lo);
  } else {
    setResult(0, 0, hi, lo);
  }
  const mExp = rExp;
  plus(0, 0, TOP, 0);
  const sumExp = rExp;
  const sumHi = rHi;
  const sumLo = rLo;
  setResult(0, mExp, hi, lo);
  plus(1, 0, TOP, 0);
  dividedBy(0, sumExp, sumHi, sumLo);
  logarithmOfRatio();
  if (exp == 0) return;
  const magnitude = <u64>(exp < 0 ? -exp : exp);
  const shift = clz<u64>(magnitude);
  plus(<i32>(exp < 0), 63 - <i32>shift, magnitude << shift, 0);
}

/** FYL2X: b * log2(a), a being ST0. */
export function f80_yl2x(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  if (aClass >= QNAN || bClass >= QNAN) return propagate2(dst, control);
  const isOne = aExp == 0 && aSig == TOP;
  if (aSign != 0 && aClass != ZERO) return invalid(dst, control);
  if (aClass == ZERO && bClass == ZERO) return invalid(dst, control);
  if (aClass == INFINITY && bClass == ZERO) return invalid(dst, control);
  if (isOne && bClass == INFINITY) return invalid(dst, control);
  let flags = aClass == SUBNORMAL || bClass == SUBNORMAL ? DE : 0;
  if (aClass == ZERO && bClass != INFINITY) flags = ZE;
  if (flags & ~control) return flags;
  const below = <i32>(aClass == ZERO || (aClass != INFINITY && aExp < 0));
  if (aClass == ZERO || aClass == INFINITY || bClass == INFINITY) {
    putInfinity(dst, bSign ^ below);
    return flags;
  }
  if (bClass == ZERO || isOne) {
    putZero(dst, bSign ^ below);
    return flags;
  }
  if (aSig == TOP) {
    const magnitude = <u64>(aExp < 0 ? -aExp : aExp);
    const shift = clz<u64>(magnitude);
    setResult(<i32>(aExp < 0), 63 - <i32>shift, magnitude << shift, 0);
    times(bSign, bExp, bSig, 0);
    // Taken for inexact, and so for an underflow, even where it is not.
    return finish(dst, 64, control, flags) | (rHi >> 63 == 0 ? PE | UE : PE);
  }
  logarithm(aExp, aSig, 0);
  times(bSign, bExp, bSig, 0);
  return finishInexact(dst, control, flags);
}

/** FYL2XP1: b * log2(a + 1), a being ST0. */
export function f80_yl2xp1(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  if (aClass >= QNAN || bClass >= QNAN) return propagate2(dst, control);
  if (aClass == INFINITY && aSign != 0) return invalid(dst, control);
  if (aClass == INFINITY && bClass == ZERO) return invalid(dst, control);
  if (aClass == ZERO && bClass == INFINITY) return invalid(dst, control);
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
  if (aExp < -2 || (aExp == -2 && aSig < 0x95f619980c4336f7)) {
    // log2(1 + a) with s = a / (2 + a)
    setResult(aSign, aExp, aSig, 0);
    plus(0, 1, TOP, 0);
    const sumExp = rExp;
    const sumHi = rHi;
    const sumLo = rLo;
    setResult(aSign, aExp, aSig, 0);
    dividedBy(0, sumExp, sumHi, sumLo);
    logarithmOfRatio();
  } else {
    setResult(aSign, aExp, aSig, 0);
    plus(0, 0, TOP, 0);
    if (rSign || rHi == 0) {
      // Undefined by the manual; the operand comes back.
      put(dst, aSign, aExp + BIAS, aSig);
      return flags | PE;
    }
    logarithm(rExp, rHi, rLo);
  }
  times(bSign, bExp, bSig, 0);
  return finishInexact(dst, control, flags);
}

/** FPATAN: angle of the point (a, b), a being ST0. */
export function f80_patan(dst: i32, a: i32, b: i32, control: i32): i32 {
  unpackA(a);
  unpackB(b);
  if (aClass >= QNAN || bClass >= QNAN) return propagate2(dst, control);
  const flags = aClass == SUBNORMAL || bClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  const sign = bSign;
  if (bClass == INFINITY) {
    if (aClass != INFINITY) return putConstant(dst, PI, -1, sign, control, flags);
    if (aSign == 0) return putConstant(dst, PI, -2, sign, control, flags);
    set(entry(CONSTANTS, PI));
    times(sign, 1, 0xc000000000000000, 0);
    setResult(sign, rExp - 2, rHi, rLo);
    return finishInexact(dst, control, flags);
  }
  if (bClass == ZERO || aClass == INFINITY) {
    if (aSign) return putConstant(dst, PI, 0, sign, control, flags);
    putZero(dst, sign);
    return flags;
  }
  if (aClass == ZERO) return putConstant(dst, PI, -1, sign, control, flags);
  // The smaller over the larger coordinate.
  const steep = bExp > aExp || (bExp == aExp && bSig > aSig);
  const lowExp = steep ? aExp : bExp;
  const lowSig = steep ? aSig : bSig;
  const highExp = steep ? bExp : aExp;
  const highSig = steep ? bSig : aSig;
  const difference = lowExp - highExp;
  // c = n/8 close to the ratio; atan(ratio) = atan(c) + atan((low - c high) / (high + c low)).
  let n = 0;
  if (difference >= -5) n = <i32>nearest<f64>((<f64>lowSig / <f64>highSig) * <f64>(1 << (difference + 5)) * 0.25);
  if (n != 0) {
    const shift = <i32>clz<u64>(<u64>n);
    const cSig = (<u64>n) << shift;
    const cExp = 63 - shift - 3;
    setResult(0, lowExp, lowSig, 0);
    times(0, cExp, cSig, 0);
    plus(0, highExp, highSig, 0);
    const sumExp = rExp;
    const sumHi = rHi;
    const sumLo = rLo;
    setResult(1, highExp, highSig, 0);
    times(0, cExp, cSig, 0);
    plus(0, lowExp, lowSig, 0);
    if (rHi != 0) dividedBy(0, sumExp, sumHi, sumLo);
  } else {
    setResult(0, lowExp, lowSig, 0);
    // The quotient of 64-bit numbers is exact if it can be.
    dividedBy(0, highExp, highSig, 0);
  }
  if (rHi != 0) {
    const tSign = rSign;
    const tExp = rExp;
    const tHi = rHi;
    const tLo = rLo;
    times(tSign ^ 1, tExp, tHi, tLo);
    series(INVERSE_ODDS, 0, 1, 16);
    times(tSign, tExp, tHi, tLo);
  }
  if (n != 0) plusEntry(0, entry(ARCTANGENTS, n - 1));
  const pi = entry(CONSTANTS, PI);
  const piExp = <i32>load<u64>(pi, 16);
  if (steep) {
    // π/2 minus or plus the angle
    setResult(aSign ? 0 : 1, rExp, rHi, rLo);
    plus(0, piExp - 1, load<u64>(pi), load<u64>(pi, 8));
  } else if (aSign) {
    setResult(1, rExp, rHi, rLo);
    plus(0, piExp, load<u64>(pi), load<u64>(pi, 8));
  }
  setResult(sign, rExp, rHi, rLo);
  return finishInexact(dst, control, flags);
}

/** π/2 of 66 bits, in units of 2^-65. */
const HALF_PI_HI: u64 = 3;
const HALF_PI_LO: u64 = 0x243f6a8885a308d3;

/* The reduced argument: `|x| = quadrant * π/2 + angle`, the angle from -π/4 to π/4. */
let quadrant: i32 = 0;
let angleSign: i32 = 0;
let angleExp: i32 = 0;
let angleHi: u64 = 0;
let angleLo: u64 = 0;

/** Reduces the magnitude of the unpacked operand, which is below 2^63. */
function reduce(): void {
  quadrant = 0;
  angleSign = 0;
  if (aExp < -1 || (aExp == -1 && aSig < 0xc90fdaa22168c235)) {
    angleExp = aExp;
    angleHi = aSig;
    angleLo = 0;
    return;
  }
  // |x| in units of 2^-65 is aSig << (aExp + 2); the remainder grows bit by bit.
  let hi: u64 = 0;
  let lo: u64 = aSig;
  for (let n = aExp + 2; ; n--) {
    if (hi > HALF_PI_HI || (hi == HALF_PI_HI && lo >= HALF_PI_LO)) {
      hi = hi - HALF_PI_HI - <u64>(lo < HALF_PI_LO);
      lo -= HALF_PI_LO;
      quadrant++;
    }
    if (n == 0) break;
    hi = (hi << 1) | (lo >> 63);
    lo <<= 1;
    quadrant <<= 1;
  }
  // Twice the remainder above π/2: one quadrant further, from the other side.
  const twiceHi = (hi << 1) | (lo >> 63);
  const twiceLo = lo << 1;
  if (twiceHi > HALF_PI_HI || (twiceHi == HALF_PI_HI && twiceLo > HALF_PI_LO)) {
    quadrant++;
    angleSign = 1;
    hi = HALF_PI_HI - hi - <u64>(HALF_PI_LO < lo);
    lo = HALF_PI_LO - lo;
  }
  if (hi != 0) {
    // At most one bit.
    angleExp = -1;
    angleHi = TOP | (lo >> 1);
    angleLo = lo << 63;
  } else if (lo == 0) {
    angleHi = 0;
    angleLo = 0;
  } else {
    const shift = <i32>clz<u64>(lo);
    angleExp = -2 - shift;
    angleHi = lo << shift;
    angleLo = 0;
  }
}

/** Sine or cosine of the angle. */
function sineOfAngle(): void {
  setResult(angleSign, angleExp, angleHi, angleLo);
  times(angleSign ^ 1, angleExp, angleHi, angleLo);
  series(INVERSE_FACTORIALS, 1, 2, 15);
  times(angleSign, angleExp, angleHi, angleLo);
}

function cosineOfAngle(): void {
  setResult(angleSign, angleExp, angleHi, angleLo);
  times(angleSign ^ 1, angleExp, angleHi, angleLo);
  series(INVERSE_FACTORIALS, 0, 2, 15);
}

function sineTo(dst: i32, control: i32, flags: i32): i32 {
  if (quadrant & 1) cosineOfAngle();
  else sineOfAngle();
  const sign = aSign ^ ((quadrant >> 1) & 1);
  setResult(quadrant & 1 ? sign : rSign ^ sign, rExp, rHi, rLo);
  return rHi == 0 ? finish(dst, 64, control, flags) : finishInexact(dst, control, flags);
}

function cosineTo(dst: i32, control: i32, flags: i32): i32 {
  if (quadrant & 1) sineOfAngle();
  else cosineOfAngle();
  const sign = ((quadrant + 1) >> 1) & 1;
  setResult(rSign ^ sign, rExp, rHi, rLo);
  return rHi == 0 ? finish(dst, 64, control, flags) : finishInexact(dst, control, flags);
}

/** What is common to the trigonometric functions: -1 to go on, else the flags, with the result stored. */
function trigonometricSpecial(dst: i32, control: i32): i32 {
  if (aClass >= QNAN) return propagate1(dst, control);
  if (aClass == INFINITY) return invalid(dst, control);
  if (aClass != ZERO && aExp >= 63) return C2;
  const flags = aClass == SUBNORMAL ? DE : 0;
  if (flags & ~control) return flags;
  return -1;
}

/** FSIN; C2 and nothing done when |a| >= 2^63. */
export function f80_sin(dst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  const special = trigonometricSpecial(dst, control);
  if (special >= 0) return special;
  if (aClass == ZERO) {
    putZero(dst, aSign);
    return 0;
  }
  reduce();
  return sineTo(dst, control, aClass == SUBNORMAL ? DE : 0);
}

/** FCOS; C2 and nothing done when |a| >= 2^63. */
export function f80_cos(dst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  const special = trigonometricSpecial(dst, control);
  if (special >= 0) return special;
  if (aClass == ZERO) {
    put(dst, 0, BIAS, TOP);
    return 0;
  }
  reduce();
  return cosineTo(dst, control, aClass == SUBNORMAL ? DE : 0);
}

/** FSINCOS: the sine replaces ST0, the cosine is pushed. With C2, or an unmasked IE or DE, nothing is done. */
export function f80_sincos(sineDst: i32, cosineDst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  const special = trigonometricSpecial(sineDst, control);
  if (special >= 0) {
    if (special != C2 && (special & ~control & 7) == 0) copy(cosineDst, sineDst);
    return special;
  }
  if (aClass == ZERO) {
    putZero(sineDst, aSign);
    put(cosineDst, 0, BIAS, TOP);
    return 0;
  }
  reduce();
  const flags = sineTo(sineDst, control, aClass == SUBNORMAL ? DE : 0) & ~C1;
  return cosineTo(cosineDst, control, flags);
}

/** Angles below 2^TINY have themselves as tangent, but for the rounding. */
const TINY = -40;

/** FPTAN: the tangent replaces ST0, 1.0 is pushed. With C2, or an unmasked IE or DE, nothing is done. */
export function f80_tan(tangentDst: i32, oneDst: i32, a: i32, control: i32): i32 {
  unpackA(a);
  const special = trigonometricSpecial(tangentDst, control);
  if (special >= 0) {
    if (special != C2 && (special & ~control & 7) == 0) copy(oneDst, tangentDst);
    return special;
  }
  put(oneDst, 0, BIAS, TOP);
  if (aClass == ZERO) {
    putZero(tangentDst, aSign);
    return 0;
  }
  reduce();
  if (angleExp < TINY && (quadrant & 1) == 0) {
    // Just above the angle, which a quotient could miss.
    setResult(angleSign ^ aSign, angleExp, angleHi, angleLo);
    return finishInexact(tangentDst, control, aClass == SUBNORMAL ? DE : 0);
  }
  cosineOfAngle();
  const cSign = rSign;
  const cExp = rExp;
  const cHi = rHi;
  const cLo = rLo;
  sineOfAngle();
  if (quadrant & 1) {
    const sSign = rSign;
    const sExp = rExp;
    const sHi = rHi;
    const sLo = rLo;
    setResult(cSign ^ 1, cExp, cHi, cLo);
    dividedBy(sSign, sExp, sHi, sLo);
  } else {
    dividedBy(cSign, cExp, cHi, cLo);
  }
  setResult(rSign ^ aSign, rExp, rHi, rLo);
  return finishInexact(tangentDst, control, aClass == SUBNORMAL ? DE : 0);
}

function copy(dst: i32, src: i32): void {
  store<u64>(dst, load<u64>(src));
  store<u16>(dst, load<u16>(src, 8), 8);
}
