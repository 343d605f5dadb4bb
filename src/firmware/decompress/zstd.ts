/** Zstandard. RFC 8878. Dictionaries are not supported; content checksums are skipped. */
import { Malformed, Output, type OutputLimits } from './output.ts';
import {
  backwardStart,
  buildFse,
  type Cursor,
  fseOfOne,
  type FseTable,
  type HuffmanTable,
  readByte,
  readFse,
  readHuffman,
} from './zstd-tables.ts';

const FRAME_MAGIC = 0xfd2f_b528;
const SKIPPABLE_MAGIC = 0x184d_2a50;
const BLOCK_MAX = 128 << 10;
/** Bit streams are read in words of 4 bytes, which may reach this far beyond either end. */
const SLACK = 32;

// Table 14 to 17: what a length code stands for, and how many bits follow. 3.1.1.3.2.1.
const runs = (...values: [count: number, value: number][]): number[] =>
  values.flatMap(([count, value]) => Array.from({ length: count }, () => value));
const LL_BITS = Uint8Array.from([...runs([16, 0], [4, 1], [2, 2], [2, 3]), 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
const ML_BITS = Uint8Array.from([...runs([32, 0], [4, 1], [2, 2], [2, 3], [2, 4]), 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
const bases = (bits: Uint8Array, first: number): Uint32Array => {
  let base = first;
  return Uint32Array.from(bits, (count) => (base += 2 ** count) - 2 ** count);
};
const LL_BASE = bases(LL_BITS, 0);
const ML_BASE = bases(ML_BITS, 3);
const OF_MAX = 31;

// Default distributions. 3.1.1.3.2.2.
const LL_DEFAULT = buildFse(
  [4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1],
  6,
);
const ML_DEFAULT = buildFse([1, 4, 3, ...runs([6, 2], [37, 1], [7, -1])], 6);
const OF_DEFAULT = buildFse([...runs([6, 1], [3, 2], [15, 1], [5, -1])], 5);

/** What one block leaves for the next ones of its frame. */
interface Frame {
  readonly start: number;
  readonly literals: Uint8Array;
  huffman?: HuffmanTable;
  literalLengths?: FseTable;
  offsets?: FseTable;
  matchLengths?: FseTable;
  readonly repeats: [number, number, number];
}

export function unpackZstd(packed: Uint8Array, limits: OutputLimits): Uint8Array {
  const data = new Uint8Array(packed.length + 2 * SLACK);
  data.set(packed, SLACK);
  const view = new DataView(data.buffer);
  const output = new Output(limits);
  const cursor: Cursor = { data, at: SLACK, end: SLACK + packed.length };
  const literals = new Uint8Array(BLOCK_MAX + SLACK);
  while (cursor.at < cursor.end) {
    if (cursor.at + 8 > cursor.end) throw new Malformed('is cut off');
    const magic = view.getUint32(cursor.at, true);
    cursor.at += 4;
    if (magic === FRAME_MAGIC) unpackFrame(cursor, view, output, literals);
    else if ((magic & ~0xf) >>> 0 === SKIPPABLE_MAGIC) cursor.at += 4 + view.getUint32(cursor.at, true);
    else throw new Malformed(`has an unknown frame at ${cursor.at - 4 - SLACK}`);
    if (cursor.at > cursor.end) throw new Malformed('is cut off');
  }
  return output.take();
}

function unpackFrame(cursor: Cursor, view: DataView, output: Output, literals: Uint8Array): void {
  const descriptor = readByte(cursor);
  const singleSegment = (descriptor & 0x20) !== 0;
  if (descriptor & 0x08) throw new Malformed('uses a reserved feature');
  const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  if (!singleSegment) cursor.at++; // window: everything unpacked so far is kept anyway
  for (let i = 0; i < dictionaryBytes; i++) if (readByte(cursor) !== 0) throw new Malformed('needs a dictionary, which is not supported');
  cursor.at += sizeBytes;

  const frame: Frame = { start: output.length, literals, repeats: [1, 4, 8] };
  for (let last = false; !last;) {
    const header = readByte(cursor) | (readByte(cursor) << 8) | (readByte(cursor) << 16);
    last = (header & 1) !== 0;
    const type = (header >> 1) & 3;
    const size = header >> 3;
    if (size > BLOCK_MAX) throw new Malformed(`has a block of ${size} bytes`);
    if (type === 1) {
      output.reserve(size);
      output.bytes.fill(readByte(cursor), output.length, output.length + size);
      output.length += size;
      continue;
    }
    const end = cursor.at + size;
    if (end > cursor.end) throw new Malformed('is cut off within a block');
    if (type === 0) output.append(cursor.data.subarray(cursor.at, end));
    else if (type === 2) unpackBlock({ data: cursor.data, at: cursor.at, end }, view, frame, output);
    else throw new Malformed('has a block of a reserved type');
    cursor.at = end;
  }
  if (descriptor & 0x04) cursor.at += 4; // checksum
}

function unpackBlock(cursor: Cursor, view: DataView, frame: Frame, output: Output): void {
  const literals = readLiterals(cursor, view, frame);
  const room = Math.min(BLOCK_MAX, output.room);
  output.reserve(room);
  const limit = output.length + room;
  let count = readByte(cursor);
  if (count >= 128) count = count === 255 ? 0x7f00 + readByte(cursor) + (readByte(cursor) << 8) : ((count - 128) << 8) + readByte(cursor);
  let used = 0;
  if (count > 0) {
    const modes = readByte(cursor);
    if (modes & 3) throw new Malformed('uses a reserved mode');
    frame.literalLengths = readTable(cursor, modes >> 6, LL_DEFAULT, frame.literalLengths, 9, LL_BITS.length - 1);
    frame.offsets = readTable(cursor, (modes >> 4) & 3, OF_DEFAULT, frame.offsets, 8, OF_MAX);
    frame.matchLengths = readTable(cursor, (modes >> 2) & 3, ML_DEFAULT, frame.matchLengths, 9, ML_BITS.length - 1);
    used = runSequences(cursor, view, frame, count, literals, output, limit);
  }
  const rest = literals - used;
  if (output.length + rest > limit) throw new Malformed('unpacks to more than was announced');
  output.bytes.set(frame.literals.subarray(used, literals), output.length);
  output.length += rest;
}

function readTable(
  cursor: Cursor,
  mode: number,
  byDefault: FseTable,
  before: FseTable | undefined,
  accuracy: number,
  symbols: number,
): FseTable {
  if (mode === 0) return byDefault;
  if (mode === 2) return readFse(cursor, accuracy, symbols);
  if (mode === 3) {
    if (!before) throw new Malformed('repeats a table that was never given');
    return before;
  }
  const symbol = readByte(cursor);
  if (symbol > symbols) throw new Malformed(`uses an unknown code ${symbol}`);
  return fseOfOne(symbol);
}

/** The block's literals go to `frame.literals`; answers how many. 3.1.1.3.1. */
function readLiterals(cursor: Cursor, view: DataView, frame: Frame): number {
  const { data } = cursor;
  const out = frame.literals;
  const header = readByte(cursor);
  const type = header & 3;
  const format = (header >> 2) & 3;
  if (type < 2) {
    const size =
      format === 1
        ? (header >> 4) | (readByte(cursor) << 4)
        : format === 3
          ? (header >> 4) | (readByte(cursor) << 4) | (readByte(cursor) << 12)
          : header >> 3;
    if (size > BLOCK_MAX) throw new Malformed(`has a block of ${size} literals`);
    if (type === 1) {
      out.fill(readByte(cursor), 0, size);
      return size;
    }
    if (cursor.at + size > cursor.end) throw new Malformed('is cut off within literals');
    out.set(data.subarray(cursor.at, cursor.at + size));
    cursor.at += size;
    return size;
  }
  const fieldBits = format < 2 ? 10 : format === 2 ? 14 : 18;
  const sizes = header / 16 + readByte(cursor) * 16 + readByte(cursor) * 2 ** 12 + (format >= 2 ? readByte(cursor) * 2 ** 20 : 0);
  const both = Math.floor(sizes) + (format === 3 ? readByte(cursor) * 2 ** 28 : 0);
  const size = both % 2 ** fieldBits;
  const packed = Math.floor(both / 2 ** fieldBits);
  const end = cursor.at + packed;
  if (size > BLOCK_MAX || end > cursor.end) throw new Malformed('is cut off within literals');
  const streams: Cursor = { data, at: cursor.at, end };
  if (type === 2) frame.huffman = readHuffman(streams);
  const huffman = frame.huffman;
  if (!huffman) throw new Malformed('repeats a code that was never given');
  let from = streams.at;
  cursor.at = end;
  if (format === 0) {
    readStream(view, data, from, end, huffman, out, 0, size);
    return size;
  }
  if (from + 6 > end) throw new Malformed('is cut off within literals');
  const each = (size + 3) >> 2;
  if (each * 3 > size) throw new Malformed('has too few literals for four streams');
  const lengths = [0, 2, 4].map((at) => view.getUint16(from + at, true));
  from += 6;
  for (let stream = 0; stream < 4; stream++) {
    const stop = stream < 3 ? from + lengths[stream]! : end;
    if (stop > end) throw new Malformed('is cut off within literals');
    readStream(view, data, from, stop, huffman, out, stream * each, stream < 3 ? (stream + 1) * each : size);
    from = stop;
  }
  return size;
}

/** One backward stream of Huffman codes into `out` from `start` to `stop`. */
function readStream(
  view: DataView,
  data: Uint8Array,
  from: number,
  end: number,
  code: HuffmanTable,
  out: Uint8Array,
  start: number,
  stop: number,
): void {
  const { bits, entries } = code;
  const mask = (1 << bits) - 1;
  const first = from * 8;
  let bit = backwardStart(data, from, end);
  let to = start;
  // Two codes have at most 22 bits, and a word at any bit position has at least 25.
  for (const pairEnd = stop - 1; to < pairEnd && bit - 2 * bits >= first;) {
    const base = bit - 2 * bits;
    const word = view.getUint32(base >> 3, true) >>> (base & 7);
    const one = entries[(word >>> bits) & mask]!;
    const length = one >> 8;
    const two = entries[(word >>> (bits - length)) & mask]!;
    out[to] = one;
    out[to + 1] = two;
    to += 2;
    bit -= length + (two >> 8);
  }
  for (; to < stop; to++) {
    const base = bit - bits;
    let word = view.getUint32(base >> 3, true) >>> (base & 7);
    // What lies before the stream reads as zeros.
    if (base < first) word &= ~((1 << Math.min(first - base, bits)) - 1);
    const entry = entries[word & mask]!;
    out[to] = entry;
    bit -= entry >> 8;
    if (bit < first) throw new Malformed('has a damaged stream of literals');
  }
  if (bit !== first) throw new Malformed('has a damaged stream of literals');
}

/** Sequences: literals, then a match, `count` times. Answers how many literals were used. 3.1.1.4. */
function runSequences(
  cursor: Cursor,
  view: DataView,
  frame: Frame,
  count: number,
  available: number,
  output: Output,
  limit: number,
): number {
  const { literals, repeats, start: frameStart } = frame;
  const llTable = frame.literalLengths!;
  const ofTable = frame.offsets!;
  const mlTable = frame.matchLengths!;
  const llEntries = llTable.entries;
  const ofEntries = ofTable.entries;
  const mlEntries = mlTable.entries;
  const out = output.bytes;
  const first = cursor.at * 8;
  let bit = backwardStart(cursor.data, cursor.at, cursor.end);
  let to = output.length;
  let used = 0;
  let [repeat0, repeat1, repeat2] = repeats;

  bit -= llTable.accuracy;
  let ll = llEntries[(view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << llTable.accuracy) - 1)]!;
  bit -= ofTable.accuracy;
  let of = ofEntries[(view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << ofTable.accuracy) - 1)]!;
  bit -= mlTable.accuracy;
  let ml = mlEntries[(view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << mlTable.accuracy) - 1)]!;

  for (let left = count; left > 0; left--) {
    const ofCode = of >>> 24;
    let offset: number;
    if (ofCode <= 24) {
      bit -= ofCode;
      offset = (1 << ofCode) + ((view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << ofCode) - 1));
    } else {
      const low = ofCode - 16;
      bit -= 16;
      const top = (view.getUint32(bit >> 3, true) >>> (bit & 7)) & 0xffff;
      bit -= low;
      offset = ((1 << ofCode) >>> 0) + top * (1 << low) + ((view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << low) - 1));
    }
    const mlCode = ml >>> 24;
    const mlBits = ML_BITS[mlCode]!;
    bit -= mlBits;
    const matchLength = ML_BASE[mlCode]! + ((view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << mlBits) - 1));
    const llCode = ll >>> 24;
    const llBits = LL_BITS[llCode]!;
    bit -= llBits;
    const literalLength = LL_BASE[llCode]! + ((view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << llBits) - 1));

    if (left > 1) {
      let bits = (ll >>> 16) & 0xff;
      bit -= bits;
      ll = llEntries[(ll & 0xffff) + ((view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << bits) - 1))]!;
      bits = (ml >>> 16) & 0xff;
      bit -= bits;
      ml = mlEntries[(ml & 0xffff) + ((view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << bits) - 1))]!;
      bits = (of >>> 16) & 0xff;
      bit -= bits;
      of = ofEntries[(of & 0xffff) + ((view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << bits) - 1))]!;
    }
    if (bit < first) throw new Malformed('has a damaged stream of sequences');

    // Offsets 1 to 3 name one of the last three, shifted by one when there are no literals. 3.1.1.5.
    if (offset > 3) {
      offset -= 3;
      repeat2 = repeat1;
      repeat1 = repeat0;
      repeat0 = offset;
    } else {
      const which = offset - (literalLength === 0 ? 0 : 1);
      offset = which === 0 ? repeat0 : which === 1 ? repeat1 : which === 2 ? repeat2 : repeat0 - 1;
      if (which > 1) repeat2 = repeat1;
      if (which > 0) repeat1 = repeat0;
      repeat0 = offset;
    }

    if (used + literalLength > available) throw new Malformed('uses more literals than it has');
    if (to + literalLength + matchLength > limit) throw new Malformed('unpacks to more than was announced');
    if (literalLength > 32) {
      out.set(literals.subarray(used, used + literalLength), to);
      to += literalLength;
      used += literalLength;
    } else for (const end = to + literalLength; to < end;) out[to++] = literals[used++]!;
    if (offset === 0 || offset > to - frameStart) throw new Malformed(`refers ${offset} bytes back, before its beginning`);
    let source = to - offset;
    if (matchLength > 64 && offset >= matchLength) {
      out.copyWithin(to, source, source + matchLength);
      to += matchLength;
    } else for (const end = to + matchLength; to < end;) out[to++] = out[source++]!;
  }
  if (bit !== first) throw new Malformed('has a damaged stream of sequences');
  repeats[0] = repeat0;
  repeats[1] = repeat1;
  repeats[2] = repeat2;
  output.length = to;
  return used;
}
