/** What firmware does before an operating system starts: gives every BAR an address and every pin its line. */
import { VmError } from '../../base/errors.ts';
import { intxLine } from './pci-bus.ts';
import type { PciBus } from './pci-bus.ts';
import { BAR0, COMMAND, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, INTERRUPT_LINE } from './registers.ts';

const PAGE = 4096;
const FOUR_GIB = 0x1_0000_0000;
/** 64-bit BARs from this size on go above 4 GiB where the board has room there. */
const BIG = 64 * 2 ** 20;

/** A stretch of an address space that is free for BARs. */
export interface FreeRange {
  readonly base: number;
  readonly size: number;
}

export interface BarSpace {
  /** Below 4 GiB. */
  readonly mmio: FreeRange;
  /** Above 4 GiB, for big 64-bit BARs. */
  readonly mmio64?: FreeRange;
  readonly io: FreeRange;
  /** Interrupt numbers of the bridge's lines A to D, for the interrupt line registers. */
  readonly irqs?: readonly [number, number, number, number];
}

/**
 * Assigns and enables every BAR, biggest first, memory BARs on pages of their own. Call after power-on and after
 * each reset when no firmware in the guest does it. Throws `usage` when the space is too small.
 */
export function assignBars(bus: PciBus, space: BarSpace): void {
  const next = { mmio: space.mmio.base, mmio64: space.mmio64?.base ?? 0, io: space.io.base };
  const wanted = bus.functions.flatMap(({ pci }) => pci.bars.map(({ spec }) => ({ pci, spec })));
  wanted.sort((a, b) => b.spec.size - a.spec.size);
  for (const { pci, spec } of wanted) {
    const kind = spec.kind === 'io' ? 'io' : spec.kind === 'mem64' && spec.size >= BIG && space.mmio64 ? 'mmio64' : 'mmio';
    const size = kind === 'io' ? spec.size : Math.max(spec.size, PAGE);
    const base = Math.ceil(next[kind] / size) * size;
    next[kind] = base + size;
    if (next[kind] > space[kind]!.base + space[kind]!.size) {
      throw new VmError('usage', `no room for BAR ${spec.index} of ${pci.name} (${size} bytes): too many devices for this board`);
    }
    pci.configWrite(BAR0 + 4 * spec.index, 4, base % FOUR_GIB);
    if (spec.kind === 'mem64') pci.configWrite(BAR0 + 4 * spec.index + 4, 4, Math.floor(base / FOUR_GIB));
  }
  for (const { device, pci } of bus.functions) {
    pci.configWrite(COMMAND, 2, COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER);
    if (pci.interruptPin > 0 && space.irqs) pci.configWrite(INTERRUPT_LINE, 1, space.irqs[intxLine(device, pci.interruptPin)]!);
  }
}
