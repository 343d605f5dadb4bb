/**
 * The decoder's tables in linear memory (runtime/layout.ts has their shape), made of the rows: how opcodes are read, which
 * handler a shape has, and which make a pair with a jump.
 */
import { assert } from '../base/errors.ts';
import type { Encoding, Operand } from './isa/encoding.ts';
import { ENCODINGS } from './isa/table.ts';
import { mayAddressMemory, type Variants } from './interpreter/variants.ts';
import * as L from './runtime/layout.ts';
import { relationOf } from './flags.ts';
import type { State } from './state.ts';

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

/** Bytes of an encoding's immediates with an operand size. */
function immediateBytes({ operands }: Encoding, operandSize: number): number {
  let sum = 0;
  for (const { letter, size } of operands) {
    if (letter === 'A') sum += operandSize === 16 ? 4 : 6;
    else if (letter === 'L' || (letter === 'I' && size === 'b')) sum++;
    else if (letter === 'I') sum += size === 'w' ? 2 : size === 'v' ? operandSize / 8 : operandSize === 16 ? 2 : 4;
  }
  return sum;
}

/** What becomes of the immediate: EXTEND_*. */
function extension({ operands }: Encoding): number {
  const last = operands.at(-1);
  if (last?.letter === 'A') return L.EXTEND_FAR;
  if (last?.letter === 'L') return L.EXTEND_REGISTER;
  if (last?.letter !== 'I' || operands.at(-2)?.letter === 'I') return L.EXTEND_NOT;
  const from = last.size === 'b' ? L.EXTEND_BYTE : last.size === 'w' ? L.EXTEND_WORD : 0;
  const first = operands[0]!;
  const to = !'EGFZI'.includes(first.letter) ? 0 : first.size === 'b' && first.letter !== 'I' ? L.EXTEND_TO_8 : L.EXTEND_TO_SIZE;
  return L.EXTEND_SIGN | from | to;
}

const REG: Readonly<Record<string, number>> = {
  G: L.REG_GENERAL,
  V: L.REG_VECTOR,
  P: L.REG_MMX,
  S: L.REG_SEGMENT,
  C: L.REG_NUMBER,
  D: L.REG_NUMBER,
};
const RM: Readonly<Record<string, number>> = {
  E: L.RM_GENERAL, R: L.RM_GENERAL, W: L.RM_VECTOR, Q: L.RM_MMX, U: L.RM_VECTOR_ALWAYS, N: L.RM_MMX_ALWAYS, T: L.RM_NUMBER, Z: L.RM_OPCODE,
}; // prettier-ignore
const THIRD: Readonly<Record<string, number>> = { B: 1, H: 2 };
const OF_BYTES: Readonly<Record<string, number>> = { G: L.REG_BYTE, E: L.RM_BYTE, R: L.RM_BYTE, Z: L.RM_OPCODE_BYTE };

/** The one operand of an encoding that a table has, as the table says. */
function placed(operands: readonly Operand[], table: Readonly<Record<string, number>>): number {
  let found: Operand | undefined;
  for (const operand of operands) {
    if (table[operand.letter] === undefined) continue;
    assert(!found, 'one operand for each field of ModRM and VEX');
    found = operand;
  }
  if (!found) return 0;
  return (found.size === 'b' && OF_BYTES[found.letter]) || table[found.letter]!;
}

function flagsOf(encoding: Encoding): number {
  const { row, operands } = encoding;
  let [relative, absolute] = [false, false];
  for (const { letter } of operands) {
    relative ||= letter === 'J';
    absolute ||= letter === 'O';
  }
  return (
    (encoding.modrm ? L.CAN_MODRM : 0) |
    (encoding.plusRegister ? L.CAN_PLUS : 0) |
    (mayAddressMemory(encoding) ? L.CAN_MEMORY : 0) |
    (encoding.exact !== undefined ? L.CAN_EXACT : 0) |
    (row.registerForm ? L.CAN_REGISTERS : 0) |
    (row.stack64 ? L.CAN_STACK64 : 0) |
    (row.modal && (row.ends || relative) ? L.CAN_SHORT64 : 0) |
    (encoding.prefix === 0x66 && encoding.map !== 0 ? L.CAN_WIDE66 : 0) |
    (encoding.sized ? L.CAN_SIZED : 0) |
    (row.string ? L.CAN_STRING : 0) |
    (row.modal ? L.CAN_MODAL : 0) |
    (row.vsib ? L.CAN_VSIB : 0) |
    (row.addressed ? L.CAN_ADDRESSED : 0) |
    (row.ends ? L.CAN_END : 0) |
    (row.lock && 'EM'.includes(operands[0]!.letter) ? L.CAN_LOCK : 0) |
    (absolute ? L.CAN_ABSOLUTE : 0) |
    (encoding.map === 0 && (encoding.opcode & 0xf8) === 0xd8 ? L.CAN_X87 : 0)
  );
}

/** Some 1,700 at every start of a machine, by code that V8 has not optimised yet: no lists and no closures for each. */
function writeCandidate(state: State, bytes: Uint8Array, at: number, encoding: Encoding, handlers: number): void {
  const { row, operands, exact, digit, form, vectorBits } = encoding;
  assert(form !== 'mem' || (exact === undefined && !row.registerForm), `${encoding.text}: memory, and registers always`);
  let relative = 0;
  for (const { letter, size } of operands) if (letter === 'J') relative = size === 'b' ? 1 : 2;
  bytes[at + L.C_MODES] = (row.only64 ? 0 : 1) | (row.no64 ? 0 : 2);
  bytes[at + L.C_PREFIX] = encoding.prefix;
  bytes[at + L.C_MODRM_MASK] = exact !== undefined ? 0xff : digit !== undefined ? 0x38 : 0;
  bytes[at + L.C_MODRM] = exact ?? (digit ?? 0) << 3;
  bytes[at + L.C_FORM] = form === 'any' || row.registerForm ? 0 : form === 'mem' ? 1 : 2;
  bytes[at + L.C_W] = encoding.w ?? 2;
  bytes[at + L.C_VECTOR] = vectorBits / 128;
  bytes[at + L.C_RELATIVE] = relative;
  bytes[at + L.C_IMMEDIATE] = immediateBytes(encoding, 16);
  bytes[at + L.C_IMMEDIATE + 1] = immediateBytes(encoding, 32);
  bytes[at + L.C_IMMEDIATE + 2] = immediateBytes(encoding, 64);
  bytes[at + L.C_EXTEND] = extension(encoding);
  bytes[at + L.C_REG] = placed(operands, REG);
  bytes[at + L.C_RM] = placed(operands, RM);
  bytes[at + L.C_THIRD] = placed(operands, THIRD);
  bytes[at + L.C_CONDITION] = row.conditional ? relationOf(encoding.opcode & 15) : 0;
  state.setU32(at + L.C_FLAGS, flagsOf(encoding));
  state.setU32(at + L.C_HANDLERS, handlers);
}

/** Writes all tables for the instructions of a set of features. */
export function writeDecodeTables(state: State, features: ReadonlySet<string>, variants: Variants): void {
  const { numbers, shapes } = variants;
  assert(numbers.length <= L.DECODE_SHAPES, 'room for the handlers of all shapes');
  const bytes = new Uint8Array(state.view.buffer);
  bytes.set(new Uint8Array(numbers.buffer), L.DECODE_HANDLERS);

  const lists = new Map<number, Encoding[]>();
  /** Where an encoding stands already: those that have a register in their opcode are there eight times. */
  const written = new Map<Encoding, number>();
  for (const encoding of ENCODINGS) {
    const { feature } = encoding.row;
    if (feature !== undefined && !features.has(feature)) continue;
    const base = encoding.plusRegister ? encoding.opcode & 0xf8 : encoding.opcode;
    for (let n = 0; n < (encoding.plusRegister ? 8 : 1); n++) {
      const opcode = ((encoding.vex ? 4 : 0) + encoding.map) * 256 + base + n;
      const list = lists.get(opcode);
      if (list) list.push(encoding);
      else lists.set(opcode, [encoding]);
    }
  }
  let number = 0;
  for (const [opcode, list] of lists) {
    if (list.length > 1) list.sort((a, b) => rank(b) - rank(a));
    state.setU16(L.DECODE_INDEX + opcode * 4, number);
    state.setU16(L.DECODE_INDEX + opcode * 4 + 2, list.length);
    for (const encoding of list) {
      const at = L.DECODE_CANDIDATES + number++ * L.CANDIDATE_BYTES;
      assert(at + L.CANDIDATE_BYTES <= L.DECODE_HANDLERS, 'room for the candidates');
      const same = written.get(encoding);
      if (same !== undefined) bytes.copyWithin(at, same, same + L.CANDIDATE_BYTES);
      else writeCandidate(state, bytes, at, encoding, L.DECODE_HANDLERS + encoding.number * shapes * 2);
      written.set(encoding, at);
    }
  }

  for (let n = 0; n < variants.pairs; n++) {
    const handler = variants.numberOf(variants.all[n]!);
    assert(handler < L.DECODE_PAIRED, 'room for the pairs');
    state.setU16(L.DECODE_PAIRS + handler * 2, L.H_FIRST + n);
  }
}
