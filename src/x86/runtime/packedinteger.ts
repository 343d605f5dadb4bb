/** Packed integer instructions without a WebAssembly counterpart (SDM vol. 2), named as the instructions. */

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
