/** x87 arithmetic and comparisons of ST0 with another register or a memory operand. See x87-move.ts for the scheme. */
import { f80_from_f32, f80_from_f64 } from './convert80';
import * as L from './layout';
import {
  aClass,
  bClass,
  C0,
  C2,
  C3,
  f80_add,
  f80_com,
  f80_div,
  f80_divr,
  f80_from_i64,
  f80_mul,
  f80_sub,
  f80_subr,
  f80_ucom,
  put,
  QNAN,
} from './softfloat80';
import { C1, DE, IE, ZE } from './unpacked';
import { fastProduct, fastSum, hasUsualModes } from './x87-fast';
import { account, BEFORE, CONDITIONS, copy, isValid, pop, setIndefinite, slot, underflow } from './x87-stack';

/** Converted memory operand, and a result that may yet be dropped. */
const OPERAND = L.SCRATCH;
const RESULT = L.SCRATCH + 16;

const COM = 2;
const COMP = 3;

/** `op` as in bits 3 to 5 of ModRM of D8: add, multiply, subtract, reversed, divide, reversed. */
// @ts-ignore: decorator
@inline
function compute(op: i32, dst: i32, a: i32, b: i32, control: i32): i32 {
  switch (op) {
    case 0:
      return f80_add(dst, a, b, control);
    case 1:
      return f80_mul(dst, a, b, control);
    case 4:
      return f80_sub(dst, a, b, control);
    case 5:
      return f80_subr(dst, a, b, control);
    case 6:
      return f80_div(dst, a, b, control);
    default:
      return f80_divr(dst, a, b, control);
  }
}

/** As `compute`, by a shortcut where there is one. */
// @ts-ignore: decorator
@inline
function computeFast(op: i32, dst: i32, a: i32, b: i32, control: i32): i32 {
  if (op < 6 && hasUsualModes(control)) {
    let flags: i32;
    if (op == 1) flags = fastProduct(dst, a, b);
    else if (op == 5) flags = fastSum(dst, b, a, 0x8000);
    else flags = fastSum(dst, a, b, op << 13);
    if (flags >= 0) return flags;
  }
  return compute(op, dst, a, b, control);
}

/** FADD and friends of ST0 and ST(i). `mode` bit 0: the result goes to ST(i); bit 1: then pop. */
export function x87Arithmetic(op: i32, i: i32, mode: i32): void {
  const top = load<i32>(L.FTOP);
  const other = (top + i) & 7;
  const to = mode & 1 ? other : top;
  if (isValid(top) && isValid(other)) {
    const control = load<i32>(L.FCW);
    const flags = computeFast(op, slot(to), slot(top), slot(other), control);
    account(flags, C1, control);
    if (flags & ~control & BEFORE) return;
  } else {
    if (!underflow()) return;
    setIndefinite(to);
  }
  if (mode & 2) pop();
}

/** FCOM, FUCOM (`quiet`) of ST0 with ST(i). */
export function x87Compare(i: i32, quiet: i32, pops: i32): void {
  const top = load<i32>(L.FTOP);
  const other = (top + i) & 7;
  if (isValid(top) && isValid(other)) {
    const control = load<i32>(L.FCW);
    const a = slot(top);
    const b = slot(other);
    compared(quiet ? f80_ucom(a, b, control) : f80_com(a, b, control), control, pops);
  } else unordered(pops);
}

/**
 * Ends a comparison. Its result is there even when an exception is unmasked, as processors do it, though the manual
 * leaves the condition codes alone then.
 */
export function compared(flags: i32, control: i32, pops: i32): void {
  account(flags, CONDITIONS, control);
  if (flags & ~control & BEFORE) return;
  while (pops-- > 0) pop();
}

/** A comparison with an empty register. */
export function unordered(pops: i32): void {
  const isMasked = underflow();
  store<i32>(L.FSW, load<i32>(L.FSW) | C0 | C2 | C3);
  if (!isMasked) return;
  while (pops-- > 0) pop();
}

/** FCOMI, FUCOMI: ZF, PF and CF at their places. */
export function x87CompareFlags(i: i32, quiet: i32, pops: i32): i32 {
  const top = load<i32>(L.FTOP);
  const other = (top + i) & 7;
  let codes = C0 | C2 | C3;
  let isMasked = true;
  if (isValid(top) && isValid(other)) {
    const control = load<i32>(L.FCW);
    const a = slot(top);
    const b = slot(other);
    const flags = quiet ? f80_ucom(a, b, control) : f80_com(a, b, control);
    account(flags & BEFORE, 0, control);
    isMasked = (flags & ~control & BEFORE) == 0;
    codes = flags;
  } else isMasked = underflow();
  if (pops && isMasked) pop();
  return (codes & C3 ? 0x40 : 0) | (codes & C2 ? 4 : 0) | (codes & C0 ? 1 : 0);
}

/** Widens without judging: a signalling NaN stays one. Returns DE for a denormal, which is no denormal any more. */
function widenF32(bits: u32): i32 {
  if ((bits & 0x7f800000) == 0x7f800000) {
    put(OPERAND, bits >> 31, 0x7fff, ((<u64>(bits & 0x7fffff)) << 40) | 0x8000000000000000);
    return 0;
  }
  return f80_from_f32(OPERAND, bits, DE);
}

function widenF64(bits: u64): i32 {
  if ((bits & 0x7ff0000000000000) == 0x7ff0000000000000) {
    put(OPERAND, <i32>(bits >> 63), 0x7fff, (bits << 11) | 0x8000000000000000);
    return 0;
  }
  return f80_from_f64(OPERAND, bits, DE);
}

/** Arithmetic of ST0 with a 32-bit real in memory. */
export function x87ArithmeticF32(host: u32, op: i32): void {
  withOperand(op, widenF32(load<u32>(host)));
}

export function x87ArithmeticF64(host: u32, op: i32): void {
  withOperand(op, widenF64(load<u64>(host)));
}

/** FIADD and friends: the integer, sign-extended. */
export function x87ArithmeticInteger(value: i64, op: i32): void {
  f80_from_i64(OPERAND, value);
  withOperand(op, 0);
}

function withOperand(op: i32, denormal: i32): void {
  const top = load<i32>(L.FTOP);
  const isComparison = op == COM || op == COMP;
  if (!isValid(top)) {
    if (isComparison) unordered(op == COMP ? 1 : 0);
    else if (underflow()) setIndefinite(top);
    return;
  }
  const a = slot(top);
  const control = load<i32>(L.FCW);
  if (isComparison) {
    let flags = f80_com(a, OPERAND, control);
    if ((flags & IE) == 0) flags |= denormal;
    compared(flags, control, op == COMP ? 1 : 0);
    return;
  }
  let flags: i32;
  if (denormal) {
    flags = compute(op, RESULT, a, OPERAND, control);
    // Invalid operations, NaNs and divisions by zero take precedence.
    if ((flags & (IE | ZE)) == 0 && aClass < QNAN && bClass < QNAN) {
      if (control & DE) flags |= DE;
      else flags = DE;
    }
    if ((flags & ~control & BEFORE) == 0) copy(a, RESULT);
  } else flags = computeFast(op, a, a, OPERAND, control);
  account(flags, C1, control);
}
