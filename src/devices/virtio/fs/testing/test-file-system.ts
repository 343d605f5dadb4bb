import type { AttributeChanges, FileAttributes, FileSystemBackend, NewFile } from '../../../../machine/backends.ts';
import * as posix from '../../../../machine/posix.ts';

const TIME = { seconds: 1, nanoseconds: 2 };
const FILE = 2;
const NAMES = [
  ['.', 1],
  ['..', 1],
  ['file', FILE],
  ['other', FILE],
] as const;

/** A directory (1) with one file (2) under two names, that writes down what it is asked for. */
export class TestFileSystem implements FileSystemBackend {
  readonly root = 1;
  readonly log: string[] = [];
  readonly bytes = new TextEncoder().encode('0123456789');
  /** When set, contents wait for it. */
  missing: Promise<void> | undefined;

  connect(): void {}

  lookup(directory: number, name: string): number {
    if (directory !== 1) return -posix.ENOTDIR;
    return NAMES.find(([known]) => known === name)?.[1] ?? -posix.ENOENT;
  }

  attributes(ino: number): FileAttributes | undefined {
    if (ino !== 1 && ino !== FILE) return undefined;
    const mode = ino === 1 ? posix.S_IFDIR | 0o755 : posix.S_IFREG | 0o644;
    const times = { atime: TIME, mtime: TIME, ctime: TIME };
    return { ino, mode, nlink: 1, uid: 0, gid: 0, rdev: 0, sizeBytes: this.bytes.length, blocks: 8, ...times };
  }

  change(ino: number, changes: AttributeChanges): number {
    return this.#note(`change ${ino} ${JSON.stringify(changes)}`);
  }

  create(directory: number, name: string | undefined, file: NewFile): number {
    this.#note(`create ${directory} ${name} ${JSON.stringify(file)}`);
    return FILE;
  }

  readLink(): number {
    return -posix.EINVAL;
  }

  link(ino: number, directory: number, name: string): number {
    return this.#note(`link ${ino} ${directory} ${name}`);
  }

  unlink(directory: number, name: string): number {
    return this.#note(`unlink ${directory} ${name}`);
  }

  removeDirectory(directory: number, name: string): number {
    return this.#note(`removeDirectory ${directory} ${name}`);
  }

  rename(directory: number, name: string, toDirectory: number, toName: string, flags: number): number {
    return this.#note(`rename ${directory} ${name} ${toDirectory} ${toName} ${flags}`);
  }

  read(_ino: number, offset: number, length: number, sink: (at: number, bytes: Uint8Array) => void): number | Promise<void> {
    if (this.missing) return this.missing;
    const found = this.bytes.subarray(offset, offset + length);
    sink(0, found);
    return found.length;
  }

  write(_ino: number, offset: number, length: number, source: (at: number, into: Uint8Array) => void): number | Promise<void> {
    if (this.missing) return this.missing;
    source(0, this.bytes.subarray(offset, offset + length));
    return length;
  }

  allocate(): number {
    return -posix.EOPNOTSUPP;
  }

  copy(): number {
    return 3;
  }

  list(_directory: number, cookie: number, visit: (name: string, ino: number, cookie: number) => boolean): number {
    for (const [index, [name, ino]] of NAMES.entries()) if (index >= cookie && !visit(name, ino, index + 1)) break;
    return 0;
  }

  getXattr(): Uint8Array {
    return Uint8Array.of(1, 2, 3);
  }

  setXattr(ino: number, name: string, value: Uint8Array, flags: number): number {
    return this.#note(`setXattr ${ino} ${name} ${value.length} ${flags}`);
  }

  removeXattr(ino: number, name: string): number {
    return this.#note(`removeXattr ${ino} ${name}`);
  }

  listXattrs(): string[] {
    return ['user.a', 'user.b'];
  }

  statistics(): { blockBytes: number; blocks: number; freeBlocks: number; files: number; freeFiles: number } {
    return { blockBytes: 4096, blocks: 100, freeBlocks: 50, files: 10, freeFiles: 5 };
  }

  async identity(): Promise<string> {
    return 'test';
  }

  save(): unknown {
    return [];
  }

  restore(): void {}

  retain(ino: number): void {
    this.#note(`retain ${ino}`);
  }

  forget(ino: number, times: number): void {
    this.#note(`forget ${ino} ${times}`);
  }

  forgetAll(): void {
    if (this.log.length > 0 || this.#started) this.#note('forgetAll');
    this.#started = true;
  }

  /** A device resets its file system when its driver starts, which is no news. */
  #started = false;

  #note(what: string): number {
    this.log.push(what);
    return 0;
  }
}
