/**
 * A file system over a `Tree`: an upper layer in memory takes all writes, the tree stays what it is. POSIX.1-2017 and Linux's
 * manual pages say what operations do; permissions are the guest's kernel's business.
 *
 * Inodes of the tree are numbered in its order, the root being 1, so that equal trees have equal numbers and the upper layer
 * can be saved as those inodes that differ.
 */
import { VmError } from '../../base/errors.ts';
import type {
  Answer,
  AttributeChanges,
  FileAttributes,
  FileSystemBackend,
  FileSystemStatistics,
  NewFile,
  NotYet,
  Timestamp,
} from '../../machine/backends.ts';
import * as posix from '../../machine/posix.ts';
import type { ChunkStore } from '../chunk-store.ts';
import { parentOf, type Tree, type TreeNode } from '../tree.ts';
import { Contents } from './contents.ts';
import { copyRange } from './copy.ts';
import { INODE_BYTES, Inode } from './inode.ts';
import { Names } from './names.ts';
import { Quota } from './quota.ts';
import { utf8Length } from './text.ts';
import { sealUpper } from './seal.ts';
import { restoreUpper, saveUpper } from './upper-state.ts';
import * as xattrs from './xattrs.ts';

const ROOT = 1;
/** No file of Linux's is larger. */
const MAX_FILE_BYTES = Number.MAX_SAFE_INTEGER;
const BLOCK_BYTES = 4096;

export interface TreeFileSystemOptions {
  /** What the upper layer may take of the host's memory (default: 2 GiB); a guest that wants more gets ENOSPC. */
  readonly capacityBytes?: number;
  /** How much of the tree's contents is kept in memory (default: 256 MiB). */
  readonly cacheBytes?: number;
}

export class TreeFileSystem implements FileSystemBackend {
  readonly root = ROOT;
  readonly tree: Tree;
  readonly contents: Contents;
  quota: Quota;
  inodes = new Map<number, Inode>();
  /** The number that the next new inode gets; numbers are never used again. */
  nextIno = ROOT;
  readonly treeInodes: number;
  #nowNs: () => number = () => 0;
  readonly #names: Names;
  readonly #fresh: () => TreeFileSystem;

  constructor(tree: Tree, store: ChunkStore, options: TreeFileSystemOptions = {}) {
    this.tree = tree;
    this.#fresh = () => new TreeFileSystem(tree, store, options);
    this.contents = new Contents(store, options.cacheBytes ?? 256 * 2 ** 20);
    this.quota = new Quota(options.capacityBytes ?? 2 * 2 ** 30);
    this.#names = new Names(this);
    this.#populate();
    this.treeInodes = this.nextIno - 1;
  }

  #populate(): void {
    const byNode = new Map<TreeNode, Inode>();
    const byPath = new Map<string, Inode>();
    for (const [path, node] of this.tree.entries()) {
      let inode = byNode.get(node);
      if (!inode) {
        inode = Inode.fromTree(this.nextIno++, node, this.quota);
        byNode.set(node, inode);
        this.inodes.set(inode.ino, inode);
        this.quota.usedBytes += xattrs.cost(inode.xattrs);
      }
      const { directory } = inode;
      if (directory) byPath.set(path, inode);
      if (directory) inode.nlink = 2;
      else inode.nlink++;
      if (path === '') {
        inode.parent = inode.ino;
        continue;
      }
      const parent = byPath.get(parentOf(path));
      if (!parent) throw new VmError('bad-image', `the tree has /${path}, but no directory that it is in`);
      parent.directory!.add(path.slice(path.lastIndexOf('/') + 1), inode.ino);
      if (!directory) continue;
      inode.parent = parent.ino;
      parent.nlink++;
    }
    if (!this.inodes.get(ROOT)?.directory) throw new VmError('bad-image', 'the tree has no root directory');
  }

  connect(nowNs: () => number): void {
    this.#nowNs = nowNs;
  }

  now(): Timestamp {
    const ns = this.#nowNs();
    const seconds = Math.floor(ns / 1e9);
    return { seconds, nanoseconds: Math.floor(ns - seconds * 1e9) };
  }

  identity(): Promise<string> {
    return this.tree.digest();
  }

  save(): unknown {
    return saveUpper(this);
  }

  restore(data: unknown): void {
    // A machine that goes on has just made it: no need to make it twice.
    const restored = this.#isAsItsTree() ? this : this.#fresh();
    try {
      restoreUpper(restored, data);
      this.#become(restored);
    } catch (error) {
      if (restored === this) this.#become(this.#fresh());
      throw error;
    }
  }

  #become({ quota, inodes, nextIno }: TreeFileSystem): void {
    Object.assign(this, { quota, inodes, nextIno });
  }

  #isAsItsTree(): boolean {
    if (this.nextIno !== this.treeInodes + 1 || this.inodes.size !== this.treeInodes) return false;
    for (const { changed, lookups } of this.inodes.values()) if (changed || lookups > 0) return false;
    return true;
  }

  /**
   * A tree of what is there now. Contents that the tree below has not are put into `store`, all others keep their digests. What is
   * without a name, and sockets, belong to a running system and are left out. Rejects when a content cannot be had.
   */
  seal(store: ChunkStore): Promise<Tree> {
    return sealUpper(this, store);
  }

  lookup(directory: number, name: string): Answer {
    return this.#names.lookup(directory, name);
  }

  attributes(ino: number): FileAttributes | undefined {
    const inode = this.inodes.get(ino);
    if (!inode) return undefined;
    const { mode, nlink, uid, gid, rdev, atime, mtime, ctime, content } = inode;
    const sizeBytes = content ? content.sizeBytes : inode.directory ? BLOCK_BYTES : utf8Length(inode.target);
    const allocated = content ? content.allocatedBytes : inode.directory ? BLOCK_BYTES : 0;
    return { ino, mode, nlink, uid, gid, rdev, sizeBytes, blocks: Math.ceil(allocated / 512), atime, mtime, ctime };
  }

  change(ino: number, changes: AttributeChanges): Answer {
    const inode = this.inodes.get(ino);
    if (!inode) return -posix.ESTALE;
    const { mode, uid, gid, sizeBytes, atime, mtime, ctime } = changes;
    const now = this.now();
    if (sizeBytes !== undefined) {
      if (inode.directory) return -posix.EISDIR;
      if (!inode.content || sizeBytes < 0) return -posix.EINVAL;
      if (sizeBytes > MAX_FILE_BYTES) return -posix.EFBIG;
      inode.content.truncate(sizeBytes);
      inode.mtime = now;
    }
    const owner = uid !== undefined || gid !== undefined;
    if (uid !== undefined) inode.uid = uid;
    if (gid !== undefined) inode.gid = gid;
    if (!inode.directory && (owner || changes.dropPrivileges)) dropSetId(inode);
    if (!inode.directory && (owner || sizeBytes !== undefined || changes.dropPrivileges)) {
      xattrs.remove(inode.xattrs, 'security.capability', this.quota);
    }
    if (mode !== undefined) inode.mode = inode.type | (mode & 0o7777);
    if (atime) inode.atime = atime === 'now' ? now : atime;
    if (mtime) inode.mtime = mtime === 'now' ? now : mtime;
    inode.ctime = ctime ?? now;
    inode.changed = true;
    return 0;
  }

  create(directory: number, name: string | undefined, file: NewFile): Answer {
    return this.#names.create(directory, name, file);
  }

  readLink(ino: number): string | Answer {
    const inode = this.inodes.get(ino);
    if (!inode) return -posix.ESTALE;
    return inode.type === posix.S_IFLNK ? inode.target : -posix.EINVAL;
  }

  link(ino: number, directory: number, name: string): Answer {
    return this.#names.link(ino, directory, name);
  }

  unlink(directory: number, name: string): Answer {
    return this.#names.unlink(directory, name);
  }

  removeDirectory(directory: number, name: string): Answer {
    return this.#names.removeDirectory(directory, name);
  }

  rename(directory: number, name: string, toDirectory: number, toName: string, flags: number): Answer {
    return this.#names.rename(directory, name, toDirectory, toName, flags);
  }

  read(ino: number, offset: number, length: number, sink: (at: number, bytes: Uint8Array) => void): Answer | NotYet {
    const content = this.#contentOf(ino);
    if (typeof content === 'number') return content;
    if (offset < 0) return -posix.EINVAL;
    const { base } = content;
    if (!base || !content.readNeedsBase(offset, length)) return content.read(offset, length, undefined, sink);
    const bytes = this.contents.peek(base.digest);
    return bytes?.length === base.sizeBytes ? content.read(offset, length, bytes, sink) : this.contents.fetch(base);
  }

  write(ino: number, offset: number, length: number, source: (at: number, into: Uint8Array) => void): Answer | NotYet {
    const content = this.#contentOf(ino);
    if (typeof content === 'number') return content;
    if (offset < 0) return -posix.EINVAL;
    if (offset + length > MAX_FILE_BYTES) return -posix.EFBIG;
    if (length === 0) return 0;
    const bytes = this.#neededForChange(ino, offset, length);
    if (bytes instanceof Promise) return bytes;
    this.touch(ino);
    return content.write(offset, length, bytes, source) ? length : -posix.ENOSPC;
  }

  /** The base, when a change of the range needs it; undefined when it does not. */
  #neededForChange(ino: number, offset: number, length: number): Uint8Array | undefined | NotYet {
    const content = this.inodes.get(ino)!.content!;
    const { base } = content;
    if (!base || length === 0 || !content.changeNeedsBase(offset, length)) return undefined;
    const bytes = this.contents.peek(base.digest);
    return bytes?.length === base.sizeBytes ? bytes : this.contents.fetch(base);
  }

  /** The contents changed now. */
  touch(ino: number): void {
    const inode = this.inodes.get(ino)!;
    inode.mtime = this.now();
    inode.ctime = inode.mtime;
    inode.changed = true;
  }

  allocate(ino: number, offset: number, length: number, mode: number): Answer | NotYet {
    const content = this.#contentOf(ino);
    if (typeof content === 'number') return content;
    if (offset < 0 || length <= 0) return -posix.EINVAL;
    if (offset + length > MAX_FILE_BYTES) return -posix.EFBIG;
    const keep = (mode & posix.FALLOC_KEEP_SIZE) !== 0;
    const kind = mode & ~posix.FALLOC_KEEP_SIZE;
    const punch = kind === posix.FALLOC_PUNCH_HOLE && keep;
    if (kind !== 0 && !punch && kind !== posix.FALLOC_ZERO_RANGE) return -posix.EOPNOTSUPP;
    const end = offset + length;
    if (kind !== 0) {
      // The last page goes as a whole: behind the end there is nothing to keep.
      const within = (end < content.sizeBytes ? end : Math.ceil(content.sizeBytes / BLOCK_BYTES) * BLOCK_BYTES) - offset;
      const bytes = this.#neededForChange(ino, offset, Math.max(0, within));
      if (bytes instanceof Promise) return bytes;
      if (within > 0 && !content.punch(offset, within, bytes)) return -posix.ENOSPC;
    } else if (end - content.sizeBytes > this.quota.limitBytes - this.quota.usedBytes) return -posix.ENOSPC;
    if (!keep && end > content.sizeBytes) content.truncate(end);
    this.touch(ino);
    return 0;
  }

  copy(from: number, fromOffset: number, to: number, toOffset: number, length: number): Answer | NotYet {
    return copyRange(this, { ino: from, offset: fromOffset }, { ino: to, offset: toOffset }, length);
  }

  list(directory: number, cookie: number, visit: (name: string, ino: number, cookie: number) => boolean): Answer {
    return this.#names.list(directory, cookie, visit);
  }

  getXattr(ino: number, name: string): Uint8Array | Answer {
    const inode = this.inodes.get(ino);
    return inode ? (inode.xattrs.get(name) ?? -posix.ENODATA) : -posix.ESTALE;
  }

  setXattr(ino: number, name: string, value: Uint8Array, flags: number): Answer {
    const inode = this.inodes.get(ino);
    return inode ? this.#afterChange(inode, xattrs.set(inode.xattrs, name, value, flags, this.quota)) : -posix.ESTALE;
  }

  removeXattr(ino: number, name: string): Answer {
    const inode = this.inodes.get(ino);
    return inode ? this.#afterChange(inode, xattrs.remove(inode.xattrs, name, this.quota)) : -posix.ESTALE;
  }

  #afterChange(inode: Inode, answer: Answer): Answer {
    if (answer < 0) return answer;
    inode.ctime = this.now();
    inode.changed = true;
    return answer;
  }

  listXattrs(ino: number): readonly string[] | Answer {
    const inode = this.inodes.get(ino);
    return inode ? [...inode.xattrs.keys()] : -posix.ESTALE;
  }

  statistics(): FileSystemStatistics {
    const free = this.quota.limitBytes - this.quota.usedBytes;
    const freeFiles = Math.floor(free / INODE_BYTES);
    const blocks = Math.floor(this.quota.limitBytes / BLOCK_BYTES);
    return {
      blockBytes: BLOCK_BYTES,
      blocks,
      freeBlocks: Math.floor(free / BLOCK_BYTES),
      files: this.inodes.size + freeFiles,
      freeFiles,
    };
  }

  retain(ino: number): void {
    const inode = this.inodes.get(ino);
    if (inode) inode.lookups++;
  }

  forget(ino: number, times: number): void {
    const inode = this.inodes.get(ino);
    if (!inode) return;
    inode.lookups = Math.max(0, inode.lookups - times);
    this.#names.dropIfUnused(inode);
  }

  forgetAll(): void {
    for (const inode of this.inodes.values()) {
      if (inode.lookups === 0) continue;
      inode.lookups = 0;
      this.#names.dropIfUnused(inode);
    }
  }

  #contentOf(ino: number): NonNullable<Inode['content']> | Answer {
    const inode = this.inodes.get(ino);
    if (!inode) return -posix.ESTALE;
    return inode.content ?? (inode.directory ? -posix.EISDIR : -posix.EINVAL);
  }
}

/** Set-user-ID always; set-group-ID where the group may execute: without that it is a mark for locking, not a privilege. */
function dropSetId(inode: Inode): void {
  inode.mode &= ~posix.S_ISUID;
  if (inode.mode & posix.S_IXGRP) inode.mode &= ~posix.S_ISGID;
}
