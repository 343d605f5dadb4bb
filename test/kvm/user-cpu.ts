/** Runs user-mode cases of test/isa in a guest on KVM: there they run on the host's processor, also where KVM emulates the kernel. */
import { bareHost } from '../../src/machine/bare-host.ts';
import { Memory } from '../../src/machine/memory.ts';
import { AVX_AT, type ProcessorState } from '../../src/machine/processor-state.ts';
import { NO_EVENT } from '../../src/machine/processor-state.ts';
import type { Segment } from '../../src/machine/vcpu.ts';
import type { KvmVCpu } from '../../src/node/kvm/vcpu.ts';
import { buildGuest, CODE_GPA, CONTROL_REGISTERS, DATA_GPA, SEGMENTS, STACK_TOP_GPA, STUB_BASE, TABLE_REGISTERS } from '../isa/guest.ts';
import { changesBetween, FP, type Case, type Patch, type Result } from '../native/case.ts';
import {
  CODE_FILL, CODE_IN_CHANGES, CODE_LOW, CODE_SIZE, DATA_SIZE, END_LOW, HIGH, LAST_PAGE, PAGE, READ_ONLY_PAGE,
} from '../native/layout.ts'; // prettier-ignore
import type { Kvm } from './guest.ts';

const LIMIT_NS = 20e6;
const ATTEMPTS = 4;
const IF = 0x200;
const RF = 0x10000;
const WITH_ERROR_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
const PAGE_FAULT = 14;
const UNDEFINED_OPCODE = 6;

export class UserCpu {
  readonly vcpu: KvmVCpu;
  readonly #memory: Memory;
  readonly #base: ProcessorState;

  constructor({ accelerator }: Kvm) {
    const memory = new Memory(2 << 20, accelerator.reservedBytes);
    this.#memory = memory;
    buildGuest(memory);
    this.vcpu = accelerator.createVCpu(bareHost(memory));
    const { tr, ldtr } = SEGMENTS;
    const segments = { ...this.vcpu.registers().segments, tr, ldtr };
    this.vcpu.setRegisters({ segments, ...TABLE_REGISTERS, ...CONTROL_REGISTERS });
    this.#base = this.vcpu.architecture();
  }

  /** In 64-bit mode, without AVX state. */
  async run(cases: readonly Case[]): Promise<Result[]> {
    return cases.map((c) => this.#runOne(c));
  }

  #runOne(c: Case): Result {
    const code = this.#memory.view(CODE_GPA, CODE_SIZE)!;
    const data = this.#memory.view(DATA_GPA, DATA_SIZE)!;
    const offset = c.rip - CODE_LOW - (c.rip >= HIGH ? HIGH : 0);
    const end = offset + c.code.length;
    code.fill(CODE_FILL);
    code.set(c.code, offset);
    if (end + 5 <= CODE_SIZE) {
      code[end] = 0xe9;
      new DataView(code.buffer, code.byteOffset).setInt32(end + 1, END_LOW - (CODE_LOW + end + 5), true);
    }
    data.set(c.image);
    for (const { offset: at, bytes } of c.patches) data.set(bytes, at);
    const before = { code: code.slice(), data: data.slice() };
    this.vcpu.setArchitecture(this.#enter(c));
    let exit = 'crash';
    let bug: string | undefined;
    try {
      exit = this.vcpu.run(LIMIT_NS).kind;
      // On a loaded computer, the time may have been others'.
      for (let n = 0; n < ATTEMPTS && exit === 'budget'; n++) exit = this.vcpu.run(LIMIT_NS).kind;
    } catch (error) {
      bug = String(error);
    }
    const changes: Patch[] = [];
    changesBetween(before.data, data, 0, READ_ONLY_PAGE * PAGE, 0, changes);
    changesBetween(before.data, data, LAST_PAGE * PAGE, DATA_SIZE, 0, changes);
    changesBetween(before.code, code, 0, CODE_SIZE, CODE_IN_CHANGES, changes);
    return this.#result(c, exit, bug, changes);
  }

  #enter(c: Case): ProcessorState {
    const data = (base: bigint): Segment => ({ ...SEGMENTS.data, base });
    const flat = data(SEGMENTS.data.base);
    const { tr, ldtr } = SEGMENTS;
    return {
      ...this.#base,
      gpr: [...c.gprs],
      rip: BigInt(c.rip),
      rflags: BigInt(c.rflags | IF | 2),
      segments: { cs: SEGMENTS.code64, ss: flat, ds: flat, es: flat, fs: data(c.fsBase), gs: data(c.gsBase), tr, ldtr },
      xsave: c.fp,
      halted: false,
      event: { kind: NO_EVENT, vector: 0, hasError: false, error: 0 },
    };
  }

  #result(c: Case, exit: string, bug: string | undefined, changes: Patch[]): Result {
    const state = this.vcpu.architecture();
    const { segments } = state;
    const fp = state.xsave.slice();
    new DataView(fp.buffer).setUint32(FP.mxcsrMask, 0xffff, true);
    const gprs = BigUint64Array.from(state.gpr);
    const rest = [segments.ds, segments.es, segments.fs, segments.gs].map(({ selector }) => selector);
    const common = { fsBase: segments.fs.base, gsBase: segments.gs.base, fp, changes, signal: 0, siCode: 0 };
    if (exit !== 'halt') {
      const selectors = Uint16Array.of(segments.cs.selector, segments.ss.selector, ...rest);
      const kind = exit === 'budget' ? 'timeout' : 'crash';
      const why = bug === undefined ? {} : { bug };
      return { ...common, ...why, kind, vector: 0, errorCode: 0, cr2: 0n, gprs, rip: state.rip, rflags: Number(state.rflags), selectors };
    }
    const vector = Number(state.rip - 1n - STUB_BASE);
    const { data } = this.#memory;
    const frame = this.#memory.hostOffset(STACK_TOP_GPA - 40, 40);
    const u64 = (at: number): bigint => data.getBigUint64(at, true);
    const [rip, cs, rflags, rsp, ss] = [0, 8, 16, 24, 32].map((at) => u64(frame + at)) as [bigint, bigint, bigint, bigint, bigint];
    gprs[4] = rsp;
    const ended = vector === UNDEFINED_OPCODE && Number(rip) % HIGH === END_LOW;
    return {
      ...common,
      kind: ended ? 'end' : 'fault',
      vector: ended ? 0 : vector,
      errorCode: WITH_ERROR_CODE.has(vector) ? Number(u64(frame - 8) & 0xffff_ffffn) : 0,
      cr2: vector === PAGE_FAULT ? state.cr2 : 0n,
      rip,
      rflags: ended ? Number(rflags) & ~RF : Number(rflags),
      gprs,
      selectors: ended ? Uint16Array.of(0x33, 0x2b, ...rest) : Uint16Array.of(Number(cs), Number(ss), ...rest),
    };
  }
}

/** The case with no AVX state, for a KVM that has none. */
export function withoutAvx(c: Case): Case {
  const fp = c.fp.slice();
  fp.fill(0, AVX_AT);
  return { ...c, fp };
}
