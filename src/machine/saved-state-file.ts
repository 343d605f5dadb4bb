/**
 * The file of a saved state: a head, frames of RAM pages, frames of the machine's description, an index, a foot. Frames are small and
 * each has its digest in the index, the index has its in the foot, so that every byte is checked before it is used and pages can be
 * fetched one by one.
 * docs/saved-states.md has the form.
 */
import { concatBytes } from '../base/bytes.ts';
import { VmError } from '../base/errors.ts';
import { PAGE_SIZE, type Memory } from './memory.ts';
import { dataToText, textToData } from './saved-state-data.ts';
import {
  DIGEST_BYTES,
  FRAME_BYTES,
  FrameReader,
  inFrames,
  LARGEST_FRAME,
  LARGEST_INDEX,
  unpack,
  type Frame,
} from './saved-state-frames.ts';
import { findUsedPages, type UsedPages } from './saved-state-pages.ts';
import { badState, type ByteSource, type StateCodec } from './saved-state.ts';

export const FORMAT_VERSION = 4;
const HEAD_MAGIC = 'DAYBREAK';
const FOOT_MAGIC = 'ENDSTATE';
const HEAD_BYTES = 16;
/** Place and sizes of the index, its digest, the magic. */
const FOOT_BYTES = 16 + DIGEST_BYTES + 8;
/** Counts and sizes at the index's beginning. */
const COUNTS_BYTES = 16;
/** A frame holds so many pages: small enough to wait for, large enough to compress. */
export const PAGES_IN_FRAME = FRAME_BYTES / PAGE_SIZE;
/** What JavaScript engines take as one string, and what two gigabytes of files need with all that is said of them. */
const LARGEST_TEXT = 1 << 28;
const LARGEST_DESCRIPTION = 2 ** 31 + 2 ** 29;
/** What is handed to the host's file at once. */
const WRITE_BYTES = 1 << 20;
const READ_BYTES = 1 << 20;

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const isAscii = (data: Uint8Array, text: string): boolean =>
  text.length === data.length && ascii(text).every((byte, n) => data[n] === byte);

/** A file that has been opened: its index and description are whole; its frames of RAM are checked when they are read. */
export interface OpenedState {
  /** The machine's own description, for the board to check. */
  readonly description: unknown;
  /** Those of RAM. */
  readonly frames: readonly Frame[];
  /** Those of the description, behind them. */
  readonly described: readonly Frame[];
  readonly textBytes: number;
  readonly dataBytes: number;
  /** As in UsedPages. */
  readonly pages: Uint32Array;
  readonly contents: Uint32Array;
  /** The content of a frame. Throws `bad-state` when it is damaged. */
  readFrame(number: number): Uint8Array;
  /** Throws `bad-state` when any frame of RAM is damaged. */
  verify(): void;
}

/** The bytes of a state of a machine that stands still meanwhile, in pieces. Throws `unsupported` when the description is too large. */
export function* writeState(description: unknown, memory: Memory, codec: StateCodec): Generator<Uint8Array> {
  const { text, bytes } = encodeDescription(description);
  const used = findUsedPages(memory);
  const head = encodeHead();
  let waiting: Uint8Array[] = [head];
  let waitingBytes = head.length;
  let offset = head.length;
  const frames: Frame[] = [];
  for (const contents of [pageContents(used, memory), [text], bytes]) {
    // The text ends its frame: it is read before the bytes that it names.
    for (const content of inFrames(contents)) {
      const data = codec.compress(content);
      frames.push({ offset, length: data.length, digest: codec.sha256(data) });
      offset += data.length;
      waiting.push(data);
      waitingBytes += data.length;
      if (waitingBytes < WRITE_BYTES) continue;
      yield concatBytes(waiting);
      waiting = [];
      waitingBytes = 0;
    }
  }
  yield concatBytes([...waiting, encodeEnd(used, frames, text.length, totalBytes(bytes), codec)]);
}

export function encodeHead(): Uint8Array {
  const head = new Uint8Array(HEAD_BYTES);
  head.set(ascii(HEAD_MAGIC));
  new DataView(head.buffer).setUint32(8, FORMAT_VERSION, true);
  return head;
}

/** What stands behind the frames: index and foot. */
export function encodeEnd(
  used: Pick<UsedPages, 'pages' | 'contents'>,
  frames: readonly Frame[],
  textBytes: number,
  dataBytes: number,
  codec: StateCodec,
): Uint8Array {
  const index = encodeIndex(used, frames, textBytes, dataBytes);
  const data = codec.compress(index);
  const last = frames.at(-1);
  return concatBytes([data, encodeFoot(last ? last.offset + last.length : HEAD_BYTES, index.length, data, codec)]);
}

function* pageContents({ samples }: UsedPages, { bytes, ramOffset }: Memory): Generator<Uint8Array> {
  for (const page of samples) yield bytes.subarray(ramOffset + page * PAGE_SIZE, ramOffset + (page + 1) * PAGE_SIZE);
}

const totalBytes = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0);

function encodeDescription(description: unknown): { text: Uint8Array; bytes: Uint8Array[] } {
  const tooLarge = (what: string, cause?: unknown): VmError =>
    new VmError('unsupported', `the machine cannot be saved: ${what}; remove some of the files that it has written`, cause);
  let found: ReturnType<typeof dataToText>;
  try {
    found = dataToText(description);
  } catch (cause) {
    // Longer than a string can be.
    if (cause instanceof RangeError) throw tooLarge('it has too much to describe', cause);
    throw cause;
  }
  const text = ascii(found.text);
  if (text.length > LARGEST_TEXT) throw tooLarge(`its description has ${text.length} bytes (at most ${LARGEST_TEXT})`);
  const size = totalBytes(found.bytes);
  if (size > LARGEST_DESCRIPTION) throw tooLarge(`its devices and files have ${size} bytes (at most ${LARGEST_DESCRIPTION})`);
  return { text, bytes: found.bytes };
}

function encodeIndex(
  { pages, contents }: Pick<UsedPages, 'pages' | 'contents'>,
  frames: readonly Frame[],
  textBytes: number,
  dataBytes: number,
): Uint8Array {
  const index = new Uint8Array(COUNTS_BYTES + frames.length * (4 + DIGEST_BYTES) + pages.length * 8);
  const view = new DataView(index.buffer);
  let at = 0;
  for (const count of [frames.length, pages.length, textBytes, dataBytes]) at = put32(view, at, count);
  for (const { length } of frames) at = put32(view, at, length);
  for (const { digest } of frames) {
    index.set(digest, at);
    at += DIGEST_BYTES;
  }
  for (const page of pages) at = put32(view, at, page);
  for (const content of contents) at = put32(view, at, content);
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
  const found = index && decodeIndex(index, offset);
  if (!found) throw damaged('its index does not fit together');
  const { frames, pages, contents } = found;
  const check = (data: Uint8Array, frame: Frame): Uint8Array => {
    if (!equalBytes(codec.sha256(data), frame.digest)) throw damaged(`what it has from byte ${frame.offset} on`);
    return data;
  };
  const described = (first: readonly Frame[], sizeBytes: number): FrameReader =>
    new FrameReader(sizeBytes, (number) => {
      const frame = first[number]!;
      const wanted = number === first.length - 1 ? sizeBytes - number * FRAME_BYTES : FRAME_BYTES;
      const content = unpack(codec, check(source.read(frame.offset, frame.length), frame), wanted);
      if (!content) throw damaged(`its description from byte ${frame.offset} on cannot be unpacked`);
      return content;
    });
  const text = described(found.textFrames, found.textBytes).take(found.textBytes)!;
  const data = described(found.dataFrames, found.dataBytes);
  const description = textToData(new TextDecoder().decode(text), (length) => data.take(length), name);
  if (data.leftBytes > 0) throw damaged('its description does not name all its bytes');
  return {
    description,
    frames,
    described: [...found.textFrames, ...found.dataFrames],
    textBytes: found.textBytes,
    dataBytes: found.dataBytes,
    pages,
    contents,
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

interface Index extends Pick<OpenedState, 'frames' | 'pages' | 'contents'> {
  readonly textFrames: readonly Frame[];
  readonly textBytes: number;
  readonly dataFrames: readonly Frame[];
  readonly dataBytes: number;
}

/** Undefined when the parts do not fit together: frames fill the file up to `end`, pages ascend, each has a content. */
function decodeIndex(index: Uint8Array, end: number): Index | undefined {
  if (index.length < COUNTS_BYTES) return undefined;
  const view = new DataView(index.buffer, index.byteOffset, index.byteLength);
  const [frameCount, pageCount, textBytes, dataBytes] = [0, 4, 8, 12].map((at) => view.getUint32(at, true)) as [
    number,
    number,
    number,
    number,
  ];
  if (COUNTS_BYTES + frameCount * (4 + DIGEST_BYTES) + pageCount * 8 !== index.length) return undefined;
  if (textBytes > LARGEST_TEXT || dataBytes > LARGEST_DESCRIPTION) return undefined;
  const all: Frame[] = [];
  let offset = HEAD_BYTES;
  for (let n = 0; n < frameCount; n++) {
    const length = view.getUint32(COUNTS_BYTES + 4 * n, true);
    const digestAt = COUNTS_BYTES + 4 * frameCount + DIGEST_BYTES * n;
    if (length === 0 || length > LARGEST_FRAME) return undefined;
    all.push({ offset, length, digest: index.slice(digestAt, digestAt + DIGEST_BYTES) });
    offset += length;
  }
  if (offset !== end) return undefined;
  const firstData = frameCount - Math.ceil(dataBytes / FRAME_BYTES);
  const firstText = firstData - Math.ceil(textBytes / FRAME_BYTES);
  if (firstText < 0) return undefined;
  let at = COUNTS_BYTES + frameCount * (4 + DIGEST_BYTES);
  const words = (): Uint32Array => {
    const found = new Uint32Array(pageCount);
    for (let n = 0; n < pageCount; n++, at += 4) found[n] = view.getUint32(at, true);
    return found;
  };
  const [pages, contents] = [words(), words()];
  for (let n = 0; n < pageCount; n++) {
    if (n > 0 && pages[n]! <= pages[n - 1]!) return undefined;
    if (contents[n]! >= firstText * PAGES_IN_FRAME) return undefined;
  }
  const frames = all.slice(0, firstText);
  return { frames, pages, contents, textFrames: all.slice(firstText, firstData), textBytes, dataFrames: all.slice(firstData), dataBytes };
}

function equalBytes(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  for (let n = 0; n < one.length; n++) if (one[n] !== other[n]) return false;
  return true;
}
