/** Nodes of a function that is being built: how they lie in memory. */
import * as L from '../layout';
import { I32, I64 } from './codes';

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
export const C_WHAT = 4; // u16
export const C_CONDITION = 8;
export const C_DEPTH = 12;
export const C_LOOP = 16;
export const C_BODY = 24; // scope
export const C_OTHERWISE = 32; // scope
export const C_OUTER = 48;
export const C_OUTER_LOOP = 52;
export const CONTROL_BYTES: u32 = 56;

// A scope: its first item and its last one.
export const S_LAST = 4;

/** Where the next node goes. */
let next: u32 = 0;

/** Forgets all nodes. */
export function clear(): void {
  next = L.COMPILE_NODES;
}

export function hasRoom(bytes: u32): bool {
  return next + bytes <= <u32>L.COMPILE_NODES_END;
}

export function allocate(bytes: u32): u32 {
  const at = next;
  next += (bytes + 7) & ~7;
  return at;
}

/** A node without arguments yet. @param count that it will have */
export function make(kind: u32, type: u32, code: u32, form: u32, count: u32): u32 {
  const node = allocate(N_ARGS + (count << 2));
  store<u32>(node, kind | (type << 8) | (count << 24));
  store<u32>(node, code | (form << 16), N_CODE);
  store<u32>(node, 0, N_IMMEDIATE);
  store<u64>(node, 0, N_EPOCH);
  store<u64>(node, 0, N_USES);
  store<i32>(node, -1, N_LOCAL);
  store<u64>(node, 0, N_VALUE);
  return node;
}

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

export function isKnown(node: u32): bool {
  return load<u8>(node, N_KNOWN) != 0;
}

export function valueOf(node: u32): i64 {
  return load<i64>(node, N_VALUE);
}

// @ts-ignore: decorator
@inline
export function argument(node: u32, n: u32): u32 {
  return load<u32>(node + (n << 2), N_ARGS);
}
