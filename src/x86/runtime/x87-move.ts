/**
 * x87 loads, stores and moves within the stack. Handlers translate the memory operand first and then call one function
 * here with its host address. Registers are counted from the top, as instructions do.
 */
import {
  f80_constant,
  f80_from_bcd,
  f80_from_f32,
  f80_from_f64,
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
import { f80_from_i64 } from './softfloat80';
import { C1, DE, OE, UE } from './unpacked';
import { fastToF32, fastToF64 } from './x87-fast';
import { account, BEFORE, copy, isValid, pop, pushed, pushIndefinite, pushRegister, setIndefinite, slot, underflow } from './x87-stack';

// Loads

export function x87LoadF32(host: u32): void {
  const register = pushRegister();
  if (register < 0) return;
  pushed(register, f80_from_f32(slot(register), load<u32>(host), load<i32>(L.FCW) | DE));
}

export function x87LoadF64(host: u32): void {
  const register = pushRegister();
  if (register < 0) return;
  pushed(register, f80_from_f64(slot(register), load<u64>(host), load<i32>(L.FCW) | DE));
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
  if (!isValid(from)) {
    if (underflow()) pushIndefinite();
    return;
  }
  const register = pushRegister();
  if (register < 0) return;
  copy(slot(register), slot(from));
  pushed(register, 0);
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
      flags = fastToF32(host, a, control);
      if (flags < 0) flags = f80_to_f32(host, a, control);
      break;
    case STORE_F64:
      flags = fastToF64(host, a, control);
      if (flags < 0) flags = f80_to_f64(host, a, control);
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

/** FSTPNCE ST(i): with ST0 empty it only pops. */
export function x87StoreQuietly(i: i32): void {
  const top = load<i32>(L.FTOP);
  const to = (top + i) & 7;
  if (isValid(top)) {
    copy(slot(to), slot(top));
    store<i32>(L.FTAG, load<i32>(L.FTAG) | (1 << to));
  }
  store<i32>(L.FSW, load<i32>(L.FSW) & ~C1);
  pop();
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
  } else if (underflow()) setIndefinite(top);
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
  store<i32>(L.FSW, load<i32>(L.FSW) & ~C1);
  if (pops) pop();
}
