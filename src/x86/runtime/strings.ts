/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 1, 4.1 of vol. 2 "Imm8 control byte operation"). */

/** Elements of a vector: bytes, or words with bit 0 of `imm`. */
function elementCount(imm: i32): i32 {
  return imm & 1 ? 8 : 16;
}

/** Length of an implicit-length string: elements before the first zero. */
export function pcmpstr_length(x: v128, imm: i32): i32 {
  const zeros = imm & 1 ? i16x8.bitmask(i16x8.eq(x, i64x2.splat(0))) : i8x16.bitmask(i8x16.eq(x, i64x2.splat(0)));
  return ctz<i32>(zeros | (1 << elementCount(imm)));
}

/** Length of an explicit-length string from EAX or EDX (RAX or RDX with REX.W): its magnitude, saturated. */
export function pcmpstr_explicit_length(value: i64, imm: i32): i32 {
  const count = <i64>elementCount(imm);
  // The magnitude of the least value is negative again, hence both bounds.
  const magnitude = value < 0 ? -value : value;
  return <i32>(magnitude < 0 || magnitude > count ? count : magnitude);
}

/** Element j of x in every element. */
function spread(x: v128, j: i32, words: bool): v128 {
  return words ? i8x16.swizzle(x, i16x8.splat(<i16>(2 * j + ((2 * j + 1) << 8)))) : i8x16.swizzle(x, i8x16.splat(<i8>j));
}

function equalBits(a: v128, b: v128, words: bool): i32 {
  return words ? i16x8.bitmask(i16x8.eq(a, b)) : i8x16.bitmask(i8x16.eq(a, b));
}

/** Elements of b from `low` to `high`; `format` is imm bits 0-1. */
function rangeBits(low: v128, high: v128, b: v128, format: i32): i32 {
  if (format == 0) return i8x16.bitmask(v128.and(i8x16.le_u(low, b), i8x16.le_u(b, high)));
  if (format == 1) return i16x8.bitmask(v128.and(i16x8.le_u(low, b), i16x8.le_u(b, high)));
  if (format == 2) return i8x16.bitmask(v128.and(i8x16.le_s(low, b), i8x16.le_s(b, high)));
  return i16x8.bitmask(v128.and(i16x8.le_s(low, b), i16x8.le_s(b, high)));
}

/**
 * Compares a (the first operand, of `aLength` valid elements) with b. Returns IntRes2 in bits 0-15, and in the upper half
 * CF, ZF, SF, OF at their places in EFLAGS (AF and PF are cleared).
 */
export function pcmpstr(a: v128, b: v128, aLength: i32, bLength: i32, imm: i32): i32 {
  const count = elementCount(imm);
  const words = (imm & 1) != 0;
  const every = (1 << count) - 1;
  const aValid = (1 << aLength) - 1;
  const bValid = (1 << bLength) - 1;
  let result = 0;
  switch ((imm >> 2) & 3) {
    case 0:
      for (let j = 0; j < aLength; j++) result |= equalBits(spread(a, j, words), b, words);
      result &= bValid;
      break;
    case 1:
      for (let j = 0; j + 1 < aLength; j += 2) result |= rangeBits(spread(a, j, words), spread(a, j + 1, words), b, imm & 3);
      result &= bValid;
      break;
    case 2:
      result = (equalBits(a, b, words) & aValid & bValid) | (every & ~aValid & ~bValid);
      break;
    default:
      result = every;
      for (let j = 0; j < aLength; j++) {
        const beyond = every & ~(every >> j);
        result &= ((equalBits(spread(a, j, words), b, words) & bValid) >> j) | beyond;
      }
  }
  if (imm & 16) result ^= imm & 32 ? bValid : every;
  let flags = result ? 1 : 0;
  if (bLength < count) flags |= 0x40;
  if (aLength < count) flags |= 0x80;
  if (result & 1) flags |= 0x800;
  return result | (flags << 16);
}

/** ECX of PCMPxSTRI from the result of `pcmpstr`: the lowest set bit, or the highest with bit 6 of `imm`. */
export function pcmpstr_index(result: i32, imm: i32): i32 {
  const bits = result & 0xffff;
  if (bits == 0) return elementCount(imm);
  return imm & 64 ? 31 - clz<i32>(bits) : ctz<i32>(bits);
}

/** XMM0 of PCMPxSTRM from the result of `pcmpstr`: a bit mask, or an element mask with bit 6 of `imm`. */
export function pcmpstr_mask(result: i32, imm: i32): v128 {
  const bits = result & 0xffff;
  if ((imm & 64) == 0) return i32x4.replace_lane(i64x2.splat(0), 0, bits);
  if (imm & 1) {
    const places = i16x8(1, 2, 4, 8, 16, 32, 64, 128);
    return i16x8.eq(v128.and(i16x8.splat(<i16>bits), places), places);
  }
  const places = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
  const spreadBits = i8x16.swizzle(i16x8.splat(<i16>bits), i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
  return i8x16.eq(v128.and(spreadBits, places), places);
}
