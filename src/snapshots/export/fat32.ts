/**
 * A FAT32 volume with one file in nested directories, whose content lies in one piece: an EFI system partition. Microsoft, "FAT32 File System Specification"
 * 1.03. Names are of 8 + 3 capital letters and digits.
 */
import { bytesAt, type DiskExtent } from '../../storage/disk-extent.ts';

const SECTOR_BYTES = 512;
const RESERVED_SECTORS = 32;
const FAT_COUNT = 2;
const ROOT_CLUSTER = 2;
/** Fewer, and it is FAT16. A cluster is a sector. */
const LEAST_CLUSTERS = 65525 + 16;
const END_OF_CHAIN = 0x0fff_ffff;
const ENTRY_BYTES = 32;
const DIRECTORY = 0x10;
const VOLUME_LABEL = 0x08;
const ARCHIVE = 0x20;

export interface FatVolume {
  readonly sectors: number;
  /** From the volume's beginning: the file's content. */
  readonly fileSector: number;
  readonly extents: readonly DiskExtent[];
}

export interface FatOptions {
  /** Where the volume begins on its disk. */
  readonly hiddenSectors: number;
  readonly label: string;
  readonly id: number;
  /** Room besides the file's. */
  readonly freeBytes: number;
}

/** `path` such as `EFI/BOOT/BOOTX64.EFI`. */
export function fat32Volume(path: string, content: Uint8Array, { hiddenSectors, label, id, freeBytes }: FatOptions): FatVolume {
  const parts = path.split('/');
  const [file, directories] = [parts.at(-1)!, parts.slice(0, -1)];
  const fileClusters = Math.ceil(content.length / SECTOR_BYTES);
  const used = 1 + directories.length + fileClusters;
  const clusters = Math.max(LEAST_CLUSTERS, used + Math.ceil(freeBytes / SECTOR_BYTES));
  const fatSectors = Math.ceil(((clusters + 2) * 4) / SECTOR_BYTES);
  const dataSector = RESERVED_SECTORS + FAT_COUNT * fatSectors;
  const sectors = dataSector + clusters;
  const sectorOf = (cluster: number) => dataSector + cluster - 2;
  const fileCluster = ROOT_CLUSTER + 1 + directories.length;

  const fat = new Uint8Array(Math.ceil(((used + 2) * 4) / SECTOR_BYTES) * SECTOR_BYTES);
  const chain = new DataView(fat.buffer);
  chain.setUint32(0, 0x0fff_fff8, true);
  for (let cluster = 1; cluster < fileCluster; cluster++) chain.setUint32(4 * cluster, END_OF_CHAIN, true);
  for (let i = 0; i < fileClusters; i++)
    chain.setUint32(4 * (fileCluster + i), i === fileClusters - 1 ? END_OF_CHAIN : fileCluster + i + 1, true);

  const boot = bootSector({ sectors, fatSectors, hiddenSectors, label, id });
  const info = infoSector(clusters - used, fileCluster + fileClusters);
  const extents = [bytesAt(0, boot), bytesAt(SECTOR_BYTES, info), bytesAt(6 * SECTOR_BYTES, boot), bytesAt(7 * SECTOR_BYTES, info)];
  for (let copy = 0; copy < FAT_COUNT; copy++) extents.push(bytesAt((RESERVED_SECTORS + copy * fatSectors) * SECTOR_BYTES, fat));
  for (let level = 0; level <= directories.length; level++) {
    const own = ROOT_CLUSTER + level;
    // The root is called 0 by those below it.
    const parent = level <= 1 ? 0 : own - 1;
    const first = level === 0 ? [entry(label.padEnd(11), VOLUME_LABEL, 0, 0)] : [entry('.'.padEnd(11), DIRECTORY, own, 0), entry('..'.padEnd(11), DIRECTORY, parent, 0)]; // prettier-ignore
    const inside =
      level < directories.length
        ? entry(shortName(directories[level]!), DIRECTORY, own + 1, 0)
        : entry(shortName(file), ARCHIVE, fileCluster, content.length);
    const data = new Uint8Array(SECTOR_BYTES);
    for (const [i, one] of [...first, inside].entries()) data.set(one, i * ENTRY_BYTES);
    extents.push(bytesAt(sectorOf(own) * SECTOR_BYTES, data));
  }
  extents.push(bytesAt(sectorOf(fileCluster) * SECTOR_BYTES, content));
  return { sectors, fileSector: sectorOf(fileCluster), extents };
}

function bootSector(fields: { sectors: number; fatSectors: number; hiddenSectors: number; label: string; id: number }): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  const text = (at: number, value: string) => sector.set(new TextEncoder().encode(value), at);
  sector.set([0xeb, 0x58, 0x90]);
  text(3, 'DAYBREAK');
  view.setUint16(11, SECTOR_BYTES, true);
  sector[13] = 1; // sectors of a cluster
  view.setUint16(14, RESERVED_SECTORS, true);
  sector[16] = FAT_COUNT;
  sector[21] = 0xf8; // a fixed disk
  view.setUint16(24, 63, true);
  view.setUint16(26, 255, true);
  view.setUint32(28, fields.hiddenSectors, true);
  view.setUint32(32, fields.sectors, true);
  view.setUint32(36, fields.fatSectors, true);
  view.setUint32(44, ROOT_CLUSTER, true);
  view.setUint16(48, 1, true); // the information's sector
  view.setUint16(50, 6, true); // copies of both
  sector[64] = 0x80;
  sector[66] = 0x29;
  view.setUint32(67, fields.id, true);
  text(71, fields.label.padEnd(11));
  text(82, 'FAT32   ');
  view.setUint16(510, 0xaa55, true);
  return sector;
}

function infoSector(freeClusters: number, nextCluster: number): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  view.setUint32(0, 0x4161_5252, true);
  view.setUint32(484, 0x6141_7272, true);
  view.setUint32(488, freeClusters, true);
  view.setUint32(492, nextCluster, true);
  view.setUint32(508, 0xaa55_0000, true);
  return sector;
}

function entry(name: string, attributes: number, cluster: number, sizeBytes: number): Uint8Array {
  const data = new Uint8Array(ENTRY_BYTES);
  const view = new DataView(data.buffer);
  data.set(new TextEncoder().encode(name));
  data[11] = attributes;
  // 1980-01-01, the first day there is.
  view.setUint16(16, 0x21, true);
  view.setUint16(18, 0x21, true);
  view.setUint16(24, 0x21, true);
  view.setUint16(20, cluster >>> 16, true);
  view.setUint16(26, cluster & 0xffff, true);
  view.setUint32(28, sizeBytes, true);
  return data;
}

function shortName(name: string): string {
  const [base = '', extension = ''] = name.split('.');
  return base.padEnd(8) + extension.padEnd(3);
}
