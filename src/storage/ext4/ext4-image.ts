/**
 * Makes an ext4 file system of a tree: owners, modes, times, extended attributes, hard links and devices are those of the tree. The same tree and
 * size give the same bytes. Linux, Documentation/filesystems/ext4; the journal: fs/jbd2, "Journal (jbd2)".
 */
import { VmError } from '../../base/errors.ts';
import type { ChunkStore } from '../chunk-store.ts';
import { bytesAt, type DiskExtent } from '../disk-extent.ts';
import { parentOf, type Tree, type TreeNode } from '../tree.ts';
import { BLOCK_BYTES, Geometry, INODE_BYTES, setBits, type Run } from './geometry.ts';
import {
  deviceNumber,
  encodeInode,
  extentsOf,
  FAST_SYMLINK_MAX,
  FORMATS,
  INLINE_XATTR_BYTES,
  LEAF_EXTENTS,
  leafBlock,
  leafCount,
  type InodeContent,
} from './inode.ts';
import { encodeSuperblock, journalSuperblock } from './superblock.ts';
import { packXattrs } from './xattrs.ts';

const ROOT_INODE = 2;
const JOURNAL_INODE = 8;
const LOST_AND_FOUND = 'lost+found';
/** As mke2fs has it: 64 MiB from a few GiB on, less below. */
const JOURNAL_BLOCKS_MAX = 16384;
const JOURNAL_BLOCKS_MIN = 1024;
/** Of the blocks: for root only, as far as that helps. */
const RESERVED_SHARE = 0.01;
/** More links than that are not counted (dir_nlink). */
const LINKS_MAX = 65000;
const FILE_TYPES: Record<TreeNode['type'], number> = { file: 1, directory: 2, char: 3, block: 4, fifo: 5, symlink: 7 };

export interface Ext4Options {
  readonly sizeBytes: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** At most 16 bytes. */
  readonly label: string;
}

/** Bytes of disk that the tree takes at least, without free room. */
export function leastBytes(tree: Tree): number {
  let blocks = 0;
  const seen = new Set<TreeNode>();
  for (const [, node] of tree.entries()) {
    if (!seen.has(node)) blocks += 1 + (node.type === 'file' ? Math.ceil(node.sizeBytes / BLOCK_BYTES) : 1);
    seen.add(node);
  }
  // Inode tables and bitmaps are less than a thirtieth.
  return Math.ceil(blocks * 1.05) * BLOCK_BYTES + 2 * JOURNAL_BLOCKS_MAX * BLOCK_BYTES;
}

/** Throws VmError `usage` when it does not fit, `unsupported` when ext4 cannot hold what is in the tree. Contents are read when the extents are. */
export function ext4Image(tree: Tree, store: ChunkStore, options: Ext4Options): DiskExtent[] {
  return new Ext4Writer(tree, store, options).write();
}

class Ext4Writer {
  readonly #tree: Tree;
  readonly #store: ChunkStore;
  readonly #options: Ext4Options;
  readonly #geometry: Geometry;
  readonly #numbers = new Map<TreeNode, number>();
  readonly #links = new Map<TreeNode, number>();
  readonly #children = new Map<string, { name: string; node: TreeNode }[]>();
  readonly #inodes = new Map<number, Uint8Array>();
  readonly #extents: DiskExtent[] = [];
  readonly #directoriesInGroup: number[];
  #lastInode: number;

  constructor(tree: Tree, store: ChunkStore, options: Ext4Options) {
    this.#tree = tree;
    this.#store = store;
    this.#options = options;
    // Ten are the file system's own.
    this.#geometry = new Geometry(options.sizeBytes, tree.size + 16);
    this.#lastInode = this.#geometry.firstInode;
    this.#directoriesInGroup = this.#geometry.groups.map(() => 0);
  }

  write(): DiskExtent[] {
    this.#number();
    const journal = this.#journal();
    const done = new Set<TreeNode>();
    // Names lie together at the beginning, then what is in the files.
    for (const directories of [true, false]) {
      for (const [path, node] of this.#tree.entries()) {
        if ((node.type === 'directory') !== directories || done.has(node)) continue;
        done.add(node);
        this.#writeNode(path, node);
      }
    }
    if (!this.#tree.get(LOST_AND_FOUND)) this.#writeLostAndFound();
    this.#writeMetadata(journal);
    return this.#extents.sort((a, b) => a.offset - b.offset);
  }

  #number(): void {
    for (const [path, node] of this.#tree.entries()) {
      const known = this.#numbers.get(node);
      if (known === undefined) {
        const own = path === '' ? ROOT_INODE : path === LOST_AND_FOUND ? this.#geometry.firstInode : ++this.#lastInode;
        this.#numbers.set(node, own);
      }
      this.#links.set(node, (this.#links.get(node) ?? 0) + 1);
      if (path === '') continue;
      const siblings = this.#children.get(parentOf(path));
      const child = { name: path.slice(path.lastIndexOf('/') + 1), node };
      if (siblings) siblings.push(child);
      else this.#children.set(parentOf(path), [child]);
    }
  }

  #writeNode(path: string, node: TreeNode): void {
    const where = `/${path}`;
    const number = this.#numbers.get(node)!;
    const { inline: xattrs, block } = packXattrs(where, node.xattrs ?? new Map(), INLINE_XATTR_BYTES);
    const [xattrBlock] = block ? this.#put(block) : [];
    let content: InodeContent & { blocks: number; sizeBytes: number };
    let links = this.#links.get(node)!;
    if (node.type === 'directory') {
      const children = this.#children.get(path) ?? [];
      const data = this.#directory(number, path === '' ? number : this.#numbers.get(this.#tree.get(parentOf(path))!)!, children);
      content = { ...this.#content(this.#put(data)), sizeBytes: data.length };
      const below = children.filter((child) => child.node.type === 'directory').length;
      const more = path === '' && !this.#tree.get(LOST_AND_FOUND) ? 1 : 0;
      links = 2 + below + more;
      if (links > LINKS_MAX) links = 1;
      this.#countDirectory(number);
    } else if (node.type === 'file') {
      content = { ...this.#content(this.#file(node.digest, node.sizeBytes)), sizeBytes: node.sizeBytes };
    } else if (node.type === 'symlink') {
      const target = new TextEncoder().encode(node.target);
      if (target.length >= BLOCK_BYTES) throw new VmError('unsupported', `${where}: its target is longer than ext4 can hold`);
      content =
        target.length <= FAST_SYMLINK_MAX
          ? { inline: target, blocks: 0, sizeBytes: target.length }
          : { ...this.#content(this.#put(target)), sizeBytes: target.length };
    } else {
      const inline = node.type === 'fifo' ? new Uint8Array() : deviceNumber(node.major, node.minor);
      content = { inline, blocks: 0, sizeBytes: 0 };
    }
    if (links > LINKS_MAX) throw new VmError('unsupported', `${where}: it has ${links} names, more than ext4 can count`);
    const { mode, uid, gid, mtime } = node;
    this.#inodes.set(
      number,
      encodeInode({
        ...content,
        format: FORMATS[node.type],
        mode,
        uid,
        gid,
        mtime,
        links,
        blocks: content.blocks + (xattrBlock ? 1 : 0),
        xattrs,
        ...(xattrBlock && { xattrBlock: xattrBlock.block }),
      }),
    );
  }

  /** Where e2fsck puts what belongs nowhere. */
  #writeLostAndFound(): void {
    const number = this.#geometry.firstInode;
    const data = this.#directory(number, ROOT_INODE, []);
    const { mtime } = this.#tree.get('')!;
    const content = { ...this.#content(this.#put(data)), sizeBytes: data.length };
    this.#inodes.set(number, encodeInode({ ...content, format: FORMATS.directory, mode: 0o700, uid: 0, gid: 0, mtime, links: 2 }));
    this.#countDirectory(number);
  }

  #countDirectory(inode: number): void {
    this.#directoriesInGroup[Math.floor((inode - 1) / this.#geometry.inodesAGroup)]!++;
  }

  #directory(own: number, parent: number, children: readonly { name: string; node: TreeNode }[]): Uint8Array {
    const entries: [name: Uint8Array, inode: number, type: number][] = [
      [new Uint8Array([0x2e]), own, FILE_TYPES.directory],
      [new Uint8Array([0x2e, 0x2e]), parent, FILE_TYPES.directory],
    ];
    for (const { name, node } of children) entries.push([new TextEncoder().encode(name), this.#numbers.get(node)!, FILE_TYPES[node.type]]);
    if (own === ROOT_INODE && !this.#tree.get(LOST_AND_FOUND))
      entries.push([new TextEncoder().encode(LOST_AND_FOUND), this.#geometry.firstInode, FILE_TYPES.directory]);
    return directoryBlocks(entries);
  }

  /** A file's content, which is read when it is needed. */
  #file(digest: string, sizeBytes: number): Run[] {
    const runs = this.#geometry.allocate(Math.ceil(sizeBytes / BLOCK_BYTES));
    let done = 0;
    for (const { block, count } of runs) {
      const from = done;
      const length = Math.min(count * BLOCK_BYTES, sizeBytes - done);
      const read = async () => {
        const data = await this.#store.get(digest);
        if (data.length !== sizeBytes)
          throw new VmError('bad-digest', `the content ${digest} has ${data.length} bytes, but the tree says ${sizeBytes}`);
        return data.subarray(from, from + length);
      };
      this.#extents.push({ offset: block * BLOCK_BYTES, sizeBytes: length, read });
      done += length;
    }
    return runs;
  }

  #put(data: Uint8Array): Run[] {
    const runs = this.#geometry.allocate(Math.ceil(data.length / BLOCK_BYTES));
    let done = 0;
    for (const { block, count } of runs) {
      this.#extents.push(bytesAt(block * BLOCK_BYTES, data.subarray(done, done + count * BLOCK_BYTES)));
      done += count * BLOCK_BYTES;
    }
    return runs;
  }

  #content(runs: readonly Run[]): { extents: ReturnType<typeof extentsOf>; leaves: number[]; blocks: number } {
    const extents = extentsOf(runs);
    const leaves: number[] = [];
    for (let i = 0; i < leafCount(extents); i++) {
      const part = extents.slice(i * LEAF_EXTENTS, (i + 1) * LEAF_EXTENTS);
      leaves.push(this.#put(leafBlock(part))[0]!.block);
    }
    return { extents, leaves, blocks: runs.reduce((sum, { count }) => sum + count, 0) + leaves.length };
  }

  /** Empty, which is all zeros behind its first block. The inode is the answer: the superblock has a copy. */
  #journal(): Uint8Array {
    const share = Math.floor(this.#geometry.blockCount / 32);
    const blocks = Math.max(JOURNAL_BLOCKS_MIN, Math.min(JOURNAL_BLOCKS_MAX, share));
    const runs = this.#geometry.allocate(blocks);
    this.#extents.push(bytesAt(runs[0]!.block * BLOCK_BYTES, journalSuperblock(blocks)));
    const { mtime } = this.#tree.get('')!;
    const inode = encodeInode({
      ...this.#content(runs),
      format: FORMATS.file,
      mode: 0o600,
      uid: 0,
      gid: 0,
      mtime,
      links: 1,
      sizeBytes: blocks * BLOCK_BYTES,
    });
    this.#inodes.set(JOURNAL_INODE, inode);
    return inode;
  }

  #writeMetadata(journal: Uint8Array): void {
    const geometry = this.#geometry;
    const { inodesAGroup, groups } = geometry;
    const bitmaps = geometry.blockBitmaps();
    const descriptors = new Uint8Array(geometry.descriptorBlocks * BLOCK_BYTES);
    const view = new DataView(descriptors.buffer);
    let freeInodes = 0;
    for (const [i, group] of groups.entries()) {
      const used = Math.max(0, Math.min(inodesAGroup, this.#lastInode - i * inodesAGroup));
      const inodeBitmap = new Uint8Array(BLOCK_BYTES);
      setBits(inodeBitmap, 0, used);
      setBits(inodeBitmap, inodesAGroup, 8 * BLOCK_BYTES - inodesAGroup);
      this.#extents.push(bytesAt(group.blockBitmap * BLOCK_BYTES, bitmaps[i]!), bytesAt(group.inodeBitmap * BLOCK_BYTES, inodeBitmap));
      if (used > 0) {
        const table = new Uint8Array(Math.ceil((used * INODE_BYTES) / BLOCK_BYTES) * BLOCK_BYTES);
        for (let n = 0; n < used; n++) {
          const inode = this.#inodes.get(i * inodesAGroup + n + 1);
          if (inode) table.set(inode, n * INODE_BYTES);
        }
        this.#extents.push(bytesAt(group.inodeTable * BLOCK_BYTES, table));
      }
      const at = i * 32;
      view.setUint32(at, group.blockBitmap, true);
      view.setUint32(at + 4, group.inodeBitmap, true);
      view.setUint32(at + 8, group.inodeTable, true);
      view.setUint16(at + 12, clearBits(bitmaps[i]!), true);
      view.setUint16(at + 14, inodesAGroup - used, true);
      view.setUint16(at + 16, this.#directoriesInGroup[i]!, true);
      freeInodes += inodesAGroup - used;
    }
    for (const [i, { first, hasSuper }] of groups.entries()) {
      if (!hasSuper) continue;
      const superblock = encodeSuperblock({
        group: i,
        inodeCount: geometry.inodeCount,
        blockCount: geometry.blockCount,
        reservedBlocks: Math.floor(geometry.blockCount * RESERVED_SHARE),
        freeBlocks: geometry.freeBlocks,
        freeInodes,
        groupBlocks: geometry.groupBlocks,
        inodesAGroup,
        logFlexGroups: geometry.logFlexGroups,
        // e2fsck asks about a time that has not come yet.
        time: this.#tree.get('')!.mtime,
        uuid: this.#options.uuid,
        label: this.#options.label,
        journalInode: JOURNAL_INODE,
        journal,
      });
      // The disk's first KiB is for boot loaders.
      this.#extents.push(bytesAt(first * BLOCK_BYTES + (i === 0 ? 1024 : 0), superblock), bytesAt((first + 1) * BLOCK_BYTES, descriptors));
    }
  }
}

/** No entry crosses a block's end; a block's last one reaches to it. */
function directoryBlocks(entries: readonly (readonly [Uint8Array, number, number])[]): Uint8Array {
  const blocks: { data: Uint8Array; used: number; last: number }[] = [];
  for (const [name, inode, type] of entries) {
    const length = (8 + name.length + 3) & ~3;
    let block = blocks.at(-1);
    if (!block || block.used + length > BLOCK_BYTES) blocks.push((block = { data: new Uint8Array(BLOCK_BYTES), used: 0, last: 0 }));
    const view = new DataView(block.data.buffer);
    view.setUint32(block.used, inode, true);
    view.setUint16(block.used + 4, length, true);
    view.setUint8(block.used + 6, name.length);
    view.setUint8(block.used + 7, type);
    block.data.set(name, block.used + 8);
    block.last = block.used;
    block.used += length;
  }
  const all = new Uint8Array(blocks.length * BLOCK_BYTES);
  for (const [i, { data, last }] of blocks.entries()) {
    new DataView(data.buffer).setUint16(last + 4, BLOCK_BYTES - last, true);
    all.set(data, i * BLOCK_BYTES);
  }
  return all;
}

function clearBits(bitmap: Uint8Array): number {
  let count = 0;
  for (const byte of bitmap) for (let rest = ~byte & 0xff; rest !== 0; rest &= rest - 1) count++;
  return count;
}
