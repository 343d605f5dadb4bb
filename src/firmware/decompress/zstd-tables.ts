/** Zstandard's two entropy codes as decoding tables: FSE (RFC 8878, 4.1) and Huffman (4.2). */
import { Malformed } from './output.ts';

/** Position of the highest set bit; `value` is at least 1. */
export const highBit = (value: number): number => 31 - Math.clz32(value);

/** A stretch of the input, with where reading has come to. */
export interface Cursor {
  readonly data: Uint8Array;
  at: number;
  readonly end: number;
}

export function readByte(cursor: Cursor): number {
  if (cursor.at >= cursor.end) throw new Malformed('is cut off within a block');
  return cursor.data[cursor.at++]!;
}

/**
 * A state's entry: base of the next state in bits 0 to 15, number of bits to add in 16 to 23, symbol in 24 to 31.
 */
export interface FseTable {
  readonly accuracy: number;
  readonly entries: Uint32Array;
}

export const fseOfOne = (symbol: number): FseTable => ({ accuracy: 0, entries: Uint32Array.of((symbol << 24) >>> 0) });

/** Builds a table from normalised counts; -1 is "less than one". 4.1.1. */
export function buildFse(counts: ArrayLike<number>, accuracy: number): FseTable {
  const size = 1 << accuracy;
  const symbols = new Uint8Array(size);
  const next = new Uint16Array(counts.length);
  let high = size;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    if (counts[symbol] === -1) symbols[--high] = symbol;
    next[symbol] = Math.abs(counts[symbol]!);
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let position = 0;
  for (let symbol = 0; symbol < counts.length; symbol++) {
    for (let i = 0; i < counts[symbol]!; i++) {
      symbols[position] = symbol;
      do position = (position + step) & (size - 1);
      while (position >= high);
    }
  }
  if (position !== 0) throw new Malformed('has an impossible table');
  const entries = new Uint32Array(size);
  for (let state = 0; state < size; state++) {
    const symbol = symbols[state]!;
    const from = next[symbol]!++;
    const bits = accuracy - highBit(from);
    entries[state] = (((symbol << 24) | (bits << 16)) >>> 0) + ((from << bits) - size);
  }
  return { accuracy, entries };
}

/** Reads a table's description: counts in a variable number of bits each, lowest bits first. */
export function readFse(cursor: Cursor, maxAccuracy: number, maxSymbol: number): FseTable {
  const { data, end } = cursor;
  let bit = cursor.at * 8;
  const peek = (count: number): number => {
    const at = bit >> 3;
    const word = (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8) | ((data[at + 2] ?? 0) << 16);
    return (word >>> (bit & 7)) & ((1 << count) - 1);
  };
  const accuracy = peek(4) + 5;
  bit += 4;
  if (accuracy > maxAccuracy) throw new Malformed(`has a table of accuracy ${accuracy}, more than ${maxAccuracy}`);
  const counts: number[] = [];
  let remaining = 1 << accuracy;
  while (remaining > 0) {
    if (counts.length > maxSymbol || bit > end * 8) throw new Malformed('has an impossible table');
    const bits = highBit(remaining + 1) + 1;
    const lowMask = (1 << (bits - 1)) - 1;
    const threshold = (1 << bits) - 2 - remaining;
    let value = peek(bits);
    if ((value & lowMask) < threshold) {
      value &= lowMask;
      bit += bits - 1;
    } else {
      if (value > lowMask) value -= threshold;
      bit += bits;
    }
    const count = value - 1;
    counts.push(count);
    remaining -= Math.abs(count);
    if (count !== 0) continue;
    for (let more = 3; more === 3; bit += 2) {
      more = peek(2);
      for (let i = 0; i < more; i++) counts.push(0);
      if (counts.length > maxSymbol + 1) throw new Malformed('has an impossible table');
    }
  }
  cursor.at = (bit + 7) >> 3;
  if (remaining !== 0 || counts.length > maxSymbol + 1 || cursor.at > end) throw new Malformed('has an impossible table');
  return buildFse(counts, accuracy);
}

/** An entry per possible next `bits` bits: symbol in bits 0 to 7, its code's length above. */
export interface HuffmanTable {
  readonly bits: number;
  readonly entries: Uint16Array;
}

const MAX_HUFFMAN_BITS = 11;
const WEIGHT_ACCURACY_MAX = 6;
const WEIGHT_SYMBOL_MAX = 12;
const MAX_WEIGHTS = 255;

/** A stream that is read from its end: the position of its first bit, which the highest set bit of its last byte precedes. */
export function backwardStart(data: Uint8Array, from: number, end: number): number {
  const last = end > from ? data[end - 1]! : 0;
  if (last === 0) throw new Malformed('has a bit stream without an end');
  return (end - 1) * 8 + highBit(last);
}

/** Weights that are themselves FSE-compressed, by two states taking turns. 4.2.1.2. */
function fseWeights(cursor: Cursor, end: number): number[] {
  const { data } = cursor;
  const table: Cursor = { data, at: cursor.at, end };
  const { accuracy, entries } = readFse(table, WEIGHT_ACCURACY_MAX, WEIGHT_SYMBOL_MAX);
  const first = table.at * 8;
  let bit = backwardStart(data, table.at, end);
  const take = (count: number): number => {
    bit -= count;
    if (bit < first) return -1;
    let value = 0;
    for (let i = 0; i < count; i++) value |= ((data[(bit + i) >> 3]! >> ((bit + i) & 7)) & 1) << i;
    return value;
  };
  let state = take(accuracy);
  let other = take(accuracy);
  if (bit < first) throw new Malformed('has no room for its weights');
  const weights: number[] = [];
  while (weights.length < MAX_WEIGHTS) {
    const entry = entries[state]!;
    weights.push(entry >>> 24);
    const more = take((entry >>> 16) & 0xff);
    if (more < 0) {
      weights.push(entries[other]! >>> 24);
      return weights;
    }
    state = other;
    other = (entry & 0xffff) + more;
  }
  throw new Malformed('has too many weights');
}

export function readHuffman(cursor: Cursor): HuffmanTable {
  const header = readByte(cursor);
  let weights: number[];
  if (header >= 128) {
    weights = [];
    const count = header - 127;
    for (let i = 0; i < count; i += 2) {
      const pair = readByte(cursor);
      weights.push(pair >> 4);
      if (i + 1 < count) weights.push(pair & 15);
    }
  } else {
    const end = cursor.at + header;
    if (end > cursor.end) throw new Malformed('is cut off within a code');
    weights = fseWeights(cursor, end);
    cursor.at = end;
  }
  return buildHuffman(weights);
}

/** Weight w gives a symbol 2^(w-1) entries; the last symbol's weight fills the table up. 4.2.1. */
function buildHuffman(weights: number[]): HuffmanTable {
  let sum = 0;
  for (const weight of weights) sum += weight > 0 ? 2 ** (weight - 1) : 0;
  const bits = sum > 0 ? highBit(sum) + 1 : 0;
  const left = 2 ** bits - sum;
  if (sum === 0 || bits > MAX_HUFFMAN_BITS || weights.length > MAX_WEIGHTS || (left & (left - 1)) !== 0) {
    throw new Malformed('has an impossible code');
  }
  weights.push(highBit(left) + 1);
  const entries = new Uint16Array(1 << bits);
  let at = 0;
  for (let weight = 1; weight <= bits; weight++) {
    for (const [symbol, its] of weights.entries()) {
      if (its === weight) entries.fill(((bits + 1 - weight) << 8) | symbol, at, (at += 1 << (weight - 1)));
    }
  }
  return { bits, entries };
}
