/**
 * The processor around the engine: the run loop, exceptions and interrupts between instructions, modes, and access for
 * the system routines. What instructions mean is in isa/ and system/; how handlers run is in engine.ts.
 */
import type { CpuModel } from '../machine/cpu-model.ts';
import { EXCEPTION, EXTERNAL_INTERRUPT, NO_EVENT, NOTHING, type ProcessorState } from '../machine/processor-state.ts';
import type { Exit, Registers, Segment, SegmentName, VCpu, VCpuCounts, VCpuHost } from '../machine/vcpu.ts';
import { Engine } from './engine.ts';
import * as F from './faults.ts';
import { ARITHMETIC, IF, RF, TF, joinFlags, splitFlags } from './flags.ts';
import { Instruction } from './instruction.ts';
import { RUN_LIMIT } from './interpreter/support.ts';
import * as L from './runtime/layout.ts';
import { CR0_EM, CR0_PE, CR0_TS, CS, ATTR_DB, ATTR_L, EFER_LMA, SEGMENTS, SS, State } from './state.ts';
import { USER } from './system/access.ts';
import { readArchitecture, writeArchitecture } from './system/architecture.ts';
import { ROUTINES } from './system/routines.ts';
import { deliver } from './system/interrupts.ts';
import { restoreCpu, saveCpu } from './system/saved.ts';
import { loadPdptes } from './system/pdptes.ts';
import { resetCpu } from './system/reset.ts';

/** Bits of PENDING. */
export const PENDING_INTR = 1;
export const PENDING_NMI = 2;
/** Handlers will be left soon, at an instruction boundary that interrupts may use: STI must tell that it holds them off. */
const PENDING_EXIT = 4;

/** Instructions that handlers may be given at once: the deadline must stay a positive i32. */
const MOST = 1 << 24;
/** Taken off the deadline by a kick, and given back after. */
const KICK = 1 << 30;

/** DR6: an access to a DR7-described place (one bit each), single step. */
const DR6_HITS = 0xfn;
const DR6_BS = 0x4000n;
const DR7_ENABLED = 0xff;
const DR7_GD = 1 << 13;

const CR4_OSFXSR = 1 << 9;
const CR4_OSXSAVE = 1 << 18;

export class Cpu implements VCpu {
  readonly unit = 'instructions';
  readonly engine: Engine;
  readonly state: State;
  readonly host: VCpuHost;
  readonly model: CpuModel;
  readonly #instruction: Instruction;
  /** Instructions executed, up to the last entry into the engine. */
  #executed = 0;
  /** Granted at that entry; 0 outside. */
  #granted = 0;
  #inside = false;
  #kicked = false;
  #halted = false;
  #shutdown = false;
  /** No interrupt before one more instruction has run: after STI and MOV SS. SDM vol. 3, 6.8.3. */
  shadow = false;
  /** The same for debug exceptions: after MOV SS only. */
  debugShadow = false;
  /** A single-step trap is due after the instruction; deliveries and routines that TF does not trap after clear it. */
  trap = false;
  /** How often handlers were left, by reason. */
  readonly #exits = Array.from<number>({ length: EXITS.length }).fill(0);
  /** Accepted by another accelerator, and not delivered yet: the first thing that `run` does. */
  event: Readonly<ProcessorState['event']> = NOTHING;
  /** Linear address to go on at; routines change it to jump. */
  next = 0n;

  constructor(engine: Engine, host: VCpuHost, model: CpuModel) {
    this.engine = engine;
    this.state = engine.state;
    this.host = host;
    this.model = model;
    this.#instruction = new Instruction(engine.state);
    this.reset();
  }

  get executed(): number {
    if (!this.#inside) return this.#executed;
    return this.#executed + this.#granted - this.#left();
  }

  get counts(): VCpuCounts {
    const { compiled, ...rest } = this.engine.counts;
    const { executed } = this;
    const exits = Object.fromEntries(EXITS.map((name, n) => [name, this.#exits[n]!]));
    return { instructions: executed, interpreted: executed - compiled, compiled, ...rest, exits };
  }

  /** Guest time now, in nanoseconds: the time-stamp counter before its offset. */
  get time(): bigint {
    return BigInt(this.#guestTime);
  }

  get #guestTime(): number {
    const { baseNs, start, rate } = this.host.time;
    return baseNs + Math.floor((this.executed - start) * rate);
  }

  /** Instructions of the grant that are left at EXIT_RECORD. */
  #left(): number {
    const deadline = this.state.i32(L.DEADLINE) + (this.#kicked ? KICK : 0);
    return (deadline - this.state.i32(L.EXIT_RECORD)) / L.RECORD_BYTES;
  }

  reset(): void {
    this.shadow = false;
    this.debugShadow = false;
    this.trap = false;
    this.event = NOTHING;
    this.#halted = false;
    this.#shutdown = false;
    resetCpu(this);
  }

  kick(): void {
    if (!this.#inside || this.#kicked) return;
    this.#kicked = true;
    this.#setPending(PENDING_EXIT, true);
    this.state.setU32(L.DEADLINE, this.state.i32(L.DEADLINE) - KICK);
    this.state.view.setFloat64(L.TIME_AT_DEADLINE, this.#executed + this.#granted - KICK / L.RECORD_BYTES, true);
  }

  timeMoved(): void {
    this.state.view.setFloat64(L.TIME_BASE, this.host.time.baseNs, true);
  }

  setInterrupt(level: boolean): void {
    this.#setPending(PENDING_INTR, level);
    if (level && this.state.u32(L.RFLAGS) & IF) this.kick();
  }

  nmi(): void {
    this.#setPending(PENDING_NMI, true);
    this.kick();
  }

  #setPending(bit: number, on: boolean): void {
    const pending = this.state.u32(L.PENDING);
    this.state.setU32(L.PENDING, on ? pending | bit : pending & ~bit);
  }

  /** HLT: nothing runs until an interrupt. */
  halt(): void {
    this.#halted = true;
  }

  run(budget: number): Exit {
    const end = this.#executed + budget;
    const { state } = this;
    this.engine.compiler?.settle(this.#guestTime);
    if (this.event.kind !== NO_EVENT) this.deliverEvent();
    for (;;) {
      if (this.#shutdown) return { kind: 'shutdown' };
      const left = end - this.#executed;
      if (left <= 0) return { kind: 'budget' };
      if (state.u32(L.PENDING) !== 0 && !this.shadow && this.#takePending()) continue;
      if (this.#halted) return { kind: 'halt' };
      if (this.shadow || state.u32(L.RFLAGS) & (TF | RF) || state.u32(L.DR7) & DR7_ENABLED) this.#step();
      else {
        this.#execute(left);
        if (this.trap) this.#debugTrap(DR6_BS);
      }
      if (this.#kicked) {
        // Somebody wants the caller's attention: a device asked for a pause, or an interrupt is waiting.
        this.#kicked = false;
        if (this.#stopAsked) {
          this.#stopAsked = false;
          return { kind: 'budget' };
        }
      }
    }
  }

  #stopAsked = false;

  /** Makes `run` return at the next instruction boundary. */
  stop(): void {
    this.#stopAsked = true;
    if (this.#inside) this.kick();
    else this.#kicked = true;
  }

  /** Answers whether something was delivered. */
  #takePending(): boolean {
    const pending = this.state.u32(L.PENDING);
    if (pending & PENDING_NMI && !this.nmiBlocked) {
      this.#setPending(PENDING_NMI, false);
      this.nmiBlocked = true;
      this.#executed++;
      this.interrupt(F.NMI, undefined, 'external');
      return true;
    }
    if (!(pending & PENDING_INTR && this.state.u32(L.RFLAGS) & IF)) return false;
    const vector = this.host.acknowledge();
    if (vector < 0) return false;
    this.#executed++;
    this.interrupt(vector, undefined, 'external');
    return true;
  }

  /** One instruction with all that debugging and interrupt shadows ask for. SDM vol. 3, 18.3. */
  #step(): void {
    const { state } = this;
    const flags = state.u32(L.RFLAGS);
    const { shadow, debugShadow } = this;
    if (!(flags & RF) && !debugShadow && this.#codeBreakpoint()) return;
    this.shadow = false;
    this.debugShadow = false;
    this.trap = (flags & TF) !== 0;
    // RF covers one instruction, and IRET may set it again.
    state.setU32(L.RFLAGS, flags & ~RF);
    const before = this.#executed;
    if (!this.#execute(1)) state.setU32(L.WATCH_HITS, 0);
    else if (this.#executed === before) {
      this.shadow = shadow;
      this.debugShadow = debugShadow;
      state.setU32(L.RFLAGS, state.u32(L.RFLAGS) | (flags & RF));
      this.trap = false;
    } else if (!this.debugShadow) {
      const causes = BigInt(state.u32(L.WATCH_HITS)) | (this.trap ? DR6_BS : 0n);
      if (causes) this.#debugTrap(causes);
    }
  }

  #debugTrap(causes: bigint): void {
    const { state } = this;
    this.trap = false;
    state.setU32(L.WATCH_HITS, 0);
    state.setU64(L.DR + 32, (state.u64(L.DR + 32) & ~DR6_HITS) | causes);
    this.interrupt(F.DB, undefined, 'exception');
  }

  /** Raises #DB when DR7 describes an instruction breakpoint at `next`. */
  #codeBreakpoint(): boolean {
    const { state } = this;
    const dr7 = state.u32(L.DR7);
    let causes = 0n;
    for (let n = 0; n < 4; n++) {
      const enabled = (dr7 >> (n * 2)) & 3;
      const type = (dr7 >> (16 + n * 4)) & 3;
      if (enabled && type === 0 && state.u64(L.DR + n * 8) === this.next) causes |= 1n << BigInt(n);
    }
    if (!causes) return false;
    this.#executed++;
    this.#debugTrap(causes);
    return true;
  }

  /** Runs up to `limit` instructions from `next`; answers whether the last one completed (did not fault). */
  #execute(limit: number): boolean {
    const { engine } = this;
    const record = engine.lookup(this.next);
    if (record === 0) return this.#fault();
    const exact = limit < RUN_LIMIT;
    const end = this.executed + limit;
    if (exact) engine.plantStop(record, limit);
    let reason = this.#enter(record, Math.min(limit, MOST));
    if (exact) engine.removeStop();
    if (reason === L.EXIT_CROSS) {
      const crossing = engine.lookupCrossing(this.next, this.state.u32(L.EXIT_RECORD));
      if (crossing === 0) return this.#fault();
      // The record after it is an end, which looks up what follows; a repeated instruction goes on as it has been decoded.
      const left = end - this.executed;
      reason = this.#enter(crossing, left < RUN_LIMIT ? 1 : Math.min(left, MOST));
    }
    switch (reason) {
      case L.EXIT_FAULT:
        return this.#fault();
      case L.EXIT_SYSTEM:
        return this.#system();
      case L.EXIT_HOT:
        // A jump within its page came here: the code TLB, which the compiler reads, may have lost it.
        engine.lookup(this.next);
        engine.compiler!.hot(this.state.u32(L.EXIT_RECORD));
        return true;
      default:
        return true;
    }
  }

  #enter(record: number, grant: number): number {
    const { state } = this;
    this.#granted = grant;
    this.#inside = true;
    if (grant < RUN_LIMIT || this.#kicked) this.#setPending(PENDING_EXIT, true);
    const kick = this.#kicked ? KICK : 0;
    state.setU32(L.DEADLINE, record + grant * L.RECORD_BYTES - kick);
    const { view } = state;
    const { time } = this.host;
    this.timeMoved();
    view.setFloat64(L.TIME_START, time.start, true);
    view.setFloat64(L.TIME_RATE, time.rate, true);
    view.setFloat64(L.TIME_AT_DEADLINE, this.#executed + grant - kick / L.RECORD_BYTES, true);
    const reason = this.engine.enter(record);
    this.#exits[reason]!++;
    this.#executed += grant - this.#left();
    this.#inside = false;
    this.#setPending(PENDING_EXIT, false);
    this.next = state.u64(L.NEXT);
    return reason;
  }

  /** Does the instruction at EXIT_RECORD by its system routine. */
  #system(): boolean {
    const instruction = this.#instruction;
    instruction.record = this.state.u32(L.EXIT_RECORD);
    instruction.variant = this.engine.variantOf(instruction.record);
    const { row } = instruction.encoding;
    const start = this.next;
    this.next = this.wrap(start + BigInt(instruction.length));
    if (!ROUTINES[row.routine ?? (row.semantics as string)]!(this, instruction)) {
      this.next = start;
      return this.#fault();
    }
    this.#executed++;
    return true;
  }

  /**
   * Delivers the exception that has been recorded. That counts as an instruction, like every delivery that is not part
   * of one, so that a guest whose handlers fault at once uses up its budget like any other.
   */
  #fault(): false {
    const { state } = this;
    this.#executed++;
    let vector = state.u32(L.FAULT_VECTOR);
    const error = state.u32(L.FAULT_ERROR);
    if (vector === F.FPU_ERROR) {
      // The processor waits before the instruction until the interrupt that this causes comes.
      this.host.fpuError();
      this.halt();
      return false;
    }
    if (vector === F.UNIT_OFF) vector = this.#unitFault(error);
    this.interrupt(vector, HAS_ERROR.has(vector) ? error : undefined, 'exception');
    return false;
  }

  /** #UD or #NM: why a unit may not be used. SDM vol. 3, table 13-1 and 2-2. */
  #unitFault(unit: number): number {
    const cr0 = this.state.u32(L.CR0);
    if (unit === 1) return F.NM;
    if (unit === 2) return cr0 & CR0_EM ? F.UD : F.NM;
    if (unit === 4) return cr0 & CR0_EM || !(this.state.u32(L.CR4) & CR4_OSFXSR) ? F.UD : F.NM;
    return !this.#avxOn() ? F.UD : F.NM;
  }

  #avxOn(): boolean {
    return (this.state.u32(L.CR4) & CR4_OSXSAVE) !== 0 && (this.state.u32(L.XCR0) & 6) === 6;
  }

  /** Delivers an interrupt or exception at `next`; a fault on the way makes a double fault, then shutdown. */
  interrupt(vector: number, error: number | undefined, kind: 'exception' | 'external' | 'software'): void {
    this.#halted = false;
    if (vector === F.DB) this.state.setU32(L.DR7, this.state.u32(L.DR7) & ~DR7_GD);
    if (!deliver(this, vector, error, kind)) this.#shutdown = true;
  }

  /** Delivers what another accelerator has accepted, if it has. */
  deliverEvent(): void {
    const { kind, vector, hasError, error } = this.event;
    this.event = NOTHING;
    if (kind === EXCEPTION) this.interrupt(vector, hasError ? error : undefined, 'exception');
    else if (kind === EXTERNAL_INTERRUPT) this.interrupt(vector, undefined, 'external');
  }

  /** The TSC is guest time and this. */
  setTscOffset(offset: bigint): void {
    this.state.setU64(L.TSC_OFFSET, BigInt.asUintN(64, offset));
    this.host.tscMoved(BigInt.asIntN(64, offset));
  }

  // For system routines

  /** Records an exception for the caller to pass on by answering false. */
  fault(vector: number, error = 0): false {
    this.state.setU32(L.FAULT_VECTOR, vector);
    this.state.setU32(L.FAULT_ERROR, error);
    return false;
  }

  /** NMIs are held off until IRET. */
  get nmiBlocked(): boolean {
    return this.state.u32(L.NMI_BLOCKED) !== 0;
  }

  set nmiBlocked(value: boolean) {
    this.state.setU32(L.NMI_BLOCKED, value ? 1 : 0);
  }

  get cpl(): number {
    return this.state.u32(L.CPL);
  }

  get long(): boolean {
    return this.state.u32(L.CODE_MODE) === 2;
  }

  get longModeActive(): boolean {
    return (this.state.u32(L.EFER) & EFER_LMA) !== 0;
  }

  get protectedMode(): boolean {
    return (this.state.u32(L.CR0) & CR0_PE) !== 0;
  }

  /** Linear addresses outside 64-bit code have 32 bits. */
  wrap(linear: bigint): bigint {
    return this.long ? BigInt.asUintN(64, linear) : linear & 0xffffffffn;
  }

  /** Instruction pointer (offset in CS) of `next`. */
  get ip(): bigint {
    return this.long ? this.next : (this.next - this.state.base(CS)) & 0xffffffffn;
  }

  /** Goes on at an offset in the present CS. */
  set ip(offset: bigint) {
    this.next = this.wrap(this.long ? offset : offset + this.state.base(CS));
  }

  get rflags(): number {
    const { state } = this;
    return (state.u32(L.RFLAGS) & ~ARITHMETIC) | joinFlags(state.u32(L.FLAG_RES), state.u32(L.FLAG_RES + 4), state.u32(L.FLAG_AUX)) | 2;
  }

  set rflags(value: number) {
    const { result, aux } = splitFlags(value & ARITHMETIC);
    this.state.setU64(L.FLAG_RES, result);
    this.state.setU32(L.FLAG_AUX, aux);
    this.state.setU32(L.RFLAGS, value & ~ARITHMETIC & 0x3f7fd5);
    this.engine.runtime.selectTlb();
  }

  /** `bytes` (at most 8) at a linear address as the present privilege sees them; undefined when it faults (recorded). */
  read(va: bigint, bytes: number, access = this.cpl === 3 ? USER : 0): bigint | undefined {
    const { state } = this;
    state.setU64(L.TRANSFER, 0n);
    if (!this.engine.runtime.systemRead(va, L.TRANSFER, bytes, access)) return undefined;
    return state.u64(L.TRANSFER);
  }

  write(va: bigint, bytes: number, value: bigint, access = this.cpl === 3 ? USER : 0): boolean {
    this.state.setU64(L.TRANSFER, BigInt.asUintN(64, value));
    return this.engine.runtime.systemWrite(va, L.TRANSFER, bytes, access) !== 0;
  }

  /** Linear address of the memory operand, segment checks included (a violation gives an address that faults). */
  address(i: Instruction, bytes: number, write = false): bigint {
    return BigInt.asUintN(64, this.engine.runtime.linearAddress(i.record, bytes | (write ? 256 : 0)));
  }

  /** The operand in ModRM.rm, register or memory. */
  readOperand(i: Instruction, bits: number): bigint | undefined {
    if (i.memory) {
      const value = this.read(this.address(i, bits / 8), bits / 8);
      if (value === undefined) this.#stackFault(i);
      return value;
    }
    return BigInt.asUintN(bits, this.state.u64(i.rm));
  }

  writeOperand(i: Instruction, bits: number, value: bigint): boolean {
    if (i.memory) {
      const done = this.write(this.address(i, bits / 8, true), bits / 8, value);
      if (!done) this.#stackFault(i);
      return done;
    }
    this.writeRegister(i.rm, bits, value);
    return true;
  }

  /** An address that the segment refused: #SS(0) in place of #GP(0) when it was the stack's. */
  #stackFault(i: Instruction): void {
    if (i.segment === SS && this.state.u32(L.FAULT_VECTOR) === F.GP) this.state.setU32(L.FAULT_VECTOR, F.SS);
  }

  /** Writes a register at its state address as an instruction of that size does. */
  writeRegister(address: number, bits: number, value: bigint): void {
    const { state } = this;
    if (bits === 16) state.setU16(address, Number(value & 0xffffn));
    else if (bits === 8) state.setU8(address, Number(value & 0xffn));
    else state.setU64(address, BigInt.asUintN(bits, value));
  }

  /** To be called when CS, CR0, EFER or XCR0 and CR4 bits that modes depend on have changed. */
  updateMode(): void {
    const { state } = this;
    const attributes = state.attributes(CS);
    const mode = this.longModeActive && attributes & ATTR_L ? 2 : attributes & ATTR_DB ? 1 : 0;
    if (mode !== state.u32(L.CODE_MODE)) {
      state.setU32(L.CODE_MODE, mode);
      this.engine.runtime.flushCodeTlb();
    }
    state.setU32(L.STACK_MASK, state.attributes(SS) & ATTR_DB ? 0xffffffff : 0xffff);
    const cr0 = state.u32(L.CR0);
    const blocked = (cr0 & (CR0_EM | CR0_TS)) !== 0;
    const sse = blocked || !(state.u32(L.CR4) & CR4_OSFXSR);
    const avx = (cr0 & CR0_TS) !== 0 || !this.#avxOn();
    // Bit 4: WAIT traps when both MP and TS are set.
    state.setU32(L.FPU_TRAP, (blocked ? 3 : 0) | (sse ? 4 : 0) | (avx ? 8 : 0) | ((cr0 & 10) === 10 ? 16 : 0));
    this.engine.runtime.selectTlb();
  }

  // State as plain data

  save(): unknown {
    return saveCpu(this);
  }

  restore(data: unknown): void {
    restoreCpu(this, data);
  }

  architecture(): ProcessorState {
    return readArchitecture(this);
  }

  setArchitecture(state: ProcessorState): void {
    writeArchitecture(this, state);
  }

  get nmiPending(): boolean {
    return (this.state.u32(L.PENDING) & PENDING_NMI) !== 0;
  }

  set nmiPending(value: boolean) {
    this.#setPending(PENDING_NMI, value);
  }

  get halted(): boolean {
    return this.#halted;
  }

  set halted(value: boolean) {
    this.#halted = value;
  }

  set executed(value: number) {
    this.#executed = value;
  }

  registers(): Registers {
    const { state } = this;
    const segment = (n: number): Segment => ({
      selector: state.selector(n),
      base: state.base(n),
      limit: state.limit(n),
      attributes: state.attributes(n),
    });
    return {
      gpr: Array.from({ length: 16 }, (_, n) => state.gpr(n)),
      rip: this.ip,
      rflags: BigInt(this.rflags),
      segments: Object.fromEntries(SEGMENTS.map((name, n) => [name, segment(n)])) as Record<SegmentName, Segment>,
      gdtr: { base: state.u64(L.GDTR_BASE), limit: state.u32(L.GDTR_LIMIT) },
      idtr: { base: state.u64(L.IDTR_BASE), limit: state.u32(L.IDTR_LIMIT) },
      cr0: state.u64(L.CR0),
      cr2: state.u64(L.CR2),
      cr3: state.u64(L.CR3),
      cr4: state.u64(L.CR4),
      efer: state.u64(L.EFER),
    };
  }

  setRegisters(registers: Partial<Registers>): void {
    const { state } = this;
    registers.gpr?.forEach((value, n) => state.setGpr(n, BigInt.asUintN(64, value)));
    const { segments, gdtr, idtr } = registers;
    if (segments) {
      SEGMENTS.forEach((name, n) => {
        const segment = segments[name];
        if (!segment) return;
        state.setSelector(n, segment.selector);
        state.setBase(n, BigInt.asUintN(64, segment.base));
        state.setLimit(n, segment.limit >>> 0);
        state.setAttributes(n, segment.attributes);
      });
      state.setU32(L.CPL, (state.attributes(SS) >> 5) & 3);
    }
    if (gdtr) {
      state.setU64(L.GDTR_BASE, gdtr.base);
      state.setU32(L.GDTR_LIMIT, gdtr.limit);
    }
    if (idtr) {
      state.setU64(L.IDTR_BASE, idtr.base);
      state.setU32(L.IDTR_LIMIT, idtr.limit);
    }
    if (registers.cr0 !== undefined) state.setU64(L.CR0, registers.cr0);
    if (registers.cr2 !== undefined) state.setU64(L.CR2, registers.cr2);
    if (registers.cr3 !== undefined) state.setU64(L.CR3, registers.cr3);
    if (registers.cr4 !== undefined) state.setU64(L.CR4, registers.cr4);
    if (registers.efer !== undefined) state.setU64(L.EFER, registers.efer);
    loadPdptes(this, state.u64(L.CR3));
    if (registers.rflags !== undefined) this.rflags = Number(registers.rflags);
    this.engine.runtime.flushTlb();
    this.updateMode();
    if (registers.rip !== undefined) this.ip = registers.rip;
  }
}

/** Names of EXIT_* of layout.ts, in order. */
const EXITS = ['budget', 'fault', 'lookup', 'system', 'stop', 'check', 'crossing', 'hot'];

/** Exceptions that push an error code. SDM vol. 3, table 6-1. */
const HAS_ERROR: ReadonlySet<number> = new Set([F.DOUBLE_FAULT, F.TS, F.NP, F.SS, F.GP, F.PAGE_FAULT, F.ALIGNMENT, 21]);
