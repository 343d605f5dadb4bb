/**
 * Where published files come from: a web server, or a directory. Servers are not trusted: they may stall, lie about lengths, ignore ranges or
 * send something else. Nothing of theirs is kept in memory beyond what was asked for; whether it is the right thing is for the caller to check.
 */
import { concatBytes } from '../../base/bytes.ts';
import { VmError } from '../../base/errors.ts';
import type { WallClock } from '../../platform/clock.ts';
import { discard, type Fetch } from '../../platform/fetch.ts';
import type { Files } from '../../platform/files.ts';
import { DirectoryStorage, type Storage } from '../publish/storage.ts';
import type { MetadataSource } from '../trust/refresh.ts';

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
/** For one answer, of at most a few MiB: a server that drips would hold us for ever. */
const ANSWER_MS = 5 * 60_000;

export interface Source extends MetadataSource {
  /**
   * `length` bytes of a file. Rejects with `not-found` when there is no such file, `network` when it has not so many bytes or there is no
   * answer after several attempts, `cancelled`.
   */
  range(path: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
}

export interface SourceHost {
  readonly files: Files;
  readonly fetch: Fetch;
  readonly clock: WallClock;
}

/** An address or a directory, as a person names it. Throws VmError `usage`. */
export function openSource(host: SourceHost, place: string): Source {
  if (/^https?:\/\//.test(place)) return new HttpSource(host, place.replace(/\/+$/, ''));
  if (/^[a-z][a-z0-9+.-]+:/i.test(place)) throw new VmError('usage', `${place}: expected an address (https://…) or a directory`);
  return new StorageSource(new DirectoryStorage(host.files, place));
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

class HttpSource implements Source {
  readonly name: string;
  readonly #host: SourceHost;

  constructor(host: SourceHost, url: string) {
    this.#host = host;
    this.name = url;
  }

  async read(path: string, limitBytes: number): Promise<Uint8Array | undefined> {
    try {
      // One byte more tells that there is more.
      const data = await this.#get(path, 0, undefined, limitBytes + 1);
      if (data.length > limitBytes) throw tooLong(`${this.name}/${path}`, limitBytes);
      return data;
    } catch (error) {
      if (error instanceof VmError && error.code === 'not-found') return undefined;
      throw error;
    }
  }

  async range(path: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const data = await this.#get(path, offset, length, length, signal);
    return data.subarray(0, length);
  }

  /** At most `most` bytes from `offset`; exactly `length`, where it is given. */
  async #get(path: string, offset: number, length: number | undefined, most: number, signal?: AbortSignal): Promise<Uint8Array> {
    const url = `${this.name}/${path}`;
    let pauseMs = FIRST_PAUSE_MS;
    // What an attempt got stays, so that a line that keeps breaking comes to an end.
    const parts: Uint8Array[] = [];
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#attempt(url, offset, length, most, parts, signal);
        return concatBytes(parts);
      } catch (error) {
        if (signal?.aborted) throw new VmError('cancelled', `stopped while getting ${url}`, error);
        if (!(error instanceof VmError) || error.code !== 'network' || attempt >= ATTEMPTS) throw error;
        // Without a length nobody can say whether the file is still the same.
        if (length === undefined) parts.length = 0;
        await this.#host.clock.sleep(pauseMs, signal);
        pauseMs *= 2;
      }
    }
  }

  async #attempt(
    url: string,
    offset: number,
    length: number | undefined,
    most: number,
    parts: Uint8Array[],
    signal?: AbortSignal,
  ): Promise<void> {
    let have = parts.reduce((sum, part) => sum + part.length, 0);
    const abort = new AbortController();
    const stop = () => abort.abort();
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    const over = new AbortController();
    let late = false;
    void this.#host.clock.sleep(ANSWER_MS, over.signal).then(() => {
      if (over.signal.aborted) return;
      late = true;
      stop();
    });
    try {
      const range = length === undefined ? { fresh: true } : { offset: offset + have, length: length - have };
      const response = await this.#host.fetch.get(url, { ...range, signal: abort.signal });
      if (response.status !== 200 && response.status !== 206) {
        await discard(response);
        const code = response.status === 404 || response.status === 410 || response.status === 403 ? 'not-found' : 'network';
        throw new VmError(code, `cannot get ${url}: the server answers with status ${response.status}`);
      }
      const from = offset + have;
      if (response.offset > from) {
        await discard(response);
        throw new VmError('network', `cannot get ${url}: the server sends other bytes than those asked for`);
      }
      // A server that ignores ranges begins at the beginning.
      let skip = from - response.offset;
      for await (const piece of response.body) {
        const part = piece.subarray(Math.min(skip, piece.length)).subarray(0, most - have);
        skip -= Math.min(skip, piece.length);
        if (part.length > 0) parts.push(part.slice());
        have += part.length;
        if (have >= most) break;
      }
      if (length !== undefined && have < length)
        throw new VmError('network', `cannot get ${url}: it ended after ${offset + have} bytes, but ${offset + length} were signed for`);
    } catch (error) {
      if (late)
        throw new VmError(
          'network',
          `cannot get ${url}: the server is too slow: no whole answer within ${ANSWER_MS / 60_000} minutes`,
          error,
        );
      throw error;
    } finally {
      signal?.removeEventListener('abort', stop);
      over.abort();
    }
  }
}

function tooLong(where: string, limitBytes: number): VmError {
  return new VmError('bad-signature', `${where} is longer than the ${limitBytes} bytes that it may have`);
}
