/** Collects what the guest prints, which comes byte by byte, into pieces worth a message. */

const FIRST_SIZE = 1024;

export class OutputBuffer {
  #bytes = new Uint8Array(FIRST_SIZE);
  #length = 0;
  readonly #soon: (flush: () => void) => void;
  readonly #send: (data: Uint8Array<ArrayBuffer>) => void;

  /** @param soon calls back a little later; called once for each piece */
  constructor(soon: (flush: () => void) => void, send: (data: Uint8Array<ArrayBuffer>) => void) {
    this.#soon = soon;
    this.#send = send;
  }

  write(data: Uint8Array): void {
    if (this.#length === 0 && data.length > 0) this.#soon(() => this.flush());
    if (this.#length + data.length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + data.length));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(data, this.#length);
    this.#length += data.length;
  }

  /** Sends what there is, if any. */
  flush(): void {
    if (this.#length === 0) return;
    const piece = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    this.#send(piece);
  }
}
