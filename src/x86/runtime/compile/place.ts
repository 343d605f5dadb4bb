/**
 * What is known where code is built: the region's variables, general and vector registers, and the arithmetic flags. Where a region loops, general
 * registers are variables, read when it begins and written back when it is left. Elsewhere the state stays right all the time: a register is
 * written at once, and read when it is first needed since ways have met.
 */
import * as L from '../layout';
import * as ir from './ir';
import { I32, I64, V128 } from './codes';
import { allocate, i32Of, i64Of } from './node';
import { I32_ADD, I32_LOAD, I32_STORE, I64_ADD, I64_LOAD, I64_STORE, V128_LOAD, V128_STORE } from './opcodes';

// The region's variables
export let at: u32 = 0;
export let limit: u32 = 0;
export let base: u32 = 0;
export let entry: u32 = 0;
/** Where an exit leads: 0 to `address`, LAND and a record, or a record, with the instructions before it that `at` lacks. */
export let target: u32 = 0;
export let address: u32 = 0;
let tlbRead: u32 = 0;
let tlbWrite: u32 = 0;

/** The construct that exits break out of. */
export let exit: u32 = 0;
/** Scope that the present step is built in. */
export let stepScope: u32 = 0;
/** Instructions of the present block before the present one. */
export let before: u32 = 0;

// General registers
let lastingRegisters: bool = false;
let written: u32 = 0;
/** Bits of the registers whose variables have their values here. Where registers last, all have. */
export let known: u32 = 0;
/** Variables of general registers, in the order that they were needed. */
const REGISTERS: u32 = L.COMPILE_STATE + 0x100; // 16 * (local, place in the order)
const ORDER: u32 = L.COMPILE_STATE + 0x180; // 16 * number
let registers: u32 = 0;
let writtenRegisters: u32 = 0;
const WRITTEN: u32 = L.COMPILE_STATE + 0x1c0; // 16 * number

// Halves of YMM registers
const HALVES: u32 = L.COMPILE_STATE + 0x200; // 32 * local
const HALF_ORDER: u32 = L.COMPILE_STATE + 0x280; // 32 * half
const HALVES_WRITTEN: u32 = L.COMPILE_STATE + 0x300; // 32 * half
let halves: u32 = 0;
let writtenHalves: u32 = 0;
let writtenHalfBits: u32 = 0;
/** Registers whose upper halves are operands in the region. */
export let wide: u32 = 0;

export function zero(): u32 {
  return i32Of(0);
}

export function load32(at: u32): u32 {
  return ir.loadOf(I32, I32_LOAD, zero(), at);
}

export function load64(at: u32): u32 {
  return ir.loadOf(I64, I64_LOAD, zero(), at);
}

export function store32(at: u32, value: u32): void {
  ir.storeOf(I32_STORE, zero(), value, at);
}

export function store64(at: u32, value: u32): void {
  ir.storeOf(I64_STORE, zero(), value, at);
}

export function begin(lasting: bool, wideRegisters: u32): void {
  kindVariable = ir.variable(I32);
  aVariable = ir.variable(I64);
  bVariable = ir.variable(I64);
  at = ir.variable(I32);
  limit = ir.variable(I32);
  base = ir.variable(I64);
  entry = ir.variable(I32);
  target = ir.variable(I32);
  address = ir.variable(I64);
  tlbRead = 0;
  tlbWrite = 0;
  lastingRegisters = lasting;
  written = 0;
  known = 0;
  registers = 0;
  writtenRegisters = 0;
  halves = 0;
  writtenHalves = 0;
  writtenHalfBits = 0;
  wide = wideRegisters;
  memory.fill(REGISTERS, 0, 0x80);
  memory.fill(HALVES, 0, 0x80);
  forget();
}

export function setExit(label: u32): void {
  exit = label;
}

export function setKnown(bits: u32): void {
  known = bits;
}

export function setBefore(count: u32): void {
  before = count;
}

export function beginStep(): void {
  stepScope = ir.scope;
}

/** Linear address of an offset from the region's first page. */
export function linear(offset: i64): u32 {
  return ir.op2(I64, I64_ADD, ir.get(I64, base), i64Of(offset));
}

/** Record address that straight execution would have reached before the present step. */
export function position(): u32 {
  return ir.op2(I32, I32_ADD, ir.get(I32, at), i32Of(before * L.RECORD_BYTES));
}

// General registers

function registerOf(number: u32): u32 {
  const slot = REGISTERS + (number << 2);
  let local = load<u32>(slot);
  if (!local) {
    local = ir.lasting(I64);
    store<u32>(slot, local);
    store<u32>(ORDER + (registers << 2), number);
    registers++;
  }
  return local;
}

export function readGpr(number: u32): u32 {
  if (!lastingRegisters && !(known & (1 << number))) {
    if (ir.scope != stepScope) return load64(L.GPR + (number << 3));
    const value = load64(L.GPR + (number << 3));
    ir.set(registerOf(number), value);
    known |= 1 << number;
  }
  return ir.get(I64, registerOf(number));
}

export function writeGpr(number: u32, value: u32): void {
  ir.set(registerOf(number), value);
  if (lastingRegisters) {
    if (written & (1 << number)) return;
    written |= 1 << number;
    store<u32>(WRITTEN + (writtenRegisters << 2), number);
    writtenRegisters++;
  } else {
    storeRegister(number);
    if (ir.scope == stepScope) known |= 1 << number;
  }
}

function storeRegister(number: u32): void {
  const to = zero();
  ir.storeOf(I64_STORE, to, ir.get(I64, registerOf(number)), L.GPR + (number << 3));
}

// Vector registers, by the address of a half

function halfOf(address: u32): u32 {
  const half = (address - L.YMM) >> 4;
  const slot = HALVES + (half << 2);
  let local = load<u32>(slot);
  if (!local) {
    local = ir.lasting(V128);
    store<u32>(slot, local);
    store<u32>(HALF_ORDER + (halves << 2), half);
    halves++;
  }
  return local;
}

export function readVector(address: u32): u32 {
  return ir.get(V128, halfOf(address));
}

export function writeVector(address: u32, value: u32): void {
  const half = (address - L.YMM) >> 4;
  // VZEROUPPER clears many that nobody looks at.
  if (half & 1 && !(wide & (1 << (half >> 1)))) {
    ir.storeOf(V128_STORE, zero(), value, address);
    return;
  }
  if (!(writtenHalfBits & (1 << half))) {
    writtenHalfBits |= 1 << half;
    store<u32>(HALVES_WRITTEN + (writtenHalves << 2), half);
    writtenHalves++;
  }
  ir.set(halfOf(address), value);
}

/** Leaves it in the state, for whoever reads it there. */
export function showVector(address: u32): void {
  const to = zero();
  ir.storeOf(V128_STORE, to, readVector(address), address);
}

// All of it

/** When the region begins. */
export function loadRegisters(): void {
  if (lastingRegisters) {
    for (let n: u32 = 0; n < registers; n++) {
      const number = load<u32>(ORDER + (n << 2));
      ir.set(registerOf(number), load64(L.GPR + (number << 3)));
    }
  }
  for (let n: u32 = 0; n < halves; n++) {
    const address = L.YMM + (load<u32>(HALF_ORDER + (n << 2)) << 4);
    ir.set(halfOf(address), ir.loadOf(V128, V128_LOAD, zero(), address));
  }
}

/** When it is left. */
export function storeRegisters(): void {
  for (let n: u32 = 0; n < writtenHalves; n++) showVector(L.YMM + (load<u32>(HALVES_WRITTEN + (n << 2)) << 4));
  for (let n: u32 = 0; n < writtenRegisters; n++) storeRegister(load<u32>(WRITTEN + (n << 2)));
}

// TLBs

/** Address (i32) of the active TLB's table. */
export function tlb(write: bool): u32 {
  if (write) {
    if (!tlbWrite) tlbWrite = ir.lasting(I32);
    return ir.get(I32, tlbWrite);
  }
  if (!tlbRead) tlbRead = ir.lasting(I32);
  return ir.get(I32, tlbRead);
}

/** The active TLB may be another one now. */
export function tlbChanged(): void {
  if (!tlbRead) tlbRead = ir.lasting(I32);
  ir.set(tlbRead, load32(L.TLB_READ));
  if (!tlbWrite) tlbWrite = ir.lasting(I32);
  ir.set(tlbWrite, load32(L.TLB_WRITE));
}

export function loadTlbs(): void {
  if (tlbRead) ir.set(tlbRead, load32(L.TLB_READ));
  if (tlbWrite) ir.set(tlbWrite, load32(L.TLB_WRITE));
}

// The arithmetic flags: what set them last, as a kind and two values (LAZY_*). They become flags only where somebody looks. Between blocks, kind and
// values are in variables.

/** The variables tell. */
export const DYNAMIC: i32 = -1;

export let kindVariable: u32 = 0;
let aVariable: u32 = 0;
let bVariable: u32 = 0;

export let kind: i32 = -1;
export let a: u32 = 0;
export let b: u32 = 0;
/** CF by itself, as i64 0 or 1, where it is cheaper than from the kind. */
export let carry: u32 = 0;
/** The variables say the same. */
export let stored: bool = true;

/** Nothing is known of the flags but that the variables tell. */
export function forget(): void {
  setState(DYNAMIC, 0, 0, 0, true);
}

/** Keeps what is known of the flags, for `recall`. */
export function keep(): u32 {
  const kept = allocate(20);
  store<i32>(kept, kind);
  store<u32>(kept, a, 4);
  store<u32>(kept, b, 8);
  store<u32>(kept, carry, 12);
  store<u32>(kept, stored ? 1 : 0, 16);
  return kept;
}

/** Goes back to what was known. */
export function recall(kept: u32): void {
  setState(load<i32>(kept), load<u32>(kept, 4), load<u32>(kept, 8), load<u32>(kept, 12), load<u32>(kept, 16) != 0);
}

function setState(newKind: i32, newA: u32, newB: u32, newCarry: u32, newStored: bool): void {
  kind = newKind;
  a = newA;
  b = newB;
  carry = newCarry;
  stored = newStored;
}

/** Notes what sets the flags from now on. */
export function setFlags(newKind: i32, newA: u32, newB: u32): void {
  setState(newKind, newA, newB, 0, false);
}

export function setCarry(value: u32): void {
  carry = value;
}

/** Puts them into the variables; for code that is built next to what goes on with them unchanged. */
export function storeFlags(): void {
  if (stored || kind == DYNAMIC) return;
  ir.set(kindVariable, i32Of(kind));
  if (a) ir.set(aVariable, a);
  if (b) ir.set(bVariable, b);
}

/** Puts them into the variables, and goes on knowing that. */
export function settleFlags(): void {
  if (stored) return;
  storeFlags();
  stored = true;
}

/** The variables' kind and values, as arguments of a call. */
export function giveFlags(call: u32): void {
  ir.give(call, 0, ir.get(I32, kindVariable));
  ir.give(call, 1, ir.get(I64, aVariable));
  ir.give(call, 2, ir.get(I64, bVariable));
}

/** Takes over what other compiled code has left in the state. */
export function receiveFlags(): void {
  ir.set(kindVariable, load32(L.LAZY_KIND));
  ir.set(aVariable, load64(L.LAZY_A));
  ir.set(bVariable, load64(L.LAZY_B));
}

/** Leaves what the variables tell in the state. */
export function passFlags(): void {
  store32(L.LAZY_KIND, ir.get(I32, kindVariable));
  store64(L.LAZY_A, ir.get(I64, aVariable));
  store64(L.LAZY_B, ir.get(I64, bVariable));
}

// Ways out

/** Out of the region, to a linear address. */
export function leaveForever(linear: u32): void {
  storeFlags();
  ir.set(target, i32Of(0));
  ir.set(address, linear);
  ir.br(exit);
}

/** Out of the region, to the interpreter's handler of a record, `more` instructions after what has been counted. */
export function leaveBefore(record: u32, more: u32): void {
  storeFlags();
  ir.set(target, i32Of(record + more));
  ir.br(exit);
}

/** Leaves before the present step under a condition (i32); what follows runs when it does not hold. */
export function leaveIf(record: u32, condition: u32): void {
  // Under a condition within the step, what follows cannot rely on it.
  if (ir.scope == stepScope) settleFlags();
  else storeFlags();
  ir.set(target, i32Of(record + before));
  ir.brIf(exit, condition);
}
