/** A Debian archive on a mirror, one suite of it: its verified state and what that state promises. */
import type { Key } from 'openpgp';
import { VmError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { sha256 } from '../../base/sha256.ts';
import { discard } from '../../platform/fetch.ts';
import { decompressStream } from '../../storage/decompress.ts';
import { Downloader, type DownloaderHost, type Wanted } from './download.ts';
import { PackageIndex, type PackageFile } from './packages.ts';
import { readRelease, type IndexFile, type Release } from './release.ts';

const DEFAULT_ARCHITECTURE = 'amd64';
const MAX_RELEASE_BYTES = 8 << 20;
const MAX_INDEX_BYTES = 1 << 30;
/** All downloads that are kept: some ten days of a minimal system that changes. */
const CACHE_BYTES = 2 ** 31;
const DAY_MS = 86_400_000;
const COMPRESSIONS = ['.xz', '.gz', ''];

export interface ArchiveOptions {
  /** Address of the archive's root, without a slash at the end. */
  readonly mirror: string;
  readonly suite: string;
  /** Whose packages: `amd64` (default), `i386`. */
  readonly architecture?: string;
  readonly keyring: readonly Key[];
  /** Refuse a state whose Valid-Until has passed. */
  readonly strict: boolean;
  /** Accept a state older than one already seen from this mirror. */
  readonly allowOlder: boolean;
  readonly offline: boolean;
  readonly cacheDirectory: string;
  readonly stateDirectory: string;
}

export interface ArchiveHost extends DownloaderHost {
  readonly log: Log;
}

export class DebianArchive {
  readonly #host: ArchiveHost;
  readonly #options: ArchiveOptions;
  readonly #downloads: Downloader;

  constructor(host: ArchiveHost, options: ArchiveOptions) {
    this.#host = host;
    this.#options = options;
    this.#downloads = new Downloader(host, `${options.cacheDirectory}/downloads`, options.offline);
  }

  /**
   * The suite's present state, signature verified, and not older than one seen before. Without a network the last
   * verified one does, which is logged. `fresh` goes past caches on the way.
   */
  async release(signal?: AbortSignal, fresh = false): Promise<Release> {
    const { mirror, suite, keyring, offline, cacheDirectory } = this.#options;
    const { files, clock } = this.#host;
    const url = `${mirror}/dists/${suite}/InRelease`;
    const kept = `${cacheDirectory}/releases/${await sha256(new TextEncoder().encode(`${mirror} ${suite}`))}`;
    let text: Uint8Array | undefined;
    let fetched = false;
    if (!offline) {
      try {
        text = await this.#fetchRelease(url, signal, fresh);
        fetched = true;
      } catch (error) {
        if (!(error instanceof VmError) || error.code !== 'network') throw error;
        text = await files.read(kept);
        if (!text) throw error;
        this.#host.log('warn', 'debian', `${error.message}; going on with the last state that was seen there`);
      }
    } else {
      text = await files.read(kept);
      if (!text) throw new VmError('network', `nothing is known yet of ${mirror} ${suite}: run once without --offline`);
    }
    const release = await readRelease(url, new TextDecoder().decode(text), keyring, clock.nowMs());
    if (release.suite !== suite && release.codename !== suite) {
      throw new VmError(
        'bad-signature',
        `${url}: it is signed, but for the suite ${release.suite} (${release.codename}), not for ${suite}`,
      );
    }
    await this.#checkAge(url, release);
    if (fetched) await files.write(kept, text);
    return release;
  }

  /** What names the package index of a release, and with it the state of all packages. */
  indexOf(release: Release): { path: string; file: IndexFile } {
    const { mirror, suite, architecture = DEFAULT_ARCHITECTURE } = this.#options;
    for (const suffix of COMPRESSIONS) {
      const path = `main/binary-${architecture}/Packages${suffix}`;
      const file = release.files.get(path);
      if (file) return { path, file };
    }
    throw new VmError('not-found', `${mirror}: ${suite} has no packages for ${architecture}`);
  }

  /** Keeps the .debs of packages that are about to be asked for, as far as they are in the cache. */
  async hold(packages: readonly PackageFile[]): Promise<void> {
    await this.#downloads.hold(packages.map(({ sha256 }) => sha256));
  }

  /** Keeps the cache of downloads within its bounds. What goes wrong is logged: the next run tries again. */
  async prune(): Promise<void> {
    await this.#downloads.prune(CACHE_BYTES).catch((error: unknown) => {
      if (!(error instanceof VmError)) throw error;
      this.#host.log('warn', 'debian', `the cache could not be pruned: ${error.message}`);
    });
  }

  async packages(release: Release, onBytes: (count: number) => void, signal?: AbortSignal): Promise<PackageIndex> {
    const { path, file } = this.indexOf(release);
    const directory = `${this.#options.mirror}/dists/${this.#options.suite}`;
    const byHash = `${directory}/${path.slice(0, path.lastIndexOf('/'))}/by-hash/SHA256/${file.sha256}`;
    const urls = [...(release.byHash ? [byHash] : []), `${directory}/${path}`];
    const data = await this.#downloads.get({ urls, ...file }, onBytes, signal);
    return PackageIndex.read(urls[urls.length - 1]!, decompressStream(path, data, MAX_INDEX_BYTES));
  }

  deb(one: PackageFile, onBytes: (count: number) => void, signal?: AbortSignal): Promise<Uint8Array> {
    const wanted: Wanted = { urls: [`${this.#options.mirror}/${one.filename}`], sha256: one.sha256, sizeBytes: one.sizeBytes };
    return this.#downloads.get(wanted, onBytes, signal);
  }

  async #fetchRelease(url: string, signal: AbortSignal | undefined, fresh: boolean): Promise<Uint8Array> {
    const response = await this.#host.fetch.get(url, { fresh, ...(signal && { signal }) });
    if (response.status !== 200) {
      await discard(response);
      const missing = response.status === 404;
      throw new VmError(
        missing ? 'not-found' : 'network',
        missing
          ? `${url} does not exist: is ${this.#options.mirror} a Debian mirror with the suite ${this.#options.suite}?`
          : `cannot get ${url}: the server answers with status ${response.status}`,
      );
    }
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const piece of response.body) {
      size += piece.length;
      if (size > MAX_RELEASE_BYTES) throw new VmError('bad-signature', `${url}: it is larger than ${MAX_RELEASE_BYTES} bytes`);
      parts.push(piece);
    }
    if (response.totalBytes !== undefined && size < response.totalBytes) {
      throw new VmError('network', `${url}: the connection ended after ${size} of ${response.totalBytes} bytes`);
    }
    return new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  }

  /** Warns of, or refuses, a state past its date; refuses one older than seen before; remembers the newest. */
  async #checkAge(url: string, release: Release): Promise<void> {
    const { mirror, suite, strict, allowOlder, stateDirectory } = this.#options;
    const { files, clock, log } = this.#host;
    const now = clock.nowMs();
    if (release.validUntilMs !== undefined && release.validUntilMs < now) {
      const facts =
        `the mirror's state of ${suite} is ${days(now - release.dateMs)} old (${dateOf(release.dateMs)}), ` +
        `and was to be trusted until ${dateOf(release.validUntilMs)} only`;
      if (strict) throw new VmError('bad-signature', `${url}: ${facts}: refused by --strict; try another --mirror`);
      log('warn', 'debian', `${facts}; going on, since the machine is disposable (--strict refuses)`);
    }
    const path = `${stateDirectory}/seen.json`;
    const seen = readSeen(await files.read(path));
    const key = `${mirror} ${suite}`;
    const newest = seen[key];
    if (newest !== undefined && release.dateMs < newest && !allowOlder) {
      throw new VmError(
        'bad-signature',
        `${url}: its state of ${dateOf(release.dateMs)} is older than the one of ${dateOf(newest)} that was seen there before. ` +
          `Somebody may be holding back updates; --allow-older goes on all the same`,
      );
    }
    if (newest === undefined || release.dateMs > newest) {
      await files.write(path, new TextEncoder().encode(`${JSON.stringify({ ...seen, [key]: release.dateMs }, undefined, 2)}\n`));
    }
  }
}

function readSeen(data: Uint8Array | undefined): Record<string, number> {
  if (!data) return {};
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(data));
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(Object.entries(parsed).filter((entry): entry is [string, number] => typeof entry[1] === 'number'));
  } catch {
    return {};
  }
}

/** `2026-10-30`, in UTC. */
export function dateOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function days(ms: number): string {
  const count = Math.floor(ms / DAY_MS);
  return count === 1 ? '1 day' : `${count} days`;
}
