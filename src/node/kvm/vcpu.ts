/**
 * A vCPU on the thread that calls `run`, with interrupt controllers of our own: accesses to ports and to memory that is
 * no RAM go to the buses, HLT comes back, and interrupts are injected by KVM_INTERRUPT when KVM says that the guest
 * takes them. Every KVM_RUN is bounded by a timer: whatever the guest does, the thread's own events have their turn.
 */
import type { Disposable } from '../../base/disposable.ts';
import { VmError } from '../../base/errors.ts';
import { closeSync } from 'node:fs';
import type { Width } from '../../machine/bus.ts';
import { NO_EVENT, type ProcessorState, processorState } from '../../machine/processor-state.ts';
import type { Exit, Registers, VCpu, VCpuCounts, VCpuHost } from '../../machine/vcpu.ts';
import * as K from './abi.ts';
import { readArchitecture, writeArchitecture } from './architecture.ts';
import type { Native } from './native.ts';
import { readRegisters, writeRegisters } from './registers.ts';
import { RunSignal } from './run-signal.ts';
import { checked, type KvmVm } from './system.ts';
import { type Kick, VCpuPage } from './vcpu-page.ts';
import { getPart, getRaw, msrIndices, type RawState, setMsr, setPart, setRaw } from './vcpu-state.ts';

const { RUN } = K;
const NS_PER_MS = 1e6;
const RFLAGS_IF = 0x200n;
/** A timer of less would be over before the guest is entered. */
const SHORTEST_NS = 1000;

const EXIT_NAMES: Readonly<Record<number, string>> = {
  [K.KVM_EXIT_IO]: 'port',
  [K.KVM_EXIT_MMIO]: 'MMIO',
  [K.KVM_EXIT_HLT]: 'HLT',
  [K.KVM_EXIT_IRQ_WINDOW_OPEN]: 'interrupt window',
  [K.KVM_EXIT_SHUTDOWN]: 'shutdown',
  [K.KVM_EXIT_INTR]: 'signal',
  [K.KVM_EXIT_SET_TPR]: 'task priority',
};

export class KvmVCpu implements VCpu, Disposable {
  readonly unit = 'nanoseconds';
  readonly #native: Native;
  readonly #fd: number;
  readonly #host: VCpuHost;
  readonly #page: VCpuPage;
  readonly #data: DataView;
  readonly #signal: RunSignal;
  readonly #vector = new Uint32Array(1);
  readonly #vectorBytes = new Uint8Array(this.#vector.buffer);
  readonly #exits = new Map<number, number>();
  readonly #msrs: readonly number[];
  readonly #powerOn: RawState;
  readonly #origin = performance.now();
  readonly #makeCompleter: () => VCpu | undefined;
  #completer: VCpu | undefined;
  #completed = 0;
  #interrupt = false;
  #nmi = false;
  #halted = false;
  #stopAsked = false;
  #inside = false;
  /** KVM finishes the last access when it is entered again: until then registers are those before it. */
  #unfinished = false;
  #disposed = false;

  /** @param completer makes what executes the instructions that this host's KVM cannot */
  constructor(vm: KvmVm, host: VCpuHost, id: number, cpuid: Uint8Array, completer: () => VCpu | undefined) {
    this.#makeCompleter = completer;
    const { native } = vm.system;
    this.#native = native;
    this.#host = host;
    this.#fd = vm.createVCpu(id);
    this.#page = new VCpuPage(native, this.#fd, vm.system.vcpuMapBytes);
    this.#data = this.#page.data;
    this.#signal = new RunSignal(native, process.pid);
    checked(native.ioctlData(this.#fd, K.KVM_SET_SIGNAL_MASK, this.#signal.mask), 'KVM_SET_SIGNAL_MASK');
    checked(native.ioctlData(this.#fd, K.KVM_SET_CPUID2, cpuid), 'KVM_SET_CPUID2');
    this.#msrs = msrIndices(vm.system);
    this.#powerOn = getRaw(native, this.#fd, this.#msrs);
  }

  /** Nanoseconds since the vCPU was made: KVM does not count instructions, and the guest's clocks are the host's. */
  get executed(): number {
    return Math.floor((performance.now() - this.#origin) * NS_PER_MS);
  }

  /** Instructions are those that KVM could not execute and our own processor did. */
  get counts(): VCpuCounts {
    const exits = Object.fromEntries([...this.#exits].map(([reason, count]) => [EXIT_NAMES[reason] ?? String(reason), count]));
    const done = this.#completed;
    return { instructions: done, interpreted: done, compiled: 0, decoded: 0, tlbMisses: 0, invalidations: 0, exits };
  }

  /** What other threads call this one out of `run` with. */
  get kickHandle(): Kick {
    return { memory: this.#page.memory, thread: this.#signal.thread };
  }

  run(budget: number): Exit {
    this.#signal.arm(Math.max(budget, SHORTEST_NS));
    this.#inside = true;
    try {
      for (;;) {
        const exit = this.#step();
        if (exit) return exit;
      }
    } finally {
      this.#inside = false;
      this.#signal.arm(0);
      this.#signal.drain();
    }
  }

  /** From one exit of KVM_RUN to the next; answers what `run` comes back with, if it does. */
  #step(): Exit | undefined {
    if (this.#page.takeRequest() || this.#stopAsked) {
      this.#stopAsked = false;
      return { kind: 'budget' };
    }
    this.#inject();
    if (this.#halted) return { kind: 'halt' };
    const priority = Number(this.#host.cr8);
    this.#data.setUint32(RUN.cr8, priority, true);
    const result = this.#native.ioctl(this.#fd, K.KVM_RUN, 0);
    const now = this.#data.getUint32(RUN.cr8, true);
    if (now !== priority) this.#host.cr8 = BigInt(now);
    if (result < 0) {
      this.#count(K.KVM_EXIT_INTR);
      this.#unfinished = false;
      if (result === -K.EINTR || result === -K.EAGAIN) return { kind: 'budget' };
      throw new VmError('host-io', `KVM_RUN failed with error ${-result}`);
    }
    return this.#exit(this.#data.getUint32(RUN.exitReason, true));
  }

  #exit(reason: number): Exit | undefined {
    this.#count(reason);
    this.#unfinished = reason === K.KVM_EXIT_IO || reason === K.KVM_EXIT_MMIO;
    switch (reason) {
      case K.KVM_EXIT_IO:
        this.#port();
        return undefined;
      case K.KVM_EXIT_MMIO:
        this.#mmio();
        return undefined;
      case K.KVM_EXIT_HLT:
        this.#halted = true;
        return undefined;
      case K.KVM_EXIT_SHUTDOWN:
        return { kind: 'shutdown' };
      case K.KVM_EXIT_IRQ_WINDOW_OPEN:
      case K.KVM_EXIT_INTR:
      case K.KVM_EXIT_SET_TPR:
        return undefined;
      case K.KVM_EXIT_INTERNAL_ERROR:
        return this.#complete();
      default:
        throw this.#refusal(reason);
    }
  }

  /** Executes the instruction that KVM could not, on our own processor. */
  #complete(): Exit | undefined {
    if (this.#data.getUint32(RUN.suberror, true) !== K.KVM_INTERNAL_ERROR_EMULATION) throw this.#refusal(K.KVM_EXIT_INTERNAL_ERROR);
    this.#completer ??= this.#makeCompleter();
    if (!this.#completer) throw this.#refusal(K.KVM_EXIT_INTERNAL_ERROR);
    this.#completer.setArchitecture({ ...readArchitecture(this.#native, this.#fd), halted: false });
    const exit = this.#completer.run(1);
    if (exit.kind === 'shutdown') return exit;
    this.#adopt(this.#completer.architecture());
    this.#completed++;
    return undefined;
  }

  #count(reason: number): void {
    this.#exits.set(reason, (this.#exits.get(reason) ?? 0) + 1);
  }

  /** Gives KVM what waits and the guest can take, and asks to be told when it can take the rest. */
  #inject(): void {
    if (this.#nmi) {
      this.#nmi = false;
      this.#halted = false;
      checked(this.#native.ioctl(this.#fd, K.KVM_NMI, 0), 'KVM_NMI');
    }
    const data = this.#data;
    if (this.#interrupt && data.getUint8(RUN.readyForInterruptInjection) && data.getUint8(RUN.ifFlag)) {
      const vector = this.#host.acknowledge();
      if (vector >= 0) {
        this.#vector[0] = vector;
        checked(this.#native.ioctlData(this.#fd, K.KVM_INTERRUPT, this.#vectorBytes), 'KVM_INTERRUPT');
        this.#halted = false;
        // One at a time: KVM says when it takes the next.
        data.setUint8(RUN.readyForInterruptInjection, 0);
      }
    }
    data.setUint8(RUN.requestInterruptWindow, this.#interrupt ? 1 : 0);
  }

  /** An IN or OUT, of several elements when it is a string instruction. */
  #port(): void {
    const data = this.#data;
    const width = data.getUint8(RUN.ioSize) as Width;
    const port = data.getUint16(RUN.ioPort, true);
    const count = data.getUint32(RUN.ioCount, true);
    const start = Number(data.getBigUint64(RUN.ioDataOffset, true));
    const { pio } = this.#host;
    const write = data.getUint8(RUN.ioDirection) !== 0;
    for (let at = start; at < start + count * width; at += width) {
      if (write) pio.write(port, width, load(data, at, width));
      else store(data, at, width, pio.read(port, width));
    }
  }

  #mmio(): void {
    const data = this.#data;
    const address = data.getUint32(RUN.mmioAddress, true) + data.getUint32(RUN.mmioAddress + 4, true) * 2 ** 32;
    const length = data.getUint32(RUN.mmioLength, true);
    const write = data.getUint8(RUN.mmioIsWrite) !== 0;
    const { mmio } = this.#host;
    for (let at = 0; at < length;) {
      const left = length - at;
      const width: Width = left >= 4 ? 4 : left >= 2 ? 2 : 1;
      if (write) mmio.write(address + at, width, load(data, RUN.mmioData + at, width));
      else store(data, RUN.mmioData + at, width, mmio.read(address + at, width));
      at += width;
    }
  }

  /** An exit that says what this host's KVM cannot do. */
  #refusal(reason: number): VmError {
    const data = this.#data;
    const { rip } = this.#registers();
    const at = `at RIP 0x${rip.toString(16)}`;
    if (reason === K.KVM_EXIT_INTERNAL_ERROR && data.getUint32(RUN.suberror, true) === K.KVM_INTERNAL_ERROR_EMULATION) {
      const size = Math.min(data.getUint8(RUN.instructionSize), 15);
      const code = Array.from({ length: size }, (_, n) =>
        data
          .getUint8(RUN.instructionBytes + n)
          .toString(16)
          .padStart(2, '0'),
      );
      return new VmError(
        'unsupported',
        `KVM of this host cannot emulate the instruction ${at} (${code.join(' ')}); --accel jit runs every instruction`,
      );
    }
    if (reason === K.KVM_EXIT_FAIL_ENTRY) {
      const why = data.getBigUint64(RUN.hardwareEntryFailureReason, true).toString(16);
      return new VmError('unsupported', `the processor refuses to enter the guest ${at} (hardware reason 0x${why})`);
    }
    return new VmError('unsupported', `KVM ended with reason ${reason}, suberror ${data.getUint32(RUN.suberror, true)}, ${at}`);
  }

  /** Every turn of the loop looks at the interrupt input: a device's handler has nothing to add. */
  kick(): void {}

  stop(): void {
    this.#stopAsked = true;
  }

  setInterrupt(level: boolean): void {
    this.#interrupt = level;
  }

  nmi(): void {
    this.#nmi = true;
  }

  /** Lets KVM finish an access whose result it has; the guest executes nothing more. */
  #settle(): void {
    if (this.#inside) return;
    this.#data.setUint8(RUN.immediateExit, 1);
    while (this.#unfinished) {
      const result = this.#native.ioctl(this.#fd, K.KVM_RUN, 0);
      if (result < 0) this.#unfinished = false;
      else this.#exit(this.#data.getUint32(RUN.exitReason, true));
    }
    this.#data.setUint8(RUN.immediateExit, 0);
  }

  reset(): void {
    this.#settle();
    this.#interrupt = false;
    this.#nmi = false;
    this.#halted = false;
    setRaw(this.#native, this.#fd, this.#powerOn);
    this.#setWindow(0n);
  }

  /** What KVM said about the state before this one does not hold for it; KVM says it again at the next exit. */
  #setWindow(rflags: bigint, blocked = false): void {
    const enabled = (rflags & RFLAGS_IF) !== 0n;
    this.#data.setUint8(RUN.readyForInterruptInjection, enabled && !blocked ? 1 : 0);
    this.#data.setUint8(RUN.ifFlag, enabled ? 1 : 0);
  }

  save(): unknown {
    return processorState.save(this.architecture());
  }

  restore(data: unknown): void {
    this.setArchitecture(processorState.load(data));
  }

  architecture(): ProcessorState {
    this.#settle();
    return { ...readArchitecture(this.#native, this.#fd), halted: this.#halted };
  }

  setArchitecture(state: ProcessorState): void {
    this.#settle();
    this.#adopt(state);
  }

  #adopt(state: ProcessorState): void {
    writeArchitecture(this.#native, this.#fd, state);
    this.#halted = state.halted;
    this.#setWindow(state.rflags, state.shadow || state.event.kind !== NO_EVENT);
  }

  registers(): Registers {
    this.#settle();
    return this.#registers();
  }

  #registers(): Registers {
    return readRegisters(getPart(this.#native, this.#fd, 'regs'), getPart(this.#native, this.#fd, 'sregs'));
  }

  setRegisters(registers: Partial<Registers>): void {
    this.#settle();
    const regs = getPart(this.#native, this.#fd, 'regs');
    const sregs = getPart(this.#native, this.#fd, 'sregs');
    writeRegisters(regs, sregs, registers);
    setPart(this.#native, this.#fd, 'sregs', sregs);
    setPart(this.#native, this.#fd, 'regs', regs);
    if (registers.rflags !== undefined) this.#setWindow(registers.rflags);
  }

  /** False when the vCPU has no such register, or it refuses the value. */
  setMsr(index: number, value: bigint): boolean {
    return setMsr(this.#native, this.#fd, index, value);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#signal.dispose();
    this.#page.dispose();
    closeSync(this.#fd);
  }
}

function load(data: DataView, at: number, width: Width): number {
  return width === 4 ? data.getUint32(at, true) : width === 2 ? data.getUint16(at, true) : data.getUint8(at);
}

function store(data: DataView, at: number, width: Width, value: number): void {
  if (width === 4) data.setUint32(at, value, true);
  else if (width === 2) data.setUint16(at, value, true);
  else data.setUint8(at, value);
}
