/** Shuffles whose lanes an immediate chooses (SDM vol. 2), named as the instructions. */

/** The four two-bit fields of `imm`, one a lane. */
function fields(imm: i32): v128 {
  return v128.and(i32x4.shr_u(i32x4.mul(i32x4.splat(imm), i32x4(64, 16, 4, 1)), 6), i32x4.splat(3));
}

export function pshufd(a: v128, imm: i32): v128 {
  return i8x16.swizzle(a, i32x4.add(i32x4.mul(fields(imm), i32x4.splat(0x04040404)), i32x4.splat(0x03020100)));
}

export function pshuflw(a: v128, imm: i32): v128 {
  const words = i32x4.add(i32x4.mul(fields(imm), i32x4.splat(0x0202)), i32x4.splat(0x0100));
  return v128.shuffle<i64>(i8x16.swizzle(a, i16x8.narrow_i32x4_u(words, words)), a, 0, 3);
}

export function pshufhw(a: v128, imm: i32): v128 {
  const words = i32x4.add(i32x4.mul(fields(imm), i32x4.splat(0x0202)), i32x4.splat(0x0908));
  return v128.shuffle<i64>(a, i8x16.swizzle(a, i16x8.narrow_i32x4_u(words, words)), 0, 3);
}

export function shufps(a: v128, b: v128, imm: i32): v128 {
  return v128.shuffle<i32>(pshufd(a, imm), pshufd(b, imm), 0, 1, 6, 7);
}

export function shufpd(a: v128, b: v128, imm: i32): v128 {
  const low = imm & 1 ? i64x2.extract_lane(a, 1) : i64x2.extract_lane(a, 0);
  const high = imm & 2 ? i64x2.extract_lane(b, 1) : i64x2.extract_lane(b, 0);
  return i64x2.replace_lane(i64x2.splat(low), 1, high);
}

function byteNumbers(): v128 {
  return i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/** Whole-byte shifts; from 16 on the result is zero. An index beyond the 16 bytes selects zero. */
export function pslldq(a: v128, count: i32): v128 {
  return i8x16.swizzle(a, i8x16.sub(byteNumbers(), i8x16.splat(<i8>min<i32>(count, 16))));
}

export function psrldq(a: v128, count: i32): v128 {
  return i8x16.swizzle(a, i8x16.add(byteNumbers(), i8x16.splat(<i8>min<i32>(count, 16))));
}

/** Bytes from `count` on of b followed by a, then zeros. */
export function palignr(a: v128, b: v128, count: i32): v128 {
  const from = i8x16.add(byteNumbers(), i8x16.splat(<i8>min<i32>(count, 32)));
  return v128.or(i8x16.swizzle(b, from), i8x16.swizzle(a, i8x16.sub(from, i8x16.splat(16))));
}
