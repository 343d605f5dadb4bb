/** What compiled instructions see of the arithmetic flags, from what is known of them: as ops.ts has it for code that does not know. */
import * as L from '../layout';
import { indexOf } from './callees';
import { CALLEE_STORE_FLAGS, I32, I64 } from './codes';
import * as ir from './ir';
import { a, b, carry as knownCarry, DYNAMIC, giveFlags, kind, load32, load64, setFlags, storeFlags } from './place';
import { i32Of, i64Of } from './node';
import {
  EXTEND16, EXTEND32, EXTEND8, EXTEND_U, I32_AND, I32_EQZ, I32_OR, I32_POPCNT, I32_SHL, I32_SHR_U, I32_XOR, I64_ADD, I64_AND, I64_EQ,
  I64_EQZ, I64_LE_S, I64_LE_U, I64_LT_S, I64_LT_U, I64_SHL, I64_SHR_U, I64_SUB, I64_XOR, WRAP,
} from './opcodes';

const CF: i32 = 0x001;
const PF: i32 = 0x004;
const AF: i32 = 0x010;
const OF: i32 = 0x800;

/** Changes of the flags so far. */
export let changes: u32 = 0;

export function noteChange(): void {
  changes++;
}

// Arithmetic, as in ops.ts

export function narrow(x: u32): u32 {
  return ir.op1(I32, WRAP, x);
}

export function widen(x: u32): u32 {
  return ir.op1(I64, EXTEND_U, x);
}

export function cut(x: u32, bits: u32): u32 {
  if (bits >= 64) return x;
  return bits == 32 ? widen(narrow(x)) : ir.op2(I64, I64_AND, x, i64Of((1 << <i64>bits) - 1));
}

function signed(x: u32, bits: u32): u32 {
  if (bits == 64) return x;
  return ir.op1(I64, bits == 32 ? EXTEND32 : bits == 16 ? EXTEND16 : EXTEND8, x);
}

function and32(x: u32, mask: i32): u32 {
  return ir.op2(I32, I32_AND, x, i32Of(mask));
}

function isZero(x: u32): u32 {
  return ir.op1(I32, I64_EQZ, x);
}

function xor64(x: u32, y: u32): u32 {
  return ir.op2(I64, I64_XOR, x, y);
}

function sub64(x: u32, y: u32): u32 {
  return ir.op2(I64, I64_SUB, x, y);
}

function add64(x: u32, y: u32): u32 {
  return ir.op2(I64, I64_ADD, x, y);
}

function below(x: u32, y: u32): u32 {
  return ir.op2(I32, I64_LT_U, x, y);
}

function less(x: u32, y: u32): u32 {
  return ir.op2(I32, I64_LT_S, x, y);
}

/** OF at its place from a value whose top operand bit is the flag. */
function overflowFrom(x: u32, bits: u32): u32 {
  const at = bits >= 12 ? ir.op2(I64, I64_SHR_U, x, i64Of(bits - 12)) : ir.op2(I64, I64_SHL, x, i64Of(12 - bits));
  return and32(narrow(at), OF);
}

function adjustFrom(x: u32): u32 {
  return and32(narrow(x), AF);
}

function allOf(x: u32, y: u32, z: u32): u32 {
  return ir.op2(I32, I32_OR, ir.op2(I32, I32_OR, x, y), z);
}

function auxOfSum(x: u32, y: u32, sum: u32, carryOut: u32, bits: u32): u32 {
  const left = xor64(x, sum);
  const overflow = overflowFrom(ir.op2(I64, I64_AND, left, xor64(y, sum)), bits);
  const adjust = adjustFrom(xor64(xor64(x, y), sum));
  return allOf(carryOut, adjust, overflow);
}

function auxOfDifference(x: u32, y: u32, difference: u32, borrowOut: u32, bits: u32): u32 {
  const left = xor64(x, y);
  const overflow = overflowFrom(ir.op2(I64, I64_AND, left, xor64(x, difference)), bits);
  const adjust = adjustFrom(xor64(xor64(x, y), difference));
  return allOf(borrowOut, adjust, overflow);
}

/** When what the flags are is found out at run time only, they are written to the state first. */
function know(): void {
  if (kind != DYNAMIC && kind != L.LAZY_IMUL) return;
  storeFlags();
  const call = ir.callOf(0, indexOf(CALLEE_STORE_FLAGS), 3);
  giveFlags(call);
  ir.done(call);
  changes++;
  setFlags(L.LAZY_MEMORY, 0, 0);
}

/** Operation (LAZY_ADD, LAZY_SUB, LAZY_INC, LAZY_DEC) of a sized kind. */
function operation(): i32 {
  return kind - ((kind - L.LAZY_ADD) & 3);
}

function operandBits(): u32 {
  return 8 << ((kind - L.LAZY_ADD) & 3);
}

export function flagResult(): u32 {
  know();
  if (kind == L.LAZY_MEMORY) return load64(L.FLAG_RES);
  if (kind <= L.LAZY_LOGIC) return a;
  const did = operation();
  return signed(did == L.LAZY_ADD ? add64(a, b) : did == L.LAZY_SUB ? sub64(a, b) : a, operandBits());
}

export function flagAux(): u32 {
  know();
  if (kind == L.LAZY_MEMORY) return load32(L.FLAG_AUX);
  if (kind == L.LAZY_PLAIN) return narrow(b);
  if (kind == L.LAZY_LOGIC) return i32Of(0);
  const bits = operandBits();
  const one = i64Of(1);
  switch (operation()) {
    case L.LAZY_ADD: {
      const sum = cut(add64(a, b), bits);
      return auxOfSum(a, b, sum, below(sum, a), bits);
    }
    case L.LAZY_SUB: {
      const difference = cut(sub64(a, b), bits);
      return auxOfDifference(a, b, difference, below(a, b), bits);
    }
    case L.LAZY_INC: {
      const from = cut(sub64(a, one), bits);
      return auxOfSum(from, one, a, narrow(b), bits);
    }
    default: {
      const from = cut(add64(a, one), bits);
      return auxOfDifference(from, one, a, narrow(b), bits);
    }
  }
}

/** CF as i64 0 or 1. */
export function carry(): u32 {
  if (knownCarry) return knownCarry;
  know();
  if (kind == L.LAZY_MEMORY) return ir.op2(I64, I64_AND, widen(flagAux()), i64Of(CF));
  if (kind == L.LAZY_PLAIN) return ir.op2(I64, I64_AND, b, i64Of(CF));
  if (kind == L.LAZY_LOGIC) return i64Of(0);
  const did = operation();
  if (did == L.LAZY_ADD) return widen(below(cut(add64(a, b), operandBits()), a));
  return did == L.LAZY_SUB ? widen(below(a, b)) : b;
}

/** An even condition of the difference a - b; 0 for those that ask for more than the order of the two. */
function comparison(number: u32, bits: u32): u32 {
  switch (number) {
    case 2: return below(a, b);
    case 4: return ir.op2(I32, I64_EQ, a, b);
    case 6: return ir.op2(I32, I64_LE_U, a, b);
    case 12: {
      const x = signed(a, bits);
      return less(x, signed(b, bits));
    }
    case 14: {
      const x = signed(a, bits);
      return ir.op2(I32, I64_LE_S, x, signed(b, bits));
    }
    default: return 0;
  } // prettier-ignore
}

/** An even condition straight from what was compared; 0 where that is not known. */
function compared(number: u32): u32 {
  if (number == 2) return narrow(carry());
  know();
  if (kind == L.LAZY_MEMORY || kind == L.LAZY_PLAIN) return number == 4 ? isZero(flagResult()) : 0;
  if (kind >= L.LAZY_SUB && kind < L.LAZY_INC) {
    const order = comparison(number, operandBits());
    if (order) return order;
  }
  // Nobody has corrected the result: zero and sign are its own.
  const result = flagResult();
  if (number == 4) return isZero(result);
  if (number == 8) return less(result, i64Of(0));
  if (kind == L.LAZY_LOGIC) {
    if (number == 0) return i32Of(0);
    if (number == 6) return isZero(result);
    if (number == 12) return less(result, i64Of(0));
    if (number == 14) return ir.op2(I32, I64_LE_S, result, i64Of(0));
  }
  return 0;
}

function sign(): u32 {
  const top = narrow(ir.op2(I64, I64_SHR_U, flagResult(), i64Of(63)));
  return ir.op2(I32, I32_XOR, top, and32(ir.op2(I32, I32_SHR_U, flagAux(), i32Of(7)), 1));
}

function isLess(): u32 {
  const s = sign();
  return ir.op2(I32, I32_XOR, s, and32(ir.op2(I32, I32_SHR_U, flagAux(), i32Of(11)), 1));
}

/** Arithmetic flags at their places in RFLAGS, as i32. */
function packed(): u32 {
  const result = flagResult();
  const parity = and32(ir.op1(I32, I32_POPCNT, and32(narrow(result), 0xff)), 1);
  const p = ir.op2(I32, I32_SHL, ir.op2(I32, I32_XOR, parity, i32Of(1)), i32Of(2));
  const z = ir.op2(I32, I32_SHL, isZero(result), i32Of(6));
  const s = ir.op2(I32, I32_SHL, narrow(ir.op2(I64, I64_SHR_U, result, i64Of(63))), i32Of(7));
  const all = allOf(p, z, s);
  return ir.op2(I32, I32_XOR, all, flagAux());
}

function uncompared(number: u32): u32 {
  switch (number) {
    case 0: return and32(flagAux(), OF);
    case 2: return and32(flagAux(), CF);
    case 4: return isZero(flagResult());
    case 6: {
      const c = and32(flagAux(), CF);
      return ir.op2(I32, I32_OR, c, isZero(flagResult()));
    }
    case 8: return sign();
    case 10: return and32(packed(), PF);
    case 12: return isLess();
    default: {
      const l = isLess();
      return ir.op2(I32, I32_OR, l, isZero(flagResult()));
    }
  } // prettier-ignore
}

/** A condition by its number in encodings (0 O … 15 G), as i32: zero or non-zero. */
export function condition(number: u32): u32 {
  let test = compared(number & ~1);
  if (!test) test = uncompared(number & ~1);
  return number & 1 ? ir.op1(I32, I32_EQZ, test) : test;
}
