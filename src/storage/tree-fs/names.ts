/** Operations on names: what is in which directory, and how many names an inode has. */
import type { Answer, NewFile, Timestamp } from '../../machine/backends.ts';
import {
  EEXIST,
  EINVAL,
  EISDIR,
  EMLINK,
  ENAMETOOLONG,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  ESTALE,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
} from '../../machine/posix.ts';
import { INODE_BYTES, Inode } from './inode.ts';
import type { Quota } from './quota.ts';
import { utf8Length } from './text.ts';
import * as xattrs from './xattrs.ts';

const MAX_NAME_BYTES = 255;
const MAX_TARGET_BYTES = 4095;
/** As ext4 has it. */
const MAX_LINKS = 65_000;
const TYPES = [S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK];

/** An inode that is a directory. */
type DirectoryInode = Inode & { directory: NonNullable<Inode['directory']> };

/** What the names lead to. */
export interface InodeTable {
  readonly inodes: Map<number, Inode>;
  readonly quota: Quota;
  /** Numbers up to this one are the tree's. */
  readonly treeInodes: number;
  nextIno: number;
  now(): Timestamp;
}

export class Names {
  readonly #fs: InodeTable;

  constructor(fs: InodeTable) {
    this.#fs = fs;
  }

  lookup(directory: number, name: string): Answer {
    // A directory that was forgotten is found by its number: so do file handles.
    if (name === '.') return this.#fs.inodes.has(directory) ? directory : -ESTALE;
    const parent = this.#directory(directory);
    if (typeof parent === 'number') return parent;
    if (name === '..') return parent.parent;
    return parent.directory.get(name) ?? (name.length > MAX_NAME_BYTES || utf8Length(name) > MAX_NAME_BYTES ? -ENAMETOOLONG : -ENOENT);
  }

  create(directory: number, name: string | undefined, { mode, uid, gid, rdev, target }: NewFile): Answer {
    const parent = this.#directory(directory);
    if (typeof parent === 'number') return parent;
    const refused = name === undefined ? 0 : this.#refuseNew(parent, name);
    if (refused) return refused;
    const type = mode & S_IFMT;
    if (!TYPES.includes(type) || (name === undefined && type !== S_IFREG)) return -EINVAL;
    if (type === S_IFLNK && (target === undefined || target === '')) return -ENOENT;
    if (type === S_IFLNK && utf8Length(target!) > MAX_TARGET_BYTES) return -ENAMETOOLONG;
    if (type === S_IFDIR && parent.nlink >= MAX_LINKS) return -EMLINK;
    if (!this.#fs.quota.take(INODE_BYTES)) return -ENOSPC;

    const inherits = (parent.mode & S_ISGID) !== 0;
    const inode = new Inode(this.#fs.nextIno++, type | (mode & 0o7777), this.#fs.now(), this.#fs.quota);
    inode.uid = uid;
    inode.gid = inherits ? parent.gid : gid;
    if (type === S_IFLNK) {
      inode.target = target!;
      inode.mode = S_IFLNK | 0o777;
    }
    if (type === S_IFCHR || type === S_IFBLK) inode.rdev = rdev ?? 0;
    if (type === S_IFDIR) {
      inode.parent = parent.ino;
      inode.nlink = 1;
      parent.nlink++;
      if (inherits) inode.mode |= S_ISGID;
    }
    this.#fs.inodes.set(inode.ino, inode);
    if (name !== undefined) {
      inode.nlink++;
      parent.directory.add(name, inode.ino);
      this.#modified(parent);
    }
    return inode.ino;
  }

  link(ino: number, directory: number, name: string): Answer {
    const inode = this.#fs.inodes.get(ino);
    const parent = this.#directory(directory);
    if (!inode) return -ESTALE;
    if (typeof parent === 'number') return parent;
    if (inode.directory) return -EISDIR;
    const refused = this.#refuseNew(parent, name);
    if (refused) return refused;
    if (inode.nlink >= MAX_LINKS) return -EMLINK;
    inode.nlink++;
    this.#renamed(inode);
    parent.directory.add(name, ino);
    this.#modified(parent);
    return 0;
  }

  unlink(directory: number, name: string): Answer {
    const parent = this.#directory(directory);
    if (typeof parent === 'number') return parent;
    const inode = this.#entry(parent, name);
    if (!inode) return -ENOENT;
    if (inode.directory) return -EISDIR;
    this.#remove(parent, name, inode);
    return 0;
  }

  removeDirectory(directory: number, name: string): Answer {
    const parent = this.#directory(directory);
    if (typeof parent === 'number') return parent;
    if (name === '.') return -EINVAL;
    if (name === '..') return -ENOTEMPTY;
    const inode = this.#entry(parent, name);
    if (!inode) return -ENOENT;
    if (!inode.directory) return -ENOTDIR;
    if (inode.directory.size > 0) return -ENOTEMPTY;
    this.#remove(parent, name, inode);
    return 0;
  }

  rename(directory: number, name: string, toDirectory: number, toName: string, flags: number): Answer {
    if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) return -EINVAL;
    if (flags & RENAME_EXCHANGE && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) return -EINVAL;
    const parent = this.#directory(directory);
    const toParent = this.#directory(toDirectory);
    if (typeof parent === 'number') return parent;
    if (typeof toParent === 'number') return toParent;
    const inode = this.#entry(parent, name);
    if (!inode) return -ENOENT;
    const target = this.#entry(toParent, toName);
    if (!target) {
      if (flags & RENAME_EXCHANGE) return -ENOENT;
      const refused = this.#refuseNew(toParent, toName);
      if (refused) return refused;
    }
    if (flags & RENAME_NOREPLACE && target) return -EEXIST;
    if (inode.directory && this.#isWithin(toParent, inode)) return -EINVAL;
    if (flags & RENAME_EXCHANGE) return this.#exchange(parent, name, inode, toParent, toName, target!);
    if (target === inode) return 0;
    if (target) {
      if (target.directory && !inode.directory) return -EISDIR;
      if (!target.directory && inode.directory) return -ENOTDIR;
      if (target.directory && target.directory.size > 0) return -ENOTEMPTY;
    }
    if (flags & RENAME_WHITEOUT && !this.#fs.quota.take(INODE_BYTES)) return -ENOSPC;

    parent.directory.remove(name);
    if (target) {
      toParent.directory.replace(toName, inode.ino);
      this.#unlinked(toParent, target);
    } else toParent.directory.add(toName, inode.ino);
    if (inode.directory) this.#move(inode, parent, toParent);
    this.#renamed(inode);
    this.#modified(parent);
    this.#modified(toParent);
    if (flags & RENAME_WHITEOUT) {
      // What overlayfs takes for "nothing here": the character device 0:0.
      const whiteout = new Inode(this.#fs.nextIno++, S_IFCHR, this.#fs.now(), this.#fs.quota);
      whiteout.nlink = 1;
      this.#fs.inodes.set(whiteout.ino, whiteout);
      parent.directory.add(name, whiteout.ino);
    }
    return 0;
  }

  #exchange(parent: DirectoryInode, name: string, inode: Inode, toParent: DirectoryInode, toName: string, target: Inode): Answer {
    if (target.directory && this.#isWithin(parent, target)) return -EINVAL;
    parent.directory.replace(name, target.ino);
    toParent.directory.replace(toName, inode.ino);
    if (inode.directory) this.#move(inode, parent, toParent);
    if (target.directory) this.#move(target, toParent, parent);
    this.#renamed(inode);
    this.#renamed(target);
    this.#modified(parent);
    this.#modified(toParent);
    return 0;
  }

  list(directory: number, cookie: number, visit: (name: string, ino: number, cookie: number) => boolean): Answer {
    const inode = this.#directory(directory);
    if (typeof inode === 'number') return inode;
    if (cookie < 1 && !visit('.', inode.ino, 1)) return 0;
    if (cookie < 2 && !visit('..', inode.parent, 2)) return 0;
    inode.directory.visit(cookie, (entry) => visit(entry.name, entry.ino, entry.cookie));
    return 0;
  }

  /** An inode without a name that nobody knows is gone. */
  dropIfUnused(inode: Inode): void {
    if (inode.nlink > 0 || inode.lookups > 0) return;
    inode.content?.dispose();
    this.#fs.quota.give(xattrs.cost(inode.xattrs));
    // Those of the tree were never charged.
    if (!inode.origin) this.#fs.quota.give(INODE_BYTES);
    this.#fs.inodes.delete(inode.ino);
  }

  #directory(ino: number): DirectoryInode | Answer {
    const inode = this.#fs.inodes.get(ino);
    if (!inode) return -ESTALE;
    return inode.directory ? (inode as DirectoryInode) : -ENOTDIR;
  }

  #entry(parent: DirectoryInode, name: string): Inode | undefined {
    const ino = parent.directory.get(name);
    return ino === undefined ? undefined : this.#fs.inodes.get(ino);
  }

  /** Why a name cannot be made, or 0. */
  #refuseNew(parent: DirectoryInode, name: string): Answer {
    if (parent.nlink === 0) return -ENOENT;
    if (name === '' || name.includes('/') || name.includes('\0')) return -EINVAL;
    if (name === '.' || name === '..' || parent.directory.get(name) !== undefined) return -EEXIST;
    return utf8Length(name) > MAX_NAME_BYTES ? -ENAMETOOLONG : 0;
  }

  #remove(parent: DirectoryInode, name: string, inode: Inode): void {
    parent.directory.remove(name);
    this.#unlinked(parent, inode);
    this.#modified(parent);
  }

  #unlinked(parent: DirectoryInode, inode: Inode): void {
    if (inode.directory) {
      inode.nlink = 0;
      parent.nlink--;
    } else inode.nlink--;
    this.#renamed(inode);
    this.dropIfUnused(inode);
  }

  #move(inode: Inode, from: DirectoryInode, to: DirectoryInode): void {
    from.nlink--;
    to.nlink++;
    inode.parent = to.ino;
  }

  /** Whether a directory is `ancestor` or in it. */
  #isWithin(directory: Inode, ancestor: Inode): boolean {
    for (let at: Inode | undefined = directory; at; at = this.#fs.inodes.get(at.parent)) {
      if (at === ancestor) return true;
      if (at.parent === at.ino) return false;
    }
    return false;
  }

  #modified(directory: Inode): void {
    directory.mtime = this.#fs.now();
    directory.ctime = directory.mtime;
    directory.changed = true;
  }

  #renamed(inode: Inode): void {
    inode.ctime = this.#fs.now();
    inode.changed = true;
  }
}
