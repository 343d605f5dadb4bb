/** Packed integer instructions without a WebAssembly counterpart (SDM vol. 2), named as the instructions. */

/** Sums of absolute differences of each half's eight bytes, as two quadwords. */
export function psadbw(a: v128, b: v128): v128 {
  const differences = i8x16.sub(i8x16.max_u(a, b), i8x16.min_u(a, b));
  const sums = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(differences));
  return i64x2.add(v128.and(sums, i64x2.splat(0xffffffff)), i64x2.shr_u(sums, 32));
}

/** Unsigned bytes of a times signed bytes of b, adjacent products added with signed saturation. */
export function pmaddubsw(a: v128, b: v128): v128 {
  const even = i16x8.mul(v128.and(a, i16x8.splat(0xff)), i16x8.shr_s(i16x8.shl(b, 8), 8));
  const odd = i16x8.mul(i16x8.shr_u(a, 8), i16x8.shr_s(b, 8));
  return i16x8.add_sat_s(even, odd);
}

export function pmulhrsw(a: v128, b: v128): v128 {
  // The host's saturates -1 * -1, which here wraps.
  const least = i16x8.splat(-32768);
  return v128.xor(i16x8.q15mulr_sat_s(a, b), v128.and(i16x8.eq(a, least), i16x8.eq(b, least)));
}

export function pmulhw(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(i32x4.extmul_low_i16x8_s(a, b), i32x4.extmul_high_i16x8_s(a, b), 1, 3, 5, 7, 9, 11, 13, 15);
}

export function pmulhuw(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(i32x4.extmul_low_i16x8_u(a, b), i32x4.extmul_high_i16x8_u(a, b), 1, 3, 5, 7, 9, 11, 13, 15);
}

/** Byte of b chosen by bits 0-1 of `imm`, times four, against a from byte 0 or 4 (bit 2). */
export function mpsadbw(a: v128, b: v128, imm: i32): v128 {
  const lanes = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0);
  const start = imm & 4;
  const block = (imm & 3) << 2;
  let sums = i64x2.splat(0);
  for (let n = 0; n < 4; n++) {
    const x = i8x16.swizzle(a, i8x16.add(lanes, i8x16.splat(<i8>(start + n))));
    const y = i8x16.swizzle(b, i8x16.splat(<i8>(block + n)));
    sums = i16x8.add(sums, i16x8.extend_low_i8x16_u(i8x16.sub(i8x16.max_u(x, y), i8x16.min_u(x, y))));
  }
  return sums;
}

/** The least unsigned word, and at bits 16-18 its first position. */
export function phminposuw(a: v128): v128 {
  const positions = i32x4(0, 1, 2, 3);
  const low = v128.or(i32x4.shl(i32x4.extend_low_i16x8_u(a), 3), positions);
  const high = v128.or(v128.or(i32x4.shl(i32x4.extend_high_i16x8_u(a), 3), positions), i32x4.splat(4));
  let least = i32x4.min_u(low, high);
  least = i32x4.min_u(least, v128.shuffle<i32>(least, least, 2, 3, 0, 1));
  least = i32x4.min_u(least, v128.shuffle<i32>(least, least, 1, 0, 3, 2));
  const packed = <u32>i32x4.extract_lane(least, 0);
  return i32x4.replace_lane(i64x2.splat(0), 0, <i32>((packed >> 3) | ((packed & 7) << 16)));
}
