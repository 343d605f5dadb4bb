/** One FUSE request as it is read, and its answer as it is built. One object serves all requests, one after the other. */
import type { FileAttributes } from '../../../machine/backends.ts';
import { E2BIG, EINVAL } from '../../../machine/posix.ts';
import type { Chain } from '../chain.ts';
import { decodeName, encodeName } from '../../../base/name-bytes.ts';
import { ATTR_SIZE, ENTRY_SIZE, IN_HEADER, OUT_HEADER, putI64, u64At, WRITE } from './wire.ts';

/** Longest request without data to write, and longest answer without data that was read: a value of 64 KiB and what goes with it. */
const REQUEST_BYTES = 72 * 1024;
const ANSWER_BYTES = 1 << 18;
/** Header and fixed arguments of any kind fit. */
const LONGEST_ARGS = 256;
/**
 * The tree is the guest's alone, so what its kernel knows stays valid. Some day: the kernel cuts it down to what its clock can do.
 */
const FOREVER_S = 365 * 86_400;
const S = 'a request that is shorter than its kind has to be';

/** What a request is answered with in place of a result: the guest's mistake. */
export class Refusal extends Error {
  readonly errno: number;
  constructor(errno: number, why: string) {
    super(why);
    this.errno = errno;
  }
}

export class Message {
  opcode = 0;
  nodeid = 0;
  uid = 0;
  gid = 0;
  /** The request's arguments begin here in `view`; `end` is behind its last byte. */
  readonly args = IN_HEADER;
  end = 0;
  readonly bytes = new Uint8Array(REQUEST_BYTES);
  readonly view = new DataView(this.bytes.buffer);
  readonly answer = new Uint8Array(ANSWER_BYTES);
  readonly answerView = new DataView(this.answer.buffer);
  /** Bytes of the answer behind its header that the guest has room for. */
  room = 0;
  #chain!: Chain;

  /** Takes a request over. False when it has no whole header. */
  open(chain: Chain): boolean {
    this.#chain = chain;
    this.end = chain.read(0, this.bytes.subarray(0, LONGEST_ARGS));
    this.room = Math.max(0, Math.min(ANSWER_BYTES, chain.writableBytes) - OUT_HEADER);
    if (this.end < IN_HEADER) return false;
    const { view } = this;
    this.opcode = view.getUint32(4, true);
    // Data to write is taken from the guest's memory when it is known where it goes.
    if (this.opcode !== WRITE && chain.readableBytes > LONGEST_ARGS) this.end = chain.read(0, this.bytes);
    this.nodeid = u64At(view, 16);
    this.uid = view.getUint32(24, true);
    this.gid = view.getUint32(28, true);
    return true;
  }

  /** Bytes of the request in the guest's memory, of which `bytes` has the first. */
  get totalBytes(): number {
    return this.#chain.readableBytes;
  }

  get chain(): Chain {
    return this.#chain;
  }

  /** Makes sure that the arguments have so many bytes. */
  need(length: number): void {
    if (this.end < IN_HEADER + length) throw new Refusal(EINVAL, S);
  }

  u32(offset: number): number {
    return this.view.getUint32(IN_HEADER + offset, true);
  }

  /** A number that has to be below 2^53: no offset or inode number beyond is anybody's. */
  u64(offset: number): number {
    const value = u64At(this.view, IN_HEADER + offset);
    if (Number.isNaN(value)) throw new Refusal(EINVAL, 'a number beyond 2^53');
    return value;
  }

  /** A name that ends with a NUL byte, and where the next one begins. */
  name(offset: number): { name: string; next: number } {
    const start = IN_HEADER + offset;
    const stop = this.bytes.subarray(0, this.end).indexOf(0, start);
    if (stop < 0) throw new Refusal(EINVAL, 'a name without its end');
    return { name: decodeName(this.bytes.subarray(start, stop)), next: stop + 1 - IN_HEADER };
  }

  /** Writes a NUL-terminated or bare text into the answer; answers its length. */
  putName(offset: number, name: string): number {
    return encodeName(name, this.answer, OUT_HEADER + offset);
  }

  putU32(offset: number, value: number): void {
    this.answerView.setUint32(OUT_HEADER + offset, value, true);
  }

  putU64(offset: number, value: number): void {
    putI64(this.answerView, OUT_HEADER + offset, value);
  }

  /** struct fuse_attr_out. */
  putAttributes(attributes: FileAttributes): number {
    this.putU64(0, FOREVER_S);
    this.putU64(8, 0);
    this.#putAttr(16, attributes);
    return 16 + ATTR_SIZE;
  }

  /** struct fuse_entry_out. Without attributes: a name that is not there, and that the guest may remember as such. */
  putEntry(offset: number, attributes: FileAttributes | undefined): number {
    this.putU64(offset, attributes?.ino ?? 0);
    this.putU64(offset + 8, 0);
    this.putU64(offset + 16, FOREVER_S);
    this.putU64(offset + 24, FOREVER_S);
    this.putU64(offset + 32, 0);
    if (attributes) this.#putAttr(offset + 40, attributes);
    else this.answer.fill(0, OUT_HEADER + offset + 40, OUT_HEADER + offset + ENTRY_SIZE);
    return ENTRY_SIZE;
  }

  #putAttr(offset: number, attributes: FileAttributes): void {
    const { ino, sizeBytes, blocks, atime, mtime, ctime, mode, nlink, uid, gid, rdev } = attributes;
    const wide = [ino, sizeBytes, blocks, atime.seconds, mtime.seconds, ctime.seconds];
    const narrow = [atime.nanoseconds, mtime.nanoseconds, ctime.nanoseconds, mode, nlink, uid, gid, rdev, 4096, 0];
    wide.forEach((value, i) => this.putU64(offset + 8 * i, value));
    narrow.forEach((value, i) => this.putU32(offset + 48 + 4 * i, value));
  }

  /** Checks that an answer of this length has room. */
  fits(length: number): void {
    if (length > this.room) throw new Refusal(E2BIG, 'an answer that the guest has no room for');
  }

  /**
   * Gives the answer: `length` bytes that stand in `answer`, or that the guest's memory already has behind the header.
   * Answers how many bytes that makes.
   */
  reply(error: number, length: number, inPlace = false): number {
    const { answerView: view } = this;
    const total = OUT_HEADER + (error === 0 ? length : 0);
    if (this.#chain.writableBytes < total) return 0;
    view.setUint32(0, total, true);
    view.setInt32(4, -error, true);
    view.setUint32(8, this.view.getUint32(8, true), true);
    view.setUint32(12, this.view.getUint32(12, true), true);
    this.#chain.write(0, this.answer.subarray(0, inPlace ? OUT_HEADER : total));
    return total;
  }
}
