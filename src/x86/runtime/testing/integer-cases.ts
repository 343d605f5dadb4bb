import { div_overflow, div_remainder, pdep64, pext64, sdiv128, smulh, udiv128, umulh } from '../integer';

/** Operations in the order of test/runtime/integer.test.ts. */
export function integerCase(op: i32, src: i32, dst: i32): void {
  const a = load<u64>(src);
  const b = load<u64>(src, 16);
  const c = load<u64>(src, 32);
  switch (op) {
    case 0:
      store<u64>(dst, umulh(a, b));
      break;
    case 1:
      store<u64>(dst, smulh(a, b));
      break;
    case 2:
      store<u64>(dst, udiv128(a, b, c));
      store<u64>(dst, div_remainder, 8);
      break;
    case 3:
      store<u64>(dst, sdiv128(a, b, c));
      store<u64>(dst, div_remainder, 8);
      break;
    case 4:
      store<u64>(dst, pext64(a, b));
      break;
    case 5:
      store<u64>(dst, pdep64(a, b));
      break;
  }
  if (op == 2 || op == 3) {
    store<i32>(dst, div_overflow, 32);
    if (div_overflow) {
      store<u64>(dst, 0);
      store<u64>(dst, 0, 8);
    }
  }
}
