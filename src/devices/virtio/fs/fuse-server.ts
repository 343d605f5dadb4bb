/**
 * Answers FUSE requests from a file system. Inode numbers are FUSE's nodeids, and there are no file handles: what a handle would
 * hold, an inode has. So OPEN and OPENDIR are not known here, which Linux remembers and then opens files by itself.
 */
import type { AttributeChanges, FileSystemBackend, NotYet, Timestamp } from '../../../machine/backends.ts';
import { EINVAL, ENOENT, ENOSYS, EPROTO, ERANGE, ESTALE, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../../machine/posix.ts';
import type { Chain } from '../chain.ts';
import { listDirectory } from './list-directory.ts';
import { Message, Refusal } from './message.ts';
import * as wire from './wire.ts';

/** Pages in one request: 1 MiB. */
const MAX_PAGES = 256;
const PAGE = 4096;
const FEATURES =
  wire.ASYNC_READ |
  wire.EXPORT_SUPPORT |
  wire.BIG_WRITES |
  wire.DO_READDIRPLUS |
  wire.READDIRPLUS_AUTO |
  wire.ASYNC_DIO |
  wire.WRITEBACK_CACHE |
  wire.NO_OPEN_SUPPORT |
  wire.PARALLEL_DIROPS |
  wire.MAX_PAGES |
  wire.CACHE_SYMLINKS |
  wire.NO_OPENDIR_SUPPORT |
  wire.HANDLE_KILLPRIV_V2;

/** How long an answer is in `answer`; below zero an errno; or the request has to be made again. */
type Result = number | NotYet;

export class FuseServer {
  readonly #fs: FileSystemBackend;
  readonly #message = new Message();
  #inPlace = false;

  constructor(fs: FileSystemBackend) {
    this.#fs = fs;
  }

  /** Answers a request; gives the bytes written into it, or a promise after which it has to be made again. */
  serve(chain: Chain): number | NotYet {
    const message = this.#message;
    if (!message.open(chain)) return 0;
    this.#inPlace = false;
    let result: Result;
    try {
      result = this.#dispatch(message);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      result = -error.errno;
    }
    if (typeof result !== 'number') return result;
    const { opcode } = message;
    if (opcode === wire.FORGET || opcode === wire.BATCH_FORGET) return 0;
    return result < 0 ? message.reply(-result, 0) : message.reply(0, result, this.#inPlace);
  }

  /** Answers a request that cannot be served. */
  fail(chain: Chain, errno: number): number {
    return this.#message.open(chain) ? this.#message.reply(errno, 0) : 0;
  }

  #dispatch(m: Message): Result {
    const fs = this.#fs;
    const { nodeid } = m;
    switch (m.opcode) {
      case wire.LOOKUP:
        return this.#lookup(m);
      case wire.FORGET:
        m.need(8);
        fs.forget(nodeid, m.u64(0));
        return 0;
      case wire.BATCH_FORGET:
        return this.#batchForget(m);
      case wire.GETATTR:
        return this.#attributes(m);
      case wire.SETATTR:
        return this.#setAttributes(m);
      case wire.READLINK:
        return this.#readLink(m);
      case wire.SYMLINK: {
        const { name, next } = m.name(0);
        return this.#create(m, name, S_IFLNK | 0o777, 0, m.name(next).name);
      }
      case wire.MKNOD:
        m.need(16);
        return this.#create(m, m.name(16).name, m.u32(0), m.u32(4));
      case wire.MKDIR:
        m.need(8);
        return this.#create(m, m.name(8).name, S_IFDIR | (m.u32(0) & ~S_IFMT));
      case wire.TMPFILE:
        return this.#temporaryFile(m);
      case wire.UNLINK:
        return fs.unlink(nodeid, m.name(0).name);
      case wire.RMDIR:
        return fs.removeDirectory(nodeid, m.name(0).name);
      case wire.RENAME:
        m.need(8);
        return this.#rename(m, 8, 0);
      case wire.RENAME2:
        m.need(16);
        return this.#rename(m, 16, m.u32(8));
      case wire.LINK: {
        m.need(8);
        const ino = m.u64(0);
        const answer = fs.link(ino, nodeid, m.name(8).name);
        return answer < 0 ? answer : this.#entry(m, ino);
      }
      case wire.READ:
        return this.#read(m);
      case wire.WRITE:
        return this.#write(m);
      case wire.FALLOCATE:
        m.need(32);
        return fs.allocate(nodeid, m.u64(8), m.u64(16), m.u32(24));
      case wire.COPY_FILE_RANGE: {
        m.need(56);
        if (m.u64(48) !== 0) return -EINVAL;
        return this.#count(m, fs.copy(nodeid, m.u64(8), m.u64(16), m.u64(32), m.u64(40)));
      }
      case wire.READDIR:
      case wire.READDIRPLUS:
        m.need(24);
        return listDirectory(m, fs, m.u64(8), m.u32(16), m.opcode === wire.READDIRPLUS);
      case wire.STATFS:
        return this.#statistics(m);
      case wire.GETXATTR:
      case wire.LISTXATTR:
        return this.#getXattr(m);
      case wire.SETXATTR: {
        m.need(8);
        const { name, next } = m.name(8);
        const size = m.u32(0);
        m.need(next + size);
        return fs.setXattr(nodeid, name, m.bytes.slice(m.args + next, m.args + next + size), m.u32(4));
      }
      case wire.REMOVEXATTR:
        return fs.removeXattr(nodeid, m.name(0).name);
      case wire.INIT:
        return this.#init(m);
      case wire.RELEASE:
      case wire.RELEASEDIR:
      case wire.SYNCFS:
        return 0;
      case wire.DESTROY:
        fs.forgetAll();
        return 0;
      default:
        // OPEN, OPENDIR, CREATE, FLUSH, FSYNC, ACCESS, STATX, locks…: Linux does without, and does not ask again. LSEEK (SEEK_DATA)
        // must not be answered: what the guest has written and not yet sent would be a hole, and a copy of the file lose it.
        return -ENOSYS;
    }
  }

  /** struct fuse_init_in and fuse_init_out. */
  #init(m: Message): Result {
    m.need(16);
    const [major, minor] = [m.u32(0), m.u32(4)];
    this.#fs.forgetAll();
    m.fits(64);
    m.answer.fill(0, wire.OUT_HEADER, wire.OUT_HEADER + 64);
    m.putU32(0, wire.FUSE_MAJOR);
    m.putU32(4, Math.min(minor, wire.FUSE_MINOR));
    // A newer major learns ours, and asks again.
    if (major > wire.FUSE_MAJOR) return 64;
    if (major < wire.FUSE_MAJOR || minor < wire.FUSE_MINOR_OLDEST) return -EPROTO;
    m.putU32(8, m.u32(8));
    m.putU32(12, m.u32(12) & FEATURES);
    m.answerView.setUint16(wire.OUT_HEADER + 16, 64, true); // requests in the background
    m.answerView.setUint16(wire.OUT_HEADER + 18, 48, true); // … and from when on that is a congestion
    m.putU32(20, MAX_PAGES * PAGE);
    m.putU32(24, 1); // times count nanoseconds
    m.answerView.setUint16(wire.OUT_HEADER + 28, MAX_PAGES, true);
    return 64;
  }

  #batchForget(m: Message): Result {
    m.need(8);
    const count = Math.min(m.u32(0), Math.floor((m.end - m.args - 8) / 16));
    for (let i = 0; i < count; i++) this.#fs.forget(m.u64(8 + 16 * i), m.u64(16 + 16 * i));
    return 0;
  }

  #lookup(m: Message): Result {
    const ino = this.#fs.lookup(m.nodeid, m.name(0).name);
    if (ino !== -ENOENT) return ino < 0 ? ino : this.#entry(m, ino);
    m.fits(wire.ENTRY_SIZE);
    return m.putEntry(0, undefined);
  }

  /** The answer of what gives the guest an inode. */
  #entry(m: Message, ino: number): Result {
    const attributes = this.#fs.attributes(ino);
    if (!attributes) return -ESTALE;
    m.fits(wire.ENTRY_SIZE);
    this.#fs.retain(ino);
    return m.putEntry(0, attributes);
  }

  #create(m: Message, name: string | undefined, mode: number, rdev = 0, target?: string): Result {
    const ino = this.#fs.create(m.nodeid, name, { mode, uid: m.uid, gid: m.gid, rdev, ...(target !== undefined && { target }) });
    return ino < 0 ? ino : this.#entry(m, ino);
  }

  /** struct fuse_create_in; fuse_entry_out and fuse_open_out. */
  #temporaryFile(m: Message): Result {
    m.need(16);
    m.fits(wire.ENTRY_SIZE + 16);
    const made = this.#create(m, undefined, S_IFREG | (m.u32(4) & ~S_IFMT));
    if (typeof made !== 'number' || made < 0) return made;
    m.putU64(wire.ENTRY_SIZE, 0);
    m.putU32(wire.ENTRY_SIZE + 8, wire.FOPEN_KEEP_CACHE | wire.FOPEN_NOFLUSH);
    m.putU32(wire.ENTRY_SIZE + 12, 0);
    return wire.ENTRY_SIZE + 16;
  }

  #rename(m: Message, namesAt: number, flags: number): Result {
    const from = m.name(namesAt);
    return this.#fs.rename(m.nodeid, from.name, m.u64(0), m.name(from.next).name, flags);
  }

  #attributes(m: Message): Result {
    const attributes = this.#fs.attributes(m.nodeid);
    if (!attributes) return -ESTALE;
    m.fits(16 + wire.ATTR_SIZE);
    return m.putAttributes(attributes);
  }

  /** struct fuse_setattr_in. */
  #setAttributes(m: Message): Result {
    m.need(88);
    const valid = m.u32(0);
    const has = (flag: number): boolean => (valid & flag) !== 0;
    const time = (wide: number, narrow: number): Timestamp => ({
      seconds: wire.i64At(m.view, m.args + wide),
      nanoseconds: Math.min(m.u32(narrow), 999_999_999),
    });
    const changes: AttributeChanges = {
      ...(has(wire.FATTR_MODE) && { mode: m.u32(68) }),
      ...(has(wire.FATTR_UID) && { uid: m.u32(76) }),
      ...(has(wire.FATTR_GID) && { gid: m.u32(80) }),
      ...(has(wire.FATTR_SIZE) && { sizeBytes: m.u64(16) }),
      ...(has(wire.FATTR_ATIME) && { atime: has(wire.FATTR_ATIME_NOW) ? 'now' : time(32, 56) }),
      ...(has(wire.FATTR_MTIME) && { mtime: has(wire.FATTR_MTIME_NOW) ? 'now' : time(40, 60) }),
      ...(has(wire.FATTR_CTIME) && { ctime: time(48, 64) }),
      ...(has(wire.FATTR_KILL_SUIDGID) && { dropPrivileges: true }),
    };
    const answer = this.#fs.change(m.nodeid, changes);
    return answer < 0 ? answer : this.#attributes(m);
  }

  #readLink(m: Message): Result {
    const target = this.#fs.readLink(m.nodeid);
    if (typeof target === 'number') return target;
    const length = m.putName(0, target);
    m.fits(length);
    return length;
  }

  /** struct fuse_read_in. The bytes go into the guest's memory as they are found. */
  #read(m: Message): Result {
    m.need(24);
    const { chain } = m;
    const length = Math.min(m.u32(16), Math.max(0, chain.writableBytes - wire.OUT_HEADER));
    this.#inPlace = true;
    return this.#fs.read(m.nodeid, m.u64(8), length, (at, bytes) => chain.write(wire.OUT_HEADER + at, bytes));
  }

  /** struct fuse_write_in. */
  #write(m: Message): Result {
    m.need(40);
    const { chain } = m;
    const size = m.u32(16);
    if (m.totalBytes - m.args - 40 < size) return -EINVAL;
    const written = this.#fs.write(m.nodeid, m.u64(8), size, (at, into) => chain.read(m.args + 40 + at, into));
    if (typeof written === 'number' && written >= 0 && m.u32(20) & wire.WRITE_KILL_SUIDGID) {
      this.#fs.change(m.nodeid, { dropPrivileges: true });
    }
    return this.#count(m, written);
  }

  /** struct fuse_write_out. */
  #count(m: Message, count: number | NotYet): Result {
    if (typeof count !== 'number' || count < 0) return count;
    m.fits(8);
    m.putU64(0, count);
    return 8;
  }

  /** struct fuse_kstatfs. */
  #statistics(m: Message): Result {
    m.fits(80);
    m.answer.fill(0, wire.OUT_HEADER, wire.OUT_HEADER + 80);
    const { blockBytes, blocks, freeBlocks, files, freeFiles } = this.#fs.statistics();
    [blocks, freeBlocks, freeBlocks, files, freeFiles].forEach((value, i) => m.putU64(8 * i, value));
    [blockBytes, 255, blockBytes].forEach((value, i) => m.putU32(40 + 4 * i, value));
    return 80;
  }

  /** struct fuse_getxattr_in: a size of 0 asks how much there is. */
  #getXattr(m: Message): Result {
    m.need(8);
    const size = m.u32(0);
    let length: number;
    if (m.opcode === wire.LISTXATTR) {
      const names = this.#fs.listXattrs(m.nodeid);
      if (typeof names === 'number') return names;
      length = m.putName(0, names.map((name) => `${name}\0`).join(''));
    } else {
      const value = this.#fs.getXattr(m.nodeid, m.name(8).name);
      if (typeof value === 'number') return value;
      m.answer.set(value, wire.OUT_HEADER);
      length = value.length;
    }
    if (size > 0) return length > size ? -ERANGE : (m.fits(length), length);
    m.fits(8);
    m.putU64(0, length);
    return 8;
  }
}
