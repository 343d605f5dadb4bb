import { VALTYPE_CODE, type ValType } from './opcodes.ts';

/** A growing byte buffer with WebAssembly's integer encodings. */
export class ByteWriter {
  #bytes: Uint8Array;
  length = 0;

  /** @param size that it will probably have, in bytes */
  constructor(size = 256) {
    this.#bytes = new Uint8Array(size);
  }

  #room(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
  }

  u8(value: number): void {
    if (this.length === this.#bytes.length) this.#room(1);
    this.#bytes[this.length++] = value;
  }

  raw(bytes: ArrayLike<number>): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** As `raw`, of a byte or a few. */
  few(bytes: readonly number[]): void {
    for (let n = 0; n < bytes.length; n++) this.u8(bytes[n]!);
  }

  /** Unsigned LEB128, below 2^32. */
  u32(value: number): void {
    while (value >= 0x80) {
      this.u8((value & 0x7f) | 0x80);
      value >>>= 7;
    }
    this.u8(value);
  }

  /** Signed LEB128 of a 32-bit integer. */
  s32(value: number): void {
    value |= 0;
    for (;;) {
      const byte = value & 0x7f;
      value >>= 7;
      if ((value === 0 && !(byte & 0x40)) || (value === -1 && byte & 0x40)) return this.u8(byte);
      this.u8(byte | 0x80);
    }
  }

  /** Signed LEB128 of a 64-bit integer. */
  s64(value: bigint): void {
    value = BigInt.asIntN(64, value);
    if (value >= -0x80000000n && value <= 0x7fffffffn) return this.s32(Number(value));
    for (;;) {
      const byte = Number(value & 0x7fn);
      value >>= 7n;
      if ((value === 0n && !(byte & 0x40)) || (value === -1n && byte & 0x40)) return this.u8(byte);
      this.u8(byte | 0x80);
    }
  }

  name(text: string): void {
    const bytes = Array.from(text, (c) => c.charCodeAt(0));
    this.u32(bytes.length);
    this.raw(bytes);
  }

  valtype(type: ValType): void {
    this.u8(VALTYPE_CODE[type]);
  }

  /** A length-prefixed section or body. */
  sized(content: ByteWriter): void {
    this.u32(content.length);
    this.raw(content.view());
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  take(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}
