/**
 * Turns instruction bytes into records: prefixes, opcode, ModRM and SIB, displacement, immediate.
 * SDM vol. 2, chapter 2 and appendix A.
 */
import { ENCODINGS } from './isa/table.ts';
import type { Encoding, OpcodeMap } from './isa/encoding.ts';
import { mayAddressMemory, type Variants } from './interpreter/variants.ts';
import * as L from './runtime/layout.ts';

/** What decoding came to, when it is not a length. */
export const NEEDS_MORE = 0;
export const UNDEFINED = -1;
/** Longer than 15 bytes: #GP(0). */
export const TOO_LONG = -2;

const MAX_LENGTH = 15;

const CS = 1;
const SS = 2;
const DS = 3;

/** Precomputed facts of an encoding that decoding asks for every time. */
interface Candidate {
  readonly encoding: Encoding;
  readonly memory: boolean;
  readonly immediateBytes: (operandSize: number, mode: number, addressSize: number) => number;
  readonly relative: number; // 0 none, 1 byte, 2 z
  readonly absolute: boolean;
}

function candidate(encoding: Encoding): Candidate {
  const immediates = encoding.operands.filter(({ letter }) => letter === 'I' || letter === 'A' || letter === 'L');
  const jump = encoding.operands.find(({ letter }) => letter === 'J');
  return {
    encoding,
    memory: mayAddressMemory(encoding),
    immediateBytes: (operandSize) =>
      immediates.reduce((sum, { letter, size }) => {
        if (letter === 'A') return sum + (operandSize === 16 ? 4 : 6);
        if (size === 'b' || letter === 'L') return sum + 1;
        if (size === 'w') return sum + 2;
        if (size === 'v') return sum + operandSize / 8;
        return sum + (operandSize === 16 ? 2 : 4);
      }, 0),
    relative: jump ? (jump.size === 'b' ? 1 : 2) : 0,
    absolute: encoding.operands.some(({ letter }) => letter === 'O'),
  };
}

/** More particular encodings first. */
function rank({ exact, prefix, digit, w, form, plusRegister }: Encoding): number {
  return (
    (exact !== undefined ? 8 : 0) +
    (prefix > 1 ? 4 : 0) +
    (w !== undefined ? 2 : 0) +
    (plusRegister ? -1 : 0) +
    (digit !== undefined || form !== 'any' ? 1 : 0)
  );
}

/** Candidates by map and opcode, for legacy and VEX encodings. */
function tables(vex: boolean, features: ReadonlySet<string>): (Candidate[] | undefined)[][] {
  const maps: (Candidate[] | undefined)[][] = [0, 1, 2, 3].map(() => []);
  for (const encoding of ENCODINGS) {
    if (encoding.vex !== vex) continue;
    const { feature } = encoding.row;
    if (feature !== undefined && !features.has(feature)) continue;
    const base = encoding.plusRegister ? encoding.opcode & 0xf8 : encoding.opcode;
    for (let n = 0; n < (encoding.plusRegister ? 8 : 1); n++) (maps[encoding.map]![base + n] ??= []).push(candidate(encoding));
  }
  for (const map of maps) for (const list of map) list?.sort((a, b) => rank(b.encoding) - rank(a.encoding));
  return maps;
}

export class Decoder {
  readonly #legacy: (Candidate[] | undefined)[][];
  readonly #vex: (Candidate[] | undefined)[][];
  readonly #variants: Variants;
  readonly #out: DataView;
  /** Facts of the last decoded instruction that its run needs. */
  encoding: Encoding = ENCODINGS[0]!;

  /** @param out the linear memory that records are written to */
  constructor(variants: Variants, features: ReadonlySet<string>, out: DataView) {
    this.#variants = variants;
    this.#legacy = tables(false, features);
    this.#vex = tables(true, features);
    this.#out = out;
  }

  /**
   * Decodes one instruction into the record at `record`.
   * @param code bytes; @param start its first byte; @param end bytes from here on are not there
   * @param mode 0: 16-bit code, 1: 32-bit, 2: 64-bit
   * @param offset of the first byte in its page
   * @returns its length, or NEEDS_MORE, UNDEFINED, TOO_LONG
   */
  decode(code: Uint8Array, start: number, end: number, mode: number, offset: number, record: number): number {
    const limit = Math.min(end, start + MAX_LENGTH);
    const short = end < start + MAX_LENGTH ? NEEDS_MORE : TOO_LONG;
    let at = start;
    let operand16 = false;
    let addressToggle = false;
    let repeat = 0; // 0xf2 or 0xf3
    let lock = false;
    let segment = -1;
    let rex = 0;
    let byte = 0;
    for (;;) {
      if (at >= limit) return short;
      byte = code[at++]!;
      if (byte === 0x66) operand16 = true;
      else if (byte === 0x67) addressToggle = true;
      else if (byte === 0xf2 || byte === 0xf3) repeat = byte;
      else if (byte === 0xf0) lock = true;
      else if (byte === 0x26 || byte === 0x2e || byte === 0x36 || byte === 0x3e) {
        if (mode !== 2) segment = (byte >> 3) & 3;
      } else if (byte === 0x64 || byte === 0x65) segment = byte - 0x60;
      else if (mode === 2 && (byte & 0xf0) === 0x40) {
        rex = byte;
        continue;
      } else break;
      rex = 0; // REX counts only right before the opcode
    }
    let map: OpcodeMap = 0;
    let vex = false;
    let vvvv = 0;
    let long256 = false;
    let w = (rex >> 3) & 1;
    if (byte === 0xc4 || byte === 0xc5) {
      if (at >= limit) return short;
      const next = code[at]!;
      if (mode === 2 || next >= 0xc0) {
        if (operand16 || repeat || lock || rex) return UNDEFINED;
        vex = true;
        let last = next;
        at++;
        if (byte === 0xc4) {
          if (at >= limit) return short;
          last = code[at++]!;
          const number = next & 0x1f;
          if (number < 1 || number > 3) return UNDEFINED;
          map = number as OpcodeMap;
          rex = 0x40 | ((~next >> 5) & 7);
          w = last >> 7;
        } else {
          map = 1;
          rex = 0x40 | ((~next >> 5) & 4);
          w = 0;
        }
        if (mode !== 2) rex = 0x40;
        vvvv = (~last >> 3) & 15;
        if (mode !== 2) vvvv &= 7;
        long256 = (last & 4) !== 0;
        operand16 = (last & 3) === 1;
        repeat = (last & 3) === 2 ? 0xf3 : (last & 3) === 3 ? 0xf2 : 0;
        if (at >= limit) return short;
        byte = code[at++]!;
      }
    } else if (byte === 0x0f) {
      if (at >= limit) return short;
      byte = code[at++]!;
      map = 1;
      if (byte === 0x38 || byte === 0x3a) {
        map = byte === 0x38 ? 2 : 3;
        if (at >= limit) return short;
        byte = code[at++]!;
      }
    }
    const candidates = (vex ? this.#vex : this.#legacy)[map]![byte];
    if (!candidates) return UNDEFINED;
    const hasModrm = candidates[0]!.encoding.modrm;
    let modrm = 0;
    if (hasModrm) {
      if (at >= limit) return short;
      modrm = code[at]!;
    }
    let chosen: Candidate | undefined;
    for (const each of candidates) {
      const e = each.encoding;
      const { row } = e;
      if (mode === 2 ? row.no64 : row.only64) continue;
      if (e.prefix !== 0) {
        if (e.prefix === 1 ? operand16 || repeat !== 0 : e.prefix === 0x66 ? !operand16 || repeat !== 0 : repeat !== e.prefix) continue;
      }
      if (e.exact !== undefined ? modrm !== e.exact : e.digit !== undefined && ((modrm >> 3) & 7) !== e.digit) continue;
      if (e.form !== 'any' && !row.registerForm && (e.form === 'mem') === modrm >= 0xc0) continue;
      if (e.w !== undefined && e.w !== w) continue;
      if (e.vectorBits !== 0 && (e.vectorBits === 256) !== long256) continue;
      // 90 is XCHG with R8 when REX.B is set
      if (byte === 0x90 && map === 0 && !e.plusRegister && rex & 1) continue;
      chosen = each;
      break;
    }
    if (!chosen) return UNDEFINED;
    const { encoding } = chosen;
    const { row } = encoding;

    let size = 1; // index into 16, 32, 64
    if (mode === 2) {
      if (row.stack64) size = operand16 && !w && !(row.modal && (row.ends || chosen.relative)) ? 0 : 2;
      else size = w ? 2 : operand16 && !(encoding.prefix === 0x66 && map !== 0) ? 0 : 1;
    } else if ((mode === 1) === operand16) size = 0;
    const operandSize = 16 << size;
    const address = mode === 2 ? (addressToggle ? 1 : 2) : (mode === 1) === addressToggle ? 0 : 1;

    const out = this.#out;
    let flags = address === 1 ? L.REC_ADDRESS_32 : address === 0 ? L.REC_ADDRESS_16 : 0;
    let memory = 0;
    let scale = 0;
    let base = L.ZERO;
    let index = L.ZERO;
    let displacement = 0;
    let displacementBase = 0;
    let defaultSegment = DS;
    let ripRelative = false;
    if (hasModrm) {
      at++;
      if (encoding.exact === undefined && modrm < 0xc0 && !row.registerForm) {
        if (!chosen.memory) return UNDEFINED;
        memory = 2;
        const mod = modrm >> 6;
        const rm = modrm & 7;
        let displacementBytes = mod === 1 ? 1 : 0;
        if (address === 0) {
          if (row.vsib) return UNDEFINED;
          if (mod === 2 || (mod === 0 && rm === 6)) displacementBytes = 2;
          const [first, second] = BASES_16[rm]!;
          base = mod === 0 && rm === 6 ? L.ZERO : L.GPR + first * 8;
          index = second < 0 ? L.ZERO : L.GPR + second * 8;
          if ((rm === 2 || rm === 3 || rm === 6) && base !== L.ZERO) defaultSegment = SS;
        } else {
          if (mod === 2) displacementBytes = 4;
          let baseNumber = rm;
          if (rm === 4) {
            if (at >= limit) return short;
            const sib = code[at++]!;
            baseNumber = sib & 7;
            const indexNumber = ((sib >> 3) & 7) | ((rex & 2) << 2);
            if (row.vsib) {
              index = L.YMM + indexNumber * 32;
              scale = sib >> 6;
            } else if (indexNumber !== 4) {
              index = L.GPR + indexNumber * 8;
              scale = sib >> 6;
            }
          } else if (row.vsib) return UNDEFINED;
          if (baseNumber === 5 && mod === 0) {
            displacementBytes = 4;
            if (rm === 5 && mode === 2) ripRelative = true;
          } else {
            base = L.GPR + (baseNumber | ((rex & 1) << 3)) * 8;
            if ((baseNumber === 4 || baseNumber === 5) && !(rex & 1)) defaultSegment = SS;
          }
        }
        if (at + displacementBytes > limit) return short;
        if (displacementBytes === 1) displacement = (code[at]! << 24) >> 24;
        else if (displacementBytes === 2) displacement = ((code[at]! | (code[at + 1]! << 8)) << 16) >> 16;
        else if (displacementBytes === 4) displacement = code[at]! | (code[at + 1]! << 8) | (code[at + 2]! << 16) | (code[at + 3]! << 24);
        at += displacementBytes;
      } else if (encoding.form === 'mem') return UNDEFINED;
    }
    if (lock && !(row.lock && memory && 'EM'.includes(encoding.operands[0]!.letter))) return UNDEFINED;

    // Immediates and relative targets
    let low = 0;
    let high = 0;
    const operands = encoding.operands;
    if (chosen.relative) {
      const bytes = chosen.relative === 1 ? 1 : operandSize === 16 ? 2 : 4;
      if (at + bytes > limit) return short;
      if (bytes === 1) displacement = (code[at]! << 24) >> 24;
      else if (bytes === 2) displacement = ((code[at]! | (code[at + 1]! << 8)) << 16) >> 16;
      else displacement = code[at]! | (code[at + 1]! << 8) | (code[at + 2]! << 16) | (code[at + 3]! << 24);
      at += bytes;
      displacementBase = offset + (at - start);
    } else if (chosen.absolute) {
      const bytes = 2 << address;
      if (at + bytes > limit) return short;
      for (let i = 0; i < Math.min(4, bytes); i++) low |= code[at + i]! << (8 * i);
      for (let i = 4; i < bytes; i++) high |= code[at + i]! << (8 * (i - 4));
      at += bytes;
      memory = 2;
      flags |= L.REC_ABSOLUTE;
    } else {
      const bytes = chosen.immediateBytes(operandSize, mode, address);
      if (bytes > 0) {
        if (at + bytes > limit) return short;
        for (let i = 0; i < Math.min(4, bytes); i++) low |= code[at + i]! << (8 * i);
        for (let i = 4; i < bytes; i++) high |= code[at + i]! << (8 * (i - 4));
        at += bytes;
        const last = operands.at(-1)!;
        if (last.letter === 'I' && bytes <= 4 && operands.at(-2)?.letter !== 'I') {
          if (last.size === 'b') low = (low << 24) >> 24;
          if (last.size !== 'w') high = low >> 31;
          const first = operands[0]!;
          const bits =
            first.letter === 'E' || first.letter === 'G' || first.letter === 'F' || first.letter === 'Z' || first.letter === 'I'
              ? first.size === 'b' && first.letter !== 'I'
                ? 8
                : operandSize
              : 64;
          if (bits < 64) high = 0;
          if (bits === 16) low &= 0xffff;
          else if (bits === 8) low &= 0xff;
        } else if (last.letter === 'A') {
          // offset in the low half, selector in the high one
          if (operandSize === 16) {
            high = low >>> 16;
            low &= 0xffff;
          }
        } else if (last.letter === 'L') low = L.YMM + ((low >> 4) & (mode === 2 ? 15 : 7)) * 32;
      }
    }
    // The x87 opcode as the last-opcode register keeps it: SDM vol. 1, 8.1.9
    if (map === 0 && (byte & 0xf8) === 0xd8) low = ((byte & 7) << 8) | modrm;
    const length = at - start;
    if (ripRelative) {
      base = L.PAGE_BASE;
      const sum = displacement + offset + length;
      displacement = sum | 0;
      // Beyond 32 bits the overflow goes to the address calculation, by way of the flags.
      if (sum !== displacement) flags |= L.REC_FAR_DISPLACEMENT;
    }
    if (memory && segment < 0) segment = defaultSegment;
    if (memory || row.addressed) {
      if (segment < 0) segment = DS;
      const simple =
        mode === 2 && address === 2 && segment < 4 && index === L.ZERO && !(flags & (L.REC_ABSOLUTE | L.REC_FAR_DISPLACEMENT)) && !row.vsib;
      memory = simple ? 1 : 2;
    }
    const rep = repeat === 0xf3 ? 1 : repeat === 0xf2 ? 2 : 0;
    if (rep === 1) flags |= L.REC_REP;
    else if (rep === 2) flags |= L.REC_REPNE;
    if (lock) flags |= L.REC_LOCK;

    let reg = 0;
    let rm = base;
    let third = 0;
    const regNumber = ((modrm >> 3) & 7) | ((rex & 4) << 1);
    const rmNumber = (modrm & 7) | ((rex & 1) << 3);
    for (const { letter, size: operandLetter } of operands) {
      switch (letter) {
        case 'G':
          reg = operandLetter === 'b' ? byteRegister(regNumber, rex) : L.GPR + regNumber * 8;
          break;
        case 'V':
          reg = L.YMM + regNumber * 32;
          break;
        case 'P':
          reg = L.X87 + (regNumber & 7) * 16;
          break;
        case 'S':
          reg = regNumber & 7;
          break;
        case 'C':
        case 'D':
          reg = regNumber;
          break;
        case 'E':
        case 'R':
          if (!memory) rm = operandLetter === 'b' ? byteRegister(rmNumber, rex) : L.GPR + rmNumber * 8;
          break;
        case 'W':
          if (!memory) rm = L.YMM + rmNumber * 32;
          break;
        case 'U':
          rm = L.YMM + rmNumber * 32;
          break;
        case 'Q':
          if (!memory) rm = L.X87 + (rmNumber & 7) * 16;
          break;
        case 'N':
          rm = L.X87 + (rmNumber & 7) * 16;
          break;
        case 'T':
          rm = modrm & 7;
          break;
        case 'Z': {
          const number = (byte & 7) | ((rex & 1) << 3);
          rm = operandLetter === 'b' ? byteRegister(number, rex) : L.GPR + number * 8;
          break;
        }
        case 'B':
          third = L.GPR + vvvv * 8;
          break;
        case 'H':
          third = L.YMM + vvvv * 32;
          break;
      }
    }
    if (vex && vvvv !== 0 && third === 0) return UNDEFINED;

    const handler = this.#variants.number(encoding, size, memory, rep, mode === 2);
    if (handler === 0) return UNDEFINED;
    this.encoding = encoding;
    out.setUint16(record + L.R_HANDLER, handler, true);
    out.setUint16(record + L.R_OFFSET, offset, true);
    out.setUint8(record + L.R_LENGTH, length);
    out.setUint8(record + L.R_SCALE, scale);
    out.setUint8(record + L.R_SEGMENT, segment < 0 ? CS + 2 : segment);
    out.setUint8(record + L.R_FLAGS, flags);
    out.setUint16(record + L.R_REG, reg, true);
    out.setUint16(record + L.R_RM, rm, true);
    out.setUint16(record + L.R_INDEX, index, true);
    out.setUint16(record + L.R_VVVV, third, true);
    if (chosen.relative) {
      // Offset of the target from the page's base; it may leave 32 bits.
      low = (displacement + displacementBase) | 0;
      high = displacement + displacementBase < 0 ? -1 : 0;
    }
    out.setInt32(record + L.R_DISP, displacement, true);
    out.setInt32(record + L.R_LINK, 0, true);
    out.setInt32(record + L.R_IMM, low, true);
    out.setInt32(record + L.R_IMM + 4, high, true);
    return length;
  }
}

/** Base and index register numbers of 16-bit addressing: SDM vol. 2, table 2-1. */
const BASES_16: readonly (readonly [number, number])[] = [[3, 6], [3, 7], [5, 6], [5, 7], [6, -1], [7, -1], [5, -1], [3, -1]]; // prettier-ignore

/** Without REX, numbers 4 to 7 are AH, CH, DH, BH. */
function byteRegister(number: number, rex: number): number {
  return rex === 0 && number >= 4 && number < 8 ? L.GPR + (number - 4) * 8 + 1 : L.GPR + number * 8;
}
