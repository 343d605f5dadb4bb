/** x87 instructions that work on the top of the stack alone, or on ST0 and ST1. See x87-move.ts for the scheme. */
import * as L from './layout';
import {
  aClass,
  bClass,
  C0,
  C2,
  C3,
  f80_abs,
  f80_chs,
  f80_prem,
  f80_prem1,
  f80_rndint,
  f80_scale,
  f80_sqrt,
  f80_tst,
  f80_xam,
  f80_xtract,
  QNAN,
} from './softfloat80';
import { f80_2xm1, f80_cos, f80_patan, f80_sin, f80_sincos, f80_tan, f80_yl2x, f80_yl2xp1 } from './transcendental80';
import { C1, IE } from './unpacked';
import { compared, unordered } from './x87-arithmetic';
import { account, BEFORE, CONDITIONS, isValid, pop, pushed, pushIndefinite, setIndefinite, SF, slot, underflow } from './x87-stack';

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

/** Instructions that report an incomplete reduction by C2 clear it even when they fail. */
function clearC2(): void {
  store<i32>(L.FSW, load<i32>(L.FSW) & ~C2);
}

/** FPREM; FPREM1 when `nearest`. */
export function x87Remainder(nearest: i32): void {
  clearC2();
  const top = load<i32>(L.FTOP);
  const other = (top + 1) & 7;
  if (isValid(top) && isValid(other)) {
    const control = load<i32>(L.FCW);
    const a = slot(top);
    const b = slot(other);
    const flags = nearest ? f80_prem1(a, a, b, control) : f80_prem(a, a, b, control);
    const hasQuotient = (flags & (~control | IE) & BEFORE) == 0 && aClass < QNAN && bClass < QNAN;
    account(flags, hasQuotient ? CONDITIONS : C1, control);
  } else if (underflow()) setIndefinite(top);
}

const F2XM1 = 0;
const FSIN = 1;

/** F2XM1, FSIN, FCOS (`op` 0, 1, 2): C2 says that the operand is out of range. */
export function x87Function(op: i32): void {
  if (op != F2XM1) clearC2();
  const top = load<i32>(L.FTOP);
  if (isValid(top)) {
    const control = load<i32>(L.FCW);
    const a = slot(top);
    if (op == F2XM1) account(f80_2xm1(a, a, control), C1, control);
    else account(op == FSIN ? f80_sin(a, a, control) : f80_cos(a, a, control), C1, control);
  } else if (underflow()) setIndefinite(top);
}

const FYL2X = 0;
const FYL2XP1 = 1;

/** FYL2X, FYL2XP1, FPATAN (`op` 0, 1, 2): the result replaces ST1, then ST0 is popped. */
export function x87FunctionOfTwo(op: i32): void {
  const top = load<i32>(L.FTOP);
  const other = (top + 1) & 7;
  if (isValid(top) && isValid(other)) {
    const control = load<i32>(L.FCW);
    const a = slot(top);
    const b = slot(other);
    let flags: i32;
    if (op == FYL2X) flags = f80_yl2x(b, a, b, control);
    else if (op == FYL2XP1) flags = f80_yl2xp1(b, a, b, control);
    else flags = f80_patan(b, a, b, control);
    account(flags, C1, control);
    if (flags & ~control & BEFORE) return;
  } else {
    if (!underflow()) return;
    setIndefinite(other);
  }
  pop();
}

const FXTRACT = 0;
const FSINCOS = 1;

/** FXTRACT, FSINCOS, FPTAN (`op` 0, 1, 2): one result replaces ST0, the other is pushed. */
export function x87FunctionOfOne(op: i32): void {
  const top = load<i32>(L.FTOP);
  const register = (top - 1) & 7;
  const control = load<i32>(L.FCW);
  if (op != FXTRACT) clearC2();
  if (!isValid(top) || isValid(register)) {
    account(isValid(top) ? IE | SF | C1 : IE | SF, C1, control);
    if (control & IE) {
      setIndefinite(top);
      pushIndefinite();
    }
    return;
  }
  const a = slot(top);
  let flags: i32;
  if (op == FXTRACT) flags = f80_xtract(a, slot(register), a, control);
  else if (op == FSINCOS) flags = f80_sincos(a, slot(register), a, control);
  else flags = f80_tan(a, slot(register), a, control);
  if (flags & C2 || flags & ~control & BEFORE) account(flags, C1, control);
  else pushed(register, flags);
}
