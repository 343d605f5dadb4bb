/**
 * A function body under construction. Values are nodes of a graph, created in program order; effects (stores, calls, variable
 * assignments, control) are kept in that order too. Writing turns single-use values into nested expressions and gives the others a local.
 * The same as wasm/ir.ts does for what is built beforehand, on records in memory.
 */
import * as L from '../layout';
import { fold, uncut } from './fold';

// Kinds of nodes. A read must not move across an effect; a call is an effect that may have a value.
export const CONST: u32 = 0;
export const PARAM: u32 = 1;
export const PURE: u32 = 2;
export const READ: u32 = 3; // depends on memory
export const GET: u32 = 4; // depends on a variable
export const CALL: u32 = 5;
export const EFFECT: u32 = 6; // from here on without a value
export const SET: u32 = 7;
export const BRANCH: u32 = 8;
export const BRANCH_TABLE: u32 = 9;
/** Stands for the construct whose condition a value is. */
export const CONDITION: u32 = 10;
export const CONTROL: u32 = 11;

const UNDECIDED: u32 = 0;
const NESTED: u32 = 1;
const IN_LOCAL: u32 = 2;

// What follows the opcode
export const NOTHING: u32 = 0;
export const ALIGNED: u32 = 1; // no alignment hint, and the offset
export const INDEX: u32 = 2;
export const BYTES: u32 = 3;

// A node
export const N_KIND = 0; // u8
export const N_TYPE = 1; // u8
export const N_PLACEMENT = 2; // u8
export const N_COUNT = 3; // u8: arguments
export const N_CODE = 4; // u16
export const N_FORM = 6; // u8
export const N_KNOWN = 7; // u8: a constant number
export const N_IMMEDIATE = 8; // u32
/** Effects so far when it was created: a read may move only within one epoch. */
export const N_EPOCH = 12; // u32
export const N_LOOP = 16; // u32
export const N_USES = 20; // u32
export const N_USER = 24; // u32
export const N_LOCAL = 28; // i32
export const N_VALUE = 32; // i64 of constants
export const N_MORE = 32; // u32: label, table of labels, or bytes,
export const N_MORES = 36; // u32: and how many
export const N_NEXT = 40; // u32
export const N_PREVIOUS = 44; // u32
export const N_ARGS = 48; // u32 each

// A construct has these in place of what lies between kind and N_NEXT
const C_WHAT = 4; // u16
export const C_CONDITION = 8;
export const C_DEPTH = 12;
const C_LOOP = 16;
const C_BODY = 24; // scope
const C_OTHERWISE = 32; // scope
const C_OUTER = 48;
const C_OUTER_LOOP = 52;
const CONTROL_BYTES: u32 = 56;

// A scope: its first item and its last one.
const S_LAST = 4;

const WHAT_BLOCK: u32 = 2;
const WHAT_LOOP: u32 = 3;
const WHAT_IF: u32 = 4;

const I32: u32 = 0x7f;
const I64: u32 = 0x7e;

// Where everything lies
const ROOT: u32 = L.COMPILE_STATE; // a scope
const ROOT_TOO: u32 = L.COMPILE_STATE + 8;
/** Types of locals behind the parameter, a byte each. */
const LOCALS: u32 = L.COMPILE_STATE + 0x1000;
const MOST_LOCALS: u32 = 0x4000;
/** Variables that nobody reads any more, for those to come: u16 locals. */
const FREE: u32 = L.COMPILE_STATE + 0x5000;
/** Variables that have been lent, u16. */
const LENT: u32 = L.COMPILE_STATE + 0x9000;
/** Locals that are free while code is written, by type: lists of u16. */
const FREE_LOCALS: u32 = L.COMPILE_STATE + 0xd000;
const FREE_LOCALS_BYTES: u32 = 0x2000;
const MOST_FREE_LOCALS: u32 = (FREE_LOCALS_BYTES - 4) / 2;

let next: u32 = 0;
let root: u32 = 0;
export let scope: u32 = 0;
let epoch: u32 = 0;
let loop: u32 = 0;
let loops: u32 = 0;
let locals: u32 = 0;
let free: u32 = 0;
let lent: u32 = 0;
/** There was no room. */
export let full: bool = false;
/** The function's parameter, an i32. */
export let parameter: u32 = 0;

// While code is written
let out: u32 = 0;
let depth: u32 = 0;
let writtenLoop: u32 = 0;

export function begin(): void {
  next = L.COMPILE_NODES;
  root = ROOT;
  store<u64>(ROOT, 0);
  scope = ROOT;
  epoch = 0;
  loop = 0;
  loops = 0;
  locals = 0;
  free = 0;
  lent = 0;
  full = false;
  parameter = make(PARAM, I32, 0, 0, 0);
  store<u32>(parameter, 0, N_IMMEDIATE);
}

/** Whether there is room for `bytes` more of nodes. */
export function hasRoomFor(bytes: u32): bool {
  if (next + bytes <= <u32>L.COMPILE_NODES_END && locals < MOST_LOCALS - 512) return true;
  full = true;
  return false;
}

function make(kind: u32, type: u32, code: u32, form: u32, count: u32): u32 {
  const node = next;
  next += (N_ARGS + (count << 2) + 7) & ~7;
  store<u32>(node, kind | (type << 8) | (count << 24));
  store<u32>(node, code | (form << 16), N_CODE);
  store<u32>(node, 0, N_IMMEDIATE);
  store<u32>(node, epoch, N_EPOCH);
  store<u32>(node, loop, N_LOOP);
  store<u64>(node, 0, N_USES);
  store<i32>(node, -1, N_LOCAL);
  store<u64>(node, 0, N_VALUE);
  return node;
}

// @ts-ignore: decorator
@inline
export function argument(node: u32, n: u32): u32 {
  return load<u32>(node + (n << 2), N_ARGS);
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

export function i32Of(value: i32): u32 {
  const node = make(CONST, I32, 0, NOTHING, 0);
  store<u8>(node, 1, N_KNOWN);
  store<i64>(node, value, N_VALUE);
  return node;
}

export function i64Of(value: i64): u32 {
  const node = make(CONST, I64, 0, NOTHING, 0);
  store<u8>(node, 1, N_KNOWN);
  store<i64>(node, value, N_VALUE);
  return node;
}

/** A constant by its opcode and the bytes that follow. */
export function bytesOf(type: u32, code: u32, bytes: u32, count: u32): u32 {
  const node = make(CONST, type, code, BYTES, 0);
  store<u32>(node, bytes, N_MORE);
  store<u32>(node, count, N_MORES);
  return node;
}

export function isKnown(node: u32): bool {
  return load<u8>(node, N_KNOWN) != 0;
}

export function valueOf(node: u32): i64 {
  return load<i64>(node, N_VALUE);
}

export function typeOf(node: u32): u32 {
  return load<u8>(node, N_TYPE);
}

export function op1(type: u32, code: u32, a: u32): u32 {
  a = uncut(code, a);
  const folded = fold(code, 1, a, 0, 0);
  if (folded) return folded;
  const node = make(PURE, type, code, NOTHING, 1);
  give(node, 0, a);
  return put(node);
}

export function op2(type: u32, code: u32, a: u32, b: u32): u32 {
  const folded = fold(code, 2, a, b, 0);
  if (folded) return folded;
  const node = make(PURE, type, code, NOTHING, 2);
  give(node, 0, a);
  give(node, 1, b);
  return put(node);
}

export function op3(type: u32, code: u32, a: u32, b: u32, c: u32): u32 {
  const folded = fold(code, 3, a, b, c);
  if (folded) return folded;
  const node = make(PURE, type, code, NOTHING, 3);
  give(node, 0, a);
  give(node, 1, b);
  give(node, 2, c);
  return put(node);
}

/** An operation with lanes, `lanes` bytes from an address on; arguments are given afterwards. */
export function lanesOf(type: u32, code: u32, count: u32, at: u32, lanes: u32): u32 {
  const node = make(PURE, type, code, BYTES, count);
  store<u32>(node, at, N_MORE);
  store<u32>(node, lanes, N_MORES);
  return node;
}

export function loadOf(type: u32, code: u32, address: u32, offset: u32): u32 {
  const node = make(READ, type, code, ALIGNED, 1);
  store<u32>(node, offset, N_IMMEDIATE);
  give(node, 0, address);
  return put(node);
}

export function storeOf(code: u32, address: u32, value: u32, offset: u32): void {
  const node = make(EFFECT, 0, code, ALIGNED, 2);
  store<u32>(node, offset, N_IMMEDIATE);
  give(node, 0, address);
  give(node, 1, value);
  put(node);
}

/** A call; its arguments are given afterwards, then it is `done`. @param type of the result, or 0 */
export function callOf(type: u32, index: u32, count: u32): u32 {
  const node = make(type ? CALL : EFFECT, type, 0x10, INDEX, count);
  store<u32>(node, index, N_IMMEDIATE);
  return node;
}

/** Puts a node whose arguments have been given. */
export function done(node: u32): u32 {
  return put(node);
}

// Variables

function newLocal(type: u32): u32 {
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
  const node = make(GET, type, 0, NOTHING, 0);
  store<u32>(node, local, N_IMMEDIATE);
  return put(node);
}

export function set(local: u32, value: u32): void {
  const node = make(SET, 0, 0x21, INDEX, 1);
  store<u32>(node, local, N_IMMEDIATE);
  give(node, 0, value);
  put(node);
}

// Control

function open(what: u32, condition: u32): u32 {
  const control = next;
  next += CONTROL_BYTES;
  store<u32>(control, CONTROL);
  store<u32>(control, what, C_WHAT);
  store<u32>(control, condition, C_CONDITION);
  store<u64>(control, 0, C_BODY);
  store<u64>(control, 0, C_OTHERWISE);
  store<u32>(control, scope, C_OUTER);
  store<u32>(control, loop, C_OUTER_LOOP);
  if (condition) {
    store<u32>(condition, load<u32>(condition, N_USES) + 1, N_USES);
    store<u32>(condition, make(CONDITION, 0, 0, NOTHING, 0), N_USER);
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
  const node = make(BRANCH, 0, 0x0c, NOTHING, 0);
  store<u32>(node, label, N_MORE);
  put(node);
}

export function brIf(label: u32, condition: u32): void {
  const node = make(BRANCH, 0, 0x0d, NOTHING, 1);
  store<u32>(node, label, N_MORE);
  give(node, 0, condition);
  put(node);
}

/** @param labels address of a table of `count` labels (u32) */
export function brTable(labels: u32, count: u32, number: u32): void {
  const node = make(BRANCH_TABLE, 0, 0x0e, NOTHING, 1);
  store<u32>(node, labels, N_MORE);
  store<u32>(node, count, N_MORES);
  give(node, 0, number);
  put(node);
}

/** Room for a table of `count` words among the nodes. */
export function table(count: u32): u32 {
  const at = next;
  next += (count * 4 + 7) & ~7;
  return at;
}

/** Ends the function by a call of one that takes two arguments. */
export function returnCall(index: u32, a: u32, b: u32): void {
  const node = make(EFFECT, 0, 0x12, INDEX, 2);
  store<u32>(node, index, N_IMMEDIATE);
  give(node, 0, a);
  give(node, 1, b);
  put(node);
}

/** What is built from here on runs before all that has been built. */
export function atStart(): void {
  root = ROOT_TOO;
  store<u64>(ROOT_TOO, 0);
  scope = ROOT_TOO;
}

// Writing

/** A value without an effect that nobody uses. */
function isUseless(node: u32): bool {
  const kind: u32 = load<u8>(node);
  return load<u32>(node, N_USES) == 0 && kind >= PURE && kind <= GET;
}

function isNested(node: u32): bool {
  const placement: u32 = load<u8>(node, N_PLACEMENT);
  if (placement != UNDECIDED) return placement == NESTED;
  const kind: u32 = load<u8>(node);
  let nested = false;
  if (kind <= PARAM) nested = true;
  else if (load<u32>(node, N_USES) == 1 && load<u32>(node, N_USER) && kind < EFFECT) {
    if (kind == PURE) nested = true;
    else {
      let top = load<u32>(node, N_USER);
      while (load<u32>(top, N_USER) && isNested(top)) top = load<u32>(top, N_USER);
      nested = load<u32>(top, N_EPOCH) == load<u32>(node, N_EPOCH);
    }
  }
  store<u8>(node, nested ? NESTED : IN_LOCAL, N_PLACEMENT);
  return nested;
}

/** Takes away the uses by values that nobody uses, last first: these are not written then. */
function sweep(items: u32): void {
  for (let item = load<u32>(items, S_LAST); item; item = load<u32>(item, N_PREVIOUS)) {
    if (load<u8>(item) == <u8>CONTROL) {
      sweep(item + C_OTHERWISE);
      sweep(item + C_BODY);
    } else if (isUseless(item)) {
      const count: u32 = load<u8>(item, N_COUNT);
      for (let n: u32 = 0; n < count; n++) {
        const arg = argument(item, n);
        store<u32>(arg, load<u32>(arg, N_USES) - 1, N_USES);
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function u8Out(value: u32): void {
  store<u8>(out++, value);
}

function u32Out(value: u32): void {
  while (value >= 0x80) {
    store<u8>(out++, (value & 0x7f) | 0x80);
    value >>>= 7;
  }
  store<u8>(out++, value);
}

function s64Out(value: i64): void {
  for (;;) {
    const byte = <u32>value & 0x7f;
    value >>= 7;
    if ((value == 0 && !(byte & 0x40)) || (value == -1 && (byte & 0x40) != 0)) {
      store<u8>(out++, byte);
      return;
    }
    store<u8>(out++, byte | 0x80);
  }
}

function codeOut(code: u32): void {
  if (code < 0x100) u8Out(code);
  else {
    u8Out(code & 0x1000 ? 0xfd : 0xfc);
    u32Out(code & 0xfff);
  }
}

function listOf(type: u32): u32 {
  return FREE_LOCALS + (0x7f - type) * FREE_LOCALS_BYTES;
}

function expression(node: u32): void {
  const local = load<i32>(node, N_LOCAL);
  if (local >= 0) {
    u8Out(0x20);
    u32Out(local);
    const uses = load<u32>(node, N_USES) - 1;
    store<u32>(node, uses, N_USES);
    // A value from outside of a loop is read again in its next round.
    if (uses == 0 && load<u32>(node, N_LOOP) == writtenLoop) {
      const list = listOf(load<u8>(node, N_TYPE));
      const count = load<u32>(list);
      if (count < MOST_FREE_LOCALS) {
        store<u16>(list + 4 + (count << 1), local);
        store<u32>(list, count + 1);
      }
    }
    return;
  }
  const count: u32 = load<u8>(node, N_COUNT);
  for (let n: u32 = 0; n < count; n++) expression(argument(node, n));
  const code: u32 = load<u16>(node, N_CODE);
  switch (<u32>load<u8>(node)) {
    case CONST:
      if (load<u8>(node, N_KNOWN)) {
        u8Out(load<u8>(node, N_TYPE) == <u8>I32 ? 0x41 : 0x42);
        s64Out(load<i64>(node, N_VALUE));
        return;
      }
      break;
    case PARAM:
    case GET:
      u8Out(0x20);
      u32Out(load<u32>(node, N_IMMEDIATE));
      return;
    case BRANCH:
      u8Out(code);
      u32Out(depth - load<u32>(load<u32>(node, N_MORE), C_DEPTH));
      return;
    case BRANCH_TABLE: {
      const labels = load<u32>(node, N_MORE);
      const last = load<u32>(node, N_MORES) - 1;
      u8Out(code);
      u32Out(last);
      for (let n: u32 = 0; n <= last; n++) u32Out(depth - load<u32>(load<u32>(labels + (n << 2)), C_DEPTH));
      return;
    }
  }
  codeOut(code);
  switch (<u32>load<u8>(node, N_FORM)) {
    case ALIGNED:
      u8Out(0);
      u32Out(load<u32>(node, N_IMMEDIATE));
      return;
    case INDEX:
      u32Out(load<u32>(node, N_IMMEDIATE));
      return;
    case BYTES: {
      const bytes = load<u32>(node, N_MORES);
      memory.copy(out, load<u32>(node, N_MORE), bytes);
      out += bytes;
    }
  }
}

function write(items: u32): void {
  for (let item = load<u32>(items); item; item = load<u32>(item, N_NEXT)) {
    if (out > <u32>L.COMPILE_CODE_END - 0x4000) {
      full = true;
      return;
    }
    const kind: u32 = load<u8>(item);
    if (kind == CONTROL) {
      const condition = load<u32>(item, C_CONDITION);
      if (condition) expression(condition);
      u8Out(load<u32>(item, C_WHAT));
      u8Out(0x40);
      store<u32>(item, ++depth, C_DEPTH);
      const outer = writtenLoop;
      writtenLoop = load<u32>(item, C_LOOP);
      write(item + C_BODY);
      if (load<u32>(item, C_OTHERWISE)) {
        u8Out(0x05);
        write(item + C_OTHERWISE);
      }
      writtenLoop = outer;
      u8Out(0x0b);
      depth--;
    } else if (kind >= EFFECT) expression(item);
    else if (!isUseless(item) && !isNested(item)) {
      expression(item);
      if (load<u32>(item, N_USES) == 0) u8Out(0x1a);
      else {
        const type: u32 = load<u8>(item, N_TYPE);
        const list = listOf(type);
        const count = load<u32>(list);
        let local: u32;
        if (count) {
          store<u32>(list, count - 1);
          local = load<u16>(list + 4 + ((count - 1) << 1));
        } else local = newLocal(type);
        store<i32>(item, local, N_LOCAL);
        u8Out(0x21);
        u32Out(local);
      }
    }
  }
}

/**
 * Writes the function's body as the code section wants it (without the length): code at COMPILE_CODE, locals behind it.
 * @returns bytes of code; those of locals are in COMPILE_RESULT
 */
export function finish(): u32 {
  if (root == ROOT_TOO) {
    // The beginning, then all else
    const last = load<u32>(ROOT_TOO, S_LAST);
    const first = load<u32>(ROOT);
    if (last && first) {
      store<u32>(last, first, N_NEXT);
      store<u32>(first, last, N_PREVIOUS);
      store<u32>(ROOT_TOO, load<u32>(ROOT, S_LAST), S_LAST);
    }
  }
  for (let type: u32 = 0x7b; type <= 0x7f; type++) store<u32>(listOf(type), 0);
  out = L.COMPILE_CODE;
  depth = 0;
  writtenLoop = 0;
  sweep(root);
  write(root);
  // Falling off the end of a function with a result is a bug in the caller; unreachable keeps the body valid.
  u8Out(0x00);
  u8Out(0x0b);
  const length = out - L.COMPILE_CODE;
  let groups: u32 = 0;
  for (let n: u32 = 0; n < locals; n++) if (!n || load<u8>(LOCALS + n) != load<u8>(LOCALS + n - 1)) groups++;
  u32Out(groups);
  for (let n: u32 = 0; n < locals; ) {
    const type: u32 = load<u8>(LOCALS + n);
    let end = n + 1;
    while (end < locals && load<u8>(LOCALS + end) == <u8>type) end++;
    u32Out(end - n);
    u8Out(type);
    n = end;
  }
  store<u32>(L.COMPILE_RESULT, out - L.COMPILE_CODE - length);
  return full ? 0 : length;
}
