/** MSI-X: a capability, and a table and pending bits in a BAR. PCI Local Bus Specification 3.0, 6.8.2. */
import { assert } from '../../base/errors.ts';
import type { BusDevice, Width } from '../../machine/bus.ts';
import type { MsiSink } from '../../machine/irq.ts';
import { bytes, struct } from '../../machine/state.ts';
import type { Field } from '../../machine/state.ts';
import type { PciFunction } from './pci-function.ts';
import { CAPABILITY_MSIX } from './registers.ts';

const ENTRY_SIZE = 16;
const PBA_OFFSET = 0x800;
/** Size of the BAR; the table fills the first half at most. */
export const MSIX_BAR_SIZE = 0x1000;
const MAX_VECTORS = PBA_OFFSET / ENTRY_SIZE;

const MESSAGE_CONTROL = 2;
const CONTROL_ENABLE = 1 << 15;
const CONTROL_FUNCTION_MASK = 1 << 14;

const ENTRY_ADDRESS = 0;
const ENTRY_ADDRESS_HIGH = 4;
const ENTRY_DATA = 8;
const ENTRY_CONTROL = 12;
const ENTRY_MASKED = 1;

export interface MsixState {
  table: Uint8Array;
  /** Bit n of byte n >> 3: vector n waits for its mask to go away. */
  pending: Uint8Array;
}

export class Msix implements BusDevice {
  readonly vectors: number;
  readonly field: Field<MsixState>;
  /** Set by the owner from its state; live from then on. */
  state: MsixState;
  readonly #sink: MsiSink;
  #pci: PciFunction | undefined;
  #capability = 0;

  constructor(vectors: number, sink: MsiSink) {
    assert(vectors >= 1 && vectors <= MAX_VECTORS, `${vectors} MSI-X vectors do not fit (at most ${MAX_VECTORS})`);
    this.vectors = vectors;
    this.#sink = sink;
    const fields = struct({ table: bytes(ENTRY_SIZE * vectors), pending: bytes(8 * Math.ceil(vectors / 64)) });
    this.field = { ...fields, create: () => ({ ...fields.create(), table: allMasked(vectors) }) };
    this.state = this.field.create();
  }

  /** Adds the capability to a function whose BAR `bar` leads here. */
  install(pci: PciFunction, bar: number): void {
    const body = new Uint8Array(10);
    const view = new DataView(body.buffer);
    view.setUint16(0, this.vectors - 1, true);
    view.setUint32(2, bar, true);
    view.setUint32(6, PBA_OFFSET | bar, true);
    const writable = new Uint8Array(10);
    writable[1] = (CONTROL_ENABLE | CONTROL_FUNCTION_MASK) >> 8;
    this.#pci = pci;
    this.#capability = pci.config.addCapability(CAPABILITY_MSIX, body, writable);
  }

  get #control(): number {
    return this.#pci ? this.#pci.config.get16(this.#capability + MESSAGE_CONTROL) : 0;
  }

  get enabled(): boolean {
    return (this.#control & CONTROL_ENABLE) !== 0;
  }

  /** Sends the vector's message, or marks it pending while it is masked. Nothing when disabled or out of range. */
  raise(vector: number): void {
    if (vector >= this.vectors || !this.enabled) return;
    if (this.#masked(vector)) this.state.pending[vector >> 3]! |= 1 << (vector & 7);
    else this.#send(vector);
  }

  #masked(vector: number): boolean {
    return (this.#control & CONTROL_FUNCTION_MASK) !== 0 || (this.state.table[vector * ENTRY_SIZE + ENTRY_CONTROL]! & ENTRY_MASKED) !== 0;
  }

  #word(vector: number, offset: number): number {
    const { table } = this.state;
    const at = vector * ENTRY_SIZE + offset;
    return (table[at]! | (table[at + 1]! << 8) | (table[at + 2]! << 16) | (table[at + 3]! << 24)) >>> 0;
  }

  #send(vector: number): void {
    this.state.pending[vector >> 3]! &= ~(1 << (vector & 7));
    const address = (this.#word(vector, ENTRY_ADDRESS) & ~3) >>> 0;
    this.#sink.send(address + this.#word(vector, ENTRY_ADDRESS_HIGH) * 0x1_0000_0000, this.#word(vector, ENTRY_DATA));
  }

  /** Sends what is pending and no longer masked: after a write to the table or to message control. */
  flush(): void {
    if (!this.enabled) return;
    const { pending } = this.state;
    for (let vector = 0; vector < this.vectors; vector++) {
      if (pending[vector >> 3]! & (1 << (vector & 7)) && !this.#masked(vector)) this.#send(vector);
    }
  }

  /** Tells the function's configuration writes apart: true when these bytes belong to message control. */
  ownsConfig(offset: number, width: Width): boolean {
    const control = this.#capability + MESSAGE_CONTROL;
    return offset < control + 2 && offset + width > control;
  }

  read(offset: number, width: Width): number {
    const { table, pending } = this.state;
    let value = 0;
    for (let i = width - 1; i >= 0; i--) {
      const at = offset + i;
      value = (value << 8) | ((at < PBA_OFFSET ? table[at] : pending[at - PBA_OFFSET]) ?? 0);
    }
    return value >>> 0;
  }

  write(offset: number, width: Width, value: number): void {
    const { table } = this.state;
    for (let i = 0; i < width && offset + i < table.length; i++) {
      const at = offset + i;
      if (at % ENTRY_SIZE > ENTRY_CONTROL) continue;
      table[at] = (value >>> (8 * i)) & (at % ENTRY_SIZE === ENTRY_CONTROL ? ENTRY_MASKED : 0xff);
    }
    this.flush();
  }
}

/** Every vector is masked after reset. */
function allMasked(vectors: number): Uint8Array {
  const table = new Uint8Array(ENTRY_SIZE * vectors);
  for (let vector = 0; vector < vectors; vector++) table[vector * ENTRY_SIZE + ENTRY_CONTROL] = ENTRY_MASKED;
  return table;
}
