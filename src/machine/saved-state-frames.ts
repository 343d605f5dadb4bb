/** Frames of a saved state: zstd frames of at most 64 KiB, each with its digest, which is checked before it is unpacked. */
import type { StateCodec } from './saved-state.ts';

export const DIGEST_BYTES = 32;
export const FRAME_BYTES = 1 << 16;
/** Frames larger than this do not come from us: zstd's bound is far below. */
export const LARGEST_FRAME = 2 * FRAME_BYTES;
export const LARGEST_INDEX = 1 << 26;

/** Where a frame is, and what its bytes must be. */
export interface Frame {
  readonly offset: number;
  readonly length: number;
  readonly digest: Uint8Array;
}

/** Undefined when it does not unpack to `length` bytes. The frame's own word on that comes first: it decides how much is made. */
export function unpack(codec: StateCodec, data: Uint8Array, length: number | undefined): Uint8Array | undefined {
  const told = contentSize(data);
  if (told === undefined || (length !== undefined && told !== length) || told > LARGEST_INDEX) return undefined;
  try {
    const content = codec.decompress(data);
    return content.length === told ? content : undefined;
  } catch {
    return undefined;
  }
}

/** What a zstd frame tells of its content's size, if it does. RFC 8878, 3.1.1.1. */
function contentSize(data: Uint8Array): number | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 6 || view.getUint32(0, true) !== 0xfd2fb528) return undefined;
  const descriptor = view.getUint8(4);
  const single = (descriptor & 0x20) !== 0;
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!;
  const size = [single ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  if (at + size > data.length) return undefined;
  if (size === 1) return view.getUint8(at);
  if (size === 2) return view.getUint16(at, true) + 256;
  return size === 4 ? view.getUint32(at, true) : undefined;
}

/** The parts one after the other, in frames' contents: all are full but the last. Each stands until the next is asked for. */
export function* inFrames(parts: Iterable<Uint8Array>): Generator<Uint8Array> {
  const content = new Uint8Array(FRAME_BYTES);
  let filled = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const some = part.subarray(at, at + FRAME_BYTES - filled);
      content.set(some, filled);
      filled += some.length;
      at += some.length;
      if (filled < FRAME_BYTES) continue;
      yield content;
      filled = 0;
    }
  }
  if (filled > 0) yield content.subarray(0, filled);
}

/** The other way round: bytes in order, out of frames' contents. */
export class FrameReader {
  readonly #read: (frame: number) => Uint8Array;
  #left: number;
  #content: Uint8Array = new Uint8Array(0);
  #at = 0;
  #next = 0;

  /** `read` gives the content of a frame: `sizeBytes` in all. */
  constructor(sizeBytes: number, read: (frame: number) => Uint8Array) {
    this.#left = sizeBytes;
    this.#read = read;
  }

  get leftBytes(): number {
    return this.#left;
  }

  /** The next bytes, a copy; undefined when there are not so many. */
  take(length: number): Uint8Array | undefined {
    if (!Number.isInteger(length) || length < 0 || length > this.#left) return undefined;
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      if (this.#at === this.#content.length) {
        this.#content = this.#read(this.#next++);
        this.#at = 0;
      }
      const some = this.#content.subarray(this.#at, this.#at + length - done);
      bytes.set(some, done);
      done += some.length;
      this.#at += some.length;
    }
    this.#left -= length;
    return bytes;
  }
}
