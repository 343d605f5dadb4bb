/** PCI bus 0: finds functions by number, places their BARs on the machine's buses, and joins their interrupt pins. */
import { assert } from '../../base/errors.ts';
import type { Bus, Width } from '../../machine/bus.ts';
import { unconnected, wiredOr } from '../../machine/irq.ts';
import type { IrqLine } from '../../machine/irq.ts';
import type { Bar, PciFunction } from './pci-function.ts';

const DEVICES = 32;
const FUNCTIONS = 8;
const allOnes = (width: Width): number => (width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff);

/** Which of the bridge's four lines a device's pin (1 to 4) is wired to. PCI-to-PCI Bridge Architecture 1.2, 9.1. */
export const intxLine = (device: number, pin: number): number => (pin - 1 + device) & 3;

export interface PciBusWiring {
  readonly pio: Bus;
  readonly mmio: Bus;
  /** INTA to INTD at the host bridge; level-triggered. */
  readonly intx: readonly [IrqLine, IrqLine, IrqLine, IrqLine];
}

export interface AttachedFunction {
  readonly device: number;
  readonly function: number;
  readonly pci: PciFunction;
}

export class PciBus {
  readonly #wiring: PciBusWiring;
  readonly #sources: readonly (() => IrqLine)[];
  readonly #slots: (PciFunction | undefined)[] = Array.from({ length: DEVICES * FUNCTIONS }, () => undefined);
  readonly #attached: AttachedFunction[] = [];

  constructor(wiring: PciBusWiring) {
    this.#wiring = wiring;
    this.#sources = wiring.intx.map((line) => wiredOr(line));
  }

  /** In the order of their numbers. */
  get functions(): readonly AttachedFunction[] {
    return this.#attached;
  }

  /** Device 0 to 31, function 0 to 7. Function 0 must be attached before the others of its device. */
  attach(device: number, pci: PciFunction, functionNumber = 0): void {
    const index = device * FUNCTIONS + functionNumber;
    assert(device < DEVICES && functionNumber < FUNCTIONS && !this.#slots[index], `PCI slot ${device}.${functionNumber} is not free`);
    const first = this.#slots[device * FUNCTIONS];
    assert(functionNumber === 0 || first, `PCI slot ${device} has no function 0 yet`);
    if (functionNumber > 0) first!.config.setMultifunction();
    this.#slots[index] = pci;
    this.#attached.push({ device, function: functionNumber, pci });
    this.#attached.sort((a, b) => a.device - b.device || a.function - b.function);
    const intx = pci.interruptPin === 0 ? unconnected : this.#sources[intxLine(device, pci.interruptPin)]!();
    pci.plug({ decodeChanged: () => this.#remap(), intx });
  }

  /** `bdf` is bus << 8 | device << 3 | function. Absent functions read as all ones. */
  configRead(bdf: number, offset: number, width: Width): number {
    return this.#slots[bdf]?.configRead(offset, width) ?? allOnes(width);
  }

  configWrite(bdf: number, offset: number, width: Width, value: number): void {
    this.#slots[bdf]?.configWrite(offset, width, value);
  }

  /**
   * Puts every window where its BAR says. Where the guest lets ranges overlap, the fixed devices of the machine
   * win, then the lower function number, whatever order they were programmed in: so a restored machine agrees.
   */
  #remap(): void {
    const bars = this.#attached.flatMap(({ pci }) => pci.bars.map((bar) => ({ bar, name: pci.name, base: pci.barAddress(bar.spec) })));
    if (bars.every(({ bar, base }) => (bar.mapping?.base ?? -1) === base)) return;
    for (const { bar } of bars) this.#unmap(bar);
    for (const { bar, name, base } of bars) {
      if (base >= 0) bar.mapping = this.#busOf(bar).tryMap(base, bar.spec.size, `${name} BAR${bar.spec.index}`, bar.spec.device);
    }
  }

  #unmap(bar: Bar): void {
    if (bar.mapping) this.#busOf(bar).unmap(bar.mapping);
    bar.mapping = undefined;
  }

  #busOf(bar: Bar): Bus {
    return bar.spec.kind === 'io' ? this.#wiring.pio : this.#wiring.mmio;
  }
}
