/** bzip2: run lengths, Burrows-Wheeler transform, move-to-front, Huffman codes. Facts from the format's public descriptions. */
import { Malformed, Output, type OutputLimits } from './output.ts';

const BLOCK_MAGIC = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
const END_MAGIC = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
const BLOCK_UNIT = 100_000;
const GROUP = 50;
const CODE_MAX = 20;
const RUN_B = 1;

class BitReader {
  readonly #data: Uint8Array;
  #at: number;
  #bits = 0;
  #count = 0;

  constructor(data: Uint8Array, at: number) {
    this.#data = data;
    this.#at = at;
  }

  /** The next `count` bits, 1 to 24. */
  read(count: number): number {
    while (this.#count < count) {
      const byte = this.#data[this.#at++];
      if (byte === undefined) throw new Malformed('is cut off');
      this.#bits = ((this.#bits << 8) | byte) & 0xffff_ffff;
      this.#count += 8;
    }
    this.#count -= count;
    return (this.#bits >>> this.#count) & ((1 << count) - 1);
  }

  read32(): number {
    return this.read(16) * 0x1_0000 + this.read(16);
  }

  /** To the next whole byte; answers its position. */
  align(): number {
    this.#count -= this.#count % 8;
    return this.#at - this.#count / 8;
  }
}

/** A canonical Huffman code: per length the largest code and where its symbols are. */
interface Code {
  readonly shortest: number;
  readonly limits: Int32Array;
  readonly bases: Int32Array;
  readonly symbols: Uint16Array;
}

function makeCode(lengths: readonly number[]): Code {
  const counts = new Int32Array(CODE_MAX + 2);
  for (const length of lengths) counts[length]!++;
  const symbols = new Uint16Array(lengths.length);
  let filled = 0;
  const limits = new Int32Array(CODE_MAX + 2).fill(-1);
  const bases = new Int32Array(CODE_MAX + 2);
  let code = 0;
  for (let length = 1; length <= CODE_MAX; length++) {
    bases[length] = filled - code;
    for (const [symbol, its] of lengths.entries()) if (its === length) symbols[filled++] = symbol;
    code += counts[length]!;
    if (counts[length]! > 0) limits[length] = code - 1;
    code <<= 1;
  }
  return { shortest: Math.min(...lengths), limits, bases, symbols };
}

function readSymbol(bits: BitReader, { shortest, limits, bases, symbols }: Code): number {
  let value = bits.read(shortest);
  for (let length = shortest; length <= CODE_MAX; length++) {
    if (value <= limits[length]!) {
      const symbol = symbols[bases[length]! + value];
      if (symbol !== undefined) return symbol;
      break;
    }
    value = (value << 1) | bits.read(1);
  }
  throw new Malformed('has an impossible code');
}

/** Which of the 256 byte values occur. */
function readAlphabet(bits: BitReader): number[] {
  const groups = bits.read(16);
  const alphabet: number[] = [];
  for (let group = 0; group < 16; group++) {
    if (!(groups & (0x8000 >> group))) continue;
    const present = bits.read(16);
    for (let bit = 0; bit < 16; bit++) if (present & (0x8000 >> bit)) alphabet.push(group * 16 + bit);
  }
  if (alphabet.length === 0) throw new Malformed('has a block without symbols');
  return alphabet;
}

/** Takes the value at `index` to the front and answers it. */
function moveToFront(values: number[] | Uint8Array, index: number): number {
  const value = values[index]!;
  for (let i = index; i > 0; i--) values[i] = values[i - 1]!;
  values[0] = value;
  return value;
}

function readSelectors(bits: BitReader, codes: number): Uint8Array {
  const count = bits.read(15);
  if (count === 0) throw new Malformed('has a block without selectors');
  const order = Array.from({ length: codes }, (_, index) => index);
  const selectors = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    let index = 0;
    while (bits.read(1)) if (++index >= codes) throw new Malformed('selects a code that does not exist');
    selectors[i] = moveToFront(order, index);
  }
  return selectors;
}

function readCode(bits: BitReader, symbols: number): Code {
  const lengths: number[] = [];
  let length = bits.read(5);
  for (let symbol = 0; symbol < symbols; symbol++) {
    while (bits.read(1)) length += bits.read(1) ? -1 : 1;
    if (length < 1 || length > CODE_MAX) throw new Malformed(`has a code of ${length} bits`);
    lengths.push(length);
  }
  return makeCode(lengths);
}

/** Huffman codes and move-to-front back to the transformed block in `block`; answers its length. */
function readBlock(bits: BitReader, block: Uint32Array): number {
  const alphabet = readAlphabet(bits);
  const codeCount = bits.read(3);
  if (codeCount < 2 || codeCount > 6) throw new Malformed(`has ${codeCount} codes in a block`);
  const selectors = readSelectors(bits, codeCount);
  const endSymbol = alphabet.length + 1;
  const codes = Array.from({ length: codeCount }, () => readCode(bits, endSymbol + 1));
  const front = Uint8Array.from(alphabet);
  let length = 0;
  let run = 0;
  let runWeight = 1;
  for (const selector of selectors) {
    const code = codes[selector]!;
    for (let i = 0; i < GROUP; i++) {
      const symbol = readSymbol(bits, code);
      if (symbol <= RUN_B) {
        // Digits 1 and 2 of a number in bijective base 2: how often the front byte repeats.
        run += runWeight << symbol;
        runWeight <<= 1;
        if (run > block.length) throw new Malformed('has a run longer than its block');
        continue;
      }
      if (length + run >= block.length + (symbol === endSymbol ? 1 : 0)) throw new Malformed('overflows its block');
      block.fill(front[0]!, length, (length += run));
      run = 0;
      runWeight = 1;
      if (symbol === endSymbol) return length;
      block[length++] = moveToFront(front, symbol - 1);
    }
  }
  throw new Malformed('has a block without an end');
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c1_1db7 : crc << 1;
  return crc >>> 0;
});

/** Inverts the transform in place, then undoes the outer run lengths into `output`. Answers the block's CRC. */
function writeBlock(block: Uint32Array, length: number, origin: number, output: Output): number {
  const starts = new Uint32Array(256);
  for (let i = 0; i < length; i++) starts[block[i]! & 0xff]!++;
  let sum = 0;
  for (let byte = 0; byte < 256; byte++) {
    sum += starts[byte]!;
    starts[byte] = sum - starts[byte]!;
  }
  // The upper 24 bits of each entry become the position of the next byte.
  for (let i = 0; i < length; i++) block[starts[block[i]! & 0xff]!++]! |= i << 8;
  let crc = -1;
  let next = block[origin]! >>> 8;
  let previous = -1;
  let repeats = 0;
  for (let i = 0; i < length; i++) {
    const entry = block[next]!;
    next = entry >>> 8;
    const byte = entry & 0xff;
    let count = 1;
    if (repeats === 4) {
      count = byte;
      repeats = 0;
    } else {
      repeats = byte === previous ? repeats + 1 : 1;
      previous = byte;
    }
    output.reserve(count);
    const { bytes } = output;
    for (let j = 0; j < count; j++) {
      bytes[output.length++] = previous;
      crc = (crc << 8) ^ CRC_TABLE[((crc >>> 24) ^ previous) & 0xff]!;
    }
  }
  return ~crc >>> 0;
}

const isMagic = (magic: readonly number[], expected: readonly number[]): boolean => expected.every((byte, i) => magic[i] === byte);

export function unpackBzip2(data: Uint8Array, limits: OutputLimits): Uint8Array {
  const output = new Output(limits);
  const largest = new Uint32Array(9 * BLOCK_UNIT);
  let at = 0;
  do {
    const level = (data[at + 3] ?? 0) - 0x30;
    if (level < 1 || level > 9) throw new Malformed('has an unknown block size');
    const block = largest.subarray(0, level * BLOCK_UNIT);
    const bits = new BitReader(data, at + 4);
    for (;;) {
      const magic = Array.from({ length: 6 }, () => bits.read(8));
      const crc = bits.read32();
      if (isMagic(magic, END_MAGIC)) break;
      if (!isMagic(magic, BLOCK_MAGIC)) throw new Malformed('has a damaged block header');
      if (bits.read(1)) throw new Malformed('is of the randomised kind, which is not supported');
      const origin = bits.read(24);
      const length = readBlock(bits, block);
      if (origin >= length) throw new Malformed('begins outside its block');
      if (writeBlock(block, length, origin, output) !== crc) throw new Malformed('fails its check');
    }
    at = bits.align();
  } while (data[at] === 0x42 && data[at + 1] === 0x5a && data[at + 2] === 0x68);
  return output.take();
}
