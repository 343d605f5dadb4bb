/** QEMU's firmware configuration device, which hands named blobs to firmware and kernels. QEMU docs/specs/fw_cfg. */
import { assert } from '../base/errors.ts';
import type { BusDevice, Width } from '../machine/bus.ts';
import type { Device } from '../machine/device.ts';
import type { GuestMemory } from '../machine/memory.ts';
import { defineState, u16, u32 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';

// Offsets from the selector port.
const SELECTOR = 0;
const DATA = 1;
const DMA_HIGH = 4;
const DMA_LOW = 8;
export const FW_CFG_PORTS = 12;

// Keys.
const FW_CFG_SIGNATURE = 0x00;
const FW_CFG_ID = 0x01;
const FW_CFG_FILE_DIR = 0x19;
const FW_CFG_FILE_FIRST = 0x20;
/** Bit 14 of a selector once meant "for writing". */
const KEY_MASK = 0xbfff;

const ID_TRADITIONAL = 1 << 0;
const ID_DMA = 1 << 1;
const NAME_BYTES = 56;
const ENTRY_BYTES = 64;

// A DMA request: control, length and address, big-endian.
const DMA_REQUEST_BYTES = 16;
const DMA_ERROR = 1 << 0;
const DMA_READ = 1 << 1;
const DMA_SKIP = 1 << 2;
const DMA_SELECT = 1 << 3;
const DMA_WRITE = 1 << 4;
/** What the DMA register reads as: "QEMU CFG". */
const DMA_SIGNATURE = [0x5145_4d55, 0x2043_4647];

export const fwCfgState = defineState('fw-cfg', 1, { key: u16(), offset: u32(), dmaHigh: u32() });

const ascii = (text: string): number[] => Array.from(text, (character) => character.charCodeAt(0));

function swap32(value: number): number {
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}

/** The file directory: a count, then size, key and name of each, big-endian. */
function directory(files: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const bytes = new Uint8Array(4 + files.length * ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, files.length);
  for (const [index, [name, data]] of files.entries()) {
    assert(name.length < NAME_BYTES, `fw_cfg: the name ${name} is longer than 55 characters`);
    const at = 4 + index * ENTRY_BYTES;
    view.setUint32(at, data.length);
    view.setUint16(at + 4, FW_CFG_FILE_FIRST + index);
    bytes.set(ascii(name), at + 8);
  }
  return bytes;
}

export class FwCfg implements Device<StateOf<typeof fwCfgState>>, BusDevice {
  readonly schema = fwCfgState;
  readonly state = fwCfgState.create();
  readonly #memory: GuestMemory;
  readonly #items = new Map<number, Uint8Array>();

  /**
   * @param files by name, such as `etc/e820`; a guest sees them sorted
   * @param items by key, for what is older than files, such as 0x05, the number of processors
   */
  constructor(memory: GuestMemory, files: ReadonlyMap<string, Uint8Array>, items: ReadonlyMap<number, Uint8Array> = new Map()) {
    this.#memory = memory;
    const sorted = [...files].toSorted(([a], [b]) => (a < b ? -1 : 1));
    for (const [key, data] of items) this.#items.set(key, data);
    this.#items.set(FW_CFG_SIGNATURE, Uint8Array.from(ascii('QEMU')));
    this.#items.set(FW_CFG_ID, Uint8Array.of(ID_TRADITIONAL | ID_DMA, 0, 0, 0));
    this.#items.set(FW_CFG_FILE_DIR, directory(sorted));
    for (const [index, [, data]] of sorted.entries()) this.#items.set(FW_CFG_FILE_FIRST + index, data);
  }

  sync(): void {}

  read(offset: number, width: Width): number {
    if (offset === DATA) {
      let value = 0;
      for (let index = 0; index < width; index++) value += this.#next() * 2 ** (8 * index);
      return value;
    }
    if (width === 4 && offset === DMA_HIGH) return swap32(DMA_SIGNATURE[0]!);
    if (width === 4 && offset === DMA_LOW) return swap32(DMA_SIGNATURE[1]!);
    return 0;
  }

  write(offset: number, width: Width, value: number): void {
    if (offset === SELECTOR && width === 2) this.#select(value);
    else if (offset === DMA_HIGH && width === 4) this.state.dmaHigh = swap32(value);
    else if (offset === DMA_LOW && width === 4) {
      const address = this.state.dmaHigh * 2 ** 32 + swap32(value);
      this.state.dmaHigh = 0;
      this.#transfer(address);
    }
  }

  #select(key: number): void {
    this.state.key = key & KEY_MASK;
    this.state.offset = 0;
  }

  /** The selected item's next byte; zero beyond its end. */
  #next(): number {
    const item = this.#items.get(this.state.key);
    if (!item || this.state.offset >= item.length) return 0;
    return item[this.state.offset++]!;
  }

  #transfer(request: number): void {
    const window = this.#memory.view(request, DMA_REQUEST_BYTES);
    if (!window) return;
    const view = new DataView(window.buffer, window.byteOffset, DMA_REQUEST_BYTES);
    const control = view.getUint32(0);
    const length = view.getUint32(4);
    const address = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
    if (control & DMA_SELECT) this.#select(control >>> 16);
    const failed = !this.#move(control, address, length);
    view.setUint32(0, failed ? DMA_ERROR : 0);
    this.#memory.written(request, 4);
  }

  /** Answers false when the guest asked for something impossible. */
  #move(control: number, address: number, length: number): boolean {
    if (control & DMA_READ) {
      const target = this.#memory.view(address, length);
      if (!target) return length === 0;
      const rest = this.#items.get(this.state.key)?.subarray(this.state.offset, this.state.offset + length) ?? new Uint8Array();
      target.set(rest);
      target.fill(0, rest.length);
      this.#memory.written(address, length);
      this.state.offset += rest.length;
      return true;
    }
    if (control & DMA_WRITE) return false; // nothing here is writable
    if (control & DMA_SKIP) this.state.offset = Math.min(this.state.offset + length, 0xffff_ffff);
    return true;
  }
}
