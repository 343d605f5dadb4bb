/** Private copies of requests' data, used again: a disk under load would otherwise allocate its whole traffic. */
const KEPT = 16;
const BIGGEST_KEPT = 2 ** 20;

export class BufferPool {
  readonly #free: Uint8Array[] = [];

  /** `length` bytes with any content. */
  take(length: number): Uint8Array {
    for (let i = this.#free.length - 1; i >= 0; i--) {
      if (this.#free[i]!.length >= length) return this.#free.splice(i, 1)[0]!.subarray(0, length);
    }
    const size = length > BIGGEST_KEPT ? length : 2 ** Math.ceil(Math.log2(Math.max(length, 4096)));
    return new Uint8Array(size).subarray(0, length);
  }

  /** A buffer from `take` that nobody uses any longer. */
  give(buffer: Uint8Array): void {
    if (this.#free.length < KEPT && buffer.buffer.byteLength <= BIGGEST_KEPT) this.#free.push(new Uint8Array(buffer.buffer));
  }
}
