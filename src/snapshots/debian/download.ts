/**
 * Downloads of things whose SHA-256 is known. What lies in the cache under its digest is whole and was verified
 * before it got that name; what is still coming lies under `partial/` and is resumed by range. A file's time of change is
 * when it was last used, by any process.
 */
import { concatBytes } from '../../base/bytes.ts';
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import type { WallClock } from '../../platform/clock.ts';
import { discard, type Fetch } from '../../platform/fetch.ts';
import type { Files } from '../../platform/files.ts';

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
/** What was used so lately may be in use by another process. */
const IN_USE_MS = 3_600_000;
/** After so long nobody resumes a download. */
const PARTIAL_MS = 7 * 86_400_000;

export interface Wanted {
  /** Addresses that should have it; a later one is asked when an earlier has it not, or something else. */
  readonly urls: readonly string[];
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface DownloaderHost {
  readonly files: Files;
  readonly fetch: Fetch;
  readonly clock: WallClock;
}

export class Downloader {
  readonly #host: DownloaderHost;
  readonly #directory: string;
  readonly #offline: boolean;
  /** Digests that this run has asked for. */
  readonly #needed = new Set<string>();

  constructor(host: DownloaderHost, directory: string, offline: boolean) {
    this.#host = host;
    this.#directory = directory;
    this.#offline = offline;
  }

  /** What is in the cache, verified again; undefined when it is not there. Something damaged is removed. */
  async cached(digest: string): Promise<Uint8Array | undefined> {
    await this.hold([digest]);
    const path = this.#path(digest);
    const data = await this.#host.files.read(path);
    if (!data) return undefined;
    if ((await sha256(data)) === digest) return data;
    await this.#host.files.remove(path);
    return undefined;
  }

  /** Says that these will be needed: no process removes them in the next hour, and this one never. */
  async hold(digests: readonly string[]): Promise<void> {
    for (const digest of digests) {
      this.#needed.add(digest);
      await this.#host.files.touch(this.#path(digest));
    }
  }

  /**
   * Removes what was used longest ago until no more than `maxBytes` are left, but nothing that is in use, here or, as far as
   * their times tell, in another process. A process that misses something all the same fetches it again.
   */
  async prune(maxBytes: number): Promise<void> {
    const { files, clock } = this.#host;
    const now = clock.nowMs();
    const partial = `${this.#directory}/partial`;
    for (const name of await files.list(partial)) {
      const info = await files.info(`${partial}/${name}`);
      if (info && info.mtimeMs < now - PARTIAL_MS) await files.remove(`${partial}/${name}`);
    }
    const found: { digest: string; sizeBytes: number; mtimeMs: number }[] = [];
    for (const digest of await files.list(this.#directory)) {
      const info = await files.info(this.#path(digest));
      if (info && !info.directory) found.push({ digest, ...info });
    }
    found.sort((a, b) => a.mtimeMs - b.mtimeMs);
    let total = found.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    for (const { digest, sizeBytes } of found) {
      if (total <= maxBytes) return;
      // Looked at again: somebody may have come to need it meanwhile.
      const info = await files.info(this.#path(digest));
      if (this.#needed.has(digest) || (info && info.mtimeMs > now - IN_USE_MS)) continue;
      await files.remove(this.#path(digest));
      total -= sizeBytes;
    }
  }

  /**
   * The verified bytes. `onBytes` hears of every piece, also of what was there already; a negative count takes back what
   * proved useless. Rejects with `not-found` when no address has it, `bad-digest` when what they have is not it,
   * `network` after several attempts, `cancelled`, or `host-io`.
   */
  async get(wanted: Wanted, onBytes: (count: number) => void, signal?: AbortSignal): Promise<Uint8Array> {
    const cached = await this.cached(wanted.sha256);
    if (cached) {
      onBytes(cached.length);
      return cached;
    }
    if (this.#offline) {
      throw new VmError('network', `${wanted.urls[0]} is not in the cache, and --offline forbids fetching it: run once without --offline`);
    }
    let failure: unknown;
    for (const url of wanted.urls) {
      try {
        return await this.#fromUrl(url, wanted, onBytes, signal);
      } catch (error) {
        if (!(error instanceof VmError) || (error.code !== 'not-found' && error.code !== 'bad-digest')) throw error;
        failure ??= error;
      }
    }
    throw failure;
  }

  async #fromUrl(url: string, wanted: Wanted, onBytes: (count: number) => void, signal?: AbortSignal): Promise<Uint8Array> {
    let pauseMs = FIRST_PAUSE_MS;
    let restarted = false;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(url, wanted, onBytes, restarted, signal);
      } catch (error) {
        if (signal?.aborted) throw new VmError('cancelled', `stopped while getting ${url}`, error);
        if (!(error instanceof VmError)) throw error;
        if (error.code === 'bad-digest' && !restarted) {
          // A cache on the way, or an old partial file: once more, from the beginning and from the origin.
          restarted = true;
          continue;
        }
        if (error.code !== 'network' || attempt >= ATTEMPTS) throw error;
        await this.#host.clock.sleep(pauseMs, signal);
        pauseMs *= 2;
      }
    }
  }

  async #attempt(
    url: string,
    wanted: Wanted,
    onBytes: (count: number) => void,
    fresh: boolean,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    const { files, fetch } = this.#host;
    const partial = `${this.#directory}/partial/${wanted.sha256}`;
    let parts: Uint8Array[] = [];
    const before = await files.read(partial);
    // A complete file of a wrong digest is useless; so is one that is too long.
    if (before && before.length > 0 && before.length < wanted.sizeBytes) parts = [before];
    const start = parts[0]?.length ?? 0;
    const response = await fetch.get(url, { offset: start, fresh, ...(signal && { signal }) });
    if (response.status !== 200 && response.status !== 206) {
      await discard(response);
      if (response.status === 416 || (response.status === 206 && response.offset !== start)) await files.remove(partial);
      const code = response.status === 404 || response.status === 410 ? 'not-found' : 'network';
      throw new VmError(code, `cannot get ${url}: the server answers with status ${response.status}`);
    }
    if (response.offset !== start) parts = [];
    let size = response.offset;
    let counted = size;
    onBytes(size);
    const file = await files.append(partial, size);
    try {
      for await (const piece of response.body) {
        if (size + piece.length > wanted.sizeBytes) {
          throw new VmError('bad-digest', `${url}: the server sends more than the ${wanted.sizeBytes} bytes that were signed for`);
        }
        await file.write(piece);
        parts.push(piece);
        size += piece.length;
        counted += piece.length;
        onBytes(piece.length);
      }
      if (size < wanted.sizeBytes) throw new VmError('network', `${url}: the connection ended after ${size} of ${wanted.sizeBytes} bytes`);
      await file.close();
      const data = concatBytes(parts);
      if ((await sha256(data)) !== wanted.sha256) {
        throw new VmError('bad-digest', `${url}: the bytes do not have the digest that was signed for (SHA-256 ${wanted.sha256})`);
      }
      await files.rename(partial, this.#path(wanted.sha256)).catch((error: unknown) => {
        // Another process that fetched the same has renamed it already. What lies there is verified whenever it is read.
        if (!(error instanceof VmError) || error.code !== 'not-found') throw error;
      });
      return data;
    } catch (error) {
      onBytes(-counted);
      await file.close().catch(() => {});
      if (error instanceof VmError && error.code === 'bad-digest') await files.remove(partial);
      throw error;
    }
  }

  #path(digest: string): string {
    return `${this.#directory}/${digest}`;
  }
}
