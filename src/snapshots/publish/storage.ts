/** Where a publisher puts files, so that a web server or something like it can hand them out. */
import { VmError } from '../../base/errors.ts';
import { UNFINISHED, type Files } from '../../platform/files.ts';

export interface StoredFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** Paths are relative, with slashes. Every method rejects with `host-io` or `network`. */
export interface Storage {
  /** For messages. */
  readonly name: string;
  read(path: string): Promise<Uint8Array | undefined>;
  sizeOf(path: string): Promise<number | undefined>;
  /** Readers see the old file or the new one, never a part. */
  write(path: string, data: Uint8Array): Promise<void>;
  /** False when there is such a file. Of two that try, one succeeds. */
  create(path: string, data: Uint8Array): Promise<boolean>;
  /** All files below a directory. */
  list(directory: string): Promise<StoredFile[]>;
  remove(path: string): Promise<void>;
  /** What writers that were killed have left beside the directories; in them it is listed like any file. Missing where nothing is left. */
  unfinished?(): Promise<StoredFile[]>;
  /** What a person should know who has had something removed. */
  readonly remark?: string | undefined;
}

export class DirectoryStorage implements Storage {
  readonly name: string;
  readonly #files: Files;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.name = directory.replace(/(?<=.)\/+$/, '');
  }

  read(path: string): Promise<Uint8Array | undefined> {
    return this.#files.read(this.#path(path));
  }

  async sizeOf(path: string): Promise<number | undefined> {
    return (await this.#files.info(this.#path(path)))?.sizeBytes;
  }

  write(path: string, data: Uint8Array): Promise<void> {
    return this.#files.write(this.#path(path), data);
  }

  create(path: string, data: Uint8Array): Promise<boolean> {
    return this.#files.create(this.#path(path), data);
  }

  async list(directory: string): Promise<StoredFile[]> {
    const found: StoredFile[] = [];
    for (const name of await this.#files.list(this.#path(directory))) {
      const path = `${directory}/${name}`;
      const info = await this.#files.info(this.#path(path));
      if (info?.directory) found.push(...(await this.list(path)));
      else if (info) found.push({ path, sizeBytes: info.sizeBytes });
    }
    return found;
  }

  async unfinished(): Promise<StoredFile[]> {
    const found: StoredFile[] = [];
    for (const path of (await this.#files.list(this.name)).filter((one) => UNFINISHED.test(one))) {
      const info = await this.#files.info(this.#path(path));
      if (info && !info.directory) found.push({ path, sizeBytes: info.sizeBytes });
    }
    return found;
  }

  remove(path: string): Promise<void> {
    return this.#files.remove(this.#path(path));
  }

  #path(path: string): string {
    if (path.split('/').includes('..')) throw new VmError('host-io', `${this.name}: ${path} leads out of it`);
    return `${this.name}/${path}`;
  }
}
