/** A machine with KVM's interrupt controllers and a little memory, for guests of a few bytes. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { long64 } from '../../src/firmware/entry-state.ts';
import { Bus } from '../../src/machine/bus.ts';
import { Memory } from '../../src/machine/memory.ts';
import type { Exit, VCpuHost } from '../../src/machine/vcpu.ts';
import type { KernelMachine } from '../../src/node/kvm/accelerator.ts';
import type { KernelChips } from '../../src/node/kvm/chips.ts';
import type { ThreadProgram } from '../../src/node/kvm/threaded-vcpu.ts';
import type { Kvm } from './guest.ts';

const MIB = 1 << 20;
const CODE = 0x10_0000;
const STACK = 0x20_0000;
const SLICE_NS = 8e6;

/** The thread's program, as the build would make it. */
export async function threadProgram(): Promise<ThreadProgram> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('../../src/node/kvm/vcpu-thread.ts', import.meta.url))],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    packages: 'external',
  });
  return { code: outputFiles[0]!.text };
}

export class KernelGuest {
  readonly memory: Memory;
  readonly pio = new Bus('pio');
  readonly mmio = new Bus('mmio');
  readonly time = { baseNs: 0, start: 0, rate: 1 };
  readonly machine: KernelMachine;
  #woken: (() => void) | undefined;

  constructor({ accelerator }: Kvm, program: ThreadProgram, processors = 1) {
    const memory = new Memory(8 * MIB, accelerator.reservedBytes);
    this.memory = memory;
    const { pio, mmio } = this;
    const host: VCpuHost = {
      memory,
      pio,
      mmio,
      acknowledge: () => -1,
      time: this.time,
      epochMs: 0,
      fpuError() {},
      random: () => 0n,
      cr8: 0n,
      readMsr: () => undefined,
      writeMsr: () => false,
    };
    this.machine = accelerator.createKernelMachine(host, processors, program, () => this.#woken?.());
  }

  get chips(): KernelChips {
    return this.machine.chips;
  }

  place(gpa: number, bytes: ArrayLike<number>): void {
    this.memory.bytes.set(bytes, this.memory.hostOffset(gpa, bytes.length));
  }

  /** Real mode, code at 0x1000 with all segments at 0, interrupts off. */
  startReal(code: ArrayLike<number>): void {
    this.place(0x1000, code);
    const { processors } = this.machine;
    const { segments } = processors.registers();
    const cs = { ...segments.cs, selector: 0, base: 0n };
    processors.setRegisters({ segments: { ...segments, cs }, rip: 0x1000n, rflags: 2n });
  }

  /** 64-bit mode with the first 4 GiB mapped onto themselves. */
  startLong(code: ArrayLike<number>): void {
    const { loads, registers } = long64(CODE, { rsp: STACK });
    for (const { gpa, data } of loads) this.place(gpa, data);
    this.place(CODE, code);
    this.machine.processors.setRegisters(registers);
  }

  /** Runs until something is so; the event loop has its turn meanwhile. Answers how the guest ended, if it did. */
  async until(done: () => boolean, limitMs = 20_000): Promise<Exit | undefined> {
    const end = performance.now() + limitMs;
    while (!done()) {
      if (performance.now() > end) throw new Error('the guest did not get there');
      const woken = new Promise<void>((resolve) => (this.#woken = resolve));
      const exit = this.machine.processors.run(SLICE_NS);
      if (exit.kind === 'shutdown') return exit;
      if (done()) return undefined;
      if (exit.kind === 'halt') await Promise.race([woken, new Promise((resolve) => setTimeout(resolve, 5))]);
      else await new Promise(setImmediate);
    }
    return undefined;
  }

  dispose(): void {
    this.machine.processors.dispose();
    this.machine.vm.dispose();
  }
}
