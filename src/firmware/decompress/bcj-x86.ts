/**
 * The x86 branch filter of xz ("BCJ"): undoes, in place, the change of CALL and JMP operands from relative to
 * absolute. XZ file format 1.2, 5.3.2, and its reference behaviour for opcodes that overlap.
 */
/** CALL is E8, JMP is E9. */
const BRANCH = 0xe8;
const BRANCH_MASK = 0xfe;
const OPERAND = 4;

/** A near branch's operand is only converted when its top byte is 00 or FF: a plausible distance. */
const isPlausible = (top: number): boolean => top === 0x00 || top === 0xff;

/**
 * What came shortly before: bits 0 to 3 say that the byte at that distance was a branch opcode left alone, bits 4
 * to 7 that its operand's top byte was plausible. Moving on by a byte shifts both halves.
 */
const HALVES = 0x77;
const LEFT_ALONE = 0x01;
const LEFT_ALONE_PLAUSIBLE = 0x11;
/** By bits 1 to 3: whether an opcode here is converted all the same, and which operand byte the nearest earlier one reaches. */
const CONVERTS = [true, true, true, false, true, false, false, false];
const INNER_BYTE = [0, 1, 2, 2, 3, 3, 3, 3];

/** Positions count from the beginning of `code`, which is one whole block. */
export function undoX86Branches(code: Uint8Array): void {
  const last = code.length - 1 - OPERAND;
  let recent = 0;
  let previous = -OPERAND - 1;
  for (let at = 0; at <= last;) {
    if ((code[at]! & BRANCH_MASK) !== BRANCH) {
      at++;
      continue;
    }
    const gap = at - previous;
    previous = at;
    if (gap > OPERAND + 1) recent = 0;
    else for (let step = 0; step < gap; step++) recent = (recent & HALVES) << 1;
    const top = code[at + 4]!;
    const history = recent >> 1;
    if (!isPlausible(top) || history >= 0x10 || !CONVERTS[history & 7]) {
      at++;
      recent |= isPlausible(top) ? LEFT_ALONE_PLAUSIBLE : LEFT_ALONE;
      continue;
    }
    let value = code[at + 1]! | (code[at + 2]! << 8) | (code[at + 3]! << 16) | (top << 24) | 0;
    for (;;) {
      value = (value - (at + 5)) | 0;
      if (recent === 0) break;
      const shift = 24 - INNER_BYTE[history]! * 8;
      if (!isPlausible((value >>> shift) & 0xff)) break;
      value ^= shift + 8 >= 32 ? -1 : (1 << (shift + 8)) - 1;
    }
    code[at + 1] = value;
    code[at + 2] = value >>> 8;
    code[at + 3] = value >>> 16;
    // The sign bit of the 25-bit distance, extended.
    code[at + 4] = value & 0x0100_0000 ? 0xff : 0x00;
    at += 5;
    recent = 0;
  }
}
