/** A bare vCPU on KVM with a little memory, for guests of a few bytes; and why there is none. */
import { VmError } from '../../src/base/errors.ts';
import { long64 } from '../../src/firmware/entry-state.ts';
import { PAGE_TABLES } from '../../src/firmware/low-memory.ts';
import { Bus } from '../../src/machine/bus.ts';
import { Memory } from '../../src/machine/memory.ts';
import type { VCpuHost } from '../../src/machine/vcpu.ts';
import { KvmAccelerator } from '../../src/node/kvm/accelerator.ts';
import { koffiNative } from '../../src/node/kvm/koffi.ts';
import type { Native } from '../../src/node/kvm/native.ts';
import type { KvmVCpu } from '../../src/node/kvm/vcpu.ts';

const MIB = 1 << 20;
/** Where guests' code goes: beyond what boot protocols use. */
export const CODE = 0x10_0000;
const STACK = 0x20_0000;
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

export class Guest {
  readonly memory: Memory;
  readonly pio = new Bus('pio');
  readonly mmio = new Bus('mmio');
  /** Vectors that wait, for `acknowledge`. */
  readonly vectors: number[] = [];
  readonly vcpu: KvmVCpu;

  constructor({ accelerator }: { readonly accelerator: KvmAccelerator }) {
    const memory = new Memory(4 * MIB, accelerator.reservedBytes);
    this.memory = memory;
    const { pio, mmio } = this;
    const host: VCpuHost = {
      memory,
      pio,
      mmio,
      acknowledge: () => {
        const vector = this.vectors.shift() ?? -1;
        this.vcpu.setInterrupt(this.vectors.length > 0);
        return vector;
      },
      time: { baseNs: 0, start: 0, rate: 1 },
      epochMs: 0,
      fpuError() {},
      random: () => 0n,
      cr8: 0n,
      readMsr: () => undefined,
      writeMsr: () => false,
    };
    this.vcpu = accelerator.createVCpu(host);
  }

  place(gpa: number, bytes: ArrayLike<number>): void {
    this.memory.bytes.set(bytes, this.memory.hostOffset(gpa, bytes.length));
  }

  /** Real mode, code at 0x1000 with all segments at 0, interrupts off. */
  startReal(code: ArrayLike<number>): void {
    this.place(0x1000, code);
    const { segments } = this.vcpu.registers();
    const cs = { ...segments.cs, selector: 0, base: 0n };
    this.vcpu.setRegisters({ segments: { ...segments, cs }, rip: 0x1000n, rflags: 2n });
  }

  /** 64-bit mode with the first 4 GiB mapped onto themselves. */
  startLong(code: ArrayLike<number>): void {
    const { loads, registers } = long64(CODE, { rsp: STACK });
    for (const { gpa, data } of loads) this.place(gpa, data);
    this.place(CODE, code);
    this.vcpu.setRegisters(registers);
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
    this.vectors.push(vector);
    this.vcpu.setInterrupt(true);
  }
}
