/** Runs cases in our own processor, as native.ts runs them on the host's. */
import { bareHost } from '../../src/machine/bare-host.ts';
import { Memory } from '../../src/machine/memory.ts';
import type { Accelerator, Segment } from '../../src/machine/vcpu.ts';
import type { Cpu } from '../../src/x86/cpu.ts';
import * as L from '../../src/x86/runtime/layout.ts';
import { CS, DS, ES, FS, GS, SS } from '../../src/x86/state.ts';
import { changesBetween, type Case, type Patch, type Result } from '../native/case.ts';
import {
  CODE_FILL,
  CODE_IN_CHANGES,
  CODE_LOW,
  CODE_SIZE,
  DATA_SIZE,
  END_16,
  END_32,
  END_LOW,
  HIGH,
  LAST_PAGE,
  PAGE,
  READ_ONLY_PAGE,
} from '../native/layout.ts';
import { loadFp, storeFp } from './engine-fp.ts';
import { buildGuest, CODE_GPA, CONTROL_REGISTERS, DATA_GPA, SEGMENTS, STACK_TOP_GPA, STUB_BASE, TABLE_REGISTERS } from './guest.ts';

const RAM = 2 << 20;
/** Instructions before a case counts as endless. */
const BUDGET = 20_000;
const WITH_ERROR_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
const PAGE_FAULT = 14;
const UNDEFINED_OPCODE = 6;
const IF = 0x200;
const RF = 0x10000;

const le = (value: number, bytes: number): number[] => Array.from({ length: bytes }, (_, i) => (value >>> (8 * i)) & 0xff);

/** A stretch of guest memory and what it was before the case. */
interface Window {
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  readonly gpa: number;
  /** Offset of its changes in results. */
  readonly name: number;
}

export class EngineCpu {
  readonly #memory: Memory;
  readonly #cpu: Cpu;
  readonly #state: DataView;
  readonly #data: Uint8Array;
  readonly #code: Uint8Array;
  readonly #dataBefore = new Uint8Array(DATA_SIZE);
  readonly #codeBefore = new Uint8Array(CODE_SIZE).fill(CODE_FILL);
  #image: Uint8Array | undefined;
  #patched: Patch[] = [];

  constructor(accelerator: Accelerator) {
    this.#memory = new Memory(RAM, accelerator.reservedBytes);
    this.#cpu = accelerator.createVCpu(bareHost(this.#memory)) as Cpu;
    this.#state = this.#memory.data;
    buildGuest(this.#memory);
    const { tr, ldtr } = SEGMENTS;
    const segments = { ...this.#cpu.registers().segments, tr, ldtr };
    this.#cpu.setRegisters({ segments, ...TABLE_REGISTERS, ...CONTROL_REGISTERS });
    this.#cpu.state.setU64(L.XCR0, 7n);
    this.#data = this.#memory.view(DATA_GPA, DATA_SIZE)!;
    this.#code = this.#memory.view(CODE_GPA, CODE_SIZE)!;
  }

  run(cases: readonly Case[], budget = BUDGET): Result[] {
    return cases.map((c) => this.#runOne(c, budget));
  }

  #runOne(c: Case, budget: number): Result {
    const window = c.mode === 16 ? 0 : CODE_LOW + (c.rip >= HIGH ? HIGH : 0);
    const offset = c.rip - window;
    const code = [...c.code, ...jumpToEnd(c, offset + c.code.length)];
    this.#write(this.#code, CODE_GPA, offset, Uint8Array.from(code));
    this.#codeBefore.set(code, offset);
    this.#prepareData(c);
    enter(this.#cpu, c);

    let exit = 'bug';
    let bug: string | undefined;
    try {
      exit = this.#cpu.run(budget).kind;
    } catch (error) {
      bug = String(error);
    }
    const result = this.#collect(c, exit, bug);

    this.#write(this.#code, CODE_GPA, offset, new Uint8Array(code.length).fill(CODE_FILL));
    this.#codeBefore.fill(CODE_FILL, offset, offset + code.length);
    return result;
  }

  /** Writes guest memory as a device would, so that the engine notices. */
  #write(view: Uint8Array, gpa: number, offset: number, bytes: Uint8Array): void {
    view.set(bytes, offset);
    this.#memory.written(gpa + offset, bytes.length);
  }

  #prepareData(c: Case): void {
    if (this.#image !== c.image) {
      this.#image = c.image;
      this.#patched = [];
      this.#dataBefore.set(c.image);
      this.#write(this.#data, DATA_GPA, 0, c.image);
    }
    for (const { offset, bytes } of this.#patched) {
      const original = c.image.subarray(offset, offset + bytes.length);
      this.#dataBefore.set(original, offset);
      this.#data.set(original, offset);
    }
    this.#patched = [...c.patches];
    for (const { offset, bytes } of c.patches) {
      this.#dataBefore.set(bytes, offset);
      this.#data.set(bytes, offset);
    }
  }

  #collect(c: Case, exit: string, bug: string | undefined): Result {
    const changes: Patch[] = [];
    const data = { before: this.#dataBefore, after: this.#data, gpa: DATA_GPA, name: 0 };
    this.#takeChanges(data, 0, READ_ONLY_PAGE * PAGE, changes);
    this.#takeChanges(data, LAST_PAGE * PAGE, DATA_SIZE, changes);
    const code = { before: this.#codeBefore, after: this.#code, gpa: CODE_GPA, name: CODE_IN_CHANGES };
    if (c.mode === 64) this.#takeChanges(code, 0, CODE_SIZE, changes);
    const state = this.#state;
    const u64 = (address: number): bigint => state.getBigUint64(address, true);
    const selector = (segment: number): number => state.getUint32(L.SEG_SELECTOR + 4 * segment, true) & 0xffff;
    const gprs = new BigUint64Array(16);
    for (let i = 0; i < 16; i++) gprs[i] = u64(L.GPR + 8 * i);
    const common = { fsBase: u64(L.SEG_BASE + 4 * 8), gsBase: u64(L.SEG_BASE + 5 * 8), fp: storeFp(state), changes, signal: 0, siCode: 0 };
    const rest = [selector(3), selector(0), selector(4), selector(5)];
    if (exit !== 'halt') {
      return {
        ...common,
        kind: exit === 'budget' ? 'timeout' : 'crash',
        ...(bug === undefined ? {} : { bug }),
        vector: 0,
        errorCode: 0,
        cr2: 0n,
        gprs,
        rip: this.#cpu.ip,
        rflags: this.#cpu.rflags,
        selectors: Uint16Array.of(selector(1), selector(2), ...rest),
      };
    }
    const vector = Number(this.#cpu.next - 1n - STUB_BASE);
    const frame = this.#memory.hostOffset(STACK_TOP_GPA - 40, 40);
    const [rip, cs, rflags, rsp, ss] = [0, 8, 16, 24, 32].map((at) => u64(frame + at)) as [bigint, bigint, bigint, bigint, bigint];
    gprs[4] = rsp;
    const ended = vector === UNDEFINED_OPCODE && [0, END_32, END_16].some((at) => (Number(rip) - at) % HIGH === END_LOW);
    return {
      ...common,
      kind: ended ? 'end' : 'fault',
      vector: ended ? 0 : vector,
      errorCode: WITH_ERROR_CODE.has(vector) ? Number(u64(frame - 8) & 0xffff_ffffn) : 0,
      cr2: vector === PAGE_FAULT ? u64(L.CR2) : 0n,
      rip,
      // UD2 ends a case, and a fault sets RF in what it pushes.
      rflags: ended ? Number(rflags) & ~RF : Number(rflags),
      gprs,
      // At the end they are what the runner says, which knows only what it set.
      selectors: ended ? Uint16Array.of(...initialSelectors(c), ...rest) : Uint16Array.of(Number(cs), Number(ss), ...rest),
    };
  }

  /** Appends what a case changed in a range and undoes it. */
  #takeChanges({ before, after, gpa, name }: Window, from: number, to: number, out: Patch[]): void {
    if (Buffer.compare(before.subarray(from, to), after.subarray(from, to)) === 0) return;
    changesBetween(before, after, from, to, name, out);
    this.#write(after, gpa, from, before.subarray(from, to));
  }
}

function initialSelectors(c: Case): [cs: number, ss: number] {
  return c.mode === 64 ? [0x33, 0x2b] : c.mode === 32 ? [0x23, 0x2b] : [0x07, 0x0f];
}

/** The jump behind the code, where there is room for it. */
function jumpToEnd({ mode }: Case, end: number): number[] {
  if (mode === 16) return end + 8 <= CODE_SIZE ? [0x66, 0xea, ...le(END_LOW + END_16, 4), 0x33, 0] : [];
  if (end + 5 > CODE_SIZE) return [];
  return [0xe9, ...le(END_LOW + (mode === 32 ? END_32 : 0) - (CODE_LOW + end + 5), 4)];
}

/** Sets what a case sets; what all share is as the constructor left it, except for what the last case's exception changed. */
function enter(cpu: Cpu, c: Case): void {
  const { state } = cpu;
  const code = c.mode === 64 ? SEGMENTS.code64 : c.mode === 32 ? SEGMENTS.code32 : SEGMENTS.code16;
  const data = c.mode === 16 ? SEGMENTS.data16 : SEGMENTS.data;
  const load = (segment: number, { selector, limit, attributes }: Segment, base: bigint): void => {
    state.setSelector(segment, selector);
    state.setBase(segment, base);
    state.setLimit(segment, limit);
    state.setAttributes(segment, attributes);
  };
  load(CS, code, code.base);
  for (const segment of [SS, DS, ES]) load(segment, data, data.base);
  load(FS, data, c.fsBase);
  load(GS, data, c.gsBase);
  for (let i = 0; i < 16; i++) state.setGpr(i, c.gprs[i]!);
  state.setU32(L.CPL, 3);
  cpu.rflags = c.rflags | IF | 2;
  cpu.updateMode();
  cpu.halted = false;
  cpu.shadow = false;
  cpu.ip = BigInt(c.rip);
  loadFp(state.view, c.fp);
}
