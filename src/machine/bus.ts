import { assert } from '../base/errors.ts';

/** Bytes in one access. The processor splits an 8-byte MMIO access into two of 4, low half first. */
export type Width = 1 | 2 | 4;

/** A device's face towards a bus: it sees offsets, and never learns where it is mapped. */
export interface BusDevice {
  /** `offset + width` may exceed the mapping's size by an unaligned access; answer what hardware would. Unsigned result. */
  read(offset: number, width: Width): number;
  /** `value` is unsigned and fits `width`. */
  write(offset: number, width: Width, value: number): void;
  /** Registers whose writes, whatever the value, may be told late and several as one: an accelerator may catch them by itself. */
  readonly doorbells?: Doorbells;
}

/** Equal registers at equal distances. */
export interface Doorbells {
  readonly offset: number;
  readonly stride: number;
  readonly count: number;
  /** Of the writes that count; others come as usual. */
  readonly width: Width;
}

/** A range of a bus that answers to one device. */
export interface Mapping {
  readonly base: number;
  readonly size: number;
  readonly name: string;
  readonly device: BusDevice;
}

const allOnes = (width: Width): number => (width === 4 ? 0xffffffff : width === 2 ? 0xffff : 0xff);

/**
 * Routes an access to exactly one device by offset. Overlap is a construction error; unmapped reads give all
 * ones and unmapped writes are dropped. Addresses are numbers below 2^52.
 */
export class Bus {
  readonly name: string;
  /** Sorted by base. */
  readonly #mappings: Mapping[] = [];
  #last: Mapping | undefined;
  /** Grows with each change of the mappings. */
  changes = 0;

  constructor(name: string) {
    this.name = name;
  }

  get mappings(): readonly Mapping[] {
    return this.#mappings;
  }

  map(base: number, size: number, name: string, device: BusDevice): Mapping {
    const mapping: Mapping = { base, size, name, device };
    assert(size > 0 && base >= 0, `${this.name}: empty mapping for ${name}`);
    const clash = this.#overlapping(base, size);
    assert(!clash, `${this.name}: ${name} at 0x${base.toString(16)} overlaps ${clash?.name}`);
    const index = this.#mappings.findIndex((other) => other.base > base);
    this.#mappings.splice(index < 0 ? this.#mappings.length : index, 0, mapping);
    this.changes++;
    return mapping;
  }

  /** As `map`, but answers undefined on overlap: for ranges that the guest chooses, such as a PCI BAR. */
  tryMap(base: number, size: number, name: string, device: BusDevice): Mapping | undefined {
    return this.#overlapping(base, size) ? undefined : this.map(base, size, name, device);
  }

  unmap(mapping: Mapping): void {
    const index = this.#mappings.indexOf(mapping);
    if (index >= 0) this.#mappings.splice(index, 1);
    this.changes++;
    if (this.#last === mapping) this.#last = undefined;
  }

  #overlapping(base: number, size: number): Mapping | undefined {
    return this.#mappings.find((other) => base < other.base + other.size && other.base < base + size);
  }

  find(address: number): Mapping | undefined {
    const last = this.#last;
    if (last && address >= last.base && address < last.base + last.size) return last;
    let low = 0;
    let high = this.#mappings.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const mapping = this.#mappings[middle]!;
      if (address < mapping.base) high = middle - 1;
      else if (address >= mapping.base + mapping.size) low = middle + 1;
      else return (this.#last = mapping);
    }
    return undefined;
  }

  read(address: number, width: Width): number {
    const mapping = this.find(address);
    return mapping ? mapping.device.read(address - mapping.base, width) >>> 0 : allOnes(width);
  }

  write(address: number, width: Width, value: number): void {
    const mapping = this.find(address);
    mapping?.device.write(address - mapping.base, width, value);
  }
}
