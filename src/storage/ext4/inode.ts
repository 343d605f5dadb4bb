/** An inode as it lies on disk. Linux, Documentation/filesystems/ext4: "Index Nodes", "The Contents of inode.i_block". */
import { INODE_BYTES, BLOCK_BYTES, type Run } from './geometry.ts';

export const FORMATS = {
  fifo: 0x1000,
  char: 0x2000,
  directory: 0x4000,
  block: 0x6000,
  file: 0x8000,
  symlink: 0xa000,
} as const;

const EXTRA_BYTES = 32;
const FIELDS_BYTES = 128;
/** Room for extended attributes behind the fields. */
export const INLINE_XATTR_BYTES = INODE_BYTES - FIELDS_BYTES - EXTRA_BYTES;
/** A symlink's target up to this stands in the inode. */
export const FAST_SYMLINK_MAX = 59;
const EXTENTS_FLAG = 0x8_0000;
const EXTENT_MAGIC = 0xf30a;
const EXTENT_BLOCKS_MAX = 32768;
const ROOT_EXTENTS = 4;
/** In a block of an extent tree. */
export const LEAF_EXTENTS = Math.floor((BLOCK_BYTES - 12) / 12);

export interface Extent extends Run {
  /** The first block of the file that lies there. */
  readonly logical: number;
}

export function extentsOf(runs: readonly Run[]): Extent[] {
  const extents: Extent[] = [];
  let logical = 0;
  for (const { block, count } of runs) {
    for (let done = 0; done < count; done += EXTENT_BLOCKS_MAX) {
      const here = Math.min(EXTENT_BLOCKS_MAX, count - done);
      extents.push({ logical, block: block + done, count: here });
      logical += here;
    }
  }
  return extents;
}

/** Blocks that the extent tree needs besides the inode. */
export function leafCount(extents: readonly Extent[]): number {
  return extents.length <= ROOT_EXTENTS ? 0 : Math.ceil(extents.length / LEAF_EXTENTS);
}

export function leafBlock(extents: readonly Extent[]): Uint8Array {
  const data = new Uint8Array(BLOCK_BYTES);
  writeExtents(new DataView(data.buffer), 0, extents, LEAF_EXTENTS);
  return data;
}

function writeExtents(view: DataView, at: number, extents: readonly Extent[], most: number): void {
  writeTreeHeader(view, at, extents.length, most, 0);
  for (const [i, { logical, block, count }] of extents.entries()) {
    const entry = at + 12 + 12 * i;
    view.setUint32(entry, logical, true);
    view.setUint16(entry + 4, count, true);
    view.setUint32(entry + 8, block, true);
  }
}

function writeTreeHeader(view: DataView, at: number, entries: number, most: number, depth: number): void {
  view.setUint16(at, EXTENT_MAGIC, true);
  view.setUint16(at + 2, entries, true);
  view.setUint16(at + 4, most, true);
  view.setUint16(at + 6, depth, true);
}

export interface InodeContent {
  /** Where the content lies; undefined when it stands in the inode, or there is none. */
  readonly extents?: readonly Extent[];
  /** The extent tree's blocks, when it has any. */
  readonly leaves?: readonly number[];
  /** What takes the extents' place: a short target, a device's number. */
  readonly inline?: Uint8Array;
}

export interface InodeFields extends InodeContent {
  readonly format: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly links: number;
  readonly sizeBytes: number;
  /** All blocks that belong to it, those of the extent tree and of extended attributes included. */
  readonly blocks: number;
  readonly xattrs?: Uint8Array;
  readonly xattrBlock?: number;
}

export function encodeInode(fields: InodeFields): Uint8Array {
  const data = new Uint8Array(INODE_BYTES);
  const view = new DataView(data.buffer);
  const u16 = (at: number, value: number) => view.setUint16(at, value, true);
  const u32 = (at: number, value: number) => view.setUint32(at, value >>> 0, true);
  u16(0, fields.format | fields.mode);
  u16(2, fields.uid);
  u32(4, fields.sizeBytes % 2 ** 32);
  for (const at of [8, 12, 16, 144]) u32(at, fields.mtime);
  u16(24, fields.gid);
  u16(26, fields.links);
  // In units of 512 bytes.
  const sectors = fields.blocks * (BLOCK_BYTES / 512);
  u32(28, sectors % 2 ** 32);
  u32(32, fields.extents ? EXTENTS_FLAG : 0);
  u32(104, fields.xattrBlock ?? 0);
  u32(108, Math.floor(fields.sizeBytes / 2 ** 32));
  u16(116, Math.floor(sectors / 2 ** 32));
  u16(120, fields.uid >>> 16);
  u16(122, fields.gid >>> 16);
  u16(128, EXTRA_BYTES);
  // Two more bits of the seconds.
  const epoch = Math.floor((fields.mtime - (fields.mtime | 0)) / 2 ** 32) & 3;
  for (const at of [132, 136, 140, 148]) u32(at, epoch);
  if (fields.inline) data.set(fields.inline, 40);
  if (fields.extents) {
    const { extents, leaves = [] } = fields;
    if (leaves.length === 0) writeExtents(view, 40, extents, ROOT_EXTENTS);
    else {
      writeTreeHeader(view, 40, leaves.length, ROOT_EXTENTS, 1);
      for (const [i, block] of leaves.entries()) {
        u32(52 + 12 * i, extents[i * LEAF_EXTENTS]!.logical);
        u32(56 + 12 * i, block);
      }
    }
  }
  if (fields.xattrs) data.set(fields.xattrs, FIELDS_BYTES + EXTRA_BYTES);
  return data;
}

/** i_block of a device. Linux, fs/ext4/inode.c and include/linux/kdev_t.h. */
export function deviceNumber(major: number, minor: number): Uint8Array {
  const data = new Uint8Array(8);
  const view = new DataView(data.buffer);
  if (major < 256 && minor < 256) view.setUint32(0, (major << 8) | minor, true);
  else view.setUint32(4, ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, true);
  return data;
}
