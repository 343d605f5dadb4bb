/** The accelerator that is Linux's: guest code runs on the host's processor. */
import type { Disposable } from '../../base/disposable.ts';
import type { Accelerator, VCpuHost } from '../../machine/vcpu.ts';
import { guestCpuid } from './cpuid.ts';
import type { Native } from './native.ts';
import { KvmSystem, KvmVm } from './system.ts';
import { KvmVCpu } from './vcpu.ts';

export class KvmAccelerator implements Accelerator, Disposable {
  readonly name = 'kvm';
  readonly reservedBytes = 0;
  readonly #system: KvmSystem;
  readonly #parts: Disposable[] = [];

  /** Throws VmError `unsupported` where there is no KVM that could be used. */
  constructor(native: Native) {
    this.#system = new KvmSystem(native);
  }

  /** On the calling thread, which is the one that may run it. */
  createVCpu(host: VCpuHost): KvmVCpu {
    const vm = new KvmVm(this.#system, host.memory);
    this.#parts.push(vm);
    const vcpu = new KvmVCpu(vm, host, 0, guestCpuid(this.#system));
    this.#parts.push(vcpu);
    return vcpu;
  }

  /** Ends the virtual machines it has made. None of their vCPUs may be running. */
  dispose(): void {
    for (const part of this.#parts.splice(0).toReversed()) part.dispose();
    this.#system.dispose();
  }
}
