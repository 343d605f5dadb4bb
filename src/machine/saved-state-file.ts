/**
 * The file of a saved state: a head, frames of RAM pages, an index, a foot. Frames are small and each has its digest in the
 * index, the index has its in the foot, so that every byte is checked before it is used and pages can be fetched one by one.
 * docs/saved-states.md has the form.
 */
import { concatBytes } from '../base/bytes.ts';
import { PAGE_SIZE, type Memory } from './memory.ts';
import { dataToText, textToData } from './saved-state-data.ts';
import { findUsedPages, type UsedPages } from './saved-state-pages.ts';
import { badState, type ByteSource, type StateCodec } from './saved-state.ts';

export const FORMAT_VERSION = 1;
const HEAD_MAGIC = 'DAYBREAK';
const FOOT_MAGIC = 'ENDSTATE';
const HEAD_BYTES = 16;
const DIGEST_BYTES = 32;
/** Place and sizes of the index, its digest, the magic. */
const FOOT_BYTES = 16 + DIGEST_BYTES + 8;
/** A frame holds so many pages: small enough to wait for, large enough to compress. */
export const PAGES_IN_FRAME = 16;
export const FRAME_BYTES = PAGES_IN_FRAME * PAGE_SIZE;
/** Frames larger than this do not come from us: zstd's bound is far below. */
const LARGEST_FRAME = 2 * FRAME_BYTES;
const LARGEST_INDEX = 1 << 26;
/** What is handed to the host's file at once. */
const WRITE_BYTES = 1 << 20;
const READ_BYTES = 1 << 20;

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const isAscii = (data: Uint8Array, text: string): boolean =>
  text.length === data.length && ascii(text).every((byte, n) => data[n] === byte);

/** Where a frame is, and what its bytes must be. */
interface Frame {
  readonly offset: number;
  readonly length: number;
  readonly digest: Uint8Array;
}

/** A file that has been opened: its index is whole and fits together; its frames are checked when they are read. */
export interface OpenedState {
  /** The machine's own description, for the board to check. */
  readonly description: unknown;
  readonly frames: readonly Frame[];
  /** As in UsedPages. */
  readonly pages: Uint32Array;
  readonly contents: Uint32Array;
  /** The content of a frame. Throws `bad-state` when it is damaged. */
  readFrame(number: number): Uint8Array;
  /** Throws `bad-state` when any frame is damaged. */
  verify(): void;
}

/** The bytes of a state of a machine that stands still meanwhile, in pieces. */
export function* writeState(description: unknown, memory: Memory, codec: StateCodec): Generator<Uint8Array> {
  const used = findUsedPages(memory);
  const head = new Uint8Array(HEAD_BYTES);
  head.set(ascii(HEAD_MAGIC));
  new DataView(head.buffer).setUint32(8, FORMAT_VERSION, true);
  let waiting: Uint8Array[] = [head];
  let waitingBytes = head.length;
  let offset = head.length;
  const frames: Frame[] = [];
  const content = new Uint8Array(FRAME_BYTES);
  for (let first = 0; first < used.samples.length; first += PAGES_IN_FRAME) {
    const pages = used.samples.subarray(first, first + PAGES_IN_FRAME);
    pages.forEach((page, n) => {
      const from = memory.ramOffset + page * PAGE_SIZE;
      content.set(memory.bytes.subarray(from, from + PAGE_SIZE), n * PAGE_SIZE);
    });
    const data = codec.compress(content.subarray(0, pages.length * PAGE_SIZE));
    frames.push({ offset, length: data.length, digest: codec.sha256(data) });
    offset += data.length;
    waiting.push(data);
    waitingBytes += data.length;
    if (waitingBytes >= WRITE_BYTES) {
      yield concatBytes(waiting);
      waiting = [];
      waitingBytes = 0;
    }
  }
  const index = encodeIndex(description, used, frames);
  const data = codec.compress(index);
  yield concatBytes([...waiting, data, encodeFoot(offset, index.length, data, codec)]);
}

function encodeIndex(description: unknown, { pages, contents }: UsedPages, frames: readonly Frame[]): Uint8Array {
  const text = ascii(dataToText(description));
  const index = new Uint8Array(12 + frames.length * (4 + DIGEST_BYTES) + pages.length * 8 + text.length);
  const view = new DataView(index.buffer);
  view.setUint32(0, frames.length, true);
  view.setUint32(4, pages.length, true);
  view.setUint32(8, text.length, true);
  let at = 12;
  for (const { length } of frames) at = put32(view, at, length);
  for (const { digest } of frames) {
    index.set(digest, at);
    at += DIGEST_BYTES;
  }
  for (const page of pages) at = put32(view, at, page);
  for (const content of contents) at = put32(view, at, content);
  index.set(text, at);
  return index;
}

function put32(view: DataView, at: number, value: number): number {
  view.setUint32(at, value, true);
  return at + 4;
}

function encodeFoot(offset: number, indexBytes: number, data: Uint8Array, codec: StateCodec): Uint8Array {
  const foot = new Uint8Array(FOOT_BYTES);
  const view = new DataView(foot.buffer);
  view.setBigUint64(0, BigInt(offset), true);
  view.setUint32(8, data.length, true);
  view.setUint32(12, indexBytes, true);
  foot.set(codec.sha256(data), 16);
  foot.set(ascii(FOOT_MAGIC), 16 + DIGEST_BYTES);
  return foot;
}

/** Throws `bad-state` for anything that is not a whole state of this version. */
export function openState(source: ByteSource, codec: StateCodec): OpenedState {
  const { name, sizeBytes } = source;
  const damaged = (what: string, cause?: unknown): Error =>
    badState(name, `the saved state is damaged (${what}); save the machine again, or fetch the file again`, cause);
  const head = source.read(0, Math.min(HEAD_BYTES, sizeBytes));
  if (head.length < HEAD_BYTES || !isAscii(head.subarray(0, 8), HEAD_MAGIC)) throw badState(name, 'it is not a saved state of Daybreak');
  const headView = new DataView(head.buffer, head.byteOffset);
  const version = headView.getUint32(8, true);
  if (version !== FORMAT_VERSION) {
    throw badState(
      name,
      `a saved state of version ${version} cannot be restored (supported: ${FORMAT_VERSION}); save it again with this Daybreak`,
    );
  }
  if (headView.getUint32(12, true) !== 0) throw damaged('its head');
  if (sizeBytes < HEAD_BYTES + FOOT_BYTES) throw damaged('it ends too early');

  const foot = source.read(sizeBytes - FOOT_BYTES, FOOT_BYTES);
  const view = new DataView(foot.buffer, foot.byteOffset, foot.byteLength);
  if (!isAscii(foot.subarray(16 + DIGEST_BYTES), FOOT_MAGIC)) throw damaged('it ends too early, or its end was changed');
  const offset = Number(view.getBigUint64(0, true));
  const length = view.getUint32(8, true);
  const indexBytes = view.getUint32(12, true);
  if (offset < HEAD_BYTES || offset + length !== sizeBytes - FOOT_BYTES || indexBytes > LARGEST_INDEX)
    throw damaged('the place of its index');
  const packed = source.read(offset, length);
  if (!equalBytes(codec.sha256(packed), foot.subarray(16, 16 + DIGEST_BYTES))) throw damaged('its index');
  const index = unpack(codec, packed, indexBytes);
  const found = index && decodeIndex(index, offset, name);
  if (!found) throw damaged('its index does not fit together');
  const { frames } = found;
  const check = (data: Uint8Array, frame: Frame): Uint8Array => {
    if (!equalBytes(codec.sha256(data), frame.digest)) throw damaged(`memory from byte ${frame.offset} on`);
    return data;
  };
  return {
    ...found,
    verify() {
      // In large pieces: each costs an allocation and a call to the host.
      for (let first = 0; first < frames.length;) {
        const begin = frames[first]!.offset;
        let end = begin;
        let next = first;
        for (; next < frames.length && end - begin < READ_BYTES; next++) end += frames[next]!.length;
        const data = source.read(begin, end - begin);
        for (; first < next; first++) {
          const frame = frames[first]!;
          check(data.subarray(frame.offset - begin, frame.offset - begin + frame.length), frame);
        }
      }
    },
    readFrame(number) {
      const frame = frames[number]!;
      const data = check(source.read(frame.offset, frame.length), frame);
      const content = unpack(codec, data, number === frames.length - 1 ? undefined : FRAME_BYTES);
      if (!content || content.length % PAGE_SIZE !== 0 || content.length > FRAME_BYTES || content.length === 0) {
        throw damaged(`memory from byte ${frame.offset} on cannot be unpacked`);
      }
      return content;
    },
  };
}

/** Undefined when it does not unpack to `length` bytes. The frame's own word on that comes first: it decides how much is made. */
function unpack(codec: StateCodec, data: Uint8Array, length: number | undefined): Uint8Array | undefined {
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

/** Undefined when the parts do not fit together: frames fill the file up to `end`, pages ascend, each has a content. */
function decodeIndex(index: Uint8Array, end: number, name: string): Omit<OpenedState, 'readFrame' | 'verify'> | undefined {
  if (index.length < 12) return undefined;
  const view = new DataView(index.buffer, index.byteOffset, index.byteLength);
  const [frameCount, pageCount, textBytes] = [view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true)];
  if (12 + frameCount * (4 + DIGEST_BYTES) + pageCount * 8 + textBytes !== index.length) return undefined;
  const frames: Frame[] = [];
  let offset = HEAD_BYTES;
  for (let n = 0; n < frameCount; n++) {
    const length = view.getUint32(12 + 4 * n, true);
    const digestAt = 12 + 4 * frameCount + DIGEST_BYTES * n;
    if (length === 0 || length > LARGEST_FRAME) return undefined;
    frames.push({ offset, length, digest: index.slice(digestAt, digestAt + DIGEST_BYTES) });
    offset += length;
  }
  if (offset !== end) return undefined;
  let at = 12 + frameCount * (4 + DIGEST_BYTES);
  const words = (): Uint32Array => {
    const all = new Uint32Array(pageCount);
    for (let n = 0; n < pageCount; n++, at += 4) all[n] = view.getUint32(at, true);
    return all;
  };
  const [pages, contents] = [words(), words()];
  for (let n = 0; n < pageCount; n++) {
    if (n > 0 && pages[n]! <= pages[n - 1]!) return undefined;
    if (contents[n]! >= frameCount * PAGES_IN_FRAME) return undefined;
  }
  const text = new TextDecoder().decode(index.subarray(at));
  return { description: textToData(text, name), frames, pages, contents };
}

function equalBytes(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let n = 0; n < one.length; n++) if (one[n] !== other[n]) return false;
  return true;
}
