/** Writes a function that has been built (ir.ts) as WebAssembly: single-use values become nested expressions, the others get a local. */
import * as L from '../layout';
import { I32 } from './codes';
import * as ir from './ir';
import {
  ALIGNED, argument, BRANCH, BRANCH_TABLE, BYTES, C_BODY, C_CONDITION, C_DEPTH, C_LOOP, C_OTHERWISE, C_WHAT, CONST, CONTROL, EFFECT, GET,
  INDEX, N_CODE, N_COUNT, N_EPOCH, N_FORM, N_IMMEDIATE, N_KNOWN, N_LOCAL, N_LOOP, N_MORE, N_MORES, N_NEXT, N_PLACEMENT, N_PREVIOUS, N_TYPE,
  N_USER, N_USES, N_VALUE, PARAM, PURE, S_LAST,
} from './node';

const UNDECIDED: u32 = 0;
const NESTED: u32 = 1;
const IN_LOCAL: u32 = 2;

/** Locals that are free while code is written, by type: lists of u16. */
const FREE_LOCALS: u32 = L.COMPILE_STATE + 0xd000;
const FREE_LOCALS_BYTES: u32 = 0x2000;
const MOST_FREE_LOCALS: u32 = (FREE_LOCALS_BYTES - 4) / 2;

let out: u32 = 0;
let depth: u32 = 0;
let writtenLoop: u32 = 0;

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
      ir.refuse();
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
        } else local = ir.newLocal(type);
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
  const items = ir.whole();
  for (let type: u32 = 0x7b; type <= 0x7f; type++) store<u32>(listOf(type), 0);
  out = L.COMPILE_CODE;
  depth = 0;
  writtenLoop = 0;
  sweep(items);
  write(items);
  // Falling off the end of a function with a result is a bug in the caller; unreachable keeps the body valid.
  u8Out(0x00);
  u8Out(0x0b);
  const length = out - L.COMPILE_CODE;
  let groups: u32 = 0;
  for (let n: u32 = 0; n < ir.locals; n++) if (!n || load<u8>(ir.LOCALS + n) != load<u8>(ir.LOCALS + n - 1)) groups++;
  u32Out(groups);
  for (let n: u32 = 0; n < ir.locals; ) {
    const type: u32 = load<u8>(ir.LOCALS + n);
    let end = n + 1;
    while (end < ir.locals && load<u8>(ir.LOCALS + end) == <u8>type) end++;
    u32Out(end - n);
    u8Out(type);
    n = end;
  }
  store<u32>(L.COMPILE_RESULT, out - L.COMPILE_CODE - length);
  return ir.full ? 0 : length;
}
