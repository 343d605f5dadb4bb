/** A raw disk image in a file. */
import { open, type FileHandle } from 'node:fs/promises';
import { VmError } from '../base/errors.ts';
import type { BlockBackend } from '../machine/backends.ts';

const SECTOR = 512;

export class RawDisk implements BlockBackend {
  readonly sectors: number;
  readonly readOnly: boolean;
  readonly #file: FileHandle;
  readonly #path: string;

  private constructor(file: FileHandle, path: string, sectors: number, readOnly: boolean) {
    this.#file = file;
    this.#path = path;
    this.sectors = sectors;
    this.readOnly = readOnly;
  }

  /** A size that is no multiple of 512 is cut; the rest cannot be reached. */
  static async open(path: string, readOnly: boolean): Promise<RawDisk> {
    try {
      const file = await open(path, readOnly ? 'r' : 'r+');
      const { size } = await file.stat();
      if (size < SECTOR) {
        await file.close();
        throw new VmError('bad-image', `${path}: ${size} bytes are no disk; a raw image has at least one sector of ${SECTOR}`);
      }
      return new RawDisk(file, path, Math.floor(size / SECTOR), readOnly);
    } catch (cause) {
      if (cause instanceof VmError) throw cause;
      const hint = readOnly ? '' : ' (to use it unchanged, add ,ro)';
      throw new VmError('host-io', `${path}: cannot be opened as a disk${hint}: ${(cause as Error).message}`, cause);
    }
  }

  async read(sector: number, into: Uint8Array): Promise<void> {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await this.#guard(this.#file.read(into, done, into.length - done, sector * SECTOR + done));
      if (bytesRead === 0) throw new VmError('host-io', `${this.#path}: became shorter while in use`);
      done += bytesRead;
    }
  }

  async write(sector: number, data: Uint8Array): Promise<void> {
    let done = 0;
    while (done < data.length) {
      const { bytesWritten } = await this.#guard(this.#file.write(data, done, data.length - done, sector * SECTOR + done));
      done += bytesWritten;
    }
  }

  async flush(): Promise<void> {
    await this.#guard(this.#file.sync());
  }

  /** A hint: a raw file keeps its blocks. */
  async discard(): Promise<void> {}

  async identity(): Promise<string> {
    const { size, mtimeNs } = await this.#guard(this.#file.stat({ bigint: true }));
    const [ms, ns] = [Number(mtimeNs / 1_000_000n), String(mtimeNs % 1_000_000n).padStart(6, '0')];
    return `${size} bytes of ${new Date(ms).toISOString().replace('Z', `${ns}Z`)}`;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #guard<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (cause) {
      throw new VmError('host-io', `${this.#path}: ${(cause as Error).message}`, cause);
    }
  }
}
