/**
 * FUSE as it goes over the wire: Linux's include/uapi/linux/fuse.h, protocol 7. Little-endian here, as the guest is. Offsets of
 * fields are written where they are read; this has the numbers with a meaning of their own.
 */
export const FUSE_MAJOR = 7;
/** The newest minor whose messages we know, and the oldest that we serve: the first with virtio-fs. */
export const FUSE_MINOR = 38;
export const FUSE_MINOR_OLDEST = 31;

export const LOOKUP = 1;
export const FORGET = 2;
export const GETATTR = 3;
export const SETATTR = 4;
export const READLINK = 5;
export const SYMLINK = 6;
export const MKNOD = 8;
export const MKDIR = 9;
export const UNLINK = 10;
export const RMDIR = 11;
export const RENAME = 12;
export const LINK = 13;
export const READ = 15;
export const WRITE = 16;
export const STATFS = 17;
export const RELEASE = 18;
export const SETXATTR = 21;
export const GETXATTR = 22;
export const LISTXATTR = 23;
export const REMOVEXATTR = 24;
export const INIT = 26;
export const READDIR = 28;
export const RELEASEDIR = 29;
export const DESTROY = 38;
export const BATCH_FORGET = 42;
export const FALLOCATE = 43;
export const READDIRPLUS = 44;
export const RENAME2 = 45;
export const COPY_FILE_RANGE = 47;
export const SYNCFS = 50;
export const TMPFILE = 51;

/** Length, opcode, unique, nodeid, uid, gid, pid, length of extensions. */
export const IN_HEADER = 40;
/** Length, error, unique. */
export const OUT_HEADER = 16;
export const ATTR_SIZE = 88;
/** Nodeid, generation, how long both are valid, attributes. */
export const ENTRY_SIZE = 40 + ATTR_SIZE;
export const DIRENT_HEADER = 24;

/** Flags of INIT. */
export const ASYNC_READ = 1 << 0;
export const EXPORT_SUPPORT = 1 << 4;
export const BIG_WRITES = 1 << 5;
export const DO_READDIRPLUS = 1 << 13;
export const READDIRPLUS_AUTO = 1 << 14;
export const ASYNC_DIO = 1 << 15;
export const WRITEBACK_CACHE = 1 << 16;
export const NO_OPEN_SUPPORT = 1 << 17;
export const PARALLEL_DIROPS = 1 << 18;
export const MAX_PAGES = 1 << 22;
export const CACHE_SYMLINKS = 1 << 23;
export const NO_OPENDIR_SUPPORT = 1 << 24;
export const HANDLE_KILLPRIV_V2 = 1 << 28;

/** Which fields of SETATTR count. */
export const FATTR_MODE = 1 << 0;
export const FATTR_UID = 1 << 1;
export const FATTR_GID = 1 << 2;
export const FATTR_SIZE = 1 << 3;
export const FATTR_ATIME = 1 << 4;
export const FATTR_MTIME = 1 << 5;
export const FATTR_ATIME_NOW = 1 << 7;
export const FATTR_MTIME_NOW = 1 << 8;
export const FATTR_CTIME = 1 << 10;
export const FATTR_KILL_SUIDGID = 1 << 11;

export const WRITE_KILL_SUIDGID = 1 << 2;

/** Flags of an opened file: what the page cache has stays valid. */
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_NOFLUSH = 1 << 5;

const FOUR_GIB = 0x1_0000_0000;

/** A 64-bit number that is at most 2^53, or NaN. */
export function u64At(view: DataView, offset: number): number {
  const value = view.getUint32(offset, true) + view.getUint32(offset + 4, true) * FOUR_GIB;
  return Number.isSafeInteger(value) ? value : Number.NaN;
}

/** A signed 64-bit number; beyond 2^53 it loses low bits. */
export function i64At(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getInt32(offset + 4, true) * FOUR_GIB;
}

/** Stores an integer between -2^53 and 2^53. */
export function putI64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setInt32(offset + 4, Math.floor(value / FOUR_GIB), true);
}
