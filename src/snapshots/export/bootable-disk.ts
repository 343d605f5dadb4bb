/**
 * A disk that boots by itself, by BIOS and by UEFI, and has a snapshot's system on it. Three partitions: the second part of the boot loader for BIOS; the EFI
 * system partition, with the kernel, which both ways of booting share; the root file system. The same snapshot and options give the same bytes.
 */
import { VmError } from '../../base/errors.ts';
import { isBzImage, parseBzImage } from '../../firmware/bzimage.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { bytesAt, movedBy, type DiskExtent } from '../../storage/disk-extent.ts';
import { ext4Image, leastBytes } from '../../storage/ext4/ext4-image.ts';
import type { Tree } from '../../storage/tree.ts';
import { BIOS_CODE, BIOS_COMMAND_LINE_MAX, BIOS_PARAMETERS, MBR_CODE } from './boot-code.ts';
import { efiProgram } from './efi-program.ts';
import { fat32Volume } from './fat32.ts';
import { BIOS_BOOT, EFI_SYSTEM, FIRST_SECTOR, LAST_SECTORS, LINUX_ROOT_X86_64, partitionTable, SECTOR_BYTES } from './gpt.ts';
import { makeInitramfs } from './initramfs.ts';

const MIB = 2 ** 20;
const ALIGNMENT_SECTORS = MIB / SECTOR_BYTES;
/** For another kernel beside this one, should somebody want it. */
const EFI_FREE_BYTES = 64 * MIB;
/** Room for what the system writes, when nobody says otherwise. It takes none until it is written. */
const DEFAULT_FREE_BYTES = 8 * 2 ** 30;
/** `console`: a login on the screen and on the first serial port. */
const COMMAND_LINE = 'console=tty0 console=ttyS0,115200 quiet rw';

export interface ExportedSystem {
  readonly tree: Tree;
  /** Its digest. */
  readonly digest: string;
  readonly store: ChunkStore;
  /** A bzImage. */
  readonly kernel: Uint8Array;
  readonly kernelVersion: string;
  /** Of the disk's file system and partitions. */
  readonly label: string;
}

export interface BootableDiskOptions {
  /** Of the whole disk. */
  readonly sizeBytes?: number;
  /** Behind the kernel's command line. */
  readonly append?: string;
}

export interface BootableDisk {
  readonly sizeBytes: number;
  readonly extents: readonly DiskExtent[];
  /** Of the initramfs, as the kernel calls them. */
  readonly modules: readonly string[];
  readonly bootsByUefi: boolean;
}

/** Rejects with VmError: `usage` when it does not fit or cannot be passed on, `unsupported` or `bad-image` for what cannot be put on such a disk. */
export async function bootableDisk(system: ExportedSystem, { sizeBytes, append }: BootableDiskOptions): Promise<BootableDisk> {
  const { tree, store, kernel, kernelVersion, label } = system;
  if (!isBzImage(kernel)) throw new VmError('unsupported', 'the snapshot has a kernel that is no bzImage: only those can be exported');
  parseBzImage(kernel, 'the kernel');
  const rootId = await idFor(system.digest, 'root file system');
  const commandLine = [`root=UUID=${uuidText(rootId)}`, COMMAND_LINE, ...(append ? [append] : [])].join(' ');
  if (!/^[\x20-\x7e]*$/.test(commandLine) || commandLine.length > BIOS_COMMAND_LINE_MAX)
    throw new VmError('usage', `the kernel's command line: expected ASCII, at most ${BIOS_COMMAND_LINE_MAX} characters: ${commandLine}`);
  const initramfs = await makeInitramfs(tree, store, kernelVersion, rootId);
  const program = efiProgram(kernel, initramfs.data, commandLine);
  const efiFirst = ALIGNMENT_SECTORS;
  const volumeId = new DataView(rootId.buffer).getUint32(0, true);
  const efi = fat32Volume('EFI/BOOT/BOOTX64.EFI', program.data, {
    hiddenSectors: efiFirst,
    label: 'EFI',
    id: volumeId,
    freeBytes: EFI_FREE_BYTES,
  });
  const rootFirst = alignUp(efiFirst + efi.sectors);
  const diskBytes = sizeBytes ?? Math.ceil((rootFirst * SECTOR_BYTES + leastBytes(tree) + DEFAULT_FREE_BYTES) / 2 ** 30) * 2 ** 30;
  const diskSectors = Math.floor(diskBytes / SECTOR_BYTES);
  const rootSectors = alignDown(diskSectors - LAST_SECTORS - rootFirst);
  if (rootSectors <= 0) throw new VmError('usage', `a disk of ${diskBytes} bytes is too small: give it a larger --size`);
  const partition = async (type: string, name: string, firstSector: number, sectors: number) => ({
    type,
    name,
    id: await idFor(system.digest, name),
    firstSector,
    sectors,
  });
  const partitions = await Promise.all([
    partition(BIOS_BOOT, 'BIOS boot', FIRST_SECTOR, efiFirst - FIRST_SECTOR),
    partition(EFI_SYSTEM, 'EFI system', efiFirst, efi.sectors),
    partition(LINUX_ROOT_X86_64, label, rootFirst, rootSectors),
  ]);
  const kernelSector = efiFirst + efi.fileSector + program.kernelOffset / SECTOR_BYTES;
  const loader = biosLoader(commandLine, {
    kernelSector,
    kernelBytes: kernel.length,
    initrdSector: efiFirst + efi.fileSector + program.initrdOffset / SECTOR_BYTES,
    initrdBytes: initramfs.data.length,
  });
  const extents = [
    ...partitionTable(diskSectors, await idFor(system.digest, 'disk'), partitions, MBR_CODE),
    bytesAt(FIRST_SECTOR * SECTOR_BYTES, loader),
    ...movedBy(efiFirst * SECTOR_BYTES, efi.extents),
    ...movedBy(rootFirst * SECTOR_BYTES, ext4Image(tree, store, { sizeBytes: rootSectors * SECTOR_BYTES, uuid: rootId, label })),
  ].sort((a, b) => a.offset - b.offset);
  return {
    sizeBytes: diskSectors * SECTOR_BYTES,
    extents,
    modules: initramfs.modules,
    // The kernel's own EFI program begins as all of them do.
    bootsByUefi: kernel[0] === 0x4d && kernel[1] === 0x5a,
  };
}

function biosLoader(
  commandLine: string,
  place: { kernelSector: number; kernelBytes: number; initrdSector: number; initrdBytes: number },
): Uint8Array {
  const data = new Uint8Array(BIOS_CODE.length + BIOS_COMMAND_LINE_MAX + 1);
  const view = new DataView(data.buffer);
  data.set(BIOS_CODE);
  view.setUint32(BIOS_PARAMETERS.kernelSector, place.kernelSector, true);
  view.setUint32(BIOS_PARAMETERS.kernelSectors, Math.ceil(place.kernelBytes / SECTOR_BYTES), true);
  view.setUint32(BIOS_PARAMETERS.initrdSector, place.initrdSector, true);
  view.setUint32(BIOS_PARAMETERS.initrdBytes, place.initrdBytes, true);
  data.set(new TextEncoder().encode(commandLine), BIOS_PARAMETERS.commandLine);
  return data;
}

/** An identifier that follows from the tree. RFC 9562, 5.8: version 8, whose meaning is one's own. */
async function idFor(treeDigest: string, what: string): Promise<Uint8Array> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`daybreak export ${treeDigest} ${what}`));
  const id = new Uint8Array(digest.slice(0, 16));
  id[6] = (id[6]! & 0x0f) | 0x80;
  id[8] = (id[8]! & 0x3f) | 0x80;
  return id;
}

/** As ext4 tools print it. */
function uuidText(id: Uint8Array): string {
  const hex = [...id].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function alignUp(sector: number): number {
  return Math.ceil(sector / ALIGNMENT_SECTORS) * ALIGNMENT_SECTORS;
}

function alignDown(sectors: number): number {
  return Math.floor(sectors / ALIGNMENT_SECTORS) * ALIGNMENT_SECTORS;
}
