import type { Appender } from '../platform/files.ts';

/** Output to a file, in order, without making the machine wait. */
export class FileOutput {
  readonly #file: Appender;
  #last: Promise<void> = Promise.resolve();

  constructor(file: Appender) {
    this.#file = file;
  }

  write(data: Uint8Array): void {
    const copy = data.slice();
    this.#last = this.#last.then(() => this.#file.write(copy));
    // Reported by close().
    this.#last.catch(() => {});
  }

  /** Rejects with what went wrong since the beginning. */
  async close(): Promise<void> {
    try {
      await this.#last;
    } finally {
      await this.#file.close();
    }
  }
}
