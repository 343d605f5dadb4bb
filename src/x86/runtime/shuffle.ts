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

/** Lanes of b where the immediate's bit is set, else of a. */
export function blend16(a: v128, b: v128, imm: i32): v128 {
  const bits = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
  return v128.bitselect(b, a, i16x8.eq(v128.and(i16x8.splat(<i16>imm), bits), bits));
}

export function blend32(a: v128, b: v128, imm: i32): v128 {
  const bits = i32x4(1, 2, 4, 8);
  return v128.bitselect(b, a, i32x4.eq(v128.and(i32x4.splat(imm), bits), bits));
}

export function blend64(a: v128, b: v128, imm: i32): v128 {
  const bits = i64x2(1, 2);
  return v128.bitselect(b, a, i64x2.eq(v128.and(i64x2.splat(<i64>imm), bits), bits));
}

/** INSERTPS with the source's element already chosen: where it goes is in bits 4-5, what becomes zero in bits 0-3. */
export function insertps(a: v128, value: i32, imm: i32): v128 {
  return blend32(blend32(a, i32x4.splat(value), 1 << ((imm >> 4) & 3)), i64x2.splat(0), imm);
}

/** Byte indices of doublewords from their numbers. */
function bytesOf(numbers: v128): v128 {
  return i32x4.add(i32x4.mul(numbers, i32x4.splat(0x04040404)), i32x4.splat(0x03020100));
}

/** A half of VPERMD's result: each lane of the control chooses among the eight of both halves. */
export function vpermd(low: v128, high: v128, control: v128): v128 {
  const bytes = bytesOf(v128.and(control, i32x4.splat(7)));
  return v128.or(i8x16.swizzle(low, bytes), i8x16.swizzle(high, i8x16.sub(bytes, i8x16.splat(16))));
}

/** A half of VPERMQ's result: bits 0-1 and 2-3 of `imm` choose among four quadwords. */
export function vpermq(low: v128, high: v128, imm: i32): v128 {
  const first = (imm & 3) << 1;
  const second = ((imm >> 2) & 3) << 1;
  const pairs = i64x2.replace_lane(i64x2.splat(<i64>(first * 0x01010101)), 1, <i64>(second * 0x01010101));
  return vpermd(low, high, i32x4.add(v128.and(v128.shuffle<i32>(pairs, pairs, 0, 0, 2, 2), i32x4.splat(7)), i32x4(0, 1, 0, 1)));
}

/** A half of VPERM2F128's result: bits 0-1 of `imm` choose among four halves, bit 3 gives zero. */
export function vperm2f128(a: v128, aHigh: v128, b: v128, bHigh: v128, imm: i32): v128 {
  if (imm & 8) return i64x2.splat(0);
  const choice = imm & 3;
  return choice == 0 ? a : choice == 1 ? aHigh : choice == 2 ? b : bHigh;
}

function shiftLane32(a: i32, count: u32, kind: i32): i32 {
  if (kind == 2) return a >> min<u32>(count, 31);
  if (count > 31) return 0;
  return kind == 0 ? a << count : <i32>(<u32>a >> count);
}

function shiftLanes32(a: v128, counts: v128, kind: i32): v128 {
  let result = i32x4.splat(shiftLane32(i32x4.extract_lane(a, 0), i32x4.extract_lane(counts, 0), kind));
  result = i32x4.replace_lane(result, 1, shiftLane32(i32x4.extract_lane(a, 1), i32x4.extract_lane(counts, 1), kind));
  result = i32x4.replace_lane(result, 2, shiftLane32(i32x4.extract_lane(a, 2), i32x4.extract_lane(counts, 2), kind));
  return i32x4.replace_lane(result, 3, shiftLane32(i32x4.extract_lane(a, 3), i32x4.extract_lane(counts, 3), kind));
}

export function vpsllvd(a: v128, counts: v128): v128 {
  return shiftLanes32(a, counts, 0);
}

export function vpsrlvd(a: v128, counts: v128): v128 {
  return shiftLanes32(a, counts, 1);
}

export function vpsravd(a: v128, counts: v128): v128 {
  return shiftLanes32(a, counts, 2);
}

function shiftLane64(a: u64, count: u64, left: bool): u64 {
  if (count > 63) return 0;
  return left ? a << count : a >> count;
}

function shiftLanes64(a: v128, counts: v128, left: bool): v128 {
  const low = shiftLane64(i64x2.extract_lane(a, 0), i64x2.extract_lane(counts, 0), left);
  return i64x2.replace_lane(i64x2.splat(low), 1, shiftLane64(i64x2.extract_lane(a, 1), i64x2.extract_lane(counts, 1), left));
}

export function vpsllvq(a: v128, counts: v128): v128 {
  return shiftLanes64(a, counts, true);
}

export function vpsrlvq(a: v128, counts: v128): v128 {
  return shiftLanes64(a, counts, false);
}
