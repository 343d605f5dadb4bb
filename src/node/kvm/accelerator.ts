/** The accelerator that is Linux's: guest code runs on the host's processor. */
import type { Disposable } from '../../base/disposable.ts';
import type { Accelerator, VCpuHost } from '../../machine/vcpu.ts';
import { guestCpuid } from './cpuid.ts';
import type { Native } from './native.ts';
import { KvmSystem, KvmVm } from './system.ts';
import { KvmVCpu } from './vcpu.ts';

export class KvmAccelerator implements Accelerator, Disposable {
  readonly name = 'kvm';
  readonly reservedBytes: number;
  readonly #system: KvmSystem;
  readonly #completer: Accelerator | undefined;
  readonly #parts: Disposable[] = [];

  /**
   * Throws VmError `unsupported` where there is no KVM that could be used.
   * @param completer executes what this host's KVM says it cannot
   */
  constructor(native: Native, completer?: Accelerator) {
    this.#system = new KvmSystem(native);
    this.#completer = completer;
    this.reservedBytes = completer?.reservedBytes ?? 0;
  }

  /** On the calling thread, which is the one that may run it. */
  createVCpu(host: VCpuHost): KvmVCpu {
    const vm = new KvmVm(this.#system, host.memory);
    this.#parts.push(vm);
    const vcpu = new KvmVCpu(vm, host, 0, guestCpuid(this.#system), () => this.#completer?.createVCpu(host));
    this.#parts.push(vcpu);
    return vcpu;
  }

  /** Ends the virtual machines it has made. None of their vCPUs may be running. */
  dispose(): void {
    for (const part of this.#parts.splice(0).toReversed()) part.dispose();
    this.#system.dispose();
  }
}
