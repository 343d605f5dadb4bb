/**
 * QEMU's pc-testdev, which kvm-unit-tests and test kernels use: a register reachable by all port widths (0xe0 and, by
 * bytes, 0xe8), a page flush (0xe4), the interrupt lines (0x2000 to 0x2017) and 64 KiB of memory-mapped scratch (0xff000000).
 */
import type { BusDevice, Width } from '../machine/bus.ts';
import type { Device } from '../machine/device.ts';
import type { IrqLine } from '../machine/irq.ts';
import { bytes, defineState } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { BytePort } from './byte-ports.ts';

export const TESTDEV_MEMORY_SIZE = 0x1_0000;
export const TESTDEV_LINES = 24;

export const pcTestdevState = defineState('pc-testdev', 1, {
  port: bytes(4),
  memory: bytes(TESTDEV_MEMORY_SIZE),
  lines: bytes(TESTDEV_LINES),
});

export class PcTestdev implements Device<StateOf<typeof pcTestdevState>> {
  readonly schema = pcTestdevState;
  readonly state = pcTestdevState.create();
  readonly ioport: BusDevice;
  readonly memory: BusDevice;
  readonly irqs: BusDevice;
  /** Takes a guest-physical address whose page's translations are to be dropped. */
  readonly flush: BusDevice;
  readonly #lines: readonly IrqLine[];

  constructor(lines: readonly IrqLine[], flushPage: (gpa: number) => void = () => {}) {
    this.#lines = lines;
    const { state } = this;
    this.ioport = new BytePort(
      (offset) => state.port[offset & 3]!,
      (offset, value) => void (state.port[offset & 3] = value),
    );
    this.memory = new BytePort(
      (offset) => state.memory[offset] ?? 0xff,
      (offset, value) => void (state.memory[offset] = value),
    );
    this.irqs = {
      read: () => 0,
      write: (offset: number, _width: Width, value: number) => {
        if (offset >= TESTDEV_LINES) return;
        state.lines[offset] = value ? 1 : 0;
        this.#lines[offset]?.set(value !== 0);
      },
    };
    this.flush = { read: () => 0, write: (_offset: number, _width: Width, value: number) => flushPage(value) };
  }

  sync(): void {
    for (const [n, line] of this.#lines.entries()) line.set(this.state.lines[n] !== 0);
  }
}
