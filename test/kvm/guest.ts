/** A bare vCPU on KVM with a little memory, for guests of a few bytes; and why there is none. */
import { VmError } from '../../src/base/errors.ts';
import { PAGE_TABLES } from '../../src/firmware/low-memory.ts';
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
const USER_PAGE = 4;
const CODE_OR_DATA = 0x10;
const DPL3 = 0x60;
const IOPL3 = 0x3000n;

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

  /** User mode of 64-bit mode, over the same addresses; it may use ports. */
  startUser(code: ArrayLike<number>): void {
    this.startLong(code);
    // Every entry of the tables gets the bit that lets users in.
    for (let at = PAGE_TABLES; at < PAGE_TABLES + 6 * 4096; at += 8) {
      const entry = this.memory.read32(at);
      if (entry !== 0) this.memory.write32(at, entry | USER_PAGE);
    }
    const { segments, rflags } = this.vcpu.registers();
    for (const segment of Object.values(segments)) if (segment.attributes & CODE_OR_DATA) segment.attributes |= DPL3;
    segments.cs.selector |= 3;
    segments.ss.selector |= 3;
    this.vcpu.setRegisters({ segments, rflags: rflags | IOPL3 });
  }

  /** Raises the interrupt input with this vector behind it. */
  interrupt(vector: number): void {
    this.vectors.raise(vector);
  }
}
