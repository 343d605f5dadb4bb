/** A GUID partition table with a protective master boot record. UEFI Specification 2.10, 5.2 and 5.3. */
import { crc32 } from '../../base/crc32.ts';
import { bytesAt, type DiskExtent } from '../../storage/disk-extent.ts';

export const SECTOR_BYTES = 512;
const ENTRY_COUNT = 128;
const ENTRY_BYTES = 128;
const TABLE_SECTORS = (ENTRY_COUNT * ENTRY_BYTES) / SECTOR_BYTES;
/** The first sector that a partition can have. */
export const FIRST_SECTOR = 2 + TABLE_SECTORS;
const CODE_MAX = 440;

/** Types of partitions. "Discoverable Partitions Specification" for the last. */
export const BIOS_BOOT = '21686148-6449-6e6f-744e-656564454649';
export const EFI_SYSTEM = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b';
export const LINUX_ROOT_X86_64 = '4f68bce3-e8cd-4db1-96e7-fbcaf984b709';

export interface Partition {
  readonly type: string;
  readonly name: string;
  /** 16 bytes. */
  readonly id: Uint8Array;
  readonly firstSector: number;
  readonly sectors: number;
}

/** Sectors at the disk's end that no partition may have. */
export const LAST_SECTORS = 1 + TABLE_SECTORS;

/** `code` is what BIOS starts, at most 440 bytes. */
export function partitionTable(diskSectors: number, diskId: Uint8Array, partitions: readonly Partition[], code: Uint8Array): DiskExtent[] {
  const entries = new Uint8Array(ENTRY_COUNT * ENTRY_BYTES);
  for (const [i, { type, name, id, firstSector, sectors }] of partitions.entries()) {
    const at = i * ENTRY_BYTES;
    const view = new DataView(entries.buffer, at, ENTRY_BYTES);
    entries.set(guid(type), at);
    entries.set(id, at + 16);
    view.setBigUint64(32, BigInt(firstSector), true);
    view.setBigUint64(40, BigInt(firstSector + sectors - 1), true);
    for (let c = 0; c < Math.min(36, name.length); c++) view.setUint16(56 + 2 * c, name.charCodeAt(c), true);
  }
  const header = (own: number, other: number, table: number): Uint8Array => {
    const sector = new Uint8Array(SECTOR_BYTES);
    const view = new DataView(sector.buffer);
    sector.set(new TextEncoder().encode('EFI PART'));
    view.setUint32(8, 0x1_0000, true);
    view.setUint32(12, 92, true);
    view.setBigUint64(24, BigInt(own), true);
    view.setBigUint64(32, BigInt(other), true);
    view.setBigUint64(40, BigInt(FIRST_SECTOR), true);
    view.setBigUint64(48, BigInt(diskSectors - LAST_SECTORS - 1), true);
    sector.set(diskId, 56);
    view.setBigUint64(72, BigInt(table), true);
    view.setUint32(80, ENTRY_COUNT, true);
    view.setUint32(84, ENTRY_BYTES, true);
    view.setUint32(88, crc32(entries), true);
    view.setUint32(16, crc32(sector, 0, 92), true);
    return sector;
  };
  const last = diskSectors - 1;
  return [
    bytesAt(0, protectiveRecord(diskSectors, code)),
    bytesAt(SECTOR_BYTES, header(1, last, 2)),
    bytesAt(2 * SECTOR_BYTES, entries),
    bytesAt((last - TABLE_SECTORS) * SECTOR_BYTES, entries),
    bytesAt(last * SECTOR_BYTES, header(last, 1, last - TABLE_SECTORS)),
  ];
}

function protectiveRecord(diskSectors: number, code: Uint8Array): Uint8Array {
  if (code.length > CODE_MAX) throw new RangeError('too much code for a master boot record');
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  sector.set(code);
  sector.set([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff], 446);
  view.setUint32(454, 1, true);
  view.setUint32(458, Math.min(diskSectors - 1, 0xffff_ffff), true);
  view.setUint16(510, 0xaa55, true);
  return sector;
}

/** The first three groups of a GUID are little-endian. */
function guid(text: string): Uint8Array {
  const hex = text.replace(/-/g, '');
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
  for (const [from, to] of [[0, 4], [4, 6], [6, 8]] as const) bytes.subarray(from, to).reverse(); // prettier-ignore
  return bytes;
}
