/** What the decoders share: how they fail, and what they give: an output that grows up to a limit, or pieces. */

/** The compressed data breaks its format's rules; the message continues "its xz data …". */
export class Malformed extends Error {}

export interface OutputLimits {
  readonly maximumBytes: number;
  /** The output's size when it is known beforehand. */
  readonly expectedBytes?: number | undefined;
}

/** Unpacked bytes in order; each piece is good until the next one is asked for. */
export type Pieces = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Gives all at once, or, where the format does not look far back, piece by piece. */
export type Decoder = (data: Uint8Array, limits: OutputLimits) => Uint8Array | Pieces;

const FIRST_BYTES = 1 << 20;

/** Unpacked bytes so far: `bytes` up to `length`; a decoder asks for room before it writes. */
export class Output {
  bytes: Uint8Array;
  length = 0;
  readonly #maximum: number;

  constructor({ maximumBytes, expectedBytes }: OutputLimits) {
    this.#maximum = maximumBytes;
    this.bytes = new Uint8Array(expectedBytes ?? Math.min(FIRST_BYTES, maximumBytes));
  }

  get room(): number {
    return this.#maximum - this.length;
  }

  /** Makes `bytes` at least `length + count` long; refuses to go beyond the limit. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed > this.#maximum) throw new Malformed(`unpacks to more than ${this.#maximum} bytes`);
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.min(Math.max(needed, this.bytes.length * 2), this.#maximum));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  append(data: Uint8Array): void {
    this.reserve(data.length);
    this.bytes.set(data, this.length);
    this.length += data.length;
  }

  /** The result, without copying. */
  take(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}
