/** Instructions without control transfer: what compilers make, and any other that the rows know. */
import type { Encoding } from '../../src/x86/isa/encoding.ts';
import { ENCODINGS } from '../../src/x86/isa/table.ts';
import { le } from '../engine/bench.ts';
import { CaseBuilder } from '../isa/builder.ts';
import { encodeInstruction } from '../isa/encode.ts';
import { Random } from '../native/random.ts';
import { Label, type Assembler } from '../engine/assembler.ts';
import * as A from './layout.ts';

/** Rows that would end the program, or that have their own place in it. */
const LEFT_OUT = new Set(
  (
    'hlt jmpf callf retf iret int int1 lgdt lidt lldt ltr lmsw wrmsr xsetbv sysenter sysexit syscall sysret invd monitor mwait ' +
    'in out insb ins outsb outs rdrand rdseed lss les lfs lgs rsm swapgs ' +
    'jmp call ret loop loope loopne jcxz xrstors xsaves'
  ).split(' '),
);

const usable = (encoding: Encoding): boolean => {
  const { row, operands } = encoding;
  return !row.no64 && !LEFT_OUT.has(row.mnemonic) && !row.ends && !operands.some(({ letter }) => 'JASCD'.includes(letter));
};
const USABLE = ENCODINGS.filter(usable);
const INTEGER = USABLE.filter(({ row, operands }) => row.unit === undefined && !operands.some(({ letter }) => 'VWUHPQNX'.includes(letter)));

/** Registers that hold pointers to data: RBX, RBP, RSI, RDI. */
const POINTERS = [3, 5, 6, 7];
const SCRATCH = [0, 1, 2, 8, 9, 10, 11, 12, 13, 14, 15];
const RSP = 4;

/** Spares the registers that the program stands on, mostly. */
class Sparing extends Random {
  override below(n: number): number {
    const value = super.below(n);
    if (n !== 16 || !(value === RSP || POINTERS.includes(value)) || super.below(20) === 0) return value;
    return SCRATCH[super.below(SCRATCH.length)]!;
  }
}

/** Encodes rows over the program's memory; what they want in registers is loaded before. */
class Loading extends CaseBuilder {
  override target(bytes: number, _wide: boolean): bigint {
    const { random } = this;
    const kind = random.below(100);
    const align = random.chance(75) ? Math.max(1, 1 << (31 - Math.clz32(Math.max(1, bytes)))) : 1;
    const within = (page: number, pages: number): bigint =>
      BigInt(A.dataPage(page) + Math.floor(random.below(pages * A.PAGE - bytes) / align) * align);
    if (kind < 70) return within(0, 3);
    if (kind < 80) return BigInt(A.dataPage(1 + random.below(2)) - 1 - random.below(Math.max(1, bytes - 1)));
    if (kind < 84) return within(A.READ_ONLY, 1);
    if (kind < 91) return within(random.pick(A.LAZY), 1);
    if (kind < 93) return BigInt(A.dataPage(random.below(A.DATA_PAGES)) - 1 - random.below(Math.max(1, bytes - 1)));
    if (kind < 94) return within(A.GUARD, 1);
    if (kind < 96) return BigInt(A.CODE + random.below(A.CODE_PAGES) * A.PAGE + 0xff0); // data among code
    if (kind < 97) return random.bigint(64);
    if (kind < 98) return BigInt(A.DEVICE + random.below(0x80) * 8);
    return within(0, 2);
  }

  override stackTarget(): bigint {
    return BigInt(A.STACK_TOP - 0x100);
  }
}

const flavourless = { fp: () => new Uint8Array(1024), image: () => new Uint8Array(0) };

/** One instruction of any row, behind the loads of the registers that it wants. */
export function anyInstruction(a: Assembler, seed: number, integer: boolean): void {
  const random = new Sparing(seed);
  const builder = new Loading(random, 64, 'integer', flavourless);
  // Far away, so that no address is relative to RIP: those are the program's own.
  Object.defineProperty(builder, 'rip', { value: 0x7000_0000_0000 });
  Object.defineProperty(builder, 'hasRoom', { value: () => true });
  builder.fsBase = BigInt(A.dataPage(1));
  builder.gsBase = BigInt(A.dataPage(2));
  const before = builder.gprs.slice();
  if (!encodeInstruction(builder, random.pick(integer ? INTEGER : USABLE))) return;
  const { code, gprs } = builder.finish();
  gprs.forEach((value, n) => {
    if (value !== before[n] && n !== RSP) loadRegister(a, n, value);
  });
  a.put(...code);
}

export function loadRegister(a: Assembler, register: number, value: bigint): void {
  const rex = register >> 3;
  if (value < 1n << 32n) a.put(...(rex ? [0x41] : []), 0xb8 | (register & 7), ...le(value, 4));
  else a.put(0x48 | rex, 0xb8 | (register & 7), ...le(value, 8));
}

/** The kinds of instructions that compilers make, on scratch registers and on memory by the pointers. */
export function plainInstruction(a: Assembler, random: Random): void {
  const scratch = (): number => random.pick(SCRATCH);
  const size = random.below(5); // 0: 8 bits, 1: 16, 2, 3: 32, 4: 64
  const reg = size === 0 ? random.below(8) : scratch(); // of 8 bits: AL…BL, AH…BH or with REX SPL…DIL
  const safe8 = size === 0 && (reg & 3) === 3 ? 0 : reg;
  /** Prefixes, REX, opcode and ModRM with a register or memory operand. */
  const encode = (opcode: readonly number[], field: number, wide: number, tail: readonly number[] = [], lock = false): void => {
    const prefixes = [...(lock ? [0xf0] : []), ...(wide === 1 ? [0x66] : [])];
    let rex = (wide === 4 ? 8 : 0) | ((field >> 3) << 2);
    let operand: number[];
    if (random.chance(8)) {
      // Relative to RIP: within the data, or in the code's own pages
      const place = new Label();
      place.at = random.chance(85) ? A.DATA + random.below(3 * A.PAGE) : A.CODE + random.below(A.CODE_PAGES) * A.PAGE + 0xfe0;
      a.relative([...prefixes, ...(rex ? [0x40 | rex] : []), ...opcode, 0x05 | ((field & 7) << 3)], place, tail);
      return;
    }
    if (!lock && random.chance(55)) {
      const rm = wide === 0 ? random.pick([0, 1, 2, 4, 5, 6]) : scratch();
      rex |= rm >> 3;
      operand = [0xc0 | ((field & 7) << 3) | (rm & 7)];
    } else {
      const base = random.pick(POINTERS);
      const far = random.chance(10);
      const displacement = far ? random.below(0x3000) - 0x800 : random.below(128) - 64;
      if (random.chance(30)) {
        // An index that is a small number, if RCX is one.
        const [index, scale] = random.chance(80) ? [1, random.below(4)] : [scratch(), 0];
        rex |= (index >> 3) << 1;
        operand = [0x84 | ((field & 7) << 3), (scale << 6) | ((index & 7) << 3) | base, ...le(BigInt.asUintN(32, BigInt(displacement)), 4)];
      } else if (far) operand = [0x80 | ((field & 7) << 3) | base, ...le(BigInt.asUintN(32, BigInt(displacement)), 4)];
      else operand = [0x40 | ((field & 7) << 3) | base, displacement & 0xff];
    }
    a.put(...prefixes, ...(rex || (wide === 0 && random.chance(20)) ? [0x40 | rex] : []), ...opcode, ...operand, ...tail);
  };
  const narrow = size === 0 ? 0 : 1;
  const immediate = (): number[] => le(random.bigint(32), size === 0 ? 1 : size === 1 ? 2 : 4);
  switch (random.below(26)) {
    case 0:
    case 1:
    case 2:
      return encode([(random.below(8) << 3) | (random.chance(50) ? 2 : 0) | narrow], safe8, size); // alu
    case 3:
    case 4:
      return encode([0x80 | narrow], random.below(8), size, immediate());
    case 5:
      return encode([0x83], random.below(8), Math.max(1, size), [random.below(256)]);
    case 6:
      return encode([0xfe | narrow], random.below(2), size, [], random.chance(10)); // inc, dec
    case 7:
      return encode([0xf6 | narrow], 2 + random.below(4), size); // not neg mul imul
    case 8:
      return encode([random.pick([0xd0, 0xd2]) | narrow], random.below(8), size);
    case 9:
      return encode([0xc0 | narrow], random.below(8), size, [random.below(256)]);
    case 10:
      return encode([0x0f, random.pick([0xa4, 0xac])], scratch(), Math.max(1, size), [random.below(size === 1 ? 16 : 256)]);
    case 11:
      return encode([0x0f, 0xba], 4 + random.below(4), Math.max(1, size), [random.below(256)]);
    case 12:
      return encode([0x0f, random.pick([0xa3, 0xab, 0xb3, 0xbb])], 1, Math.max(1, size));
    case 13:
      return encode([0x0f, 0x90 | random.below(16)], 0, 0); // setcc
    case 14:
    case 15:
      return encode([0x0f, 0x40 | random.below(16)], scratch(), Math.max(1, size)); // cmovcc
    case 16:
      return encode([random.pick([0x88, 0x8a]) | narrow], safe8, size);
    case 17:
      return encode([0x0f, random.pick([0xb6, 0xb7, 0xbe, 0xbf])], scratch(), Math.max(1, size));
    case 18:
      return encode([0x0f, random.pick([0xb0, 0xc0]) | narrow], safe8, size, [], random.chance(20)); // cmpxchg, xadd
    case 19:
      return encode([0x0f, 0xaf], scratch(), Math.max(1, size));
    case 20:
      return encode([0x84 | narrow], safe8, size);
    case 21:
      return a.put(0x83, 0xe1, random.below(0x40)); // and ecx: a small index
    case 22:
      return a.put(0x9c, ...(random.chance(80) ? [0x58] : [0x8f, 0x43, random.below(64)])); // pushf; pop
    case 23:
      return a.put(
        ...random.pick([[0x9f], [0x9e], [0xf8], [0xf9], [0xf5], [0xfc], [0x98], [0x99], [0x48, 0x98], [0x48, 0x99], [0xc9 ^ 0x59]]),
      ); // lahf sahf clc stc cmc cld …
    case 24: {
      const register = scratch();
      return a.put(...(register >> 3 ? [0x41] : []), 0x50 | (register & 7), ...(register >> 3 ? [0x41] : []), 0x58 | (register & 7));
    }
    default: {
      // lea
      const base = random.pick(POINTERS);
      return a.put(
        0x48 | ((reg >> 3) << 2),
        0x8d,
        0x44 | ((reg & 7) << 3),
        (random.below(4) << 6) | (random.pick([0, 1, 2]) << 3) | base,
        random.below(256),
      );
    }
  }
}

/** Two registers with values at edges, something that sets flags from them, and several that look at the flags. */
export function flagSequence(a: Assembler, random: Random): void {
  const [x, y] = [random.pick([0, 1, 2]), random.pick([0, 1, 2])];
  loadRegister(a, x, random.bigint(64));
  if (random.chance(70)) loadRegister(a, y, random.bigint(64));
  const size = random.below(4); // 8, 16, 32, 64 bits
  const wide = size === 0 ? 0 : 1;
  const both = 0xc0 | (y << 3) | x;
  const one = (digit: number): number => 0xc0 | (digit << 3) | x;
  const prefix = size === 1 ? [0x66] : size === 3 ? [0x48] : [];
  const setter = random.pick([
    ...[0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x38, 0x28, 0x00].map((opcode) => [opcode | wide, both]),
    ...[0, 1, 0, 1].map((digit) => [0xfe | wide, one(digit)]), // inc, dec
    ...[2, 3, 4, 5].map((digit) => [0xf6 | wide, one(digit)]), // not neg mul imul
    [0x84 | wide, both],
    ...[0, 1, 2, 3, 4, 5, 7].map((digit) => [random.pick([0xd0, 0xd2]) | wide, one(digit)]),
    ...[0, 1, 2, 3, 4, 5, 7].map((digit) => [0xc0 | wide, one(digit), random.below(70)]),
    [0x0f, 0xc0 | wide, both], // xadd
    [0x0f, 0xb0 | wide, both], // cmpxchg
    ...(size === 0 ? [] : [[0x0f, 0xaf, both], [0x0f, 0xa3, both], [0x0f, 0xab, both], [0x0f, 0xbc, both], [0x0f, 0xa5, both], [0x0f, 0xba, one(4), random.below(64)]]), // prettier-ignore
  ]);
  if (random.chance(20)) a.put(random.pick([0xf8, 0xf9])); // clc, stc
  a.put(...prefix, ...setter);
  for (let left = 1 + random.below(4); left > 0; left--) {
    const condition = random.below(16);
    switch (random.below(8)) {
      case 0:
      case 1:
        a.put(0x41, 0x0f, 0x90 | condition, 0xc0 | random.below(8)); // setcc r8b…r15b
        break;
      case 2:
        a.put(0x4c, 0x0f, 0x40 | condition, 0xc0 | (random.below(8) << 3) | x);
        break;
      case 3:
      case 4:
        a.put(0x70 | condition, 0x03, 0x49, 0xff, 0xc0 | random.below(8)); // jcc over inc r8…r15
        break;
      case 5:
        a.put(0x49, 0x83, random.pick([0xd0, 0xd8]) | random.below(8), random.pick([0x00, 0xff])); // adc or sbb r8…r15
        break;
      case 6:
        a.put(0x9c, 0x41, 0x58 | random.below(8)); // pushf; pop
        break;
      default:
        a.put(...random.pick([[0x9f], [0xf5], [0x41, 0xd1, 0xd0], [0x41, 0xff, 0xc8], [0x49, 0x0f, 0x38, 0xf6, 0xc1]])); // lahf cmc rcl dec…
    }
  }
}
