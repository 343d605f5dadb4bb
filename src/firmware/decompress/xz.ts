/** The .xz container with LZMA2 and the x86 filter. XZ file format 1.2. CRC-32 checks are verified, others skipped. */
import { undoX86Branches } from './bcj-x86.ts';
import { crc32 } from '../../base/crc32.ts';
import { LzmaDecoder } from './lzma.ts';
import { Malformed, Output, type OutputLimits } from './output.ts';

const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const STREAM_HEADER = 12;
const STREAM_FOOTER = 12;
const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;
const CHECK_CRC32 = 1;
const CHECK_SIZES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

interface Block {
  readonly x86: boolean;
  /** Where its compressed data begins. */
  readonly data: number;
}

export function unpackXz(data: Uint8Array, limits: OutputLimits): Uint8Array {
  const output = new Output(limits);
  let at = 0;
  do {
    at = unpackStream(data, at, output);
    while (at + 4 <= data.length && read32(data, at) === 0) at += 4; // padding between streams
  } while (MAGIC.every((byte, index) => data[at + index] === byte));
  if (at !== data.length) throw new Malformed(`is followed by something else at ${at}`);
  return output.take();
}

function read32(data: Uint8Array, at: number): number {
  if (at + 4 > data.length) throw new Malformed('is cut off');
  return (data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24)) >>> 0;
}

function checkCrc(data: Uint8Array, from: number, to: number, what: string): void {
  if (read32(data, to) !== crc32(data, from, to)) throw new Malformed(`has a damaged ${what} at ${from}`);
}

const align4 = (at: number): number => Math.ceil(at / 4) * 4;

/** One stream from `start` on; answers where it ends. */
function unpackStream(data: Uint8Array, start: number, output: Output): number {
  checkCrc(data, start + 6, start + 8, 'stream header');
  const check = data[start + 7]!;
  if (data[start + 6] !== 0 || check > 15) throw new Malformed('is of an unknown version');
  let at = start + STREAM_HEADER;
  while (data[at] !== 0) {
    const block = blockHeader(data, at);
    const begin = output.length;
    const end = unpackLzma2(data, block.data, output);
    const unpacked = output.bytes.subarray(begin, output.length);
    if (block.x86) undoX86Branches(unpacked);
    at = block.data + align4(end - block.data);
    if (check === CHECK_CRC32 && read32(data, at) !== crc32(unpacked)) throw new Malformed(`fails its check before ${at}`);
    at += CHECK_SIZES[check]!;
  }
  return indexEnd(data, at) + STREAM_FOOTER;
}

/** A variable-length integer: 7 bits a byte, lowest first, at most 9 bytes. 1.2. */
function varint(data: Uint8Array, at: number): { value: number; next: number } {
  let value = 0;
  for (let index = 0; index < 9; index++) {
    const byte = data[at + index];
    if (byte === undefined) throw new Malformed('is cut off');
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { value, next: at + index + 1 };
  }
  throw new Malformed(`has an endless number at ${at}`);
}

function blockHeader(data: Uint8Array, start: number): Block {
  const size = data[start];
  if (size === undefined) throw new Malformed('is cut off');
  const end = start + (size + 1) * 4;
  checkCrc(data, start, end - 4, 'block header');
  const flags = data[start + 1]!;
  let at = start + 2;
  if (flags & 0x40) at = varint(data, at).next;
  if (flags & 0x80) at = varint(data, at).next;
  const filters: number[] = [];
  for (let count = (flags & 3) + 1; count > 0; count--) {
    const id = varint(data, at);
    const properties = varint(data, id.next);
    filters.push(id.value);
    if (id.value === FILTER_X86 && properties.value !== 0)
      throw new Malformed('uses an x86 filter with a start offset, which is not supported');
    at = properties.next + properties.value;
  }
  if (at > end - 4) throw new Malformed(`has a block header without room for its filters at ${start}`);
  const x86 = filters.length === 2 && filters[0] === FILTER_X86;
  if (filters.at(-1) !== FILTER_LZMA2 || !(x86 || filters.length === 1)) {
    throw new Malformed(`uses filters ${filters.map((id) => `0x${id.toString(16)}`).join(', ')} (supported: 0x21, alone or after 0x4)`);
  }
  return { x86, data: end };
}

/** The index repeats the blocks' sizes; only its own integrity matters here. */
function indexEnd(data: Uint8Array, start: number): number {
  const count = varint(data, start + 1);
  let at = count.next;
  for (let record = 0; record < count.value; record++) at = varint(data, varint(data, at).next).next;
  at = start + align4(at - start);
  checkCrc(data, start, at, 'index');
  if (at + 4 + STREAM_FOOTER > data.length) throw new Malformed('is cut off within its footer');
  return at + 4;
}

/** lc + lp are at most 4 in LZMA2. */
const LZMA2_LITERAL_BITS = 4;
const LZMA2_END = 0x00;
const LZMA2_COPY_RESET = 0x01;
const LZMA2_COPY = 0x02;
const LZMA2_LZMA = 0x80;

/** LZMA2's chunks (5.3.1); answers the position behind the end marker. */
function unpackLzma2(data: Uint8Array, start: number, output: Output): number {
  const lzma = new LzmaDecoder();
  let dictionary = -1;
  for (let at = start; ;) {
    const control = data[at];
    if (control === undefined) throw new Malformed('is cut off');
    if (control === LZMA2_END) return at + 1;
    if (control > LZMA2_COPY && control < LZMA2_LZMA) throw new Malformed(`has an unknown chunk ${control} at ${at}`);
    if (at + 6 > data.length) throw new Malformed('is cut off');
    const low = ((data[at + 1]! << 8) | data[at + 2]!) + 1;
    const reset = control < LZMA2_LZMA ? (control === LZMA2_COPY_RESET ? 3 : 0) : (control >> 5) & 3;
    if (reset === 3) dictionary = output.length;
    if (dictionary < 0) throw new Malformed('does not begin with a dictionary reset');
    if (control < LZMA2_LZMA) {
      at += 3;
      if (at + low > data.length) throw new Malformed('is cut off');
      output.append(data.subarray(at, at + low));
      at += low;
      continue;
    }
    const size = ((control & 0x1f) << 16) + low;
    const packed = ((data[at + 3]! << 8) | data[at + 4]!) + 1;
    at += 5;
    if (reset >= 2) lzma.setProperties(data[at++]!, LZMA2_LITERAL_BITS);
    else if (reset === 1) lzma.reset();
    const end = at + packed;
    if (end > data.length) throw new Malformed('is cut off');
    output.reserve(size);
    const stop = lzma.decode(data, lzma.start(data, at), end, output, dictionary, output.length + size);
    if (stop !== end || lzma.ended || lzma.pendingLength > 0) throw new Malformed(`has a damaged chunk before ${end}`);
    at = end;
  }
}
