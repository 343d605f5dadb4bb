/**
 * Addresses that are not just base plus displacement: indexes, segment bases, short address sizes, and the segment
 * checks outside 64-bit code. SDM vol. 1, 3.7.5; vol. 3, 5.3.
 */
import * as L from './layout';

/** A linear address that no access gets through. Callers compare with it: it has no other bits. */
const VIOLATION: u64 = 0x8000000000000000;

function displacement(record: u32): u64 {
  const far = load<u8>(record, L.R_FLAGS) & L.REC_FAR_DISPLACEMENT;
  return far ? <u64>load<u32>(record, L.R_DISP) : <u64>(<i64>load<i32>(record, L.R_DISP));
}

/** Effective address of a record's memory operand, cut to its address size. */
export function effectiveAddress(record: u32): u64 {
  const flags = <u32>load<u8>(record, L.R_FLAGS);
  if (flags & L.REC_ABSOLUTE) return load<u64>(record, L.R_IMM);
  const base = load<u64>(<u32>load<u16>(record, L.R_RM));
  const index = load<u64>(<u32>load<u16>(record, L.R_INDEX));
  const sum = base + (index << (<u64>load<u8>(record, L.R_SCALE))) + displacement(record);
  if (!(flags & (L.REC_ADDRESS_32 | L.REC_ADDRESS_16))) return sum;
  return flags & L.REC_ADDRESS_32 ? sum & 0xffffffff : sum & 0xffff;
}

/** Linear address of the memory operand: `access` is its bytes, plus 256 when it will be written. */
export function linearAddress(record: u32, access: u32): u64 {
  return segmented(<u32>load<u8>(record, L.R_SEGMENT), effectiveAddress(record), access);
}

/** BT and friends: the operand's address moved by some bytes, cut to the address size again. */
export function displacedAddress(record: u32, distance: u64, access: u32): u64 {
  const flags = <u32>load<u8>(record, L.R_FLAGS);
  const offset = effectiveAddress(record) + distance;
  return segmented(<u32>load<u8>(record, L.R_SEGMENT), offset & maskOf(flags), access);
}

/** Linear address of element `n` of a gather: the index register holds signed indexes of `indexBytes` bytes. */
export function gatherAddress(record: u32, n: u32, indexBytes: u32, access: u32): u64 {
  const place = <u32>load<u16>(record, L.R_INDEX) + n * indexBytes;
  const index = indexBytes == 4 ? <i64>load<i32>(place) : load<i64>(place);
  const base = load<u64>(<u32>load<u16>(record, L.R_RM));
  const sum = base + <u64>(index << (<i64>load<u8>(record, L.R_SCALE))) + displacement(record);
  return segmented(<u32>load<u8>(record, L.R_SEGMENT), sum & maskOf(<u32>load<u8>(record, L.R_FLAGS)), access);
}

function maskOf(flags: u32): u64 {
  return flags & L.REC_ADDRESS_32 ? 0xffffffff : flags & L.REC_ADDRESS_16 ? 0xffff : 0xffffffffffffffff;
}

export function addressMask(record: u32): u64 {
  return maskOf(<u32>load<u8>(record, L.R_FLAGS));
}

/** Writes a register at its state address in the width of the address size. */
export function writeAddressSized(record: u32, register: u32, value: u64): void {
  const flags = <u32>load<u8>(record, L.R_FLAGS);
  if (flags & L.REC_ADDRESS_16) store<u16>(register, <u16>value);
  else store<u64>(register, value & maskOf(flags));
}

/**
 * Linear address of an offset in a segment. When the segment does not allow it, VIOLATION is added; the low bits stay,
 * since alignment is checked before limits.
 */
export function segmented(segment: u32, offset: u64, access: u32): u64 {
  if (load<u32>(L.CODE_MODE) == 2) {
    if (segment < 4) return offset;
    // The offset must be canonical by itself, too.
    const linear = load<u64>(L.SEG_BASE + (segment << 3)) + offset;
    return <u64>(<i64>(offset << 16) >> 16) != offset ? VIOLATION : linear;
  }
  const linear = (load<u64>(L.SEG_BASE + (segment << 3)) + offset) & 0xffffffff;
  // No limit reaches beyond 32 bits.
  const within = offset <= 0xffffffff && inSegment(segment, <u32>offset, access & 255, (access & 256) != 0);
  return within ? linear : VIOLATION | linear;
}

/** Limit and type check of an access outside 64-bit code. */
function inSegment(segment: u32, offset: u32, bytes: u32, write: bool): bool {
  const attributes = load<u32>(L.SEG_ATTR + (segment << 2));
  const limit = load<u32>(L.SEG_LIMIT + (segment << 2));
  const real = !(load<u32>(L.CR0) & 1) || load<u32>(L.RFLAGS) & (1 << 17);
  if (!real) {
    if (attributes & 0x10080 ? attributes & 0x10000 : true) return false; // null or not present
    const code = (attributes & 8) != 0;
    if (write ? code || !(attributes & 2) : code && !(attributes & 2)) return false;
    if (!code && attributes & 4) {
      // Expand-down: valid above the limit, up to 64 KiB or 4 GiB
      const top: u32 = attributes & 0x4000 ? 0xffffffff : 0xffff;
      return offset > limit && offset <= top && top - offset >= bytes - 1;
    }
  }
  if (bytes == 0) return true;
  return offset <= limit && limit - offset >= bytes - 1;
}

/** Linear address on the stack outside 64-bit code; `pointer` may have bits beyond the stack's width. */
export function stackAddress(pointer: u64, bytes: u32, write: u32): u64 {
  const offset = pointer & <u64>load<u32>(L.STACK_MASK);
  return segmented(2, offset, bytes | (write << 8));
}

/** Offset in CS of a branch target outside 64-bit code, given as linear address: it wraps at the operand size. */
export function legacyTarget(linear: u64, operandSize: u32): u64 {
  const offset = <u32>(linear - load<u64>(L.SEG_BASE + 8));
  return <u64>(operandSize == 16 ? offset & 0xffff : offset);
}
