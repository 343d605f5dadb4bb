/**
 * The host bridge of the Q35 chipset, as far as software looks for it: identity and the place of ECAM.
 * Intel 3 Series Express Chipset Family datasheet, 5.1 (device 0).
 */
import type { Device } from '../../machine/device.ts';
import { defineState } from '../../machine/state.ts';
import type { Schema } from '../../machine/state.ts';
import { PciFunction } from './pci-function.ts';

const PCIEXBAR = 0x60;
const PCIEXBAR_ENABLE = 1;
const FOUR_GIB = 0x1_0000_0000;

export interface HostBridgeState {
  config: Uint8Array;
}

/** Device 0 of bus 0. The board places ECAM; the register only says where, and does not move it. */
export class HostBridge implements Device<HostBridgeState> {
  readonly pci: PciFunction;
  readonly schema: Schema<HostBridgeState>;
  readonly state: HostBridgeState;

  /** `ecamBase` of 256 MiB of ECAM, or undefined when the board has none. */
  constructor(ecamBase?: number) {
    this.pci = new PciFunction('host-bridge', { vendorId: 0x8086, deviceId: 0x29c0, classCode: 0x060000, revision: 2 }, []);
    if (ecamBase !== undefined) {
      this.pci.config.define(PCIEXBAR, 4, (ecamBase % FOUR_GIB) + PCIEXBAR_ENABLE);
      this.pci.config.define(PCIEXBAR + 4, 4, Math.floor(ecamBase / FOUR_GIB));
    }
    this.schema = defineState('pci-host-bridge', 1, { config: this.pci.config.field });
    this.state = this.schema.create();
    this.sync();
  }

  sync(): void {
    this.state.config = this.pci.sync(this.state.config);
  }
}
