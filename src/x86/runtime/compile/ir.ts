/**
 * A function body under construction. Values are nodes of a graph, created in program order; effects (stores, calls, variable
 * assignments, control) are kept in that order too. See write.ts for what becomes of it.
 * The same as wasm/ir.ts does for what is built beforehand, on records in memory.
 */
import * as L from '../layout';
import { I32, I64 } from './codes';
import { fold, uncut } from './fold';
import {
  ALIGNED, allocate, argument, BRANCH, BRANCH_TABLE, BYTES, C_BODY, C_CONDITION, C_LOOP, C_OTHERWISE, C_OUTER, C_OUTER_LOOP, C_WHAT, CALL,
  clear, CONDITION, CONST, CONTROL, CONTROL_BYTES, EFFECT, GET, hasRoom, INDEX, make, N_ARGS, N_EPOCH, N_IMMEDIATE, N_LOOP, N_MORE, N_MORES,
  N_NEXT, N_PREVIOUS, N_USER, N_USES, NOTHING, PARAM, PURE, READ, S_LAST, SET,
} from './node';

const WHAT_BLOCK: u32 = 2;
const WHAT_LOOP: u32 = 3;
const WHAT_IF: u32 = 4;

// Where everything lies
const ROOT: u32 = L.COMPILE_STATE; // a scope
const ROOT_TOO: u32 = L.COMPILE_STATE + 8;
/** Types of locals behind the parameter, a byte each. */
export const LOCALS: u32 = L.COMPILE_STATE + 0x1000;
const MOST_LOCALS: u32 = 0x4000;
/** Variables that nobody reads any more, for those to come: u16 locals. */
const FREE: u32 = L.COMPILE_STATE + 0x5000;
/** Variables that have been lent, u16. */
const LENT: u32 = L.COMPILE_STATE + 0x9000;

/** Something runs before what was built first. */
let atStartToo: bool = false;
export let scope: u32 = 0;
let epoch: u32 = 0;
let loop: u32 = 0;
let loops: u32 = 0;
export let locals: u32 = 0;
let free: u32 = 0;
let lent: u32 = 0;
/** There was no room. */
export let full: bool = false;
/** The function's parameter, an i32. */
export let parameter: u32 = 0;

export function begin(): void {
  clear();
  atStartToo = false;
  store<u64>(ROOT, 0);
  scope = ROOT;
  epoch = 0;
  loop = 0;
  loops = 0;
  locals = 0;
  free = 0;
  lent = 0;
  full = false;
  parameter = made(PARAM, I32, 0, 0, 0);
  store<u32>(parameter, 0, N_IMMEDIATE);
}

/** Whether there is room for `bytes` more of nodes. */
export function hasRoomFor(bytes: u32): bool {
  if (hasRoom(bytes) && locals < MOST_LOCALS - 512) return true;
  full = true;
  return false;
}

/** A node that is created here and now. */
function made(kind: u32, type: u32, code: u32, form: u32, count: u32): u32 {
  const node = make(kind, type, code, form, count);
  store<u32>(node, epoch, N_EPOCH);
  store<u32>(node, loop, N_LOOP);
  return node;
}

/** Gives a node an argument. */
export function give(node: u32, n: u32, argument: u32): void {
  store<u32>(node + (n << 2), argument, N_ARGS);
  store<u32>(argument, load<u32>(argument, N_USES) + 1, N_USES);
  store<u32>(argument, node, N_USER);
}

/** Puts a node (or a construct) behind what is there. */
function append(node: u32): void {
  const last = load<u32>(scope, S_LAST);
  store<u32>(node, 0, N_NEXT);
  store<u32>(node, last, N_PREVIOUS);
  if (last) store<u32>(last, node, N_NEXT);
  else store<u32>(scope, node);
  store<u32>(scope, node, S_LAST);
}

function put(node: u32): u32 {
  append(node);
  if (load<u8>(node) >= <u8>CALL) epoch++;
  return node;
}

// Values

/** A constant by its opcode and the bytes that follow. */
export function bytesOf(type: u32, code: u32, bytes: u32, count: u32): u32 {
  const node = made(CONST, type, code, BYTES, 0);
  store<u32>(node, bytes, N_MORE);
  store<u32>(node, count, N_MORES);
  return node;
}

export function op1(type: u32, code: u32, a: u32): u32 {
  a = uncut(code, a);
  const folded = fold(code, 1, a, 0, 0);
  if (folded) return folded;
  const node = made(PURE, type, code, NOTHING, 1);
  give(node, 0, a);
  return put(node);
}

export function op2(type: u32, code: u32, a: u32, b: u32): u32 {
  const folded = fold(code, 2, a, b, 0);
  if (folded) return folded;
  const node = made(PURE, type, code, NOTHING, 2);
  give(node, 0, a);
  give(node, 1, b);
  return put(node);
}

export function op3(type: u32, code: u32, a: u32, b: u32, c: u32): u32 {
  const folded = fold(code, 3, a, b, c);
  if (folded) return folded;
  const node = made(PURE, type, code, NOTHING, 3);
  give(node, 0, a);
  give(node, 1, b);
  give(node, 2, c);
  return put(node);
}

/** An operation with lanes, `lanes` bytes from an address on; arguments are given afterwards. */
export function lanesOf(type: u32, code: u32, count: u32, at: u32, lanes: u32): u32 {
  const node = made(PURE, type, code, BYTES, count);
  store<u32>(node, at, N_MORE);
  store<u32>(node, lanes, N_MORES);
  return node;
}

export function loadOf(type: u32, code: u32, address: u32, offset: u32): u32 {
  const node = made(READ, type, code, ALIGNED, 1);
  store<u32>(node, offset, N_IMMEDIATE);
  give(node, 0, address);
  return put(node);
}

export function storeOf(code: u32, address: u32, value: u32, offset: u32): void {
  const node = made(EFFECT, 0, code, ALIGNED, 2);
  store<u32>(node, offset, N_IMMEDIATE);
  give(node, 0, address);
  give(node, 1, value);
  put(node);
}

/** A call; its arguments are given afterwards, then it is `done`. @param type of the result, or 0 */
export function callOf(type: u32, index: u32, count: u32): u32 {
  const node = made(type ? CALL : EFFECT, type, 0x10, INDEX, count);
  store<u32>(node, index, N_IMMEDIATE);
  return node;
}

/** Puts a node whose arguments have been given. */
export function done(node: u32): u32 {
  return put(node);
}

// Variables

export function newLocal(type: u32): u32 {
  if (locals == MOST_LOCALS) {
    full = true;
    return 1;
  }
  store<u8>(LOCALS + locals, type);
  return ++locals;
}

// @ts-ignore: decorator
@inline
function localType(local: u32): u32 {
  return load<u8>(LOCALS + local - 1);
}

/** A variable, for as long as it is borrowed. */
export function variable(type: u32): u32 {
  let local: u32 = 0;
  for (let n: u32 = 0; n < free; n++) {
    const at = FREE + (n << 1);
    const candidate: u32 = load<u16>(at);
    if (localType(candidate) != type) continue;
    local = candidate;
    free--;
    memory.copy(at, at + 2, (free - n) << 1);
    break;
  }
  if (!local) local = newLocal(type);
  store<u16>(LENT + (lent << 1), local);
  lent++;
  return local;
}

/** A variable of its own. */
export function lasting(type: u32): u32 {
  return newLocal(type);
}

/** What `giveBack` wants to know. */
export function borrowed(): u32 {
  return lent;
}

/** Nobody reads the variables any more that were lent since. */
export function giveBack(before: u32): void {
  for (let n = before; n < lent; n++) {
    store<u16>(FREE + (free << 1), load<u16>(LENT + (n << 1)));
    free++;
  }
  lent = before;
}

export function get(type: u32, local: u32): u32 {
  const node = made(GET, type, 0, NOTHING, 0);
  store<u32>(node, local, N_IMMEDIATE);
  return put(node);
}

export function set(local: u32, value: u32): void {
  const node = made(SET, 0, 0x21, INDEX, 1);
  store<u32>(node, local, N_IMMEDIATE);
  give(node, 0, value);
  put(node);
}

// Control

function open(what: u32, condition: u32): u32 {
  const control = allocate(CONTROL_BYTES);
  store<u32>(control, CONTROL);
  store<u32>(control, what, C_WHAT);
  store<u32>(control, condition, C_CONDITION);
  store<u64>(control, 0, C_BODY);
  store<u64>(control, 0, C_OTHERWISE);
  store<u32>(control, scope, C_OUTER);
  store<u32>(control, loop, C_OUTER_LOOP);
  if (condition) {
    store<u32>(condition, load<u32>(condition, N_USES) + 1, N_USES);
    store<u32>(condition, made(CONDITION, 0, 0, NOTHING, 0), N_USER);
  }
  if (what == WHAT_LOOP) loop = ++loops;
  store<u32>(control, loop, C_LOOP);
  append(control);
  epoch++;
  scope = control + C_BODY;
  return control;
}

/** Begins a construct; it is a label, too. */
export function openIf(condition: u32): u32 {
  return open(WHAT_IF, condition);
}

export function openBlock(): u32 {
  return open(WHAT_BLOCK, 0);
}

export function openLoop(): u32 {
  return open(WHAT_LOOP, 0);
}

export function otherwise(control: u32): void {
  epoch++;
  scope = control + C_OTHERWISE;
}

export function close(control: u32): void {
  epoch++;
  scope = load<u32>(control, C_OUTER);
  loop = load<u32>(control, C_OUTER_LOOP);
}

export function br(label: u32): void {
  const node = made(BRANCH, 0, 0x0c, NOTHING, 0);
  store<u32>(node, label, N_MORE);
  put(node);
}

export function brIf(label: u32, condition: u32): void {
  const node = made(BRANCH, 0, 0x0d, NOTHING, 1);
  store<u32>(node, label, N_MORE);
  give(node, 0, condition);
  put(node);
}

/** @param labels address of a table of `count` labels (u32) */
export function brTable(labels: u32, count: u32, number: u32): void {
  const node = made(BRANCH_TABLE, 0, 0x0e, NOTHING, 1);
  store<u32>(node, labels, N_MORE);
  store<u32>(node, count, N_MORES);
  give(node, 0, number);
  put(node);
}

/** Room for a table of `count` words among the nodes. */
export function table(count: u32): u32 {
  return allocate(count << 2);
}

/** Ends the function by a call of one that takes two arguments. */
export function returnCall(index: u32, a: u32, b: u32): void {
  const node = made(EFFECT, 0, 0x12, INDEX, 2);
  store<u32>(node, index, N_IMMEDIATE);
  give(node, 0, a);
  give(node, 1, b);
  put(node);
}

/** What is built from here on runs before all that has been built. */
export function atStart(): void {
  atStartToo = true;
  store<u64>(ROOT_TOO, 0);
  scope = ROOT_TOO;
}

/** Scope of all that has been built, in order. */
export function whole(): u32 {
  if (!atStartToo) return ROOT;
  const last = load<u32>(ROOT_TOO, S_LAST);
  const first = load<u32>(ROOT);
  if (last && first) {
    store<u32>(last, first, N_NEXT);
    store<u32>(first, last, N_PREVIOUS);
    store<u32>(ROOT_TOO, load<u32>(ROOT, S_LAST), S_LAST);
  }
  return ROOT_TOO;
}

/** There is no room for the code. */
export function refuse(): void {
  full = true;
}
