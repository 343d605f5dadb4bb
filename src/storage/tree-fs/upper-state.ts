/**
 * The upper layer as plain data: inodes that are not as in the tree. Names are bytes there, as whatever carries the data may
 * know Unicode only. How many names an inode has is not said: it follows from the directories, and cannot contradict them.
 */
import { decodeName, encodedName } from '../../base/name-bytes.ts';
import { VmError } from '../../base/errors.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../machine/posix.ts';
import { count, defineState, list, struct, u16, u32, type Field, type StateOf } from '../../machine/state.ts';
import type { FileContent } from './file-content.ts';
import { INODE_BYTES, Inode } from './inode.ts';
import type { InodeTable } from './names.ts';
import * as xattrs from './xattrs.ts';

const MANY = 2 ** 24;

/** At most so many bytes. */
function blob(maximum: number): Field<Uint8Array> {
  return {
    describe: `bytes(0..${maximum})`,
    create: () => new Uint8Array(0),
    save: (value) => value.slice(),
    load(data, path) {
      if (data instanceof Uint8Array && data.length <= maximum) return data.slice();
      throw new VmError('bad-state', `${path}: expected at most ${maximum} bytes`);
    },
  };
}

function integer(): Field<number> {
  return {
    describe: 'integer',
    create: () => 0,
    save: (value) => value,
    load(data, path) {
      if (typeof data === 'number' && Number.isInteger(data)) return data;
      throw new VmError('bad-state', `${path}: expected an integer, found ${String(data)}`);
    },
  };
}

const time = struct({ seconds: integer(), nanoseconds: u32() });
const name = blob(4096);

export const upperState = defineState('tree-file-system', 1, {
  nextIno: count(),
  /** Inodes of the tree that are no more. */
  gone: list(MANY, count()),
  inodes: list(
    MANY,
    struct({
      ino: count(),
      mode: u32(),
      uid: u32(),
      gid: u32(),
      rdev: u32(),
      atime: time,
      mtime: time,
      ctime: time,
      target: name,
      parent: count(),
      xattrs: list(MANY, struct({ name, value: blob(65_536) })),
      sizeBytes: count(),
      baseLimit: count(),
      blocks: list(MANY, struct({ index: count(), present: u16(), hidden: u16(), bytes: blob(65_536) })),
      nextCookie: count(),
      entries: list(MANY, struct({ name, ino: count(), cookie: count() })),
    }),
  ),
  /** Those that the guest's kernel knows, and how often. */
  lookups: list(MANY, struct({ ino: count(), times: count() })),
});

type Upper = StateOf<typeof upperState>;

export function saveUpper(fs: InodeTable): unknown {
  const state = upperState.create();
  state.nextIno = fs.nextIno;
  for (let ino = 1; ino <= fs.treeInodes; ino++) if (!fs.inodes.has(ino)) state.gone.push(ino);
  for (const inode of fs.inodes.values()) {
    if (inode.lookups > 0) state.lookups.push({ ino: inode.ino, times: inode.lookups });
    if (!inode.changed) continue;
    const { ino, mode, uid, gid, rdev, atime, mtime, ctime, parent, content, directory } = inode;
    state.inodes.push({
      ...{ ino, mode, uid, gid, rdev, atime: { ...atime }, mtime: { ...mtime }, ctime: { ...ctime }, parent },
      target: encodedName(inode.target),
      xattrs: [...inode.xattrs].map(([key, value]) => ({ name: encodedName(key), value })),
      sizeBytes: content?.sizeBytes ?? 0,
      baseLimit: content?.baseLimit ?? 0,
      blocks: content ? [...content.blocks].map(([index, block]) => ({ index, ...block })) : [],
      nextCookie: directory?.nextCookie ?? 0,
      entries: directory ? directory.entries().map((entry) => ({ ...entry, name: encodedName(entry.name) })) : [],
    });
  }
  return upperState.save(state);
}

/** Changes a file system that is as its tree. Throws `bad-state` in the middle of it, when the data does not fit. */
export function restoreUpper(fs: InodeTable, data: unknown): void {
  const state = upperState.load(data);
  const refuse = (what: string): never => {
    throw new VmError('bad-state', `tree-file-system: ${what}`);
  };
  if (state.nextIno < fs.nextIno) refuse('it was of another tree');
  for (const ino of state.gone) fs.inodes.delete(ino);
  for (const one of state.inodes) {
    if (one.ino >= state.nextIno || one.ino < 1) refuse(`inode ${one.ino} has no number that was given`);
    const inode = inodeOf(fs, one);
    if (!inode) return refuse(`inode ${one.ino} does not fit`);
    fs.inodes.set(one.ino, inode);
  }
  fs.nextIno = state.nextIno;
  countNames(fs, refuse);
  for (const { ino, times } of state.lookups) {
    const inode = fs.inodes.get(ino);
    if (!inode || !Number.isSafeInteger(times)) return refuse(`there is no inode ${ino} to be known`);
    inode.lookups = times;
  }
  for (const inode of fs.inodes.values()) if (inode.nlink === 0 && inode.lookups === 0) refuse(`nothing leads to inode ${inode.ino}`);
}

function inodeOf(fs: InodeTable, from: Upper['inodes'][number]): Inode | undefined {
  const origin = fs.inodes.get(from.ino)?.origin;
  const old = fs.inodes.get(from.ino);
  if (old ? old.type !== (from.mode & S_IFMT) : from.ino <= fs.treeInodes || !fs.quota.take(INODE_BYTES)) return undefined;
  if (old) fs.quota.give(xattrs.cost(old.xattrs));
  const inode = new Inode(from.ino, from.mode, from.atime, fs.quota, origin);
  const { uid, gid, rdev, atime, mtime, ctime, parent } = from;
  Object.assign(inode, { uid, gid, rdev, atime, mtime, ctime, parent });
  inode.target = decodeName(from.target);
  if ((inode.type === S_IFLNK) !== inode.target.length > 0) return undefined;
  inode.xattrs = new Map();
  for (const { name: key, value } of from.xattrs) {
    if (xattrs.set(inode.xattrs, decodeName(key), value, 0, fs.quota) < 0) return undefined;
  }
  if (inode.type === S_IFREG && !restoreContent(inode.content!, from)) return undefined;
  if (inode.type === S_IFDIR) {
    const entries = from.entries.map((entry) => ({ ...entry, name: decodeName(entry.name) }));
    if (!inode.directory!.restore(entries, from.nextCookie)) return undefined;
  }
  return inode;
}

function restoreContent(content: FileContent, { sizeBytes, baseLimit, blocks }: Upper['inodes'][number]): boolean {
  if (!Number.isSafeInteger(sizeBytes) || baseLimit > Math.min(sizeBytes, content.base?.sizeBytes ?? 0)) return false;
  content.sizeBytes = sizeBytes;
  content.baseLimit = baseLimit;
  return blocks.every(({ index, ...block }) => content.restoreBlock(index, block));
}

/** Walks the tree: every name leads to an inode, and every directory has one name, in its parent. */
function countNames(fs: InodeTable, refuse: (what: string) => never): void {
  for (const inode of fs.inodes.values()) inode.nlink = 0;
  const root = fs.inodes.get(1) ?? refuse('there is no root');
  if (!root.directory || root.parent !== root.ino) refuse('the root is no directory');
  root.nlink = 2;
  const waiting = [root];
  for (let at = waiting.pop(); at; at = waiting.pop()) {
    for (const entry of at.directory!.entries()) {
      const inode = fs.inodes.get(entry.ino);
      if (!inode) return refuse(`a name leads to inode ${entry.ino}, which is not there`);
      if (/^\.{0,2}$|[/\0]/.test(entry.name)) refuse(`inode ${at.ino} has a name that cannot be`);
      if (!inode.directory) {
        inode.nlink++;
        continue;
      }
      if (inode.nlink > 0 || inode.parent !== at.ino) refuse(`the directory ${inode.ino} is not where it should be`);
      inode.nlink = 2;
      at.nlink++;
      waiting.push(inode);
    }
  }
  for (const inode of fs.inodes.values()) {
    if (inode.nlink === 0 && inode.directory && inode.directory.size > 0) refuse(`nothing leads to the directory ${inode.ino}`);
  }
}
