import { VmError } from '../base/errors.ts';
import type { PageReclaimer } from './backends.ts';
import type { PageSupply } from './saved-state.ts';

export const PAGE_SIZE = 4096;
/** RAM above this guest-physical address moves above 4 GiB, so that devices have room below it. */
export const LOW_RAM_LIMIT = 0xc000_0000;
const FOUR_GIB = 0x1_0000_0000;
const WASM_PAGE = 65536;

/** Values in `Memory.dirty`: a page that was never written is zeros. */
const WRITTEN = 1;
/** In the saved state that the machine comes from, and not brought from there yet. */
export const ABSENT = 2;

/** A stretch of guest-physical addresses that is RAM. */
export interface RamRange {
  readonly base: number;
  readonly size: number;
}

/**
 * What a device that masters the bus may do with guest memory. Addresses are guest-physical and untrusted: every
 * call checks them. A range must lie within one RAM range.
 */
export interface GuestMemory {
  /** Whether all of a range is RAM. Unlike `view`, it brings nothing from a saved state. */
  contains(gpa: number, length: number): boolean;
  /** A live window on RAM, or undefined when any byte of it is not RAM. Call `written` after changing it. */
  view(gpa: number, length: number): Uint8Array | undefined;
  /** Tells the accelerator and the dirty log that a device changed these bytes. */
  written(gpa: number, length: number): void;
  /**
   * Makes a range zeros. Pages that are zeros already are not written: a page that nobody ever wrote takes no memory from the host.
   * Does nothing when any of the range is not RAM.
   */
  clear(gpa: number, length: number): void;
  /** Little-endian loads; addresses outside RAM read as all ones. */
  read16(gpa: number): number;
  read32(gpa: number): number;
  /** A 64-bit little-endian value as a number; beyond 2^53 it loses low bits, which no valid address has. */
  read64(gpa: number): number;
  /** Little-endian stores, told to `written`; outside RAM they are dropped. */
  write16(gpa: number, value: number): void;
  write32(gpa: number, value: number): void;
  write64(gpa: number, value: number): void;
}

/**
 * Guest-physical RAM in one WebAssembly memory, shared by the engine (whose own tables lie below the RAM),
 * the devices and KVM. Knows which pages are dirty.
 */
export class Memory implements GuestMemory, PageReclaimer {
  readonly wasm: WebAssembly.Memory;
  /** Offset of guest-physical address 0 in `wasm`. Page-aligned. */
  readonly ramOffset: number;
  readonly sizeBytes: number;
  readonly ranges: readonly RamRange[];
  readonly bytes: Uint8Array;
  readonly data: DataView;
  /** One byte per RAM page in host order, after the RAM in `wasm`; non-zero means written. Kept by `written` and the accelerator. */
  readonly dirty: Uint8Array;
  /** Whether `dirty` tells of every write: not when something else than our own processor runs the guest. Set by the board. */
  tracksWrites = false;
  /** Told when some pages are absent, and when all have come. Set by an accelerator that asks `bring` for them. */
  onAbsence: ((some: boolean) => void) | undefined;
  #supply: PageSupply | undefined;
  /** Told of every device write, so that translations of those bytes are dropped. Set by the accelerator. */
  onWritten: (gpa: number, length: number) => void = () => {};

  /**
   * @param sizeBytes RAM, a multiple of 4096, at most 3.75 GiB
   * @param reservedBytes room below the RAM for the accelerator's tables, a multiple of 64 KiB
   */
  constructor(sizeBytes: number, reservedBytes: number) {
    const limit = 3.75 * 2 ** 30;
    if (sizeBytes % PAGE_SIZE !== 0 || sizeBytes < 2 ** 20 || sizeBytes > limit) {
      throw new VmError('usage', `memory of ${sizeBytes} bytes is not possible (from 1 MiB to 3840 MiB, in pages of 4096 bytes)`);
    }
    const pages = Math.ceil((reservedBytes + sizeBytes + sizeBytes / PAGE_SIZE) / WASM_PAGE);
    try {
      this.wasm = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } catch (cause) {
      throw new VmError(
        'host-io',
        `cannot reserve ${Math.round(sizeBytes / 2 ** 20)} MiB for the guest's memory; try a smaller --memory`,
        cause,
      );
    }
    this.sizeBytes = sizeBytes;
    this.ramOffset = reservedBytes;
    const low = Math.min(sizeBytes, LOW_RAM_LIMIT);
    this.ranges =
      sizeBytes > low
        ? [
            { base: 0, size: low },
            { base: FOUR_GIB, size: sizeBytes - low },
          ]
        : [{ base: 0, size: low }];
    this.bytes = new Uint8Array(this.wasm.buffer);
    this.data = new DataView(this.wasm.buffer);
    this.dirty = new Uint8Array(this.wasm.buffer, reservedBytes + sizeBytes, sizeBytes / PAGE_SIZE);
  }

  /** Offset in `wasm` of a guest-physical range, or -1 when any of it is not RAM. */
  hostOffset(gpa: number, length: number): number {
    const offset = this.#ramOffsetOf(gpa, length);
    if (offset < 0) return -1;
    if (this.#supply && length > 0) this.#bringRange(offset, length);
    return this.ramOffset + offset;
  }

  contains(gpa: number, length: number): boolean {
    return this.#ramOffsetOf(gpa, length) >= 0;
  }

  /** Offset in RAM of a guest-physical range, or -1 when any of it is not RAM. */
  #ramOffsetOf(gpa: number, length: number): number {
    for (const { base, size } of this.ranges) {
      if (gpa >= base && gpa + length <= base + size) return base === 0 ? gpa : gpa - FOUR_GIB + LOW_RAM_LIMIT;
    }
    return -1;
  }

  /** Pages that the guest gave up become zeros, so that no saved state holds what was there. */
  release(gpa: number, length: number): void {
    this.clear(gpa, length);
  }

  /** What was written stays `dirty`: the accelerator may write there without telling again. A whole page that is still absent need not come. */
  clear(gpa: number, length: number): void {
    const offset = this.#ramOffsetOf(gpa, length);
    if (offset < 0) return;
    for (let at = 0; at < length;) {
      const page = Math.floor((offset + at) / PAGE_SIZE);
      const next = Math.min(length, (page + 1) * PAGE_SIZE - offset);
      if (next - at < PAGE_SIZE) this.bring(page);
      if (this.dirty[page] === ABSENT) this.dirty[page] = WRITTEN;
      else if (!this.#isZeros(page)) {
        this.bytes.fill(0, this.ramOffset + offset + at, this.ramOffset + offset + next);
        this.written(gpa + at, next - at);
      }
      at = next;
    }
  }

  /** Also where nobody tells of writes; reading takes no memory from the host. */
  #isZeros(page: number): boolean {
    if (this.tracksWrites && this.dirty[page] === 0) return true;
    const words = new Uint32Array(this.wasm.buffer, this.ramOffset + page * PAGE_SIZE, PAGE_SIZE / 4);
    for (let n = 0; n < words.length; n++) if (words[n] !== 0) return false;
    return true;
  }

  /** Guest-physical address of a page of RAM by its number in host order. */
  pageAddress(number: number): number {
    const address = number * PAGE_SIZE;
    return address < LOW_RAM_LIMIT ? address : address - LOW_RAM_LIMIT + FOUR_GIB;
  }

  /**
   * Takes the contents of all RAM, which is zeros now, from a saved state: each page when it is first needed if the accelerator
   * can wait for it, else at once.
   */
  supplyFrom(supply: PageSupply): void {
    this.#supply = supply;
    supply.eachPage((page) => (this.dirty[page] = ABSENT));
    if (this.onAbsence) this.onAbsence(true);
    else this.bringAll();
  }

  /** Makes a page present, by its number in host order. Throws when its content is damaged. */
  bring(page: number): void {
    if (this.dirty[page] === ABSENT) this.#supply?.bring(page, this.#put);
  }

  /** Brings some of the absent pages; false when none is absent any more. */
  bringSome(): boolean {
    if (this.#supply?.bringNext(this.#put)) return true;
    if (this.#supply) this.onAbsence?.(false);
    this.#supply = undefined;
    return false;
  }

  bringAll(): void {
    while (this.bringSome());
  }

  readonly #put = (page: number, data: Uint8Array): void => {
    if (this.dirty[page] !== ABSENT) return;
    this.dirty[page] = WRITTEN;
    this.bytes.set(data, this.ramOffset + page * PAGE_SIZE);
  };

  #bringRange(offset: number, length: number): void {
    const last = Math.floor((offset + length - 1) / PAGE_SIZE);
    for (let page = Math.floor(offset / PAGE_SIZE); page <= last; page++) this.bring(page);
  }

  view(gpa: number, length: number): Uint8Array | undefined {
    const offset = this.hostOffset(gpa, length);
    return offset < 0 ? undefined : this.bytes.subarray(offset, offset + length);
  }

  written(gpa: number, length: number): void {
    if (length <= 0) return;
    const offset = this.hostOffset(gpa, length);
    if (offset < 0) return;
    const first = Math.floor((offset - this.ramOffset) / PAGE_SIZE);
    const last = Math.floor((offset - this.ramOffset + length - 1) / PAGE_SIZE);
    this.dirty.fill(WRITTEN, first, last + 1);
    this.onWritten(gpa, length);
  }

  read16(gpa: number): number {
    const offset = this.hostOffset(gpa, 2);
    return offset < 0 ? 0xffff : this.data.getUint16(offset, true);
  }

  read32(gpa: number): number {
    const offset = this.hostOffset(gpa, 4);
    return offset < 0 ? 0xffff_ffff : this.data.getUint32(offset, true);
  }

  read64(gpa: number): number {
    return this.read32(gpa) + this.read32(gpa + 4) * FOUR_GIB;
  }

  write16(gpa: number, value: number): void {
    const offset = this.hostOffset(gpa, 2);
    if (offset < 0) return;
    this.data.setUint16(offset, value, true);
    this.written(gpa, 2);
  }

  write32(gpa: number, value: number): void {
    const offset = this.hostOffset(gpa, 4);
    if (offset < 0) return;
    this.data.setUint32(offset, value, true);
    this.written(gpa, 4);
  }

  write64(gpa: number, value: number): void {
    this.write32(gpa, value % FOUR_GIB);
    this.write32(gpa + 4, Math.floor(value / FOUR_GIB));
  }
}
