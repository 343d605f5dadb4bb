/** The accelerator that is Linux's: guest code runs on the host's processor. */
import type { Disposable } from '../../base/disposable.ts';
import { VmError } from '../../base/errors.ts';
import { withoutChips } from '../../machine/bare-host.ts';
import type { CpuModel } from '../../machine/cpu-model.ts';
import type { Accelerator, ChiplessHost, Completer, CpuIdentity, VCpu, VCpuHost } from '../../machine/vcpu.ts';
import { KVM_CAP_MAX_VCPUS } from './abi.ts';
import { KernelChips, missingForChips } from './chips.ts';
import { DoorbellWatch } from './doorbells.ts';
import { kvmCpu, type KvmCpuWishes, scalesTsc } from './cpu.ts';
import { guestCpuid } from './cpuid.ts';
import { KernelLocalApic } from './local-apic.ts';
import type { Native } from './native.ts';
import { Processors } from './processors.ts';
import { KvmSystem, KvmVm } from './system.ts';
import { SHARED_BYTES } from './thread-words.ts';
import { type ThreadProgram, ThreadedVCpu } from './threaded-vcpu.ts';
import { KvmVCpu } from './vcpu.ts';
import { VmTime } from './vm-time.ts';

/** A machine whose interrupt controllers are the host's kernel's. */
export interface KernelMachine {
  readonly vm: KvmVm;
  readonly chips: KernelChips;
  /** All of them, as the one that the machine runs. */
  readonly processors: Processors;
  readonly vcpus: readonly ThreadedVCpu[];
  readonly localApics: readonly KernelLocalApic[];
}

export interface KvmOptions {
  /** Executes what this host's KVM says it cannot. */
  readonly completer?: Completer;
  /** For machines with interrupt controllers of the host's kernel. Absent, or without KVM's having some: they have ours. */
  readonly program?: ThreadProgram;
  /** See `KvmCpuWishes`; by default as much as can move. */
  readonly cpu?: KvmCpuWishes['wanted'];
  readonly makeshift?: boolean;
}

export class KvmAccelerator implements Accelerator, Disposable {
  readonly name = 'kvm';
  readonly reservedBytes: number;
  readonly cpu: CpuIdentity;
  readonly native: Native;
  readonly #system: KvmSystem;
  readonly #model: CpuModel | undefined;
  readonly #completer: Completer | undefined;
  readonly #parts: Disposable[] = [];

  /** Throws VmError `unsupported` where there is no KVM that could be used, or it does not offer the processor that is wanted. */
  constructor(native: Native, { completer, program, cpu = 'max', makeshift = false }: KvmOptions = {}) {
    this.native = native;
    this.#system = new KvmSystem(native);
    try {
      const thread = program && missingForChips(this.#system) === undefined ? program : undefined;
      this.createWithChips = thread && ((host, processors, wake) => this.#withChips(host, processors, wake, thread));
      const { model, identity } = kvmCpu(this.#system, { wanted: cpu, kernelChips: thread !== undefined, makeshift });
      this.#model = model;
      this.cpu = identity;
    } catch (error) {
      this.#system.dispose();
      throw error;
    }
    this.#completer = completer;
    this.reservedBytes = completer?.reservedBytes ?? 0;
  }

  /** One for all processors of a machine, made when it is first needed: it has one place in memory. */
  #completerOf(host: VCpuHost): () => VCpu | undefined {
    let made: VCpu | undefined;
    return () => (made ??= this.#completer?.createVCpu(host));
  }

  /** Undefined: machines have interrupt controllers of ours. */
  readonly createWithChips: Accelerator['createWithChips'];

  #withChips(host: ChiplessHost, count: number, wake: () => void, program: ThreadProgram) {
    const { chips, processors, localApics } = this.createKernelMachine(withoutChips(host), count, program, wake);
    const { lines, msi, pic, slavePic, ioApic } = chips;
    return { vcpu: processors, each: processors.each, chips: { lines, msi, pic, slavePic, ioApic, localApics } };
  }

  /** What KVM lacks for interrupt controllers of its own: the name of a capability; undefined when nothing. */
  missingForChips(): string | undefined {
    return missingForChips(this.#system);
  }

  /** Whether a guest's TSC can count nanoseconds, whatever the host's does. */
  get scalesTsc(): boolean {
    return scalesTsc(this.#system);
  }

  /** On the calling thread, which is the one that may run it. */
  createVCpu(host: VCpuHost): KvmVCpu {
    const vm = new KvmVm(this.#system, host.memory);
    this.#parts.push(vm);
    const cpuid = guestCpuid(this.#system, { kernelChips: false, id: 0, processors: 1 }, this.#model);
    const time = new VmTime(vm, host.time);
    const vcpu = new KvmVCpu({ vm, time, host, id: 0, cpuid, model: this.#model, completer: this.#completerOf(host) });
    this.#parts.push(vcpu);
    return vcpu;
  }

  /**
   * With interrupt controllers in the host's kernel, and a thread for each processor.
   * @param wake called from the event loop when there is something for `run` to do
   */
  createKernelMachine(host: VCpuHost, processors: number, program: ThreadProgram, wake: () => void): KernelMachine {
    const most = this.#system.extension(KVM_CAP_MAX_VCPUS);
    if (processors > most) throw new VmError('unsupported', `${processors} processors are too many for KVM here (at most ${most})`);
    const vm = new KvmVm(this.#system, host.memory);
    this.#parts.push(vm);
    const chips = new KernelChips(vm);
    const shared = new Int32Array(new SharedArrayBuffer(SHARED_BYTES));
    const time = new VmTime(vm, host.time);
    const common = { vm, time, host, model: this.#model, completer: this.#completerOf(host) };
    const vcpus = Array.from({ length: processors }, (_, id) => {
      const cpuid = guestCpuid(this.#system, { kernelChips: true, id, processors }, this.#model);
      const vcpu = new ThreadedVCpu({ ...common, id, cpuid, program, shared, wake });
      this.#parts.push(vcpu);
      return vcpu;
    });
    const localApics = vcpus.map((vcpu, id) => new KernelLocalApic(this.native, vcpu.fd, id, () => time.now));
    const doorbells = new DoorbellWatch(vm, host.mmio, wake);
    const all = new Processors({ vcpus: vcpus as [ThreadedVCpu], localApics, shared, doorbells });
    this.#parts.push(all);
    return { vm, chips, processors: all, vcpus, localApics };
  }

  /** Ends the virtual machines it has made. */
  dispose(): void {
    for (const part of this.#parts.splice(0).toReversed()) part.dispose();
    this.#system.dispose();
  }
}
