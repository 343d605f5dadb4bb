/**
 * Configuration mechanism #1 (0xCF8 and 0xCFC) with the reset control register (0xCF9) between its bytes.
 * PCI Local Bus Specification 3.0, 3.2.2.3.2; Intel I/O Controller Hub 9 datasheet, 13.7.5 (RST_CNT).
 */
import type { BusDevice, Width } from '../../machine/bus.ts';
import type { Device } from '../../machine/device.ts';
import { pulse } from '../../machine/irq.ts';
import type { IrqLine } from '../../machine/irq.ts';
import { defineState, u32, u8 } from '../../machine/state.ts';
import type { StateOf } from '../../machine/state.ts';
import type { PciBus } from './pci-bus.ts';

/** Ports that the face takes from its base (0xCF8) on. */
export const CONFIG_PORTS = 8;
const RESET_CONTROL = 1;
const DATA = 4;
const ENABLE = 0x8000_0000;
const ADDRESS_WRITABLE = 0x80ff_fffc;
const RST_CPU = 1 << 2;
const RESET_WRITABLE = 0x0e;

export const configPortsState = defineState('pci-config-ports', 1, { address: u32(), resetControl: u8() });

export class ConfigPorts implements Device<StateOf<typeof configPortsState>>, BusDevice {
  readonly schema = configPortsState;
  readonly state = configPortsState.create();
  readonly #bus: PciBus;
  readonly #reset: IrqLine;

  /** `reset` is pulsed when the guest asks for a reset of the whole machine. */
  constructor(bus: PciBus, reset: IrqLine) {
    this.#bus = bus;
    this.#reset = reset;
  }

  read(offset: number, width: Width): number {
    if (offset >= DATA) return this.#data(offset, width);
    if (offset === 0 && width === 4) return this.state.address;
    if (offset === RESET_CONTROL && width === 1) return this.state.resetControl;
    return width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff;
  }

  #data(offset: number, width: Width): number {
    const { address } = this.state;
    if ((address & ENABLE) === 0) return width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff;
    return this.#bus.configRead((address >>> 8) & 0xffff, (address & 0xfc) + offset - DATA, width);
  }

  write(offset: number, width: Width, value: number): void {
    const { address } = this.state;
    if (offset >= DATA) {
      if (address & ENABLE) this.#bus.configWrite((address >>> 8) & 0xffff, (address & 0xfc) + offset - DATA, width, value);
    } else if (offset === 0 && width === 4) {
      this.state.address = (value & ADDRESS_WRITABLE) >>> 0;
    } else if (offset === RESET_CONTROL && width === 1) {
      const rising = value & ~this.state.resetControl;
      this.state.resetControl = value & RESET_WRITABLE;
      if (rising & RST_CPU) pulse(this.#reset);
    }
  }

  sync(): void {}
}
