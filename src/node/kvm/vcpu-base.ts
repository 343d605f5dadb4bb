/** What every vCPU on KVM has, whichever thread runs it: its state, and what is done when it comes out of KVM_RUN. */
import { closeSync } from 'node:fs';
import type { Disposable } from '../../base/disposable.ts';
import type { CpuModel } from '../../machine/cpu-model.ts';
import { type ProcessorState, processorState } from '../../machine/processor-state.ts';
import type { Exit, Registers, VCpu, VCpuCounts, VCpuHost } from '../../machine/vcpu.ts';
import * as K from './abi.ts';
import { otherMsrs, readArchitecture, writeArchitecture } from './architecture.ts';
import { EXIT_NAMES, refusal, serveMmio, servePort } from './exits.ts';
import type { Native } from './native.ts';
import { readRegisters, writeRegisters } from './registers.ts';
import { checked, type KvmVm } from './system.ts';
import { VCpuPage } from './vcpu-page.ts';
import type { VmTime } from './vm-time.ts';
import { getMsr, getPart, getRaw, msrIndices, type RawState, setMsr, setPart, setRaw } from './vcpu-state.ts';

const { RUN } = K;

const TSC = 0x10;
const PLATFORM_INFO = 0xce;
const ARCH_CAPABILITIES = 0x10a;
/** That there is another register, which our own processor has not. */
const PROMISES_TSX_CTRL = 1n << 7n;

export interface VCpuParts {
  readonly vm: KvmVm;
  /** Of all processors of the machine. */
  readonly time: VmTime;
  readonly host: VCpuHost;
  /** Its number, and the id of its local APIC. */
  readonly id: number;
  /** struct kvm_cpuid2. */
  readonly cpuid: Uint8Array;
  /** What `cpuid` tells; absent: the host's own. */
  readonly model: CpuModel | undefined;
  /** What executes the instructions that this host's KVM cannot. */
  readonly completer: () => VCpu | undefined;
}

export abstract class VCpuBase implements Disposable {
  readonly unit = 'nanoseconds';
  readonly fd: number;
  protected readonly native: Native;
  protected readonly host: VCpuHost;
  protected readonly page: VCpuPage;
  protected readonly data: DataView;
  /** KVM finishes the last access when it is entered again: until then registers are those before it. */
  protected unfinished = false;
  protected readonly time: VmTime;
  readonly #exits = new Map<number, number>();
  readonly #powerOn: RawState;
  /** What the guest's TSC shows when it goes on; undefined: it has not been stopped. */
  #tsc: bigint | undefined;
  readonly #completer: () => VCpu | undefined;
  #completed = 0;
  #disposed = false;

  constructor({ vm, time, host, id, cpuid, model, completer }: VCpuParts) {
    this.#completer = completer;
    this.time = time;
    const { native } = vm.system;
    this.native = native;
    this.host = host;
    this.fd = vm.createVCpu(id);
    this.page = new VCpuPage(native, this.fd, vm.system.vcpuMapBytes);
    this.data = this.page.data;
    checked(native.ioctlData(this.fd, K.KVM_SET_CPUID2, cpuid), 'KVM_SET_CPUID2');
    if (model) this.#become(model);
    this.#powerOn = getRaw(native, this.fd, msrIndices(vm.system));
  }

  /** Registers by which the model differs from KVM's own, where KVM lets them be set. */
  #become({ tscKhz }: CpuModel): void {
    const { native, fd } = this;
    native.ioctl(fd, K.KVM_SET_TSC_KHZ, tscKhz);
    setMsr(native, fd, PLATFORM_INFO, 0n);
    const capabilities = getMsr(native, fd, ARCH_CAPABILITIES);
    if (capabilities !== undefined) setMsr(native, fd, ARCH_CAPABILITIES, capabilities & ~PROMISES_TSX_CTRL);
  }

  /** Nanoseconds: KVM does not count instructions, and the guest's clocks are the host's, but for the time that the machine stands still. */
  get executed(): number {
    return this.time.executed;
  }

  /** The guest's time stands still from now on. */
  standStill(): void {
    this.time.standStill();
    this.#tsc ??= getMsr(this.native, this.fd, TSC);
  }

  /** The guest's time goes on from where it was. */
  goOn(): void {
    this.time.goOn();
    if (this.#tsc !== undefined) setMsr(this.native, this.fd, TSC, this.#tsc);
    this.#tsc = undefined;
  }

  /** Instructions are those that KVM could not execute and our own processor did. */
  get counts(): VCpuCounts {
    const exits = Object.fromEntries([...this.#exits].map(([reason, count]) => [EXIT_NAMES[reason] ?? String(reason), count]));
    const done = this.#completed;
    return { instructions: done, interpreted: done, compiled: 0, decoded: 0, tlbMisses: 0, invalidations: 0, exits };
  }

  protected count(reason: number): void {
    this.#exits.set(reason, (this.#exits.get(reason) ?? 0) + 1);
  }

  /** Does what the exit asks for; answers what `run` comes back with, if it does. */
  protected serve(reason: number): Exit | undefined {
    this.count(reason);
    this.unfinished = reason === K.KVM_EXIT_IO || reason === K.KVM_EXIT_MMIO;
    switch (reason) {
      case K.KVM_EXIT_IO:
        servePort(this.data, this.host.pio);
        return undefined;
      case K.KVM_EXIT_MMIO:
        serveMmio(this.data, this.host.mmio);
        return undefined;
      case K.KVM_EXIT_SHUTDOWN:
        return { kind: 'shutdown' };
      case K.KVM_EXIT_HLT:
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
    if (this.data.getUint32(RUN.suberror, true) !== K.KVM_INTERNAL_ERROR_EMULATION) throw this.#refusal(K.KVM_EXIT_INTERNAL_ERROR);
    const completer = this.#completer();
    if (!completer) throw this.#refusal(K.KVM_EXIT_INTERNAL_ERROR);
    const before = readArchitecture(this.native, this.fd);
    // Its clock is not the guest's: that page is KVM's.
    completer.setArchitecture({ ...before, halted: false, msrs: { ...before.msrs, kvmSystemTime: 0n } });
    const exit = completer.run(1);
    if (exit.kind === 'shutdown') return exit;
    const after = completer.architecture();
    this.adopt({ ...after, msrs: { ...after.msrs, kvmSystemTime: before.msrs.kvmSystemTime } });
    this.#completed++;
    return undefined;
  }

  #refusal(reason: number): Error {
    return refusal(this.data, reason, this.#registers().rip);
  }

  /** Lets KVM finish an access whose result it has; the guest executes nothing more, and nobody is in KVM_RUN. */
  protected abstract settle(): void;

  /** What it waits for. KVM does what has come for it when it is asked, so before anything else. */
  protected abstract get waiting(): Pick<ProcessorState, 'startup' | 'halted'>;

  protected adopt(state: ProcessorState): void {
    writeArchitecture(this.native, this.fd, state);
  }

  reset(): void {
    this.settle();
    setRaw(this.native, this.fd, this.#powerOn);
    if (this.time.standsStill) this.#tsc = this.#powerOn.msrs.get(TSC);
  }

  save(): unknown {
    return processorState.save(this.architecture());
  }

  restore(data: unknown): void {
    this.setArchitecture(processorState.load(data));
  }

  architecture(): ProcessorState {
    this.settle();
    const { waiting } = this;
    const others = otherMsrs(this.native, this.fd, this.#powerOn.msrs);
    const state = { ...readArchitecture(this.native, this.fd), ...waiting, otherMsrs: others };
    return this.#tsc === undefined ? state : { ...state, tsc: this.#tsc };
  }

  setArchitecture(state: ProcessorState): void {
    this.settle();
    // kvmclock goes on with guest time, which may be another machine's. First: registers that are set may have it written down.
    this.time.setClock();
    this.adopt(state);
    // Once: KVM takes a second write for an attempt to bring processors together.
    if (this.time.standsStill) this.#tsc = state.tsc;
    else setMsr(this.native, this.fd, TSC, state.tsc);
  }

  registers(): Registers {
    this.settle();
    return this.#registers();
  }

  #registers(): Registers {
    return readRegisters(getPart(this.native, this.fd, 'regs'), getPart(this.native, this.fd, 'sregs'));
  }

  setRegisters(registers: Partial<Registers>): void {
    this.settle();
    const regs = getPart(this.native, this.fd, 'regs');
    const sregs = getPart(this.native, this.fd, 'sregs');
    writeRegisters(regs, sregs, registers);
    setPart(this.native, this.fd, 'sregs', sregs);
    setPart(this.native, this.fd, 'regs', regs);
  }

  /** False when the vCPU has no such register, or it refuses the value. */
  setMsr(index: number, value: bigint): boolean {
    return setMsr(this.native, this.fd, index, value);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.release();
    this.page.dispose();
    closeSync(this.fd);
  }

  /** Lets go of what runs it; called once. */
  protected abstract release(): void;
}
