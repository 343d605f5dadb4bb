/** A bare vCPU on KVM with a little memory, for guests of a few bytes; and why there is none. */
import { VmError } from '../../src/base/errors.ts';
import { bareHost } from '../../src/machine/bare-host.ts';
import { Bus } from '../../src/machine/bus.ts';
import { Memory } from '../../src/machine/memory.ts';
import { WaitingVectors } from '../../src/machine/testing/waiting-vectors.ts';
import { KvmAccelerator } from '../../src/node/kvm/accelerator.ts';
import { koffiNative } from '../../src/node/kvm/koffi.ts';
import type { Native } from '../../src/node/kvm/native.ts';
import type { KvmVCpu } from '../../src/node/kvm/vcpu.ts';
import { StartedGuest } from './start.ts';

const MIB = 1 << 20;

export interface Kvm {
  readonly native: Native;
  readonly accelerator: KvmAccelerator;
}

/** Undefined, with the reason printed, where KVM cannot be used. */
export async function openKvm(): Promise<Kvm | undefined> {
  try {
    const native = await koffiNative();
    return { native, accelerator: new KvmAccelerator(native) };
  } catch (error) {
    console.warn(`skipped: no KVM here: ${error instanceof VmError ? error.message : String(error)}`);
    return undefined;
  }
}

export class Guest extends StartedGuest {
  readonly memory: Memory;
  readonly pio = new Bus('pio');
  readonly mmio = new Bus('mmio');
  /** Vectors that wait, for `acknowledge`. */
  readonly vectors = new WaitingVectors(() => this.vcpu);
  readonly vcpu: KvmVCpu;

  constructor({ accelerator }: { readonly accelerator: KvmAccelerator }) {
    super();
    const memory = new Memory(4 * MIB, accelerator.reservedBytes);
    this.memory = memory;
    const { pio, mmio } = this;
    const { acknowledge } = this.vectors;
    this.vcpu = accelerator.createVCpu(bareHost(memory, { pio, mmio, acknowledge }));
  }

  protected get started(): KvmVCpu {
    return this.vcpu;
  }

  /** Raises the interrupt input with this vector behind it. */
  interrupt(vector: number): void {
    this.vectors.raise(vector);
  }
}
