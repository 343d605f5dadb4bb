/** Arithmetic flags that compiled code has kept as operands: see LAZY_* in layout.ts. */
import { smulh } from './integer';
import * as L from './layout';

/** Brings the state's flags up to date with what compiled code has left in LAZY_KIND, LAZY_A and LAZY_B. */
export function settleFlags(): void {
  const kind = load<u32>(L.LAZY_KIND);
  if (kind == L.LAZY_MEMORY) return;
  store<u32>(L.LAZY_KIND, L.LAZY_MEMORY);
  storeFlags(kind, load<u64>(L.LAZY_A), load<u64>(L.LAZY_B));
}

/** Brings the state's flags up to date. Operands are zero-extended, results of LAZY_PLAIN and LAZY_LOGIC sign-extended. */
export function storeFlags(kind: i32, a: u64, b: u64): void {
  if (kind == L.LAZY_MEMORY) return;
  if (kind <= L.LAZY_LOGIC) {
    store<u64>(L.FLAG_RES, a);
    store<u32>(L.FLAG_AUX, kind == L.LAZY_PLAIN ? <u32>b : 0);
    return;
  }
  if (kind == L.LAZY_IMUL) {
    const low = <i64>(a * b);
    store<u64>(L.FLAG_RES, low);
    store<u32>(L.FLAG_AUX, <i64>smulh(<i64>a, <i64>b) != low >> 63 ? 0x801 : 0);
    return;
  }
  const unused: u64 = 64 - (<u64>8 << ((kind - L.LAZY_ADD) & 3)); // bits above the operand
  const mask: u64 = 0xffffffffffffffff >> unused;
  let x = a;
  let y = b;
  let result: u64;
  let carry: bool;
  let sum = true;
  if (kind < L.LAZY_SUB) {
    result = (a + b) & mask;
    carry = result < a;
  } else if (kind < L.LAZY_INC) {
    result = (a - b) & mask;
    carry = a < b;
    sum = false;
  } else {
    sum = kind < L.LAZY_DEC;
    result = a;
    carry = b != 0;
    y = 1;
    x = (sum ? a - 1 : a + 1) & mask;
  }
  const overflow = sum ? (x ^ result) & (y ^ result) : (x ^ y) & (x ^ result);
  store<u64>(L.FLAG_RES, <u64>(<i64>(result << unused) >> unused));
  store<u32>(L.FLAG_AUX, (carry ? 1 : 0) | (<u32>(x ^ y ^ result) & 0x10) | (<u32>((overflow << unused) >> 63) << 11));
}
