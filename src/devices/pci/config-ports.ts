/** Configuration mechanism #1: address at 0xCF8, data at 0xCFC. PCI Local Bus Specification 3.0, 3.2.2.3.2. */
import type { BusDevice, Width } from '../../machine/bus.ts';
import type { Device } from '../../machine/device.ts';
import { defineState, u32 } from '../../machine/state.ts';
import type { StateOf } from '../../machine/state.ts';
import type { PciBus } from './pci-bus.ts';

/** Ports that the face takes from its base (0xCF8) on. */
export const CONFIG_PORTS = 8;
const RESET_CONTROL = 1;
const DATA = 4;
const ENABLE = 0x8000_0000;
const ADDRESS_WRITABLE = 0x80ff_fffc;
const allOnes = (width: Width): number => (width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff);

export const configPortsState = defineState('pci-config-ports', 1, { address: u32() });

export class ConfigPorts implements Device<StateOf<typeof configPortsState>>, BusDevice {
  readonly schema = configPortsState;
  readonly state = configPortsState.create();
  readonly #bus: PciBus;
  readonly #resetControl: BusDevice | undefined;

  /** `resetControl` answers to bytes at 0xCF9, which chipsets put between those of the address. */
  constructor(bus: PciBus, resetControl?: BusDevice) {
    this.#bus = bus;
    this.#resetControl = resetControl;
  }

  read(offset: number, width: Width): number {
    const { address } = this.state;
    if (offset >= DATA) {
      return address & ENABLE ? this.#bus.configRead((address >>> 8) & 0xffff, (address & 0xfc) + offset - DATA, width) : allOnes(width);
    }
    if (offset === 0 && width === 4) return address;
    return offset === RESET_CONTROL && width === 1 && this.#resetControl ? this.#resetControl.read(0, 1) : allOnes(width);
  }

  write(offset: number, width: Width, value: number): void {
    const { address } = this.state;
    if (offset >= DATA) {
      if (address & ENABLE) this.#bus.configWrite((address >>> 8) & 0xffff, (address & 0xfc) + offset - DATA, width, value);
    } else if (offset === 0 && width === 4) {
      this.state.address = (value & ADDRESS_WRITABLE) >>> 0;
    } else if (offset === RESET_CONTROL && width === 1) {
      this.#resetControl?.write(0, 1, value);
    }
  }

  sync(): void {}
}
