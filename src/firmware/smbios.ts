/** SMBIOS 3 tables: who made the machine, and how much memory it has. DMTF DSP0134 3.6. */
import type { RamRange } from '../machine/memory.ts';
import { ByteWriter, checksum } from './byte-writer.ts';

export interface MachineIdentity {
  readonly manufacturer: string;
  readonly product: string;
  readonly version: string;
  /** 16 bytes, fields little-endian as SMBIOS stores them. */
  readonly uuid: Uint8Array;
  /** 16 bytes that no other copy of the machine has. */
  readonly generation: Uint8Array;
}

const ANCHOR_SIZE = 24;
/** Structures begin at the next multiple of 16. */
const STRUCTURES = 32;
const NO_ERROR_INFORMATION = 0xfffe;
const ARRAY_HANDLE = 0x1000;
const KIB = 1024;
const MIB = 1024 * KIB;
/** From this size in KiB or MiB on, a field of 16 or 32 bits says "see the extended field". */
const EXTENDED_SIZE_MIB = 0x7fff;
const EXTENDED_CAPACITY_KIB = 0x8000_0000;

/** Appends structures; in a structure's fields its strings are numbered from 1. */
class Structures {
  readonly out = new ByteWriter();

  add(type: number, handle: number, strings: readonly string[], body: (out: ByteWriter) => void): void {
    const fields = new ByteWriter();
    body(fields);
    this.out
      .u8(type, 4 + fields.length)
      .u16(handle)
      .bytes(fields.toBytes());
    for (const value of strings) this.out.bytes(new TextEncoder().encode(value.replaceAll('\0', '') || ' ')).u8(0);
    if (strings.length === 0) this.out.u8(0);
    this.out.u8(0);
  }
}

/** The entry point for `anchorAddress` (16-byte aligned, within 0xF0000 to 0xFFFFF) with the structures right behind it. */
export function buildSmbios(identity: MachineIdentity, ram: readonly RamRange[], anchorAddress: number): Uint8Array {
  const tables = new Structures();
  const { manufacturer, product, version } = identity;
  const total = ram.reduce((sum, range) => sum + range.size, 0);

  // BIOS: no characteristics known (bit 3); extension byte 2 bit 4: this is a virtual machine.
  tables.add(0, 0x0000, [manufacturer, version, '01/01/2026'], (out) =>
    out
      .u8(1, 2)
      .u16(0xe000)
      .u8(3, 0)
      .u64(1 << 3)
      .u8(0, 1 << 4, 0, 0, 0xff, 0xff)
      .u16(0),
  );
  // System: woken by its power switch (6).
  tables.add(1, 0x0100, [manufacturer, product, version], (out) => out.u8(1, 2, 3, 0).bytes(identity.uuid).u8(6, 0, 2));
  // Chassis: other (1), all states safe (3), no security (3).
  tables.add(3, 0x0300, [manufacturer, version], (out) => out.u8(1, 1, 2, 0, 0, 3, 3, 3, 3).u32(0).u8(0, 0, 0, 0, 0));
  // Memory array: on the system board (3), system memory (3), no error correction (3).
  tables.add(16, ARRAY_HANDLE, [], (out) =>
    out
      .u8(3, 3, 3)
      .u32(Math.min(total / KIB, EXTENDED_CAPACITY_KIB))
      .u16(NO_ERROR_INFORMATION, 1)
      .u64(total / KIB < EXTENDED_CAPACITY_KIB ? 0 : total),
  );
  // One module: DIMM (9) of RAM (7), detail other (bit 1), widths unknown.
  const sizeMib = Math.floor(total / MIB);
  tables.add(17, 0x1100, ['RAM 0', manufacturer], (out) =>
    out
      .u16(ARRAY_HANDLE, NO_ERROR_INFORMATION, 0xffff, 0xffff, Math.min(sizeMib, EXTENDED_SIZE_MIB))
      .u8(9, 0, 1, 0, 7)
      .u16(1 << 1, 0)
      .u8(2, 0, 0, 0, 0)
      .u32(sizeMib < EXTENDED_SIZE_MIB ? 0 : sizeMib)
      .u16(0, 0, 0, 0),
  );
  for (const [index, { base, size }] of ram.entries()) {
    const last = base + size - 1;
    const fits = Math.floor(last / KIB) < 0xffff_ffff;
    tables.add(19, 0x1300 + index, [], (out) =>
      out
        .u32(fits ? base / KIB : 0xffff_ffff, fits ? Math.floor(last / KIB) : 0xffff_ffff)
        .u16(ARRAY_HANDLE)
        .u8(1)
        .u64(fits ? 0 : base, fits ? 0 : last),
    );
  }
  tables.add(127, 0x7f00, [], () => {});

  const structures = tables.out.toBytes();
  const anchor = new ByteWriter()
    .text('_SM3_')
    .u8(0, ANCHOR_SIZE, 3, 6, 0, 1, 0)
    .u32(structures.length)
    .u64(anchorAddress + STRUCTURES)
    .toBytes();
  anchor[5] = checksum(anchor);
  const bytes = new Uint8Array(STRUCTURES + structures.length);
  bytes.set(anchor);
  bytes.set(structures, STRUCTURES);
  return bytes;
}
