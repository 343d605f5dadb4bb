/**
 * The x87 unit around its arithmetic: the register stack, sticky flags, stack faults and unmasked responses. Intel SDM
 * vol. 1, chapter 8. The arithmetic itself is in softfloat80.ts and convert80.ts and says which exceptions it raised.
 *
 * Handlers translate the memory operand first and then call one function here with its host address. Registers are
 * given relative to the top, as instructions do. Nothing here faults: an unmasked exception sets ES, which the next
 * waiting instruction finds.
 */
import {
  f80_from_bcd,
  f80_from_f32,
  f80_from_f64,
  f80_constant,
  f80_to_bcd,
  f80_to_f32,
  f80_to_f64,
  f80_to_i16,
  f80_to_i32,
  f80_to_i64,
  f80_trunc_i16,
  f80_trunc_i32,
  f80_trunc_i64,
} from './convert80';
import * as L from './layout';
import {
  aClass,
  bClass,
  C0,
  C2,
  C3,
  f80_abs,
  f80_add,
  f80_chs,
  f80_com,
  f80_div,
  f80_divr,
  f80_from_i64,
  f80_mul,
  f80_prem,
  f80_prem1,
  f80_rndint,
  f80_scale,
  f80_sqrt,
  f80_sub,
  f80_subr,
  f80_tst,
  f80_ucom,
  f80_xam,
  f80_xtract,
  put,
  QNAN,
} from './softfloat80';
import { C1, DE, IE, OE, UE, ZE } from './unpacked';

/** Stack fault. */
export const SF = 0x40;
/** Error summary, and its copy in the busy bit. */
export const ES_B = 0x8080;
const CONDITIONS = C0 | C1 | C2 | C3;
/** Exceptions that are found before anything is computed: unmasked, they leave operands and stack alone. */
const BEFORE = IE | DE | ZE;

/** Converted memory operand, and a result that may yet be dropped. */
const OPERAND = L.SCRATCH;
const RESULT = L.SCRATCH + 16;

// @ts-ignore: decorator
@inline
export function slot(register: i32): i32 {
  return L.X87 + (register << 4);
}

// @ts-ignore: decorator
@inline
function isValid(register: i32): bool {
  return ((load<i32>(L.FTAG) >> register) & 1) != 0;
}

// @ts-ignore: decorator
@inline
function copy(to: i32, from: i32): void {
  v128.store(to, v128.load(from));
}

function setIndefinite(register: i32): void {
  put(slot(register), 1, 0x7fff, 0xc000000000000000);
  store<i32>(L.FTAG, load<i32>(L.FTAG) | (1 << register));
}

// @ts-ignore: decorator
@inline
function pop(): void {
  const top = load<i32>(L.FTOP);
  store<i32>(L.FTAG, load<i32>(L.FTAG) & ~(1 << top));
  store<i32>(L.FTOP, (top + 1) & 7);
}

/** Adds flags to the status word, replacing the condition codes in `replaced`, and finds out whether ES is due. */
// @ts-ignore: decorator
@inline
function account(flags: i32, replaced: i32, control: i32): void {
  let status = (load<i32>(L.FSW) & ~replaced) | flags;
  if (flags & ~control & 0x3f) status |= ES_B;
  store<i32>(L.FSW, status);
}

/** Accounts for a stack underflow; whether IE is masked, so that the indefinite goes where the result would. */
function underflow(): bool {
  const control = load<i32>(L.FCW);
  account(IE | SF, C1, control);
  return (control & IE) != 0;
}

/** The register that a push will make the top; or -1 when the stack overflowed, and then all has been done. */
// @ts-ignore: decorator
@inline
function pushRegister(): i32 {
  const register = (load<i32>(L.FTOP) - 1) & 7;
  if (isValid(register)) {
    overflow(register);
    return -1;
  }
  return register;
}

function overflow(register: i32): void {
  const control = load<i32>(L.FCW);
  account(IE | SF | C1, C1, control);
  if (control & IE) {
    setIndefinite(register);
    store<i32>(L.FTOP, register);
  }
}

/** Ends a push whose value is in place. */
// @ts-ignore: decorator
@inline
function pushed(register: i32, flags: i32): void {
  const control = load<i32>(L.FCW);
  account(flags, C1, control);
  if (flags & ~control & BEFORE) return;
  store<i32>(L.FTAG, load<i32>(L.FTAG) | (1 << register));
  store<i32>(L.FTOP, register);
}

// Loads

export function x87LoadF32(host: u32): void {
  const register = pushRegister();
  if (register < 0) return;
  pushed(register, f80_from_f32(slot(register), load<u32>(host), load<i32>(L.FCW)));
}

export function x87LoadF64(host: u32): void {
  const register = pushRegister();
  if (register < 0) return;
  pushed(register, f80_from_f64(slot(register), load<u64>(host), load<i32>(L.FCW)));
}

export function x87LoadF80(host: u32): void {
  const register = pushRegister();
  if (register < 0) return;
  store<u64>(slot(register), load<u64>(host));
  store<u16>(slot(register), load<u16>(host, 8), 8);
  pushed(register, 0);
}

/** FILD: the value, sign-extended. */
export function x87LoadInteger(value: i64): void {
  const register = pushRegister();
  if (register < 0) return;
  f80_from_i64(slot(register), value);
  pushed(register, 0);
}

export function x87LoadBcd(host: u32): void {
  const register = pushRegister();
  if (register < 0) return;
  f80_from_bcd(slot(register), host);
  pushed(register, 0);
}

export function x87LoadConstant(index: i32): void {
  const register = pushRegister();
  if (register < 0) return;
  f80_constant(slot(register), index, load<i32>(L.FCW));
  pushed(register, 0);
}

/** FLD ST(i) */
export function x87LoadRegister(i: i32): void {
  const from = (load<i32>(L.FTOP) + i) & 7;
  const register = pushRegister();
  if (register < 0) return;
  if (isValid(from)) {
    copy(slot(register), slot(from));
    pushed(register, 0);
  } else if (underflow()) {
    setIndefinite(register);
    store<i32>(L.FTOP, register);
  }
}

// Stores

export const STORE_F32 = 0;
export const STORE_F64 = 1;
export const STORE_F80 = 2;
export const STORE_I16 = 3;
export const STORE_I32 = 4;
export const STORE_I64 = 5;
export const STORE_BCD = 6;
export const TRUNCATE_I16 = 7;
export const TRUNCATE_I32 = 8;
export const TRUNCATE_I64 = 9;

function storeIndefinite(host: u32, kind: i32): void {
  switch (kind) {
    case STORE_F32:
      store<u32>(host, 0xffc00000);
      break;
    case STORE_F64:
      store<u64>(host, 0xfff8000000000000);
      break;
    case STORE_F80:
    case STORE_BCD:
      store<u64>(host, 0xc000000000000000);
      store<u16>(host, 0xffff, 8);
      break;
    case STORE_I16:
    case TRUNCATE_I16:
      store<u16>(host, 0x8000);
      break;
    case STORE_I32:
    case TRUNCATE_I32:
      store<u32>(host, 0x80000000);
      break;
    default:
      store<u64>(host, 0x8000000000000000);
  }
}

/** FST, FIST, FISTTP, FBSTP and their popping forms; whether anything was stored. */
export function x87Store(host: u32, kind: i32, pops: i32): i32 {
  const top = load<i32>(L.FTOP);
  if (!isValid(top)) {
    if (!underflow()) return 0;
    storeIndefinite(host, kind);
    if (pops) pop();
    return 1;
  }
  const a = slot(top);
  const control = load<i32>(L.FCW);
  let flags = 0;
  switch (kind) {
    case STORE_F32:
      flags = f80_to_f32(host, a, control);
      break;
    case STORE_F64:
      flags = f80_to_f64(host, a, control);
      break;
    case STORE_F80:
      store<u64>(host, load<u64>(a));
      store<u16>(host, load<u16>(a, 8), 8);
      break;
    case STORE_I16:
      flags = f80_to_i16(host, a, control);
      break;
    case STORE_I32:
      flags = f80_to_i32(host, a, control);
      break;
    case STORE_I64:
      flags = f80_to_i64(host, a, control);
      break;
    case STORE_BCD:
      flags = f80_to_bcd(host, a, control);
      break;
    case TRUNCATE_I16:
      flags = f80_trunc_i16(host, a, control);
      break;
    case TRUNCATE_I32:
      flags = f80_trunc_i32(host, a, control);
      break;
    default:
      flags = f80_trunc_i64(host, a, control);
  }
  account(flags, C1, control);
  if (flags & ~control & (BEFORE | OE | UE)) return 0;
  if (pops) pop();
  return 1;
}

/** FST ST(i) */
export function x87StoreRegister(i: i32, pops: i32): void {
  const top = load<i32>(L.FTOP);
  const to = (top + i) & 7;
  if (isValid(top)) {
    copy(slot(to), slot(top));
    store<i32>(L.FTAG, load<i32>(L.FTAG) | (1 << to));
    store<i32>(L.FSW, load<i32>(L.FSW) & ~C1);
  } else {
    if (!underflow()) return;
    setIndefinite(to);
  }
  if (pops) pop();
}

/** FXCH */
export function x87Exchange(i: i32): void {
  const top = load<i32>(L.FTOP);
  const other = (top + i) & 7;
  if (isValid(top) && isValid(other)) {
    store<i32>(L.FSW, load<i32>(L.FSW) & ~C1);
  } else {
    if (!underflow()) return;
    if (!isValid(top)) setIndefinite(top);
    if (!isValid(other)) setIndefinite(other);
  }
  const value = v128.load(slot(top));
  copy(slot(top), slot(other));
  v128.store(slot(other), value);
}

/** FCMOVcc */
export function x87Move(i: i32, condition: i32): void {
  const top = load<i32>(L.FTOP);
  const from = (top + i) & 7;
  if (isValid(top) && isValid(from)) {
    if (condition) copy(slot(top), slot(from));
    store<i32>(L.FSW, load<i32>(L.FSW) & ~C1);
  } else if (underflow()) setIndefinite(top);
}

// Two operands

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

/** FADD and friends of ST0 and ST(i). `mode` bit 0: the result goes to ST(i); bit 1: then pop. */
export function x87Arithmetic(op: i32, i: i32, mode: i32): void {
  const top = load<i32>(L.FTOP);
  const other = (top + i) & 7;
  const to = mode & 1 ? other : top;
  if (isValid(top) && isValid(other)) {
    const control = load<i32>(L.FCW);
    const flags = compute(op, slot(to), slot(top), slot(other), control);
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

function compared(flags: i32, control: i32, pops: i32): void {
  if (flags & ~control & BEFORE) {
    account(flags & BEFORE, C1, control);
    return;
  }
  account(flags, CONDITIONS, control);
  while (pops-- > 0) pop();
}

/** A comparison with an empty register. */
function unordered(pops: i32): void {
  if (!underflow()) return;
  store<i32>(L.FSW, load<i32>(L.FSW) | C0 | C2 | C3);
  while (pops-- > 0) pop();
}

/** FCOMI, FUCOMI: ZF, PF and CF at their places, or -1 when they are to stay. */
export function x87CompareFlags(i: i32, quiet: i32, pops: i32): i32 {
  const top = load<i32>(L.FTOP);
  const other = (top + i) & 7;
  let codes = C0 | C2 | C3;
  if (isValid(top) && isValid(other)) {
    const control = load<i32>(L.FCW);
    const a = slot(top);
    const b = slot(other);
    const flags = quiet ? f80_ucom(a, b, control) : f80_com(a, b, control);
    account(flags & BEFORE, C1, control);
    if (flags & ~control & BEFORE) return -1;
    codes = flags;
  } else if (!underflow()) return -1;
  if (pops) pop();
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
  } else flags = compute(op, a, a, OPERAND, control);
  account(flags, C1, control);
}

// One operand, or two that are named by the instruction

export function x87ChangeSign(): void {
  const top = load<i32>(L.FTOP);
  if (isValid(top)) {
    f80_chs(slot(top), slot(top));
    store<i32>(L.FSW, load<i32>(L.FSW) & ~C1);
  } else if (underflow()) setIndefinite(top);
}

export function x87Absolute(): void {
  const top = load<i32>(L.FTOP);
  if (isValid(top)) {
    f80_abs(slot(top), slot(top));
    store<i32>(L.FSW, load<i32>(L.FSW) & ~C1);
  } else if (underflow()) setIndefinite(top);
}

/** FTST */
export function x87Test(): void {
  const top = load<i32>(L.FTOP);
  if (!isValid(top)) return unordered(0);
  const control = load<i32>(L.FCW);
  compared(f80_tst(slot(top), control), control, 0);
}

/** FXAM */
export function x87Examine(): void {
  const top = load<i32>(L.FTOP);
  let codes = f80_xam(slot(top));
  if (!isValid(top)) codes = (codes & C1) | C3 | C0;
  store<i32>(L.FSW, (load<i32>(L.FSW) & ~CONDITIONS) | codes);
}

export function x87SquareRoot(): void {
  const top = load<i32>(L.FTOP);
  if (isValid(top)) {
    const control = load<i32>(L.FCW);
    account(f80_sqrt(slot(top), slot(top), control), C1, control);
  } else if (underflow()) setIndefinite(top);
}

export function x87RoundToInteger(): void {
  const top = load<i32>(L.FTOP);
  if (isValid(top)) {
    const control = load<i32>(L.FCW);
    account(f80_rndint(slot(top), slot(top), control), C1, control);
  } else if (underflow()) setIndefinite(top);
}

export function x87Scale(): void {
  const top = load<i32>(L.FTOP);
  const other = (top + 1) & 7;
  if (isValid(top) && isValid(other)) {
    const control = load<i32>(L.FCW);
    account(f80_scale(slot(top), slot(top), slot(other), control), C1, control);
  } else if (underflow()) setIndefinite(top);
}

/** FPREM; FPREM1 when `nearest`. */
export function x87Remainder(nearest: i32): void {
  const top = load<i32>(L.FTOP);
  const other = (top + 1) & 7;
  if (isValid(top) && isValid(other)) {
    const control = load<i32>(L.FCW);
    const a = slot(top);
    const b = slot(other);
    const flags = nearest ? f80_prem1(a, a, b, control) : f80_prem(a, a, b, control);
    account(flags, flags & ~control & BEFORE ? C1 : CONDITIONS, control);
  } else if (underflow()) setIndefinite(top);
}

/** FXTRACT: the exponent replaces the top, the significand is pushed. */
export function x87Extract(): void {
  const top = load<i32>(L.FTOP);
  const control = load<i32>(L.FCW);
  if (!isValid(top)) {
    if (underflow()) {
      setIndefinite(top);
      pushIndefinite();
    }
    return;
  }
  const register = (top - 1) & 7;
  if (isValid(register)) {
    account(IE | SF | C1, C1, control);
    if (control & IE) {
      setIndefinite(top);
      pushIndefinite();
    }
    return;
  }
  pushed(register, f80_xtract(slot(top), slot(register), slot(top), control));
}

export function pushIndefinite(): void {
  const register = (load<i32>(L.FTOP) - 1) & 7;
  setIndefinite(register);
  store<i32>(L.FTOP, register);
}

// The stack itself

/** FINCSTP (1) and FDECSTP (-1) */
export function x87Rotate(by: i32): void {
  store<i32>(L.FTOP, (load<i32>(L.FTOP) + by) & 7);
  store<i32>(L.FSW, load<i32>(L.FSW) & ~C1);
}

/** FFREE; with `pops`, FFREEP. */
export function x87Free(i: i32, pops: i32): void {
  store<i32>(L.FTAG, load<i32>(L.FTAG) & ~(1 << ((load<i32>(L.FTOP) + i) & 7)));
  if (pops) store<i32>(L.FTOP, (load<i32>(L.FTOP) + 1) & 7);
}
