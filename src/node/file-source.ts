/** A file as a `ByteSource`. It stays open, so that it may be renamed or replaced meanwhile; changed in place it shows as damage. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { VmError } from '../base/errors.ts';
import type { ByteSource } from '../machine/saved-state.ts';
import { hostError } from './files.ts';

export class FileSource implements ByteSource {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #file: number;
  #open = true;

  /** Throws `not-found` or `host-io`. */
  constructor(path: string) {
    this.name = path;
    try {
      this.#file = openSync(path, 'r');
    } catch (cause) {
      throw hostError('read', path, cause);
    }
    this.sizeBytes = fstatSync(this.#file).size;
  }

  read(offset: number, length: number): Uint8Array {
    const data = new Uint8Array(length);
    let done = 0;
    try {
      while (done < length) {
        const count = readSync(this.#file, data, done, length - done, offset + done);
        if (count === 0) throw new VmError('host-io', `cannot read ${this.name}: it became shorter while in use`);
        done += count;
      }
    } catch (cause) {
      throw hostError('read', this.name, cause);
    }
    return data;
  }

  /** Idempotent. */
  close(): void {
    if (this.#open) closeSync(this.#file);
    this.#open = false;
  }
}
