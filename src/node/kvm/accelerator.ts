/** The accelerator that is Linux's: guest code runs on the host's processor. */
import type { Disposable } from '../../base/disposable.ts';
import { VmError } from '../../base/errors.ts';
import { withoutChips } from '../../machine/bare-host.ts';
import type { GuestClock } from '../../machine/clock.ts';
import type { Accelerator, ChiplessHost, CpuIdentity, VCpu, VCpuHost } from '../../machine/vcpu.ts';
import { KVM_CAP_MAX_VCPUS } from './abi.ts';
import { KernelChips, missingForChips } from './chips.ts';
import { DoorbellWatch } from './doorbells.ts';
import { featuresOf } from './features.ts';
import { guestCpuid } from './cpuid.ts';
import type { Native } from './native.ts';
import { Processors } from './processors.ts';
import { KvmSystem, KvmVm } from './system.ts';
import { type ThreadProgram, ThreadedVCpu } from './threaded-vcpu.ts';
import { KvmVCpu } from './vcpu.ts';

/** A machine whose interrupt controllers are the host's kernel's. */
export interface KernelMachine {
  readonly vm: KvmVm;
  readonly chips: KernelChips;
  /** All of them, as the one that the machine runs. */
  readonly processors: Processors;
  readonly vcpus: readonly ThreadedVCpu[];
}

export class KvmAccelerator implements Accelerator, Disposable {
  readonly name = 'kvm';
  readonly reservedBytes: number;
  /** The host's, as far as a guest sees it: a saved machine needs all of it. */
  readonly cpu: CpuIdentity;
  readonly native: Native;
  readonly #system: KvmSystem;
  readonly #completer: Accelerator | undefined;
  readonly #parts: Disposable[] = [];

  /**
   * Throws VmError `unsupported` where there is no KVM that could be used.
   * @param completer executes what this host's KVM says it cannot
   * @param program for machines with interrupt controllers of the host's kernel; absent, or without KVM's having some: they have ours
   */
  constructor(native: Native, completer?: Accelerator, program?: ThreadProgram) {
    this.native = native;
    this.#system = new KvmSystem(native);
    const thread = program && missingForChips(this.#system) === undefined ? program : undefined;
    this.createWithChips = thread && ((host, processors, clock, wake) => this.#withChips(host, processors, clock, wake, thread));
    const cpuid = guestCpuid(this.#system, { kernelChips: thread !== undefined, id: 0, processors: 1 });
    this.cpu = { name: 'host', features: featuresOf(cpuid) };
    this.#completer = completer;
    this.reservedBytes = completer?.reservedBytes ?? 0;
  }

  readonly #complete = (host: VCpuHost): VCpu | undefined => this.#completer?.createVCpu(host);

  /** Undefined: machines have interrupt controllers of ours. */
  readonly createWithChips: Accelerator['createWithChips'];

  #withChips(host: ChiplessHost, count: number, clock: GuestClock, wake: () => void, program: ThreadProgram) {
    const { chips, processors, vcpus } = this.createKernelMachine(withoutChips(host), count, program, wake);
    const localApics = vcpus.map(({ fd }, id) => chips.localApic(fd, id, () => clock.now()));
    const { lines, msi, pic, slavePic, ioApic } = chips;
    return { vcpu: processors, chips: { lines, msi, pic, slavePic, ioApic, localApics } };
  }

  /** What KVM lacks for interrupt controllers of its own: the name of a capability; undefined when nothing. */
  missingForChips(): string | undefined {
    return missingForChips(this.#system);
  }

  /** On the calling thread, which is the one that may run it. */
  createVCpu(host: VCpuHost): KvmVCpu {
    const vm = new KvmVm(this.#system, host.memory);
    this.#parts.push(vm);
    const cpuid = guestCpuid(this.#system, { kernelChips: false, id: 0, processors: 1 });
    const vcpu = new KvmVCpu({ vm, host, id: 0, cpuid, completer: () => this.#complete(host) });
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
    const shared = new Int32Array(new SharedArrayBuffer(8));
    const vcpus = Array.from({ length: processors }, (_, id) => {
      const cpuid = guestCpuid(this.#system, { kernelChips: true, id, processors });
      const vcpu = new ThreadedVCpu({ vm, host, id, cpuid, completer: () => this.#complete(host), program, shared, wake });
      this.#parts.push(vcpu);
      return vcpu;
    });
    const all = new Processors(vcpus as [ThreadedVCpu], shared, new DoorbellWatch(vm, host.mmio, wake));
    this.#parts.push(all);
    return { vm, chips, processors: all, vcpus };
  }

  /** Ends the virtual machines it has made. */
  dispose(): void {
    for (const part of this.#parts.splice(0).toReversed()) part.dispose();
    this.#system.dispose();
  }
}
