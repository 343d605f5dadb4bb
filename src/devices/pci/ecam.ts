/** Memory-mapped configuration access. PCI Express Base Specification, 7.2.2 (ECAM). */
import type { BusDevice, Width } from '../../machine/bus.ts';
import type { PciBus } from './pci-bus.ts';

/** Bytes of address space that one bus number takes. */
export const ECAM_BUS_SIZE = 0x10_0000;

/** Map as many MiB of it as the board's MCFG table promises bus numbers. */
export class Ecam implements BusDevice {
  readonly #bus: PciBus;

  constructor(bus: PciBus) {
    this.#bus = bus;
  }

  read(offset: number, width: Width): number {
    return this.#bus.configRead(Math.floor(offset / 4096), offset % 4096, width);
  }

  write(offset: number, width: Width, value: number): void {
    this.#bus.configWrite(Math.floor(offset / 4096), offset % 4096, width, value);
  }
}
