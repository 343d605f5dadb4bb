/**
 * Turns instruction bytes into records: prefixes, opcode, ModRM and SIB, displacement, immediate. SDM vol. 2, chapter 2
 * and appendix A. What instructions there are is in the tables that decode-tables.ts makes of the rows.
 */
import * as L from './layout';

/** What decoding came to, when it is not a length. */
const NEEDS_MORE: i32 = 0;
const UNDEFINED: i32 = -1;
/** Longer than 15 bytes: #GP(0). */
const TOO_LONG: i32 = -2;

const MAX_LENGTH: u32 = 15;

const NO_SEGMENT: i32 = -1;
const SS: i32 = 2;
const DS: i32 = 3;

const RUN_LIMIT: u32 = L.RUN_LIMIT;
/** Of a run at most, with the parts of its code page that it lies in. */
const RUN_BYTES: u32 = (RUN_LIMIT + 2) * L.RECORD_BYTES + ((RUN_LIMIT * MAX_LENGTH) / 256 + 2) * L.CODE_PART_BYTES;

/** First candidate of an opcode, and the end of its candidates. */
let candidate: u32 = 0;
let lastCandidate: u32 = 0;

// @ts-ignore: decorator
@inline
function general(number: u32): u32 {
  return L.GPR + number * 8;
}

/** Without REX, numbers 4 to 7 are AH, CH, DH, BH. */
function byteRegister(number: u32, rex: u32): u32 {
  return rex == 0 && number >= 4 && number < 8 ? L.GPR + (number - 4) * 8 + 1 : general(number);
}

// @ts-ignore: decorator
@inline
function vector(number: u32): u32 {
  return L.YMM + number * 32;
}

// @ts-ignore: decorator
@inline
function mmx(number: u32): u32 {
  return L.X87 + (number & 7) * 16;
}

/** A little-endian value of 1, 2 or 4 bytes, sign-extended. */
function signed(at: u32, bytes: u32): i32 {
  if (bytes == 1) return load<i8>(at);
  return bytes == 2 ? load<i16>(at) : load<i32>(at);
}

/** Base and index of 16-bit addressing by ModRM.rm: SDM vol. 2, table 2-1. */
function base16(rm: u32): u32 {
  return general(rm == 0 || rm == 1 || rm == 7 ? 3 : rm == 4 ? 6 : rm == 5 ? 7 : 5);
}

function index16(rm: u32): u32 {
  return rm > 3 ? L.ZERO : general(6 + (rm & 1));
}

/**
 * Chooses the candidate that an opcode's further bits ask for; false when there is none. `repeat` is 0xf2, 0xf3 or 0.
 */
function choose(mode: u32, operand16: bool, repeat: u32, modrm: u32, w: u32, long256: bool, exchange: bool): bool {
  const form: u32 = modrm >= 0xc0 ? 2 : 1;
  const length: u32 = long256 ? 2 : 1;
  for (; candidate < lastCandidate; candidate += L.CANDIDATE_BYTES) {
    if (!(load<u8>(candidate, L.C_MODES) & (mode == 2 ? 2 : 1))) continue;
    const prefix: u32 = load<u8>(candidate, L.C_PREFIX);
    if (prefix == 1 ? operand16 || repeat != 0 : prefix == 0x66 ? !operand16 || repeat != 0 : prefix != 0 && repeat != prefix) continue;
    if ((modrm & load<u8>(candidate, L.C_MODRM_MASK)) != load<u8>(candidate, L.C_MODRM)) continue;
    if (load<u8>(candidate, L.C_FORM) && load<u8>(candidate, L.C_FORM) != form) continue;
    if (load<u8>(candidate, L.C_W) != 2 && load<u8>(candidate, L.C_W) != w) continue;
    if (load<u8>(candidate, L.C_VECTOR) && load<u8>(candidate, L.C_VECTOR) != length) continue;
    // 90 is XCHG with R8 when REX.B is set
    if (exchange && !(load<u32>(candidate, L.C_FLAGS) & L.CAN_PLUS)) continue;
    return true;
  }
  return false;
}

/**
 * Decodes one instruction into the record at `record`.
 * @param start address of its first byte; @param end bytes from here on are not there
 * @param mode 0: 16-bit code, 1: 32-bit, 2: 64-bit
 * @param offset of the first byte in its page
 * @returns its length, or NEEDS_MORE, UNDEFINED, TOO_LONG. `candidate` says how it was read
 */
export function decode(start: u32, end: u32, mode: u32, offset: u32, record: u32): i32 {
  const limit = min<u32>(end, start + MAX_LENGTH);
  const short: i32 = end < start + MAX_LENGTH ? NEEDS_MORE : TOO_LONG;
  let at = start;
  let operand16 = false;
  let addressToggle = false;
  let repeat: u32 = 0;
  let lock = false;
  let segment: i32 = NO_SEGMENT;
  let rex: u32 = 0;
  let byte: u32 = 0;
  for (;;) {
    if (at >= limit) return short;
    byte = load<u8>(at++);
    if (mode == 2 && (byte & 0xf0) == 0x40) {
      rex = byte;
      continue;
    }
    if (byte == 0x66) operand16 = true;
    else if (byte == 0x67) addressToggle = true;
    else if (byte == 0xf2 || byte == 0xf3) repeat = byte;
    else if (byte == 0xf0) lock = true;
    else if ((byte & 0xe7) == 0x26) {
      if (mode != 2) segment = (byte >> 3) & 3;
    } else if ((byte & 0xfe) == 0x64) segment = byte - 0x60;
    else break;
    rex = 0; // REX counts only right before the opcode
  }
  let map: u32 = 0;
  let vex = false;
  let vvvv: u32 = 0;
  let long256 = false;
  let w: u32 = (rex >> 3) & 1;
  if ((byte & 0xfe) == 0xc4) {
    if (at >= limit) return short;
    const next: u32 = load<u8>(at);
    if (mode == 2 || next >= 0xc0) {
      if (operand16 || repeat || lock || rex) return UNDEFINED;
      vex = true;
      let last = next;
      at++;
      if (byte == 0xc4) {
        if (at >= limit) return short;
        last = load<u8>(at++);
        map = next & 0x1f;
        if (map < 1 || map > 3) return UNDEFINED;
        rex = 0x40 | ((~next >> 5) & 7);
        w = last >> 7;
      } else {
        map = 1;
        rex = 0x40 | ((~next >> 5) & 4);
        w = 0;
      }
      vvvv = (~last >> 3) & 15;
      if (mode != 2) {
        rex = 0x40;
        vvvv &= 7;
      }
      long256 = (last & 4) != 0;
      operand16 = (last & 3) == 1;
      repeat = (last & 3) == 2 ? 0xf3 : (last & 3) == 3 ? 0xf2 : 0;
      if (at >= limit) return short;
      byte = load<u8>(at++);
    }
  } else if (byte == 0x0f) {
    if (at >= limit) return short;
    byte = load<u8>(at++);
    map = 1;
    if (byte == 0x38 || byte == 0x3a) {
      map = byte == 0x38 ? 2 : 3;
      if (at >= limit) return short;
      byte = load<u8>(at++);
    }
  }
  const index: u32 = L.DECODE_INDEX + (((vex ? 4 : 0) + map) << 10) + (byte << 2);
  const count: u32 = load<u16>(index, 2);
  if (!count) return UNDEFINED;
  candidate = L.DECODE_CANDIDATES + <u32>load<u16>(index) * L.CANDIDATE_BYTES;
  lastCandidate = candidate + count * L.CANDIDATE_BYTES;
  const hasModrm = (load<u32>(candidate, L.C_FLAGS) & L.CAN_MODRM) != 0;
  let modrm: u32 = 0;
  if (hasModrm) {
    if (at >= limit) return short;
    modrm = load<u8>(at);
  }
  if (!choose(mode, operand16, repeat, modrm, w, long256, byte == 0x90 && map == 0 && (rex & 1) != 0)) return UNDEFINED;
  const flags = load<u32>(candidate, L.C_FLAGS);
  const relative: u32 = load<u8>(candidate, L.C_RELATIVE);

  let size: u32 = 1; // of 16, 32, 64
  if (mode == 2) {
    if (flags & L.CAN_STACK64) size = operand16 && !w && !(flags & L.CAN_SHORT64) ? 0 : 2;
    else size = w ? 2 : operand16 && !(flags & L.CAN_WIDE66) ? 0 : 1;
  } else if ((mode == 1) == operand16) size = 0;
  const address: u32 = mode == 2 ? (addressToggle ? 1 : 2) : (mode == 1) == addressToggle ? 0 : 1;

  let recordFlags: u32 = address == 1 ? L.REC_ADDRESS_32 : address == 0 ? L.REC_ADDRESS_16 : 0;
  let memory: u32 = 0;
  let scale: u32 = 0;
  let base: u32 = L.ZERO;
  let indexRegister: u32 = L.ZERO;
  let displacement: i32 = 0;
  let defaultSegment: i32 = DS;
  let ripRelative = false;
  if (hasModrm) {
    at++;
    if (modrm < 0xc0 && !(flags & (L.CAN_EXACT | L.CAN_REGISTERS))) {
      if (!(flags & L.CAN_MEMORY)) return UNDEFINED;
      memory = 2;
      const mod = modrm >> 6;
      const rm = modrm & 7;
      let displacementBytes: u32 = mod == 1 ? 1 : 0;
      if (address == 0) {
        if (flags & L.CAN_VSIB) return UNDEFINED;
        if (mod == 2 || (mod == 0 && rm == 6)) displacementBytes = 2;
        if (mod != 0 || rm != 6) {
          base = base16(rm);
          if (rm == 2 || rm == 3 || rm == 6) defaultSegment = SS;
        }
        indexRegister = index16(rm);
      } else {
        if (mod == 2) displacementBytes = 4;
        let number = rm;
        if (rm == 4) {
          if (at >= limit) return short;
          const sib: u32 = load<u8>(at++);
          number = sib & 7;
          const indexNumber = ((sib >> 3) & 7) | ((rex & 2) << 2);
          if (flags & L.CAN_VSIB) {
            indexRegister = vector(indexNumber);
            scale = sib >> 6;
          } else if (indexNumber != 4) {
            indexRegister = general(indexNumber);
            scale = sib >> 6;
          }
        } else if (flags & L.CAN_VSIB) return UNDEFINED;
        if (number == 5 && mod == 0) {
          displacementBytes = 4;
          if (rm == 5 && mode == 2) ripRelative = true;
        } else {
          base = general(number | ((rex & 1) << 3));
          if ((number == 4 || number == 5) && !(rex & 1)) defaultSegment = SS;
        }
      }
      if (at + displacementBytes > limit) return short;
      if (displacementBytes) displacement = signed(at, displacementBytes);
      at += displacementBytes;
    }
  }
  if (lock && !(memory && flags & L.CAN_LOCK)) return UNDEFINED;

  // Immediates and relative targets
  let immediate: i64 = 0;
  if (relative) {
    const bytes: u32 = relative == 1 ? 1 : size == 0 ? 2 : 4;
    if (at + bytes > limit) return short;
    const distance = signed(at, bytes);
    at += bytes;
    // Offset of the target from the page's base
    const target: i64 = <i64>distance + <i64>(offset + (at - start));
    immediate = <i64>(<u64><u32>target | (target < 0 ? 0xffffffff00000000 : 0));
  } else if (flags & L.CAN_ABSOLUTE) {
    const bytes: u32 = 2 << address;
    if (at + bytes > limit) return short;
    immediate = bytes == 2 ? <i64>load<u16>(at) : bytes == 4 ? <i64>load<u32>(at) : load<i64>(at);
    at += bytes;
    memory = 2;
    recordFlags |= L.REC_ABSOLUTE;
  } else {
    const bytes: u32 = load<u8>(candidate + size, L.C_IMMEDIATE);
    if (bytes) {
      if (at + bytes > limit) return short;
      for (let i: u32 = 0; i < bytes; i++) immediate |= <i64>load<u8>(at + i) << (i << 3);
      at += bytes;
      immediate = extended(immediate, bytes, size, load<u8>(candidate, L.C_EXTEND), mode);
    }
  }
  // The x87 opcode as the last-opcode register keeps it: SDM vol. 1, 8.1.9
  if (flags & L.CAN_X87) immediate = ((byte & 7) << 8) | modrm;
  const length = at - start;
  if (ripRelative) {
    base = L.PAGE_BASE;
    const sum: i64 = <i64>displacement + <i64>(offset + length);
    displacement = <i32>sum;
    // Beyond 32 bits the overflow goes to the address calculation, by way of the flags.
    if (sum != <i64>displacement) recordFlags |= L.REC_FAR_DISPLACEMENT;
  }
  if (memory && segment < 0) segment = defaultSegment;
  if (memory || flags & L.CAN_ADDRESSED) {
    if (segment < 0) segment = DS;
    const particular = (recordFlags & (L.REC_ABSOLUTE | L.REC_FAR_DISPLACEMENT)) != 0 || (flags & L.CAN_VSIB) != 0;
    memory = mode == 2 && address == 2 && segment < 4 && indexRegister == L.ZERO && !particular ? 1 : 2;
  }
  const rep: u32 = repeat == 0xf3 ? 1 : repeat == 0xf2 ? 2 : 0;
  if (rep == 1) recordFlags |= L.REC_REP;
  else if (rep == 2) recordFlags |= L.REC_REPNE;
  if (lock) recordFlags |= L.REC_LOCK;

  const third: u32 = load<u8>(candidate, L.C_THIRD);
  if (vex && vvvv != 0 && third == 0) return UNDEFINED;
  const handler = handlerOf(size, memory, rep, mode == 2, flags);
  if (!handler) return UNDEFINED;
  store<u16>(record, handler, L.R_HANDLER);
  store<u16>(record, offset, L.R_OFFSET);
  store<u8>(record, length, L.R_LENGTH);
  store<u8>(record, scale, L.R_SCALE);
  store<u8>(record, segment < 0 ? DS : segment, L.R_SEGMENT);
  store<u8>(record, recordFlags, L.R_FLAGS);
  const condition: u32 = load<u8>(candidate, L.C_CONDITION);
  store<u16>(record, condition ? condition : regOf(load<u8>(candidate, L.C_REG), modrm, rex), L.R_REG);
  store<u16>(record, rmOf(load<u8>(candidate, L.C_RM), base, memory != 0, modrm, byte, rex), L.R_RM);
  store<u16>(record, indexRegister, L.R_INDEX);
  store<u16>(record, third == 1 ? general(vvvv) : third == 2 ? vector(vvvv) : 0, L.R_VVVV);
  store<i32>(record, displacement, L.R_DISP);
  store<u32>(record, 0, L.R_NOTE);
  store<i64>(record, immediate, L.R_IMM);
  return length;
}

/** An immediate of `bytes` as its operand wants it. */
function extended(immediate: i64, bytes: u32, size: u32, extend: u32, mode: u32): i64 {
  if (extend & L.EXTEND_SIGN) {
    if (bytes > 4) return immediate;
    if (extend & L.EXTEND_BYTE) immediate = <i64>(<i8>immediate);
    else if (!(extend & L.EXTEND_WORD)) immediate = <i64>(<i32>immediate);
    if (extend & L.EXTEND_TO_8) return immediate & 0xff;
    if (!(extend & L.EXTEND_TO_SIZE) || size == 2) return immediate;
    return size == 0 ? immediate & 0xffff : immediate & 0xffffffff;
  }
  // offset in the low half, selector in the high one
  if (extend & L.EXTEND_FAR) return size == 0 ? (immediate & 0xffff) | ((immediate >> 16) << 32) : immediate;
  if (extend & L.EXTEND_REGISTER) return vector((<u32>immediate >> 4) & (mode == 2 ? 15 : 7));
  return immediate;
}

function handlerOf(size: u32, memory: u32, rep: u32, long: bool, flags: u32): u32 {
  if (!(flags & L.CAN_SIZED)) size = 1;
  if (!(flags & L.CAN_STRING)) rep = 0;
  const shape = ((size * 3 + memory) * 3 + rep) * 2 + (long || !(flags & L.CAN_MODAL) ? 1 : 0);
  return load<u16>(load<u32>(candidate, L.C_HANDLERS) + (shape << 1));
}

function regOf(kind: u32, modrm: u32, rex: u32): u32 {
  const number = ((modrm >> 3) & 7) | ((rex & 4) << 1);
  switch (kind) {
    case L.REG_BYTE: return byteRegister(number, rex);
    case L.REG_GENERAL: return general(number);
    case L.REG_VECTOR: return vector(number);
    case L.REG_MMX: return mmx(number);
    case L.REG_SEGMENT: return number & 7;
    case L.REG_NUMBER: return number;
    default: return 0;
  } // prettier-ignore
}

function rmOf(kind: u32, base: u32, memory: bool, modrm: u32, byte: u32, rex: u32): u32 {
  if (memory && kind <= <u32>L.RM_MMX) return base;
  const number = (modrm & 7) | ((rex & 1) << 3);
  switch (kind) {
    case L.RM_BYTE: return byteRegister(number, rex);
    case L.RM_GENERAL: return general(number);
    case L.RM_VECTOR: case L.RM_VECTOR_ALWAYS: return vector(number);
    case L.RM_MMX: case L.RM_MMX_ALWAYS: return mmx(number);
    case L.RM_NUMBER: return modrm & 7;
    case L.RM_OPCODE_BYTE: return byteRegister((byte & 7) | ((rex & 1) << 3), rex);
    case L.RM_OPCODE: return general((byte & 7) | ((rex & 1) << 3));
    default: return base;
  } // prettier-ignore
}

/** A conditional jump follows a record: one handler may do both. */
function pairUp(record: u32): void {
  const handler: u32 = load<u16>(record, L.R_HANDLER);
  const pair: u32 = handler < <u32>L.DECODE_PAIRED ? load<u16>(L.DECODE_PAIRS + (handler << 1)) : 0;
  if (pair) store<u16>(record, pair, L.R_HANDLER);
}

/** A record that is no instruction. */
export function pseudo(record: u32, handler: u32, offset: u32): void {
  store<u16>(record, handler, L.R_HANDLER);
  store<u16>(record, offset, L.R_OFFSET);
  store<u8>(record, 0, L.R_LENGTH);
  store<u32>(record, 0, L.R_LINK);
  store<u32>(record, 0, L.R_NOTE);
}

/** Record of the instruction at an offset of a code page; 0 when it is not decoded. */
export function recordAt(page: u32, offset: u32): u32 {
  return load<u32>(load<u32>(page + ((offset >> 8) << 2)) + ((offset & 0xff) << 2));
}

/** The arena has room for a part. */
function setRecordAt(page: u32, offset: u32, record: u32): void {
  const slot = page + ((offset >> 8) << 2);
  let part = load<u32>(slot);
  if (part == L.EMPTY_PART) {
    part = load<u32>(L.ARENA_NEXT);
    store<u32>(L.ARENA_NEXT, part + L.CODE_PART_BYTES);
    memory.fill(part, 0, L.CODE_PART_BYTES);
    store<u32>(slot, part);
  }
  store<u32>(part + ((offset & 0xff) << 2), record);
}

/** Whether the arena has room for a run. */
export function hasRoom(): bool {
  return load<u32>(L.ARENA_NEXT) + RUN_BYTES <= <u32>L.ARENA_END;
}

/**
 * Decodes from `offset` of a page up to a jump, the page's end, known code or RUN_LIMIT instructions. The arena has room.
 * @param page its code page; @param host address of its first byte
 * @returns the first record
 */
export function decodeRun(page: u32, host: u32, offset: u32, mode: u32): u32 {
  const header = load<u32>(L.ARENA_NEXT);
  const first = header + L.RECORD_BYTES;
  let record = first;
  let at = offset;
  let count: u32 = 0;
  while (count < RUN_LIMIT && at < 4096) {
    if (count && recordAt(page, at)) break;
    const length = decode(host + at, host + 4096, mode, at, record);
    count++;
    if (length <= 0) {
      pseudo(record, length == NEEDS_MORE ? L.H_CROSS : length == TOO_LONG ? L.H_TOO_LONG : L.H_UNDEFINED, at);
      store<u8>(record, min<u32>(MAX_LENGTH, 4096 - at), L.R_LENGTH);
      record += L.RECORD_BYTES;
      break;
    }
    if (count > 1 && load<u8>(candidate, L.C_CONDITION)) pairUp(record - L.RECORD_BYTES);
    at += length;
    record += L.RECORD_BYTES;
    if (load<u32>(candidate, L.C_FLAGS) & L.CAN_END) break;
  }
  pseudo(record, L.H_END, at);
  store<u32>(header, load<u32>(page, L.CP_RUNS), L.RUN_NEXT);
  store<u32>(header, count + 1, L.RUN_COUNT);
  store<u32>(page, header, L.CP_RUNS);
  store<u32>(L.ARENA_NEXT, record + L.RECORD_BYTES);
  for (let each = first; each < record; each += L.RECORD_BYTES) setRecordAt(page, load<u16>(each, L.R_OFFSET), each);
  store<u64>(L.COUNT_DECODED, load<u64>(L.COUNT_DECODED) + count);
  return first;
}

/** Decodes the instruction of `lookupCrossing`, whose bytes stand at `start`, and the end behind it. */
export function decodeCrossing(start: u32, bytes: u32, mode: u32, offset: u32, record: u32): void {
  const length = decode(start, start + bytes, mode, offset, record);
  if (length <= 0) pseudo(record, length == TOO_LONG ? L.H_TOO_LONG : L.H_UNDEFINED, offset);
  pseudo(record + L.RECORD_BYTES, L.H_END, offset + max<i32>(length, 0));
}
