/** One object of the file system, in memory. */
import type { Timestamp } from '../../machine/backends.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../../machine/posix.ts';
import type { TreeNode } from '../tree.ts';
import { Directory } from './directory.ts';
import { FileContent } from './file-content.ts';
import type { Quota } from './quota.ts';

/** What an object costs the host besides its contents, roughly: it is charged to the quota. */
export const INODE_BYTES = 512;

export class Inode {
  readonly ino: number;
  /** What it was in the tree, with all that is not kept here. */
  readonly origin: TreeNode | undefined;
  /** With the type's bits. */
  mode: number;
  uid: number;
  gid: number;
  rdev = 0;
  nlink = 0;
  atime: Timestamp;
  mtime: Timestamp;
  ctime: Timestamp;
  xattrs: Map<string, Uint8Array>;
  /** Of a regular file. */
  content: FileContent | undefined;
  /** Of a directory. */
  directory: Directory | undefined;
  /** Of a directory: where `..` leads. */
  parent = 0;
  /** Of a symlink. */
  target = '';
  /** It is not what it was in the tree any more: it belongs to the upper layer. */
  changed = true;
  /** How often the guest's kernel knows it. */
  lookups = 0;

  constructor(ino: number, mode: number, time: Timestamp, quota: Quota, origin?: TreeNode) {
    this.ino = ino;
    this.mode = mode;
    this.uid = origin?.uid ?? 0;
    this.gid = origin?.gid ?? 0;
    this.atime = time;
    this.mtime = time;
    this.ctime = time;
    this.origin = origin;
    this.xattrs = new Map(origin?.xattrs);
    const type = mode & S_IFMT;
    if (type === S_IFDIR) this.directory = new Directory();
    else if (type === S_IFREG) this.content = new FileContent(quota, origin?.type === 'file' ? origin : undefined);
  }

  /** As it stands in the tree. */
  static fromTree(ino: number, node: TreeNode, quota: Quota): Inode {
    const inode = new Inode(ino, TYPE_BITS[node.type] | (node.mode & 0o7777), { seconds: node.mtime, nanoseconds: 0 }, quota, node);
    inode.changed = false;
    if (node.type === 'symlink') inode.target = node.target;
    else if (node.type === 'char' || node.type === 'block') inode.rdev = encodeDevice(node.major, node.minor);
    return inode;
  }

  get type(): number {
    return this.mode & S_IFMT;
  }
}

const TYPE_BITS: Readonly<Record<TreeNode['type'], number>> = {
  directory: S_IFDIR,
  file: S_IFREG,
  symlink: S_IFLNK,
  char: S_IFCHR,
  block: S_IFBLK,
  fifo: S_IFIFO,
};

/** Linux's new_encode_dev. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

export function decodeDevice(device: number): { major: number; minor: number } {
  return { major: (device >>> 8) & 0xfff, minor: (device & 0xff) | ((device >>> 12) & 0xfff00) };
}
