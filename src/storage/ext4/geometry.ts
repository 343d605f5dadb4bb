/**
 * Where things lie in an ext4 file system that is being made. Blocks of 4 KiB, groups of 128 MiB, bitmaps and inode tables of 16 groups together
 * (flex_bg). Linux, Documentation/filesystems/ext4: "High Level Design", "Block Groups".
 */
import { VmError } from '../../base/errors.ts';

export const BLOCK_BYTES = 4096;
export const INODE_BYTES = 256;
const GROUP_BLOCKS = 8 * BLOCK_BYTES;
const DESCRIPTOR_BYTES = 32;
const INODES_A_BLOCK = BLOCK_BYTES / INODE_BYTES;
/** One inode for 16 KiB of disk, as mke2fs has it. */
const INODES_A_GROUP = 8192;
const INODES_A_GROUP_MAX = 8 * BLOCK_BYTES;
const LOG_FLEX_GROUPS = 4;
const FLEX_GROUPS = 1 << LOG_FLEX_GROUPS;
const FIRST_INODE = 11;
const MAX_BLOCKS = 2 ** 32 - 1;

export interface Run {
  readonly block: number;
  readonly count: number;
}

interface Group {
  readonly first: number;
  readonly blocks: number;
  /** It begins with a copy of the superblock and the descriptors. */
  readonly hasSuper: boolean;
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
}

export class Geometry {
  readonly blockCount: number;
  readonly inodesAGroup: number;
  readonly descriptorBlocks: number;
  readonly groups: readonly Group[];
  readonly logFlexGroups = LOG_FLEX_GROUPS;
  readonly groupBlocks = GROUP_BLOCKS;
  readonly firstInode = FIRST_INODE;
  /** What is used by the layout itself, in order. */
  readonly #reserved: Run[] = [];
  #free: Run[] = [];
  readonly #given: Run[] = [];

  /** Throws VmError `usage` when so many inodes do not fit. */
  constructor(sizeBytes: number, inodesNeeded: number) {
    let blocks = Math.floor(sizeBytes / BLOCK_BYTES);
    if (blocks > MAX_BLOCKS) throw new VmError('usage', 'a file system of more than 16 TiB cannot be made');
    let groupCount = Math.max(1, Math.ceil(blocks / GROUP_BLOCKS));
    const wanted = Math.max(INODES_A_GROUP, Math.ceil(inodesNeeded / groupCount));
    this.inodesAGroup = Math.ceil(wanted / INODES_A_BLOCK) * INODES_A_BLOCK;
    if (this.inodesAGroup > INODES_A_GROUP_MAX) throw tooSmall();
    this.descriptorBlocks = Math.ceil((groupCount * DESCRIPTOR_BYTES) / BLOCK_BYTES);
    const tableBlocks = this.inodesAGroup / INODES_A_BLOCK;
    // A rest in which nothing but its own bookkeeping would fit is left out.
    const least = tableBlocks + this.descriptorBlocks + 64;
    const rest = blocks - (groupCount - 1) * GROUP_BLOCKS;
    if (rest < least) {
      groupCount--;
      blocks = groupCount * GROUP_BLOCKS;
    }
    if (groupCount === 0) throw tooSmall();
    this.blockCount = blocks;
    this.groups = this.#lay(groupCount, tableBlocks);
    this.#free = this.#gaps();
  }

  get inodeCount(): number {
    return this.groups.length * this.inodesAGroup;
  }

  get freeBlocks(): number {
    return this.#free.reduce((sum, { count }) => sum + count, 0);
  }

  get freeRuns(): readonly Run[] {
    return this.#free;
  }

  /** Takes so many blocks, in as few runs as there can be. Throws VmError `usage` when there are not so many. */
  allocate(count: number): Run[] {
    const runs: Run[] = [];
    let left = count;
    while (left > 0) {
      const [free, ...others] = this.#free;
      if (!free) throw tooSmall();
      const taken = Math.min(left, free.count);
      runs.push({ block: free.block, count: taken });
      left -= taken;
      if (taken === free.count) this.#free = others;
      else this.#free[0] = { block: free.block + taken, count: free.count - taken };
    }
    this.#given.push(...runs);
    return runs;
  }

  /** For each group, which blocks are used: a bit each, those beyond the end too. */
  blockBitmaps(): Uint8Array[] {
    const bitmaps = this.groups.map(({ blocks }) => {
      const bitmap = new Uint8Array(BLOCK_BYTES);
      setBits(bitmap, blocks, GROUP_BLOCKS - blocks);
      return bitmap;
    });
    for (const { block, count } of [...this.#reserved, ...this.#given]) {
      for (let at = block; at < block + count;) {
        const group = Math.floor(at / GROUP_BLOCKS);
        const here = Math.min(block + count, (group + 1) * GROUP_BLOCKS) - at;
        setBits(bitmaps[group]!, at % GROUP_BLOCKS, here);
        at += here;
      }
    }
    return bitmaps;
  }

  #lay(groupCount: number, tableBlocks: number): Group[] {
    const groups: Group[] = [];
    for (let flex = 0; flex < groupCount; flex += FLEX_GROUPS) {
      const members = Math.min(FLEX_GROUPS, groupCount - flex);
      const first = flex * GROUP_BLOCKS;
      const bitmaps = first + (hasSuper(flex) ? 1 + this.descriptorBlocks : 0);
      this.#reserved.push({ block: first, count: bitmaps + members * (2 + tableBlocks) - first });
      for (let i = 0; i < members; i++) {
        const index = flex + i;
        const start = index * GROUP_BLOCKS;
        if (i > 0 && hasSuper(index)) this.#reserved.push({ block: start, count: 1 + this.descriptorBlocks });
        groups.push({
          first: start,
          blocks: Math.min(GROUP_BLOCKS, this.blockCount - start),
          hasSuper: hasSuper(index),
          blockBitmap: bitmaps + i,
          inodeBitmap: bitmaps + members + i,
          inodeTable: bitmaps + 2 * members + i * tableBlocks,
        });
      }
    }
    return groups;
  }

  #gaps(): Run[] {
    const gaps: Run[] = [];
    let at = 0;
    for (const { block, count } of [...this.#reserved, { block: this.blockCount, count: 0 }]) {
      if (block > at) gaps.push({ block: at, count: block - at });
      at = block + count;
    }
    return gaps;
  }
}

/** sparse_super: groups 0, 1 and the powers of 3, 5 and 7. */
function hasSuper(group: number): boolean {
  return group <= 1 || [3, 5, 7].some((base) => isPower(group, base));
}

function isPower(value: number, base: number): boolean {
  let power = base;
  while (power < value) power *= base;
  return power === value;
}

export function setBits(bitmap: Uint8Array, from: number, count: number): void {
  let at = from;
  const end = from + count;
  for (; at < end && at % 8 !== 0; at++) bitmap[at >> 3]! |= 1 << (at & 7);
  for (; at + 8 <= end; at += 8) bitmap[at >> 3] = 0xff;
  for (; at < end; at++) bitmap[at >> 3]! |= 1 << (at & 7);
}

function tooSmall(): VmError {
  return new VmError('usage', 'the file system does not fit: give the disk a larger --size');
}
