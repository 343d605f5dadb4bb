/** Constants and identities, so that specialised code comes out clean: as wasm/fold.ts. */
import { I32 } from './codes';
import { argument, i32Of, i64Of, N_CODE, N_COUNT, N_EPOCH, N_IMMEDIATE, N_KNOWN, N_MORE, N_TYPE, N_VALUE } from './node';
import { EXTEND_U, I64_AND, WRAP } from './opcodes';

const LAST_VALUE: u8 = 4;
/** Deeper expressions are not looked at. */
const DEPTH: u32 = 4;

/** Whether two expressions have the same value for sure: the same operations on what has not changed in between. */
function same(a: u32, b: u32, depth: u32): bool {
  if (a == b) return true;
  if (load<u8>(a) != load<u8>(b) || load<u16>(a, N_CODE) != load<u16>(b, N_CODE) || load<u32>(a, N_IMMEDIATE) != load<u32>(b, N_IMMEDIATE)) return false;
  const known = load<u8>(a, N_KNOWN);
  if (known != load<u8>(b, N_KNOWN) || depth == DEPTH) return false;
  if (known) return load<i64>(a, N_VALUE) == load<i64>(b, N_VALUE) && load<u8>(a, N_TYPE) == load<u8>(b, N_TYPE);
  if (load<u32>(a, N_EPOCH) != load<u32>(b, N_EPOCH) || load<u64>(a, N_MORE) != load<u64>(b, N_MORE) || load<u8>(a) > LAST_VALUE) return false;
  const count: u32 = load<u8>(a, N_COUNT);
  for (let n: u32 = 0; n < count; n++) if (!same(argument(a, n), argument(b, n), depth + 1)) return false;
  return true;
}

/** The argument of an operation without what was cut off it before, when the operation cuts as much itself. */
export function uncut(code: u32, arg: u32): u32 {
  let bits: i64;
  switch (code) {
    case WRAP:
    case 0xc4: bits = 0xffffffff; break;
    case 0xc3: bits = 0xffff; break;
    case 0xc2: bits = 0xff; break;
    default: return arg;
  } // prettier-ignore
  const inner: u32 = load<u16>(arg, N_CODE);
  if (inner == I64_AND) {
    const mask = argument(arg, 1);
    if (load<u8>(mask, N_KNOWN) && (load<i64>(mask, N_VALUE) & bits) == bits) return argument(arg, 0);
  }
  if (inner == EXTEND_U && load<u16>(argument(arg, 0), N_CODE) == <u16>WRAP) return argument(argument(arg, 0), 0);
  return arg;
}

/** Operations that a zero on the right leaves as they are: add, sub, or, xor, shifts, rotates. */
function zeroIsNeutral(code: u32): bool {
  const n = code >= 0x7c ? code - 0x7c : code - 0x6a;
  return n == 0 || n == 1 || (n >= 8 && n <= 14);
}

function fold64(code: u32, x: i64, y: i64): u32 {
  switch (code) {
    case 0x7c: return i64Of(x + y);
    case 0x7d: return i64Of(x - y);
    case 0x7e: return i64Of(x * y);
    case 0x83: return i64Of(x & y);
    case 0x84: return i64Of(x | y);
    case 0x85: return i64Of(x ^ y);
    case 0x86: return i64Of(x << y);
    case 0x87: return i64Of(x >> y);
    case 0x88: return i64Of(<i64>(<u64>x >> <u64>y));
    case 0x51: return i32Of(x == y ? 1 : 0);
    case 0x52: return i32Of(x != y ? 1 : 0);
    case 0x53: return i32Of(x < y ? 1 : 0);
    case 0x54: return i32Of(<u64>x < <u64>y ? 1 : 0);
    default: return 0;
  } // prettier-ignore
}

function fold32(code: u32, x: i32, y: i32): u32 {
  switch (code) {
    case 0x6a: return i32Of(x + y);
    case 0x6b: return i32Of(x - y);
    case 0x71: return i32Of(x & y);
    case 0x72: return i32Of(x | y);
    case 0x73: return i32Of(x ^ y);
    case 0x74: return i32Of(x << y);
    case 0x75: return i32Of(x >> y);
    case 0x76: return i32Of(<i32>(<u32>x >> <u32>y));
    case 0x46: return i32Of(x == y ? 1 : 0);
    case 0x47: return i32Of(x != y ? 1 : 0);
    default: return 0;
  } // prettier-ignore
}

function foldOne(code: u32, x: i64): u32 {
  switch (code) {
    case WRAP: return i32Of(<i32>x);
    case EXTEND_U: return i64Of(x & 0xffffffff);
    case 0xac: return i64Of(x);
    case 0x50: case 0x45: return i32Of(x == 0 ? 1 : 0);
    case 0xc4: return i64Of(<i64>(<i32>x));
    case 0xc3: return i64Of(<i64>(<i16>x));
    case 0xc2: return i64Of(<i64>(<i8>x));
    default: return 0;
  } // prettier-ignore
}

/** The value of an operation when it is known: a constant, or one of its arguments; else 0. */
export function fold(code: u32, count: u32, a: u32, b: u32, c: u32): u32 {
  if (count == 3) {
    if (!load<u8>(c, N_KNOWN)) return 0;
    return load<i64>(c, N_VALUE) ? a : b;
  }
  if (count == 1) {
    if (load<u8>(a, N_KNOWN)) return foldOne(code, load<i64>(a, N_VALUE));
    return code == WRAP && load<u16>(a, N_CODE) == <u16>EXTEND_U ? argument(a, 0) : 0;
  }
  if (code > 0xff) return 0;
  if (!load<u8>(b, N_KNOWN)) {
    switch (code) {
      case I64_AND: case 0x84: return same(a, b, 0) ? a : 0;
      case 0x85: case 0x7d: return same(a, b, 0) ? i64Of(0) : 0;
      case 0x51: return same(a, b, 0) ? i32Of(1) : 0;
      case 0x52: case 0x53: case 0x54: return same(a, b, 0) ? i32Of(0) : 0;
      default: return 0;
    } // prettier-ignore
  }
  const y = load<i64>(b, N_VALUE);
  const wide = load<u8>(b, N_TYPE) != <u8>I32;
  if (y == 0 && ((wide && code >= 0x7c && code <= 0x8a) || (!wide && code >= 0x6a && code <= 0x78)) && zeroIsNeutral(code)) return a;
  const and: u32 = wide ? I64_AND : 0x71;
  if (code == and) {
    if (y == -1) return a;
    if (y == 0) return wide ? i64Of(0) : i32Of(0);
  }
  if (!load<u8>(a, N_KNOWN)) return 0;
  return wide ? fold64(code, load<i64>(a, N_VALUE), y) : fold32(code, <i32>load<i64>(a, N_VALUE), <i32>y);
}
