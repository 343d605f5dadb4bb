/**
 * AES-NI (FIPS 197; SDM vol. 2). The S-box is sixteen 16-entry table look-ups: an index outside a table's 16 entries gives 0,
 * so their union is the look-up in all 256.
 */

/** The S-box on every byte. */
function subBytes(x: v128): v128 {
  let index = x;
  let result = i8x16.swizzle(i8x16(99, 124, 119, 123, -14, 107, 111, -59, 48, 1, 103, 43, -2, -41, -85, 118), index);
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-54, -126, -55, 125, -6, 89, 71, -16, -83, -44, -94, -81, -100, -92, 114, -64), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-73, -3, -109, 38, 54, 63, -9, -52, 52, -91, -27, -15, 113, -40, 49, 21), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(4, -57, 35, -61, 24, -106, 5, -102, 7, 18, -128, -30, -21, 39, -78, 117), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(9, -125, 44, 26, 27, 110, 90, -96, 82, 59, -42, -77, 41, -29, 47, -124), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(83, -47, 0, -19, 32, -4, -79, 91, 106, -53, -66, 57, 74, 76, 88, -49), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-48, -17, -86, -5, 67, 77, 51, -123, 69, -7, 2, 127, 80, 60, -97, -88), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(81, -93, 64, -113, -110, -99, 56, -11, -68, -74, -38, 33, 16, -1, -13, -46), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-51, 12, 19, -20, 95, -105, 68, 23, -60, -89, 126, 61, 100, 93, 25, 115), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(96, -127, 79, -36, 34, 42, -112, -120, 70, -18, -72, 20, -34, 94, 11, -37), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-32, 50, 58, 10, 73, 6, 36, 92, -62, -45, -84, 98, -111, -107, -28, 121), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-25, -56, 55, 109, -115, -43, 78, -87, 108, 86, -12, -22, 101, 122, -82, 8), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-70, 120, 37, 46, 28, -90, -76, -58, -24, -35, 116, 31, 75, -67, -117, -118), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(112, 62, -75, 102, 72, 3, -10, 14, 97, 53, 87, -71, -122, -63, 29, -98), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-31, -8, -104, 17, 105, -39, -114, -108, -101, 30, -121, -23, -50, 85, 40, -33), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-116, -95, -119, 13, -65, -26, 66, 104, 65, -103, 45, 15, -80, 84, -69, 22), index));
  return result;
}

/** The inverse S-box on every byte. */
function inverseSubBytes(x: v128): v128 {
  let index = x;
  let result = i8x16.swizzle(i8x16(82, 9, 106, -43, 48, 54, -91, 56, -65, 64, -93, -98, -127, -13, -41, -5), index);
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(124, -29, 57, -126, -101, 47, -1, -121, 52, -114, 67, 68, -60, -34, -23, -53), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(84, 123, -108, 50, -90, -62, 35, 61, -18, 76, -107, 11, 66, -6, -61, 78), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(8, 46, -95, 102, 40, -39, 36, -78, 118, 91, -94, 73, 109, -117, -47, 37), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(114, -8, -10, 100, -122, 104, -104, 22, -44, -92, 92, -52, 93, 101, -74, -110), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(108, 112, 72, 80, -3, -19, -71, -38, 94, 21, 70, 87, -89, -115, -99, -124), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-112, -40, -85, 0, -116, -68, -45, 10, -9, -28, 88, 5, -72, -77, 69, 6), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-48, 44, 30, -113, -54, 63, 15, 2, -63, -81, -67, 3, 1, 19, -118, 107), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(58, -111, 17, 65, 79, 103, -36, -22, -105, -14, -49, -50, -16, -76, -26, 115), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-106, -84, 116, 34, -25, -83, 53, -123, -30, -7, 55, -24, 28, 117, -33, 110), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(71, -15, 26, 113, 29, 41, -59, -119, 111, -73, 98, 14, -86, 24, -66, 27), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-4, 86, 62, 75, -58, -46, 121, 32, -102, -37, -64, -2, 120, -51, 90, -12), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(31, -35, -88, 51, -120, 7, -57, 49, -79, 18, 16, 89, 39, -128, -20, 95), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(96, 81, 127, -87, 25, -75, 74, 13, 45, -27, 122, -97, -109, -55, -100, -17), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(-96, -32, 59, 77, -82, 42, -11, -80, -56, -21, -69, 60, -125, 83, -103, 97), index));
  index = i8x16.sub(index, i8x16.splat(16));
  result = v128.or(result, i8x16.swizzle(i8x16(23, 43, 4, 126, -70, 119, -42, 38, -31, 105, 20, 99, 85, 33, 12, 125), index));
  return result;
}

function shiftRows(x: v128): v128 {
  return v128.shuffle<u8>(x, x, 0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11);
}

function inverseShiftRows(x: v128): v128 {
  return v128.shuffle<u8>(x, x, 0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3);
}

/** Each byte times x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function double(x: v128): v128 {
  const carry = i8x16.shr_s(x, 7);
  return v128.xor(i8x16.add(x, x), v128.and(carry, i8x16.splat(0x1b)));
}

/** Each column's bytes moved up by one. */
function rotate1(x: v128): v128 {
  return v128.shuffle<u8>(x, x, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
}

/** Each column's bytes moved up by two. */
function rotate2(x: v128): v128 {
  return v128.shuffle<u8>(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
}

function mixColumns(x: v128): v128 {
  // 2a + 3b + c + d = 2(a + b) + b + (c + d)
  const next = rotate1(x);
  const pair = v128.xor(x, next);
  return v128.xor(v128.xor(double(pair), next), rotate2(pair));
}

function inverseMixColumns(x: v128): v128 {
  // The inverse is mixColumns after multiplication by (5, 0, 4, 0).
  return mixColumns(v128.xor(x, double(double(v128.xor(x, rotate2(x))))));
}

export function aesenc(state: v128, key: v128): v128 {
  return v128.xor(mixColumns(subBytes(shiftRows(state))), key);
}

export function aesenclast(state: v128, key: v128): v128 {
  return v128.xor(subBytes(shiftRows(state)), key);
}

export function aesdec(state: v128, key: v128): v128 {
  return v128.xor(inverseMixColumns(inverseSubBytes(inverseShiftRows(state))), key);
}

export function aesdeclast(state: v128, key: v128): v128 {
  return v128.xor(inverseSubBytes(inverseShiftRows(state)), key);
}

export function aesimc(x: v128): v128 {
  return inverseMixColumns(x);
}

export function aeskeygenassist(x: v128, roundConstant: i32): v128 {
  const substituted = subBytes(x);
  const words = v128.shuffle<u8>(substituted, substituted, 4, 5, 6, 7, 5, 6, 7, 4, 12, 13, 14, 15, 13, 14, 15, 12);
  const constant = roundConstant & 0xff;
  return v128.xor(words, i32x4.replace_lane(i32x4.replace_lane(i64x2.splat(0), 1, constant), 3, constant));
}
