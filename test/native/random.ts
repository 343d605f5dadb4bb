/** Seeded random numbers with a bias to the values at which instructions go wrong. */

/** Pairs of low and high word. */
const EDGES: readonly (readonly [number, number])[] = [
  [0, 0],
  [1, 0],
  [2, 0],
  [0xffff_ffff, 0xffff_ffff],
  [0xffff_fffe, 0xffff_ffff],
  [0x7f, 0],
  [0x80, 0],
  [0xff, 0],
  [0xffff_ff80, 0xffff_ffff],
  [0x7fff, 0],
  [0x8000, 0],
  [0xffff, 0],
  [0xffff_8000, 0xffff_ffff],
  [0x7fff_ffff, 0],
  [0x8000_0000, 0],
  [0xffff_ffff, 0],
  [0x8000_0000, 0xffff_ffff],
  [0, 1],
  [0xffff_ffff, 0x7fff_ffff],
  [0, 0x8000_0000],
  [0x5555_5555, 0x5555_5555],
  [0xaaaa_aaaa, 0xaaaa_aaaa],
];

const FLOAT32_EDGES = [
  0x0000_0000, 0x8000_0000, 0x3f80_0000, 0xbf80_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xffbf_ffff,
  0x7fff_ffff, 0x0000_0001, 0x8000_0001, 0x007f_ffff, 0x0080_0000, 0x0080_0001, 0x7f7f_ffff, 0xff7f_ffff, 0x4f00_0000, 0xcf00_0000,
  0x4eff_ffff, 0xcf00_0001, 0x5f00_0000, 0xdf00_0000, 0x3f00_0000, 0x3fc0_0000, 0x4020_0000, 0xbf00_0000, 0x3eff_ffff, 0x4b7f_ffff,
]; // prettier-ignore

const FLOAT64_EDGES: readonly (readonly [number, number])[] = [
  [0, 0], [0, 0x8000_0000], [0, 0x3ff0_0000], [0, 0xbff0_0000], [0, 0x7ff0_0000], [0, 0xfff0_0000], [0, 0x7ff8_0000], [0, 0xfff8_0000],
  [1, 0x7ff0_0000], [0xffff_ffff, 0xfff7_ffff], [1, 0], [1, 0x8000_0000], [0xffff_ffff, 0x000f_ffff], [0, 0x0010_0000],
  [0xffff_ffff, 0x7fef_ffff], [0xffff_ffff, 0xffef_ffff], [0, 0x41e0_0000], [0, 0xc1e0_0000], [0xffc0_0000, 0x41df_ffff],
  [0x0020_0000, 0xc1e0_0000], [0xffe0_0000, 0x41df_ffff], [0, 0x43e0_0000], [0, 0xc3e0_0000], [0xffff_ffff, 0x43df_ffff],
  [0, 0x3fe0_0000], [0, 0x3ff8_0000], [0, 0xbfe0_0000], [0, 0x4004_0000], [0xf000_0000, 0x47ef_ffff], [0, 0x3810_0000],
  [0, 0x36a0_0000], [0xe000_0000, 0x380f_ffff],
]; // prettier-ignore

/** Sign and exponent, high and low word of the significand. */
const FLOAT80_EDGES: readonly (readonly [number, number, number])[] = [
  [0, 0, 0], [0x8000, 0, 0], [0x3fff, 0x8000_0000, 0], [0xbfff, 0x8000_0000, 0], [0x7fff, 0x8000_0000, 0], [0xffff, 0x8000_0000, 0],
  [0x7fff, 0xc000_0000, 0], [0xffff, 0xc000_0000, 0], [0x7fff, 0x8000_0000, 1], [0x7fff, 0, 0], [0x7fff, 0x4000_0000, 0],
  [0, 0, 1], [0, 0x8000_0000, 0], [0x8000, 0x7fff_ffff, 0xffff_ffff], [1, 0x8000_0000, 0], [0x3fff, 0, 0], [0x3fff, 0x4000_0000, 0],
  [0x7ffe, 0xffff_ffff, 0xffff_ffff], [0x403e, 0x8000_0000, 0], [0xc03e, 0x8000_0000, 0], [0x403d, 0xffff_ffff, 0xffff_ffff],
  [0x401e, 0x8000_0000, 0], [0x400e, 0x8000_0000, 0], [0x3ffe, 0x8000_0000, 0], [0x3fff, 0xc000_0000, 0], [0x4000, 0xa000_0000, 0],
  [0x7ffe, 0, 1], [0x0001, 0x7fff_ffff, 0xffff_ffff], [0x3fff, 0xffff_ffff, 0xffff_ffff], [0x403f, 0x8000_0000, 0],
]; // prettier-ignore

/** What the bytes of a vector register or memory operand should look like. */
export type Flavour = 'integer' | 'float32' | 'float64' | 'float80' | 'bytes';

/** xoshiro128** 1.1 by Blackman and Vigna, seeded through splitmix32. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    let state = seed | 0;
    const next = (): number => {
      state = (state + 0x9e37_79b9) | 0;
      let z = state ^ (state >>> 16);
      z = Math.imul(z, 0x21f0_aaad);
      z ^= z >>> 15;
      z = Math.imul(z, 0x735a_2d97);
      return z ^ (z >>> 15);
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next() | 1;
  }

  /** 32 random bits, unsigned. */
  u32(): number {
    const s = Math.imul(this.#b, 5);
    const result = Math.imul((s << 7) | (s >>> 25), 9);
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** A number from 0 to `n` - 1; `n` up to 2^32. */
  below(n: number): number {
    return Math.floor((this.u32() / 2 ** 32) * n);
  }

  /** True in `percent` of a hundred calls. */
  chance(percent: number): boolean {
    return this.u32() < percent * 42_949_672.96;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  /** A 64-bit integer, as two words at `words[at]`. */
  integer(words: Uint32Array, at: number): void {
    const kind = this.below(16);
    if (kind < 4) {
      [words[at], words[at + 1]] = this.pick(EDGES) as [number, number];
    } else if (kind < 7) {
      const small = this.u32() >>> this.pick([24, 28, 20]);
      const negative = this.chance(30);
      words[at] = negative ? ~small : small;
      words[at + 1] = negative ? ~0 : 0;
    } else if (kind < 9) {
      const n = 1n << BigInt(this.below(64));
      const value = BigInt.asUintN(64, n + BigInt(this.below(3) - 1));
      words[at] = Number(value & 0xffff_ffffn);
      words[at + 1] = Number(value >> 32n);
    } else {
      words[at] = this.u32();
      words[at + 1] = kind < 11 ? (words[at]! & 0x8000_0000 ? ~0 : 0) : this.u32();
    }
  }

  /** The same as a bigint of `bits`, unsigned. */
  bigint(bits: number): bigint {
    const words = new Uint32Array(2);
    this.integer(words, 0);
    return BigInt.asUintN(bits, BigInt(words[0]!) | (BigInt(words[1]!) << 32n));
  }

  float32(): number {
    const kind = this.below(8);
    if (kind < 3) return this.pick(FLOAT32_EDGES);
    if (kind === 3) return this.u32();
    if (kind === 4) return ((this.u32() & 0x8000_0000) | this.below(0x80_0000)) >>> 0; // denormal
    // Exponents close to each other, so that sums round and cancel.
    return ((this.u32() & 0x807f_ffff) | ((127 - 4 + this.below(kind === 5 ? 40 : 8)) << 23)) >>> 0;
  }

  float64(words: Uint32Array, at: number): void {
    const kind = this.below(8);
    words[at] = this.u32();
    if (kind < 3) [words[at], words[at + 1]] = this.pick(FLOAT64_EDGES) as [number, number];
    else if (kind === 3) words[at + 1] = this.u32();
    else if (kind === 4) words[at + 1] = this.u32() & 0x800f_ffff;
    else words[at + 1] = (this.u32() & 0x800f_ffff) | ((1023 - 4 + this.below(kind === 5 ? 72 : 8)) << 20);
    if (kind >= 5 && this.chance(30)) words[at] = 0;
    if (kind === 6 && this.chance(30)) words[at] &= 0xe000_0000; // exact as float32
  }

  /** Ten bytes at `bytes[at]`. */
  float80(bytes: Uint8Array, at: number): void {
    const kind = this.below(10);
    let [head, high, low] = this.pick(FLOAT80_EDGES) as [number, number, number];
    if (kind >= 4) {
      head = (this.u32() & 0x8000) | (0x3fff - 4 + this.below(kind < 6 ? 72 : 8));
      high = (this.u32() | 0x8000_0000) >>> 0;
      low = this.u32();
      if (this.chance(30)) low = 0;
      if (this.chance(30)) [high, low] = [(high & 0xffff_ff00) >>> 0, 0];
    }
    if (kind === 4) head = this.u32() & 0xffff;
    if (kind === 5 && this.chance(50))
      head = this.pick([0, 1, 0x3fff - 1023, 0x3fff + 1024, 0x3fff - 127, 0x3fff + 128, 0x7ffe]) ^ (head & 0x8000);
    if (kind === 6 && this.chance(20)) high = this.u32(); // perhaps an unnormal
    for (let i = 0; i < 4; i++) {
      bytes[at + i] = low >>> (8 * i);
      bytes[at + 4 + i] = high >>> (8 * i);
    }
    bytes[at + 8] = head;
    bytes[at + 9] = head >>> 8;
  }

  /** Fills a range of whole words with values of a flavour; `float80` takes 16 bytes a value. */
  scatter(bytes: Uint8Array, at: number, length: number, flavour: Flavour): void {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, length >>> 2);
    const step = flavour === 'float80' ? 4 : flavour === 'float64' || flavour === 'integer' ? 2 : 1;
    for (let i = 0; i + step <= words.length; i += step) {
      if (flavour === 'float32') words[i] = this.float32();
      else if (flavour === 'float64') this.float64(words, i);
      else if (flavour === 'float80') this.float80(bytes, at + i * 4);
      else if (flavour === 'bytes') words[i] = this.#bytes();
      else this.integer(words, i);
    }
  }

  /** Four bytes, each often at an edge of 8- or 16-bit arithmetic. */
  #bytes(): number {
    const kind = this.below(8);
    if (kind === 0) return this.pick([0, ~0, 0x8080_8080, 0x7f7f_7f7f, 0x8000_8000, 0x7fff_7fff, 0x0001_0001, 0x0101_0101]);
    const word = this.u32();
    return kind < 3 ? word & 0x8080_8080 : kind === 3 ? word | 0x7f7f_7f7f : word;
  }
}
