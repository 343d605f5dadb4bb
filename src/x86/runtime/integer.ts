/** Integer operations that WebAssembly lacks: 64x64→128 multiplication, 128/64 division, PDEP and PEXT. */

/** Remainder of the last `udiv128` or `sdiv128` that did not overflow. */
export let div_remainder: u64 = 0;

/** 1 when the last `udiv128` or `sdiv128` had a zero divisor or a quotient too large (#DE), else 0. */
export let div_overflow: i32 = 0;

export function umulh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const cross = a0 * b1;
  const middle = ((a0 * b0) >> 32) + (cross & 0xffffffff) + a1 * b0;
  return a1 * b1 + (cross >> 32) + (middle >> 32);
}

export function smulh(a: i64, b: i64): i64 {
  return <i64>umulh(<u64>a, <u64>b) - ((a >> 63) & b) - ((b >> 63) & a);
}

/** Knuth's algorithm D with two 32-bit digits; needs `high < divisor`. Leaves the remainder in `div_remainder`. */
function divideNormalized(high: u64, low: u64, divisor: u64): u64 {
  const shift = clz<u64>(divisor);
  divisor <<= shift;
  if (shift != 0) {
    high = (high << shift) | (low >> (64 - shift));
    low <<= shift;
  }
  const d1 = divisor >> 32;
  const d0 = divisor & 0xffffffff;
  const n1 = low >> 32;
  const n0 = low & 0xffffffff;

  let q1 = high / d1;
  let rest = high - q1 * d1;
  while (q1 >> 32 != 0 || q1 * d0 > ((rest << 32) | n1)) {
    q1--;
    rest += d1;
    if (rest >> 32 != 0) break;
  }
  const middle = ((high << 32) | n1) - q1 * divisor;
  let q0 = middle / d1;
  rest = middle - q0 * d1;
  while (q0 >> 32 != 0 || q0 * d0 > ((rest << 32) | n0)) {
    q0--;
    rest += d1;
    if (rest >> 32 != 0) break;
  }
  div_remainder = (((middle << 32) | n0) - q0 * divisor) >> shift;
  return (q1 << 32) | q0;
}

/** DIV r/m64: quotient of `high:low / divisor`; see `div_remainder` and `div_overflow`. */
export function udiv128(high: u64, low: u64, divisor: u64): u64 {
  if (high >= divisor) {
    div_overflow = 1;
    return 0;
  }
  div_overflow = 0;
  if (high == 0) {
    const quotient = low / divisor;
    div_remainder = low - quotient * divisor;
    return quotient;
  }
  return divideNormalized(high, low, divisor);
}

/** IDIV r/m64: truncated signed quotient; the remainder has the dividend's sign. */
export function sdiv128(high: i64, low: i64, divisor: i64): i64 {
  if (high == low >> 63 && divisor != 0 && divisor != -1) {
    div_overflow = 0;
    const quotient = low / divisor;
    div_remainder = <u64>(low - quotient * divisor);
    return quotient;
  }
  const negative = high < 0;
  let h = <u64>high;
  let l = <u64>low;
  if (negative) {
    l = 0 - l;
    h = ~h + <u64>(l == 0);
  }
  const magnitude = <u64>(divisor < 0 ? -divisor : divisor);
  const quotient = udiv128(h, l, magnitude);
  if (div_overflow) return 0;
  if (negative) div_remainder = 0 - div_remainder;
  if (negative != divisor < 0) {
    if (quotient > 0x8000000000000000) {
      div_overflow = 1;
      return 0;
    }
    return <i64>(0 - quotient);
  }
  if (quotient >> 63 != 0) {
    div_overflow = 1;
    return 0;
  }
  return <i64>quotient;
}

/** PEXT: gathers the bits of `value` selected by `mask` at the low end. */
export function pext64(value: u64, mask: u64): u64 {
  let result: u64 = 0;
  let position: u64 = 0;
  while (mask != 0) {
    // One run of consecutive mask bits at a time.
    const start = ctz<u64>(mask);
    const length = ctz<u64>(~(mask >> start));
    const run = length == 64 ? <u64>-1 : ((<u64>1) << length) - 1;
    result |= ((value >> start) & run) << position;
    position += length;
    mask &= ~(run << start);
  }
  return result;
}

/** PDEP: scatters the low bits of `value` to the positions set in `mask`. */
export function pdep64(value: u64, mask: u64): u64 {
  let result: u64 = 0;
  while (mask != 0) {
    const start = ctz<u64>(mask);
    const length = ctz<u64>(~(mask >> start));
    const run = length == 64 ? <u64>-1 : ((<u64>1) << length) - 1;
    result |= (value & run) << start;
    value = length == 64 ? 0 : value >> length;
    mask &= ~(run << start);
  }
  return result;
}
