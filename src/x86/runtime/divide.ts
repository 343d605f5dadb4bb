/** 128-by-64-bit division for DIV and IDIV: quotient and remainder go to SCRATCH. */
import { div_overflow, div_remainder, sdiv128, udiv128 } from './integer';
import * as L from './layout';

/** @returns 1 when the quotient does not fit */
export function divideUnsigned128(high: u64, low: u64, divisor: u64): i32 {
  const quotient = udiv128(high, low, divisor);
  if (div_overflow) return 1;
  store<u64>(L.SCRATCH, quotient);
  store<u64>(L.SCRATCH, div_remainder, 8);
  return 0;
}

export function divideSigned128(high: i64, low: i64, divisor: i64): i32 {
  const quotient = sdiv128(high, low, divisor);
  if (div_overflow) return 1;
  store<u64>(L.SCRATCH, <u64>quotient);
  store<u64>(L.SCRATCH, div_remainder, 8);
  return 0;
}
