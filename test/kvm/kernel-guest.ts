/** A machine with KVM's interrupt controllers and a little memory, for guests of a few bytes. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { bareHost } from '../../src/machine/bare-host.ts';
import { Bus } from '../../src/machine/bus.ts';
import { Memory } from '../../src/machine/memory.ts';
import type { Exit, VCpu } from '../../src/machine/vcpu.ts';
import type { KernelMachine } from '../../src/node/kvm/accelerator.ts';
import type { KernelChips } from '../../src/node/kvm/chips.ts';
import type { ThreadProgram } from '../../src/node/kvm/threaded-vcpu.ts';
import type { Kvm } from './guest.ts';
import { StartedGuest } from './start.ts';

const MIB = 1 << 20;
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

export class KernelGuest extends StartedGuest {
  readonly memory: Memory;
  readonly pio = new Bus('pio');
  readonly mmio = new Bus('mmio');
  readonly time = { baseNs: 0, start: 0, rate: 1 };
  readonly machine: KernelMachine;
  #woken: (() => void) | undefined;

  constructor({ accelerator }: Kvm, program: ThreadProgram, processors = 1) {
    super();
    const memory = new Memory(8 * MIB, accelerator.reservedBytes);
    this.memory = memory;
    const { pio, mmio } = this;
    const host = bareHost(memory, { pio, mmio, time: this.time });
    this.machine = accelerator.createKernelMachine(host, processors, program, () => this.#woken?.());
  }

  get chips(): KernelChips {
    return this.machine.chips;
  }

  protected get started(): VCpu {
    return this.machine.processors;
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
