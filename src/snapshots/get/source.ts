/**
 * Where published files come from: a web server, or a directory. Servers are not trusted: they may stall, lie about lengths, ignore ranges or
 * send something else. Nothing of theirs is kept in memory beyond what was asked for; whether it is the right thing is for the caller to check.
 */
import { VmError } from '../../base/errors.ts';
import type { Storage } from '../publish/storage.ts';
import type { MetadataSource } from '../trust/refresh.ts';
import { download, type DownloadHost } from './download.ts';

export interface Source extends MetadataSource {
  /**
   * `length` bytes of a file. Rejects with `not-found` when there is no such file, `network` when it has not so many bytes or there is no
   * answer after several attempts, `cancelled`.
   */
  range(path: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
}

export class StorageSource implements Source {
  readonly name: string;
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
    this.name = storage.name;
  }

  async read(path: string, limitBytes: number): Promise<Uint8Array | undefined> {
    const size = await this.#storage.sizeOf(path);
    if (size !== undefined && size > limitBytes) throw tooLong(`${this.name}/${path}`, limitBytes);
    return this.#storage.read(path);
  }

  async range(path: string, offset: number, length: number): Promise<Uint8Array> {
    const data = await this.#storage.read(path);
    if (!data) throw new VmError('not-found', `${this.name}/${path} is missing`);
    if (data.length < offset + length)
      throw new VmError('network', `${this.name}/${path} ends before ${offset + length} bytes: it is damaged`);
    return data.subarray(offset, offset + length);
  }
}

export class HttpSource implements Source {
  readonly name: string;
  readonly #host: DownloadHost & { readonly signal?: AbortSignal };

  /** @param host its signal ends reading of files as a whole, for which callers give none */
  constructor(host: DownloadHost & { readonly signal?: AbortSignal }, url: string) {
    this.#host = host;
    this.name = url;
  }

  async read(path: string, limitBytes: number): Promise<Uint8Array | undefined> {
    try {
      // One byte more tells that there is more.
      const { signal } = this.#host;
      const data = await download(this.#host, { url: `${this.name}/${path}`, offset: 0, most: limitBytes + 1, ...(signal && { signal }) });
      if (data.length > limitBytes) throw tooLong(`${this.name}/${path}`, limitBytes);
      return data;
    } catch (error) {
      if (error instanceof VmError && error.code === 'not-found') return undefined;
      throw error;
    }
  }

  async range(path: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    return download(this.#host, { url: `${this.name}/${path}`, offset, length, most: length, ...(signal && { signal }) });
  }
}

export function tooLong(where: string, limitBytes: number): VmError {
  return new VmError('bad-signature', `${where} is longer than the ${limitBytes} bytes that it may have`);
}
