/**
 * Saved states: what they are made of, and what they need of the host. The file's form is in docs/saved-states.md; a state is
 * input from outside, and nothing in it is believed.
 */
import { VmError } from '../base/errors.ts';

/** The host's compression and digest, all at once and in memory. */
export interface StateCodec {
  /** One zstd frame that tells its content's size. */
  compress(data: Uint8Array): Uint8Array;
  /** Throws when `data` is not a zstd frame. Never makes more than the size that the frame tells. */
  decompress(data: Uint8Array): Uint8Array;
  sha256(data: Uint8Array): Uint8Array;
}

/** Bytes at a place: a file, or something behind a network. Reads when it is asked, and answers when it has read. */
export interface ByteSource {
  /** For messages. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Exactly `length` bytes. Throws a VmError when they cannot be had. */
  read(offset: number, length: number): Uint8Array;
}

/** Bytes at hand, as a source. */
export function sourceOf(name: string, data: Uint8Array): ByteSource {
  return { name, sizeBytes: data.length, read: (offset, length) => data.subarray(offset, offset + length) };
}

/** Gives a machine its pages as they are needed. */
export interface PageSupply {
  /** Calls back with the number of every page that it has, in host order. */
  eachPage(visit: (page: number) => void): void;
  /** Brings a page and what comes along with it. Throws `bad-digest` when the state is damaged there. */
  bring(page: number, put: (page: number, data: Uint8Array) => void): void;
  /** Brings some more, whatever comes next; false when that was all. */
  bringNext(put: (page: number, data: Uint8Array) => void): boolean;
}

/** An error of a state: `what` it is, and what would work. */
export function badState(name: string, what: string, cause?: unknown): VmError {
  return new VmError('bad-state', `${name}: ${what}`, cause);
}
