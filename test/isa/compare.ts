/** Compares what two processors made of one case, and shows it to people. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FP, initialFp, makeCase, VECTOR_SYSTEM_CALL, type Case, type Mode, type Patch, type Result } from '../native/case.ts';
import { DATA_SIZE } from '../native/layout.ts';
import { GPR_NAMES } from '../native/literal.ts';

const SELECTOR_NAMES = ['cs', 'ss', 'ds', 'es', 'fs', 'gs'];
const GENERAL_PROTECTION = 13;
const X87_FAULT = 16;
const PAGE_FAULT = 14;
const DEBUG = 1;
const ADDRESS_FAULTS: ReadonlySet<number> = new Set([12, GENERAL_PROTECTION, PAGE_FAULT, 17]);
const CODE_64 = 0x33;
/** CF PF AF ZF SF TF DF OF NT RF AC ID. */
const COMPARED_FLAGS = 0x25_4dd5;
const ARITHMETIC = 0x8d5;
/** FSW: ES and IE; C0 to C3; TOP. */
const INVALID_PENDING = 0x81;
const CONDITION_CODES = 0x4700;
const TOP = 0x3800;
/** First address that user mode cannot have: Linux reports faults there as if a page were present. */
const USER_END = (1n << 47n) - 4096n;
const LAST_PAGE = (1n << 64n) - 4096n;

export interface Tolerance {
  /** Outside 64-bit mode the upper halves of registers are undefined. */
  readonly mode?: Mode;
  /** RFLAGS bits that the manual leaves undefined. */
  readonly undefinedFlags?: number;
  /** FSW bits that it leaves undefined. */
  readonly undefinedFsw?: number;
  /** Vector and x87 registers may differ in the last bits: approximations of the manual's precision. */
  readonly approximate?: boolean;
  /** Memory is touched in several pieces: of a fault's address, only the neighbourhood counts. */
  readonly piecewise?: boolean;
  /** Either memory operand may be the one whose fault is reported. */
  readonly twoOperands?: boolean;
  /** Condition codes and flags do not count when an unmasked invalid operation is pending. */
  readonly comparison?: boolean;
  /** The state of the x87 stack does not count, nor that AMD looks for its pending exceptions only where MMX registers are named. */
  readonly mixed?: boolean;
  /** AMD's MXCSR_MASK (2FFFF) is written where ours (FFFF) is. */
  readonly mxcsrMask?: boolean;
  /** Registers after a fault do not count: some have been loaded when it comes halfway. */
  readonly interrupted?: boolean;
  /** AMD lets memory operands be unaligned that the manual of Intel wants aligned. */
  readonly anyAlignment?: boolean;
}

/** Whether the native result says anything about the case. */
export function isJudgement(native: Result): boolean {
  return (native.kind === 'end' || native.kind === 'fault' || native.kind === 'timeout') && native.vector !== VECTOR_SYSTEM_CALL;
}

const hex = (value: number | bigint, digits = 1): string => value.toString(16).padStart(digits, '0');
const bytesHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** Most significant byte first, as registers are written. */
const registerHex = (bytes: Uint8Array): string => bytesHex(bytes.toReversed());

/** Two faults that differ only in which of several checks came first, where no manual says which does. */
function differentOrder(native: Result, engine: Result, { piecewise, twoOperands, mixed }: Tolerance): boolean {
  if (mixed && native.vector === PAGE_FAULT && engine.vector === X87_FAULT) return true;
  if (!ADDRESS_FAULTS.has(native.vector) || !ADDRESS_FAULTS.has(engine.vector)) return false;
  // An operand that begins on the last page that user mode may have and ends behind it.
  if (native.vector === PAGE_FAULT && native.cr2 >= USER_END && native.cr2 < 1n << 47n && engine.vector !== PAGE_FAULT) return true;
  // The same, or an operand around the end of all addresses, where the offset is refused, but not the sum with a segment base.
  const atEnd = (engine.cr2 >= USER_END && engine.cr2 < 1n << 47n) || engine.cr2 >= LAST_PAGE;
  if (native.vector === GENERAL_PROTECTION && engine.vector === PAGE_FAULT && atEnd) return true;
  if (native.vector !== engine.vector) return piecewise === true || twoOperands === true;
  if (!piecewise || native.errorCode === engine.errorCode) return false;
  return native.vector === PAGE_FAULT ? native.cr2 !== engine.cr2 : native.errorCode === 0 || engine.errorCode === 0;
}

/** Null selectors are alike: the kernel may have dropped their RPL. */
const loaded = (selector: number): number => (selector < 4 ? 0 : selector);

/** One line a difference: what, then native → engine. Empty when they agree. */
export function differences(native: Result, engine: Result, tolerance: Tolerance = {}): string[] {
  const found: string[] = [];
  const report = (what: string, a: string | number, b: string | number): void => {
    if (a !== b) found.push(`${what}: native ${a}, engine ${b}`);
  };
  // A kernel can be made to take the same fault again and again.
  if (native.kind === 'timeout' && engine.kind === 'fault') return found;
  if (misalignedMode(native) && engine.vector === GENERAL_PROTECTION) return found;
  if (tolerance.mixed && native.kind === 'end' && engine.vector === X87_FAULT) return found;
  if (tolerance.anyAlignment && engine.vector === GENERAL_PROTECTION) return found;
  // Whether every piece is checked for alignment (vector 17) is no manual's business.
  if (tolerance.piecewise && native.vector === 17 && engine.kind === 'end') return found;
  report('outcome', native.kind, engine.kind);
  if (native.kind === 'timeout' || found.length > 0) {
    if (native.kind !== engine.kind) found.push(`native ${outcome(native)}`, `engine ${outcome(engine)}`);
    return found;
  }
  if (native.kind === 'fault') {
    if (!differentOrder(native, engine, tolerance)) {
      report('vector', native.vector, engine.vector);
      // Linux sets the "present" bit for every kernel address.
      const hidden = native.vector === PAGE_FAULT && native.cr2 >= USER_END ? 1 : 0;
      report('error code', hex(native.errorCode & ~hidden), hex(engine.errorCode & ~hidden));
      const distance = BigInt.asIntN(64, native.cr2 - engine.cr2);
      const near = tolerance.piecewise ? 4096n : 0n;
      if (native.vector === PAGE_FAULT && !tolerance.twoOperands && (distance > near || distance < -near)) {
        report('cr2', hex(native.cr2), hex(engine.cr2));
      }
    }
    // INT1 pushes its own address under some hypervisors.
    if (native.vector !== DEBUG || engine.rip !== native.rip + 1n) report('rip', hex(native.rip), hex(engine.rip));
  }
  const invalid = tolerance.comparison && (native.fp[FP.fsw]! & INVALID_PENDING) === INVALID_PENDING;
  const flags = COMPARED_FLAGS & ~(invalid ? ARITHMETIC : (tolerance.undefinedFlags ?? 0));
  report('rflags', hex(native.rflags & flags), hex(engine.rflags & flags));
  // A far transfer may have left 64-bit code.
  const mode = native.selectors[0] === CODE_64 ? (tolerance.mode ?? 64) : Math.min(32, tolerance.mode ?? 64);
  const registers = tolerance.interrupted && native.kind === 'fault' ? 0 : mode === 64 ? 16 : 8;
  for (let i = 0; i < registers; i++) {
    const bits = mode === 64 ? 64 : 32;
    const [a, b] = [BigInt.asUintN(bits, native.gprs[i]!), BigInt.asUintN(bits, engine.gprs[i]!)];
    if (a !== b) report(GPR_NAMES[i]!, hex(a, bits / 4), hex(b, bits / 4));
  }
  for (let i = 0; i < 6; i++) report(SELECTOR_NAMES[i]!, loaded(native.selectors[i]!), loaded(engine.selectors[i]!));
  report('fs base', hex(native.fsBase), hex(engine.fsBase));
  report('gs base', hex(native.gsBase), hex(engine.gsBase));
  if (native.fp !== engine.fp) {
    const undefinedFsw = (tolerance.undefinedFsw ?? 0) | (invalid ? CONDITION_CODES : 0) | (tolerance.mixed ? TOP : 0);
    compareFp(native.fp, engine.fp, { ...tolerance, undefinedFsw }, report);
  }
  if (!(tolerance.mxcsrMask && onlyMaskDiffers(native.changes, engine.changes))) {
    report('memory', describeChanges(native.changes), describeChanges(engine.changes));
  }
  return found;
}

/** MXCSR.MM, which processors of AMD have and ours, as those of Intel, refuses to load. AMD64 APM vol. 2, 11.1. */
const misalignedMode = ({ kind, fp }: Result): boolean => kind === 'end' && (fp[FP.mxcsr + 2]! & 2) !== 0;

function compareFp(a: Uint8Array, b: Uint8Array, tolerance: Tolerance, report: (what: string, a: string, b: string) => void): void {
  const word = (bytes: Uint8Array, at: number, mask = 0xffff): string => hex((bytes[at]! | (bytes[at + 1]! << 8)) & mask, 4);
  report('fcw', word(a, FP.fcw), word(b, FP.fcw));
  const fsw = 0xffff & ~(tolerance.undefinedFsw ?? 0);
  report('fsw', word(a, FP.fsw, fsw), word(b, FP.fsw, fsw));
  if (!tolerance.mixed) report('ftw', hex(a[FP.ftw]!, 2), hex(b[FP.ftw]!, 2));
  report('mxcsr', word(a, FP.mxcsr), word(b, FP.mxcsr));
  const register = (name: string, at: number, length: number): void => {
    for (let i = at; i < at + length; i++) {
      if (a[i] === b[i]) continue;
      const [x, y] = [a.subarray(at, at + length), b.subarray(at, at + length)];
      if (!tolerance.approximate || !nearly(x, y)) report(name, registerHex(x), registerHex(y));
      return;
    }
  };
  if (!tolerance.mixed) for (let i = 0; i < 8; i++) register(`st${i}`, FP.st + 16 * i, 10);
  for (let i = 0; i < 16; i++) register(`xmm${i}`, FP.xmm + 16 * i, 16);
  for (let i = 0; i < 16; i++) register(`ymm${i} high`, FP.ymmHigh + 16 * i, 16);
}

const lanes = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, 16);

/** Equal to 2^-11 relative as float32 lanes, or to 2^-60 as an 80-bit number. */
function nearly(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length === 10) {
    // Without the integer bit, neighbours differ by 1 across powers of two as well.
    const value = (bytes: Uint8Array): bigint => {
      const whole = BigInt(`0x${registerHex(bytes)}`);
      return ((whole >> 64n) << 63n) | (whole & ((1n << 63n) - 1n));
    };
    const distance = value(a) - value(b);
    return distance > -16n && distance < 16n;
  }
  for (let at = 0; at < 16; at += 4) {
    const [x, y] = [lanes(a).getFloat32(at, true), lanes(b).getFloat32(at, true)];
    if (!Object.is(x, y) && !(Math.abs(x - y) <= Math.abs(x) * 2 ** -10)) return false;
  }
  return true;
}

const flat = (changes: readonly Patch[]): Map<number, number> =>
  new Map(changes.flatMap(({ offset, bytes }) => [...bytes].map((byte, i) => [offset + i, byte] as const)));

/** One byte at most is 2 on the one side and 0, or as it was, on the other. */
function onlyMaskDiffers(native: readonly Patch[], engine: readonly Patch[]): boolean {
  const [x, y] = [flat(native), flat(engine)];
  const places = new Set([...x.keys(), ...y.keys()]);
  const different = [...places].filter((at) => x.get(at) !== y.get(at));
  return different.length <= 1 && different.every((at) => (x.get(at) ?? 2) === 2 && (y.get(at) ?? 0) === 0);
}

const describeChanges = (changes: readonly Patch[]): string =>
  changes.map(({ offset, bytes }) => `${hex(offset)}=${bytesHex(bytes)}`).join(' ') || 'as before';

function outcome(result: Result): string {
  if (result.bug !== undefined) return `threw ${result.bug}`;
  if (result.kind !== 'fault') return result.kind;
  return `fault ${result.vector} error ${hex(result.errorCode)} cr2 ${hex(result.cr2)} at ${hex(result.rip)}`;
}

/** objdump's view of code, or its bytes where there is no objdump. */
export function disassemble(code: Uint8Array, mode: number, address: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'daybreak-code-'));
  try {
    writeFileSync(join(folder, 'code'), code);
    const machine = mode === 64 ? 'i386:x86-64' : mode === 32 ? 'i386' : 'i8086';
    const where = `--adjust-vma=0x${hex(address)}`;
    const text = execFileSync('objdump', ['-D', '-Mintel', '-bbinary', `-m${machine}`, where, join(folder, 'code')], { encoding: 'utf8' });
    return text.split('\n').slice(7).join('\n').trimEnd();
  } catch {
    return `  ${hex(address)}: ${bytesHex(code)}`;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A case as the source text of an expression for a test: only what differs from `makeCase`'s defaults. */
export function caseText(c: Case): string {
  const plain = makeCase({ code: c.code, rip: c.rip });
  const parts = [`code: bytes('${bytesHex(c.code)}')`, `rip: 0x${hex(c.rip)}`];
  if (c.mode !== 64) parts.unshift(`mode: ${c.mode}`);
  const gprs = [...c.gprs].flatMap((value, i) => (value ? [`${GPR_NAMES[i]}: 0x${hex(value)}n`] : []));
  if (gprs.length > 0) parts.push(`gprs: gprs({ ${gprs.join(', ')} })`);
  if (c.rflags !== plain.rflags) parts.push(`rflags: 0x${hex(c.rflags)}`);
  if (c.fsBase) parts.push(`fsBase: 0x${hex(c.fsBase)}n`);
  if (c.gsBase) parts.push(`gsBase: 0x${hex(c.gsBase)}n`);
  const fp = rangesThatDiffer(initialFp(), c.fp);
  if (fp.length > 0) parts.push(`fp: fp({ ${fp.join(', ')} })`);
  const image = rangesThatDiffer(new Uint8Array(DATA_SIZE), c.image);
  if (image.length > 16) parts.push('image: /* random */ image()');
  else if (image.length > 0) parts.push(`image: image({ ${image.join(', ')} })`);
  if (c.patches.length > 0) {
    parts.push(
      `patches: [${c.patches.map(({ offset, bytes }) => `{ offset: 0x${hex(offset)}, bytes: bytes('${bytesHex(bytes)}') }`).join(', ')}]`,
    );
  }
  return `makeCase({ ${parts.join(', ')} })`;
}

function rangesThatDiffer(before: Uint8Array, after: Uint8Array): string[] {
  const ranges: string[] = [];
  for (let at = 0; at < after.length; at += 16) {
    const [x, y] = [before.subarray(at, at + 16), after.subarray(at, at + 16)];
    if (Buffer.compare(x, y) !== 0) ranges.push(`0x${hex(at)}: '${bytesHex(y)}'`);
  }
  return ranges;
}
