/** One function on a PCI bus: its configuration space, the windows of its BARs, and its interrupt pin. */
import type { Mapping, Width } from '../../machine/bus.ts';
import type { IrqLine } from '../../machine/irq.ts';
import { ConfigSpace } from './config-space.ts';
import type { BarSpec, PciIdentity } from './config-space.ts';
import { BAR0, COMMAND, COMMAND_INTX_DISABLE, COMMAND_IO, COMMAND_MEMORY, INTERRUPT_PIN, STATUS, STATUS_INTERRUPT } from './registers.ts';

const FOUR_GIB = 0x1_0000_0000;
/** Physical addresses have at most 52 bits: SDM vol. 3, 4.1.4. */
const ADDRESS_LIMIT = 2 ** 52;

/** A BAR with its place on the machine's buses; the PCI bus keeps `mapping`. */
export interface Bar {
  readonly spec: BarSpec;
  mapping: Mapping | undefined;
}

/** What a function may ask of the slot that it sits in. */
export interface PciSlot {
  /** The BARs or the decoding that the function wants may have changed. */
  decodeChanged(): void;
  readonly intx: IrqLine;
}

/** Part of a device on the PCI bus. The device keeps `config.field` in its state and calls `sync` from its own. */
export class PciFunction {
  readonly name: string;
  readonly config: ConfigSpace;
  readonly bars: readonly Bar[];
  /** Called after software wrote these bytes. Set by the device, for capabilities that act. */
  onConfigWrite: (offset: number, width: Width) => void = () => {};
  /** Called before software reads these bytes. */
  onConfigRead: (offset: number, width: Width) => void = () => {};
  #slot: PciSlot | undefined;

  constructor(name: string, identity: PciIdentity, bars: readonly BarSpec[]) {
    this.name = name;
    this.config = new ConfigSpace(identity, bars);
    this.bars = bars.map((spec) => ({ spec, mapping: undefined }));
  }

  /** Called by the bus, once. */
  plug(slot: PciSlot): void {
    this.#slot = slot;
    this.#changed();
  }

  /** 1 to 4 for INTA to INTD, 0 for none. */
  get interruptPin(): number {
    return this.config.bytes[INTERRUPT_PIN]!;
  }

  configRead(offset: number, width: Width): number {
    this.onConfigRead(offset, width);
    return this.config.read(offset, width);
  }

  configWrite(offset: number, width: Width, value: number): void {
    this.config.write(offset, width, value);
    if (offset < BAR0 + 24) this.#changed();
    this.onConfigWrite(offset, width);
  }

  /** Where software wants a BAR, or -1 when it is not decoded. A BAR at 0 is taken as not assigned yet. */
  barAddress({ index, kind, size }: BarSpec): number {
    const command = this.config.get16(COMMAND);
    if ((command & (kind === 'io' ? COMMAND_IO : COMMAND_MEMORY)) === 0) return -1;
    const offset = BAR0 + 4 * index;
    const low = this.config.get32(offset);
    const base =
      kind === 'io'
        ? (low & ~3) >>> 0
        : kind === 'mem32'
          ? (low & ~15) >>> 0
          : ((low & ~15) >>> 0) + this.config.get32(offset + 4) * FOUR_GIB;
    const limit = kind === 'io' ? 0x1_0000 : kind === 'mem32' ? FOUR_GIB : ADDRESS_LIMIT;
    return base === 0 || base + size > limit ? -1 : base;
  }

  /** Level of the interrupt pin, which the command register can keep from the line. */
  setInterrupt(level: boolean): void {
    this.config.setInterruptStatus(level);
    this.#driveLine();
  }

  #driveLine(): void {
    const pending = (this.config.bytes[STATUS]! & STATUS_INTERRUPT) !== 0;
    this.#slot?.intx.set(pending && (this.config.get16(COMMAND) & COMMAND_INTX_DISABLE) === 0);
  }

  #changed(): void {
    this.#slot?.decodeChanged();
    this.#driveLine();
  }

  /** Takes over `fresh` from the owner's state, maps the BARs and drives the line; answers the live array. */
  sync(fresh: Uint8Array): Uint8Array {
    const live = this.config.adopt(fresh);
    this.#changed();
    return live;
  }
}
