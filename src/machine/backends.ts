/**
 * What devices ask of the world behind them. Declared here, so that a device and its backend need not know
 * each other. All completions come back through the machine's one door for input.
 */

/** Where bytes typed at, or printed by, a guest's terminal go. */
export interface CharBackend {
  /** Bytes from the guest. */
  write(data: Uint8Array): void;
  /** The guest's device refused bytes, and now has room again. */
  room?(): void;
}

/** A disk as the guest sees it. Sectors are 512 bytes. */
export interface BlockBackend {
  readonly sectors: number;
  readonly readOnly: boolean;
  /** Fills `into` (a multiple of 512 bytes) from `sector` on. Rejects with a VmError when the host fails. */
  read(sector: number, into: Uint8Array): Promise<void>;
  write(sector: number, data: Uint8Array): Promise<void>;
  flush(): Promise<void>;
  discard(sector: number, count: number): Promise<void>;
  /** For a saved machine to know its disk again: a text for people that differs when the contents may differ. */
  identity?(): Promise<string>;
}

/** Random bytes from the host. */
export interface EntropyBackend {
  fill(into: Uint8Array): void;
}

/** The other end of a guest's network cable. Frames are Ethernet frames without their checksum (FCS). */
export interface NetBackend {
  /** A frame from the guest, with its checksums complete; the bytes are the receiver's to keep. */
  send(frame: Uint8Array): void;
  /** The guest has buffers again after it refused a frame. */
  room?(): void;
}

/** What becomes of guest memory whose contents the guest gave up. */
export interface PageReclaimer {
  /** Page-aligned, and all RAM. The guest may find anything there from now on, and may write there at any time. */
  release(gpa: number, length: number): void;
}

/** A point in time: whole seconds since 1970 (may be negative), and nanoseconds after them. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** stat(2). `mode` has the type's bits. */
export interface FileAttributes {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a device: 20 bits minor number, 12 bits major, as Linux's new_encode_dev. */
  readonly rdev: number;
  readonly sizeBytes: number;
  /** Of 512 bytes each. */
  readonly blocks: number;
  readonly atime: Timestamp;
  readonly mtime: Timestamp;
  readonly ctime: Timestamp;
}

export interface AttributeChanges {
  /** Permission bits. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  readonly atime?: Timestamp | 'now';
  readonly mtime?: Timestamp | 'now';
  /** Absent: now. */
  readonly ctime?: Timestamp;
  /** Takes set-id bits and file capabilities away, as a write by an unprivileged process does. */
  readonly dropPrivileges?: boolean;
}

export interface NewFile {
  /** With the type's bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev?: number;
  /** Of a symlink. */
  readonly target?: string;
}

/** Answer of an operation: 0 or what it says, or a negated errno of machine/posix.ts. */
export type Answer = number;

/** The contents are not here yet. The same call may be made again once this has resolved; a rejection is an I/O error. */
export type NotYet = Promise<void>;

/**
 * A file system that belongs to the guest alone, by inode numbers. The kernel before it has checked permissions, and what it was
 * given is untrusted all the same. Names and attributes answer at once; contents may have to be fetched. Names and symlink
 * targets are strings in which a byte that is no UTF-8 stands as the lone surrogate 0xDC00 + byte.
 */
export interface FileSystemBackend {
  /** Inode number of the root. */
  readonly root: number;
  /** Gives the guest's wall clock, in nanoseconds since 1970. */
  connect(nowNs: () => number): void;
  /** Inode number of a name; `.` and `..` are names. */
  lookup(directory: number, name: string): Answer;
  /** Undefined when there is no such inode. */
  attributes(ino: number): FileAttributes | undefined;
  change(ino: number, changes: AttributeChanges): Answer;
  /** Inode number of a new file; without a name it has none, as O_TMPFILE makes it. */
  create(directory: number, name: string | undefined, file: NewFile): Answer;
  readLink(ino: number): string | Answer;
  link(ino: number, directory: number, name: string): Answer;
  unlink(directory: number, name: string): Answer;
  removeDirectory(directory: number, name: string): Answer;
  /** renameat2(2). */
  rename(directory: number, name: string, toDirectory: number, toName: string, flags: number): Answer;
  /** Hands bytes to `sink`, in order, `at` counting from `offset`; answers how many there were. */
  read(ino: number, offset: number, length: number, sink: (at: number, bytes: Uint8Array) => void): Answer | NotYet;
  /** Has `source` fill buffers, `at` counting from `offset`; answers `length`. */
  write(ino: number, offset: number, length: number, source: (at: number, into: Uint8Array) => void): Answer | NotYet;
  /** fallocate(2). */
  allocate(ino: number, offset: number, length: number, mode: number): Answer | NotYet;
  /** copy_file_range(2); answers how many bytes were copied, which may be fewer. */
  copy(from: number, fromOffset: number, to: number, toOffset: number, length: number): Answer | NotYet;
  /** Visits the entries behind a cookie, 0 for all, in order, until `visit` answers false. */
  list(directory: number, cookie: number, visit: (name: string, ino: number, cookie: number) => boolean): Answer;
  getXattr(ino: number, name: string): Uint8Array | Answer;
  /** `value` is the backend's to keep. */
  setXattr(ino: number, name: string, value: Uint8Array, flags: number): Answer;
  removeXattr(ino: number, name: string): Answer;
  listXattrs(ino: number): readonly string[] | Answer;
  statistics(): FileSystemStatistics;
  /** What it was made of, the same for the same: a saved state goes on with that only. */
  identity(): Promise<string>;
  /** Plain data: what differs from what it was made of, and what the guest's kernel knows. */
  save(): unknown;
  /** Puts it back. Throws `bad-state`, and changes nothing, when it does not fit. */
  restore(data: unknown): void;
  /** The guest's kernel knows the inode once more: until it forgets it as often, it stays, even without a name. */
  retain(ino: number): void;
  forget(ino: number, times: number): void;
  forgetAll(): void;
}

/** A file system that the guest mounts by its tag: `mount -t virtiofs TAG DIRECTORY`, or `root=TAG rootfstype=virtiofs`. */
export interface SharedFileSystem {
  readonly tag: string;
  readonly backend: FileSystemBackend;
}

export interface FileSystemStatistics {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly freeBlocks: number;
  readonly files: number;
  readonly freeFiles: number;
}
