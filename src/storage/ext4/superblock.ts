/** Superblocks of ext4 and of its journal. Linux, Documentation/filesystems/ext4: "Super Block", "Journal (jbd2)". */
import { BLOCK_BYTES, INODE_BYTES } from './geometry.ts';

const SUPERBLOCK_BYTES = 1024;
const MAGIC = 0xef53;
const EXT4_FIRST_INODE = 11;
/** has_journal, ext_attr, dir_index. */
const COMPATIBLE = 0x2c;
/** filetype, extents, flex_bg. */
const INCOMPATIBLE = 0x242;
/** sparse_super, large_file, huge_file, dir_nlink, extra_isize. */
const READ_ONLY_COMPATIBLE = 0x6b;

export interface SuperblockFields {
  /** The group that this copy is in. */
  readonly group: number;
  readonly inodeCount: number;
  readonly blockCount: number;
  readonly reservedBlocks: number;
  readonly freeBlocks: number;
  readonly freeInodes: number;
  readonly groupBlocks: number;
  readonly inodesAGroup: number;
  readonly logFlexGroups: number;
  /** Seconds since 1970, of its making. */
  readonly time: number;
  readonly uuid: Uint8Array;
  readonly label: string;
  readonly journalInode: number;
  /** The journal's inode as it lies on disk. */
  readonly journal: Uint8Array;
}

export function encodeSuperblock(fields: SuperblockFields): Uint8Array {
  const data = new Uint8Array(SUPERBLOCK_BYTES);
  const view = new DataView(data.buffer);
  const u8 = (at: number, value: number) => view.setUint8(at, value);
  const u16 = (at: number, value: number) => view.setUint16(at, value, true);
  const u32 = (at: number, value: number) => view.setUint32(at, value >>> 0, true);
  u32(0, fields.inodeCount);
  u32(4, fields.blockCount);
  u32(8, fields.reservedBlocks);
  u32(12, fields.freeBlocks);
  u32(16, fields.freeInodes);
  u32(24, 2); // block size: 1 KiB << 2
  u32(28, 2);
  u32(32, fields.groupBlocks);
  u32(36, fields.groupBlocks);
  u32(40, fields.inodesAGroup);
  u32(48, fields.time);
  u16(54, 0xffff); // mounts until it is checked: any number
  u16(56, MAGIC);
  u16(58, 1); // clean
  u16(60, 1); // on errors: go on
  u32(64, fields.time); // last checked
  u32(76, 1); // revision: dynamic
  u32(84, EXT4_FIRST_INODE);
  u16(88, INODE_BYTES);
  u16(90, fields.group);
  u32(92, COMPATIBLE);
  u32(96, INCOMPATIBLE);
  u32(100, READ_ONLY_COMPATIBLE);
  data.set(fields.uuid, 104);
  data.set(new TextEncoder().encode(fields.label).subarray(0, 16), 120);
  u32(224, fields.journalInode);
  data.set(fields.uuid, 236); // seed of the directories' hash
  u8(252, 1); // half MD4
  u8(253, 1); // there is a copy of the journal's inode:
  data.set(fields.journal.subarray(40, 100), 268); // i_block
  data.set(fields.journal.subarray(108, 112), 328); // i_size_high
  data.set(fields.journal.subarray(4, 8), 332); // i_size
  u32(256, 0xc); // mounted with user_xattr, acl
  u32(264, fields.time);
  u16(348, 32); // extra fields of inodes: at least, and wanted
  u16(350, 32);
  u32(352, 1); // the directories' hash is of signed characters
  u8(372, fields.logFlexGroups);
  return data;
}

/** Big-endian, as all of the journal. */
export function journalSuperblock(blocks: number): Uint8Array {
  const data = new Uint8Array(SUPERBLOCK_BYTES);
  const view = new DataView(data.buffer);
  view.setUint32(0, 0xc03b_3998);
  view.setUint32(4, 4); // a superblock of version 2
  view.setUint32(12, BLOCK_BYTES);
  view.setUint32(16, blocks);
  view.setUint32(20, 1); // the log's first block
  view.setUint32(24, 1); // sequence
  view.setUint32(64, 1); // users
  return data;
}
