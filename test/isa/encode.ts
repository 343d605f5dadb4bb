/** Appends one random instance of an encoding to a case: prefixes, operands, immediates, and registers that suit them. SDM vol. 2, 2.1. */
import { operandBits, type Encoding, type Operand } from '../../src/x86/isa/encoding.ts';
import { RSP, type CaseBuilder } from './builder.ts';
import { defaultBase, effectiveFor, encodeMemory, encodeVectorMemory, type MemoryOperand } from './modrm.ts';

type Size = 16 | 32 | 64;

/** What was chosen before the operands. */
interface Choice {
  readonly operandSize: Size;
  readonly addressSize: Size;
  readonly rexW: number;
  readonly vectorBits: number;
  readonly segmentBase: bigint;
}

const le = (value: bigint, bytes: number): number[] => Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
const OVERRIDES = { es: 0x26, cs: 0x2e, ss: 0x36, ds: 0x3e, fs: 0x64, gs: 0x65 } as const;
const LOCK = 0xf0;
const REP = 0xf3;
const REPNE = 0xf2;

/** SHLD and SHRD of 16 bits by more than 16 are undefined. */
const isWordDoubleShift = ({ row }: Encoding, { operandSize }: Choice): boolean => /^sh[lr]d$/.test(row.mnemonic) && operandSize === 16;

const SMALL_IMMEDIATE = /^(enter|ret|retf)$/;
/** Those of the host and of the engine's tables: null, kernel code and data, user code and data, the LDT's; and some that do not exist. */
const KNOWN_SELECTORS = [0, 3, 0x10, 0x18, 0x1b, 0x20, 0x23, 0x23, 0x2a, 0x2b, 0x2b, 0x33, 0x33, 0x07, 0x0f, 0x17, 0x63, 0x8b, 0xfffb];

const selector = (c: CaseBuilder): bigint => (c.random.chance(90) ? BigInt(c.random.pick(KNOWN_SELECTORS)) : c.random.bigint(16));
const CODE_SELECTORS: Readonly<Record<number, number>> = { 0x20: 32, 0x30: 64, 0x04: 16 };
/**
 * Not into code of another size: whether a call then pushes as the old code or as the new, and before or after it looks at
 * the target's limit, differs between processors.
 */
const callSelector = (c: CaseBuilder): bigint => {
  const chosen = selector(c);
  const size = CODE_SELECTORS[Number(chosen) & ~3];
  return size === undefined || size === c.mode ? chosen : 0n;
};
/** Somewhere behind a single instruction and the jump to the end. */
const codeAddress = (c: CaseBuilder): bigint => (c.random.chance(90) ? BigInt(c.rip + 23 + c.random.below(40)) : c.random.bigint(c.mode));

/** Exact ModRM bytes, register forms and forms without ModRM never name memory. */
const mayName = (encoding: Encoding, letters: string): Operand | undefined =>
  encoding.operands.find(({ letter }) => letters.includes(letter));

const isNearBranch = ({ row, operands }: Encoding): boolean =>
  /^(jmp|call|ret)$/.test(row.mnemonic) || operands.some(({ letter }) => letter === 'J');
/** AMD does not allow its register form. */
const isPrefetch = ({ map, opcode }: Encoding): boolean => map === 1 && opcode === 0x0d;
/** With a REP prefix they do what no manual says. */
const isLoop = ({ row }: Encoding): boolean => row.mnemonic.startsWith('loop');
/** AMD does not honour REX.W for far pointers in memory, and Intel does. */
const isFarPointer = ({ operands }: Encoding): boolean => operands.some(({ letter, size }) => letter === 'M' && size === 'p');

function shuffle<T>(c: CaseBuilder, values: T[]): T[] {
  for (let i = values.length - 1; i > 0; i--) {
    const j = c.random.below(i + 1);
    [values[i], values[j]] = [values[j]!, values[i]!];
  }
  return values;
}

/** Where W changes something; elsewhere it is ignored or not there. */
const mayHaveW = (encoding: Encoding, long: boolean): boolean => long && (encoding.sized || encoding.vex) && !isFarPointer(encoding);

/** Whether this encoding exists in the case's mode. */
export function fitsMode(encoding: Encoding, mode: number): boolean {
  if (mode === 64) return !encoding.row.no64;
  return !encoding.row.only64 && !(encoding.w === 1 && !encoding.vex);
}

function choose(c: CaseBuilder, encoding: Encoding, prefixes: number[]): Choice {
  const { random, mode } = c;
  const long = mode === 64;
  const plain = encoding.prefix === 0 && !encoding.vex;
  let small = false;
  // AMD honours an operand size prefix on near branches in 64-bit mode and Intel does not.
  if (plain && random.chance(encoding.sized ? 25 : 3) && !(long && isNearBranch(encoding))) small = true;
  if (encoding.prefix === 0x66 && !encoding.vex) small = true;
  if (small) prefixes.push(0x66);
  if (!encoding.vex && (encoding.prefix === REP || encoding.prefix === REPNE)) prefixes.push(encoding.prefix);
  else if (encoding.row.string && random.chance(60)) prefixes.push(random.pick([REP, REPNE]));
  else if (plain && encoding.map === 0 && !isLoop(encoding) && random.chance(2)) prefixes.push(random.pick([REP, REPNE]));

  const rexW = encoding.w ?? (random.chance(mayHaveW(encoding, long) ? 40 : 0) ? 1 : 0);
  let operandSize: Size = long ? (rexW && !encoding.vex ? 64 : small ? 16 : 32) : (mode === 32) === small ? 16 : 32;
  if (encoding.vex && long && rexW) operandSize = 64;
  if (long && encoding.row.stack64 && operandSize === 32) operandSize = 64;
  if (long && isNearBranch(encoding)) operandSize = 64;

  let addressSize: Size = mode;
  // Vectors of indexes do not go with 16-bit addresses.
  if (random.chance(encoding.row.vsib && mode === 16 ? 92 : 8)) {
    prefixes.push(0x67);
    addressSize = mode === 64 ? 32 : mode === 32 ? 16 : 32;
  }
  let segmentBase = defaultBase(c);
  // Sixteen address bits only reach data through a segment with a base.
  if (random.chance(addressSize === 16 && mode === 32 ? 90 : 12)) {
    const flat = mode === 16 ? (['es', 'ds', 'ss', 'fs', 'gs'] as const) : (['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const);
    const name =
      addressSize === 16 && mode === 32
        ? random.pick(['fs', 'gs'] as const)
        : random.pick(random.chance(70) ? (['fs', 'gs'] as const) : flat);
    prefixes.push(OVERRIDES[name]);
    if (name === 'fs') segmentBase = c.fsBase;
    else if (name === 'gs') segmentBase = c.gsBase;
  }
  const vectorBits = encoding.vex ? encoding.vectorBits || (mayName(encoding, 'VWHUM') && random.chance(50) ? 256 : 128) : 128;
  return { operandSize, addressSize, rexW, vectorBits, segmentBase };
}

function bitsOf(encoding: Encoding, operand: Operand | undefined, choice: Choice): number {
  if (!operand) return 64;
  return operandBits(operand.size, choice.operandSize, encoding.vectorBits || choice.vectorBits) || 64;
}

function immediates(c: CaseBuilder, encoding: Encoding, choice: Choice): number[] {
  const { random } = c;
  const bytes: number[] = [];
  for (const { letter, size } of encoding.operands) {
    if (letter === 'I') {
      const bits = Math.max(8, operandBits(size, choice.operandSize, 128));
      const { mnemonic } = encoding.row;
      const small = SMALL_IMMEDIATE.test(mnemonic) && random.chance(80);
      const value = small ? BigInt(random.below(bits === 8 ? 4 : 64)) : random.bigint(bits);
      bytes.push(...le(isWordDoubleShift(encoding, choice) ? value % 17n : value, bits / 8));
    } else if (letter === 'J') {
      const bits = size === 'b' ? 8 : c.mode !== 64 && choice.operandSize === 16 ? 16 : 32;
      // Mostly forward to INT3: backwards may be an endless loop, and between lies the jump to the end.
      let displacement = random.chance(70) ? BigInt(random.below(70)) : random.bigint(bits);
      if (displacement > 0n && displacement < 8n) displacement += 8n;
      bytes.push(...le(displacement, bits / 8));
    } else if (letter === 'O') {
      const target = c.target(bitsOf(encoding, encoding.operands[0], choice) / 8, choice.addressSize === 64);
      bytes.push(...le(effectiveFor(target, { addressSize: choice.addressSize, base: choice.segmentBase }), choice.addressSize / 8));
    } else if (letter === 'L') bytes.push(random.below(256));
    else if (letter === 'A') bytes.push(...le(codeAddress(c), choice.operandSize / 8), ...le(callSelector(c), 2));
  }
  return bytes;
}

/** Puts something at the memory operand that suits the instruction. */
function prepareMemory(c: CaseBuilder, encoding: Encoding, linear: bigint, bytes: number): void {
  const { random } = c;
  const { mnemonic } = encoding.row;
  if (/^(jmp|call)f$|^l[defgs]s$/.test(mnemonic)) {
    c.patchValue(linear, codeAddress(c), bytes - 2);
    c.patchValue(linear + BigInt(bytes - 2), mnemonic === 'callf' ? callSelector(c) : selector(c), 2);
  } else if (encoding.operands[0]?.letter === 'S') {
    c.patchValue(linear, selector(c), 2);
  } else if (/^(jmp|call)$/.test(mnemonic)) {
    c.patchValue(linear, codeAddress(c), bytes);
  } else if (mnemonic.startsWith('cmpxchg') && random.chance(60)) {
    const size = bytes / 2;
    if (bytes > 8 || mnemonic.includes('8b'))
      c.patchValue(linear, (c.gprs[2]! << BigInt(8 * size)) | (c.gprs[0]! & ((1n << BigInt(8 * size)) - 1n)), bytes);
    else c.patchValue(linear, c.gprs[0]!, bytes);
  } else if (mnemonic === 'fxrstor') {
    if (random.chance(80)) c.patch(linear, c.fp.slice(0, 512));
    // MM, bit 17 of MXCSR, is AMD's alone.
    else c.patchValue(linear + 24n, random.bigint(random.pick([16, 16, 32])) & ~0x2_0000n, 4);
  } else if (/^v?ldmxcsr$/.test(mnemonic)) {
    c.patchValue(linear, random.bigint(random.chance(80) ? 16 : 32) & ~0x2_0000n, 4);
  } else if (random.chance(50)) {
    const data = new Uint8Array((bytes + 15) & ~15);
    const flavour = random.chance(80) ? c.flavour : random.pick(['integer', 'float32', 'float64', 'float80'] as const);
    random.scatter(data, 0, data.length, flavour);
    c.patch(linear, data.subarray(0, bytes));
  }
}

/** Registers that the instruction uses without naming them. */
function prepareRegisters(c: CaseBuilder, encoding: Encoding, choice: Choice): void {
  const { random, gprs } = c;
  const { mnemonic } = encoding.row;
  const wide = c.mode === 64 && choice.addressSize === 64;
  if (encoding.row.string) {
    for (const register of [6, 7]) {
      if (!random.chance(92)) continue;
      const base = register === 6 ? choice.segmentBase : defaultBase(c);
      gprs[register] = effectiveFor(c.target(random.pick([1, 8, 64]), wide), { addressSize: choice.addressSize, base });
    }
    if (random.chance(95)) gprs[1] = BigInt(random.below(random.pick([3, 20, 80])));
    if (random.chance(5)) gprs[1] = BigInt(random.below(5000));
    // AMD checks for the right to use the port before it looks at the count.
    if (/^(in|out)s/.test(mnemonic) && gprs[1] === 0n) gprs[1] = 1n;
  } else if (/^(jmp|call)$/.test(mnemonic)) {
    for (let i = 0; i < 16; i++) if (i !== RSP && random.chance(80)) gprs[i] = codeAddress(c);
  } else if (encoding.operands[0]?.letter === 'S') {
    for (let i = 0; i < 16; i++) if (i !== RSP) gprs[i] = (gprs[i]! & ~0xffffn) | selector(c);
  } else if (/^(retf?|iret|pop)$/.test(mnemonic)) {
    const top = BigInt.asUintN(c.mode === 64 ? 64 : c.mode, gprs[RSP]!) + defaultBase(c);
    const words = mnemonic === 'pop' ? [selector(c)] : [codeAddress(c), selector(c), BigInt(c.rflags), c.stackTarget(), selector(c)];
    const count = mnemonic === 'iret' ? 5 : mnemonic === 'retf' ? 2 : 1;
    const bytes = choice.operandSize / 8;
    words.slice(0, count).forEach((word, i) => c.patchValue(top + BigInt(i * bytes), word, bytes));
  } else if (isWordDoubleShift(encoding, choice)) {
    gprs[1] = (gprs[1]! & ~0xffn) | (gprs[1]! % 17n);
  } else if (/^i?div$/.test(mnemonic)) {
    if (random.chance(60))
      gprs[2] = random.chance(50) ? 0n : BigInt.asUintN(64, BigInt.asIntN(choice.operandSize, gprs[0]!) < 0n ? -1n : 0n);
  } else if (mnemonic === 'xlat') {
    gprs[3] = effectiveFor(c.target(256, wide), { addressSize: choice.addressSize, base: choice.segmentBase });
  } else if (/^v?maskmov(q|dqu)/.test(mnemonic)) {
    gprs[7] = effectiveFor(c.target(16, wide), { addressSize: choice.addressSize, base: choice.segmentBase });
  }
}

function memoryOperand(c: CaseBuilder, encoding: Encoding, choice: Choice): MemoryOperand {
  const bytes = Math.max(1, bitsOf(encoding, mayName(encoding, 'EMWQ'), choice) / 8);
  const context = { addressSize: choice.addressSize, base: choice.segmentBase };
  const linear = c.target(encoding.row.mnemonic === 'fxrstor' ? 512 : bytes, choice.addressSize === 64);
  const ea = effectiveFor(linear, context);
  if (encoding.row.vsib) {
    const indexBytes = /gatherq/.test(encoding.row.mnemonic) ? 8 : 4;
    return encodeVectorMemory(c, ea, choice.addressSize, indexBytes, c.random.below(c.mode === 64 ? 16 : 8));
  }
  const memory = encodeMemory(c, ea, context);
  prepareMemory(c, encoding, linear, encoding.row.mnemonic.startsWith('cmpxchg16') ? 16 : bytes);
  return memory;
}

/** Appends an instruction. False when there is no room for it. */
export function encodeInstruction(c: CaseBuilder, encoding: Encoding): boolean {
  const { random, mode } = c;
  const long = mode === 64;
  if (!c.hasRoom(15)) return false;
  const prefixes: number[] = [];
  const choice = choose(c, encoding, prefixes);
  prepareRegisters(c, encoding, choice);

  const registers = long ? 16 : 8;
  const rm = mayName(encoding, 'EMWQRUN');
  const named = mayName(encoding, 'GVPSCD');
  let r = 0;
  let x = 0;
  let b = 0;
  let memory: MemoryOperand | undefined;
  const operandBytes: number[] = [];
  if (encoding.exact !== undefined) operandBytes.push(encoding.exact);
  else if (encoding.modrm) {
    const reg = encoding.digit ?? random.below(named && 'GV'.includes(named.letter) ? registers : 8);
    r = reg >> 3;
    const isMemory =
      encoding.form === 'mem' ||
      isPrefetch(encoding) ||
      (encoding.form === 'any' && !(rm && 'RUN'.includes(rm.letter)) && random.chance(55)) ||
      rm?.letter === 'M';
    if (isMemory) {
      memory = memoryOperand(c, encoding, choice);
      ({ x, b } = memory);
      operandBytes.push(...memory.bytes);
      operandBytes[0]! |= (reg & 7) << 3;
    } else {
      const register = random.below(registers);
      b = register >> 3;
      operandBytes.push(0xc0 | ((reg & 7) << 3) | (register & 7));
    }
  }
  let { opcode } = encoding;
  if (encoding.plusRegister) {
    const register = random.below(registers);
    b = register >> 3;
    opcode |= register & 7;
  }
  const locked = encoding.row.lock && memory && random.chance('EM'.includes(encoding.operands[0]!.letter) ? 25 : 3);
  // AMD's LOCK MOV CR0 is MOV CR8 of code that is not 64-bit.
  const control = encoding.operands.some(({ letter }) => letter === 'C');
  if (locked || (random.chance(1) && !control)) prefixes.push(LOCK);

  const head: number[] = [];
  if (encoding.vex) head.push(...vexPrefix(c, encoding, choice, { r, x, b }), opcode);
  else {
    const rex = (choice.rexW << 3) | (r << 2) | (x << 1) | b;
    const byteRegister = encoding.operands.some(({ size }) => size === 'b');
    // Unused REX bits change nothing, except that any REX turns AH…BH into SPL…DIL.
    if (long && (rex || random.chance(byteRegister ? 40 : 5))) head.push(0x40 | rex | (x || memory || !random.chance(10) ? 0 : 2));
    if (encoding.map > 0) head.push(0x0f);
    if (encoding.map > 1) head.push(encoding.map === 2 ? 0x38 : 0x3a);
    head.push(opcode);
  }
  const tail = immediates(c, encoding, choice);
  const all = [...shuffle(c, prefixes), ...head, ...operandBytes, ...tail];
  if (memory?.relativeTo !== undefined) {
    const displacement = BigInt.asIntN(32, memory.relativeTo - BigInt(c.here + all.length));
    all.splice(all.length - tail.length - 4, 4, ...le(displacement, 4));
  }
  c.emit(all);
  return true;
}

function vexPrefix(c: CaseBuilder, encoding: Encoding, choice: Choice, { r, x, b }: { r: number; x: number; b: number }): number[] {
  const { random } = c;
  const long = c.mode === 64;
  const source = mayName(encoding, 'HB');
  let vvvv = source ? random.below(long ? 16 : 8) : 0;
  if (!source && random.chance(1)) vvvv = random.below(long ? 16 : 8);
  const w = choice.rexW;
  const l = choice.vectorBits === 256 ? 1 : 0;
  const pp = { 0x66: 1, 0xf3: 2, 0xf2: 3 }[encoding.prefix] ?? 0;
  const low = ((~vvvv & 15) << 3) | (l << 2) | pp;
  if (!x && !b && encoding.map === 1 && !w && random.chance(60)) return [0xc5, ((r ^ 1) << 7) | low];
  return [0xc4, ((r ^ 1) << 7) | ((x ^ 1) << 6) | ((b ^ 1) << 5) | encoding.map, (w << 7) | low];
}
