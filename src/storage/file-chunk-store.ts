/**
 * Chunks in files named by their SHA-256, shared by all processes that open the same directory. A chunk gets its name when it is
 * whole and on the disk; a chunk that has gone bad is taken away when it is read, so that whoever makes it again can store it.
 * A file's time of change is when somebody last asked for it or stored it.
 */
import { VmError } from '../base/errors.ts';
import { isSha256, sha256 } from '../base/sha256.ts';
import type { WallClock } from '../platform/clock.ts';
import { UNFINISHED, type Files } from '../platform/files.ts';
import type { RemovableChunkStore } from './chunk-store.ts';

/** What was stored or asked for so lately may belong to a tree that a process is still making. */
const IN_USE_MS = 24 * 3_600_000;

/** How a chunk's name ends while it is taken away: like that of a file which nobody will ever go on with. */
const ASIDE = '.0.0.new';

export interface PruneResult {
  readonly removed: number;
  readonly removedBytes: number;
  readonly keptBytes: number;
}

export class FileChunkStore implements RemovableChunkStore {
  readonly #files: Files;
  readonly #directory: string;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  async has(digest: string): Promise<boolean> {
    // Whoever asks may count on it from now on: not to be pruned before a snapshot names it.
    return this.#files.touch(this.#path(digest));
  }

  async get(digest: string): Promise<Uint8Array> {
    const path = this.#path(digest);
    const data = await this.#files.read(path);
    if (!data) throw new VmError('not-found', `the store ${this.#directory} has no chunk ${digest}: build or fetch it again`);
    if ((await sha256(data)) === digest) return data;
    await this.#files.remove(path);
    throw new VmError('bad-digest', `${path}: its content has gone bad and was removed: build or fetch it again`);
  }

  /** The file of a chunk, for readers that verify what they read themselves and want only parts of it. */
  pathOf(digest: string): string {
    return this.#path(digest);
  }

  async put(data: Uint8Array): Promise<string> {
    const digest = await sha256(data);
    const path = this.#path(digest);
    const known = await this.#files.info(path);
    // A length that differs is damage that a reader would find later, when nobody has the content any more.
    if (known?.sizeBytes !== data.length || !(await this.#files.touch(path))) await this.#files.write(path, data);
    return digest;
  }

  remove(digest: string): Promise<void> {
    return this.#files.remove(this.#path(digest));
  }

  /**
   * Removes chunks for which `isNeeded` says no and that nobody has stored or asked for within `inUseMs` (a day), oldest first, until no
   * more than `maxBytes` of such chunks are left, and what killed processes left behind.
   */
  async prune(clock: WallClock, isNeeded: (digest: string) => boolean, maxBytes = 0, inUseMs = IN_USE_MS): Promise<PruneResult> {
    const before = clock.nowMs() - inUseMs;
    const idle: { path: string; sizeBytes: number; mtimeMs: number }[] = [];
    let [keptBytes, removed, removedBytes] = [0, 0, 0];
    const remove = async ({ path, sizeBytes }: { path: string; sizeBytes: number }): Promise<void> => {
      await this.#files.remove(path);
      removed++;
      removedBytes += sizeBytes;
    };
    for (const folder of await this.#files.list(this.#directory)) {
      for (const name of await this.#files.list(`${this.#directory}/${folder}`)) {
        const path = `${this.#directory}/${folder}/${name}`;
        const info = await this.#files.info(path);
        if (!info || info.directory) continue;
        const digest = folder + name;
        const isIdle = info.mtimeMs < before;
        // Whatever their size, and often they have none yet: nobody will ever ask for them.
        if (isIdle && UNFINISHED.test(name)) await remove({ path, ...info });
        else if (isIdle && isSha256(digest) && !isNeeded(digest)) idle.push({ path, ...info });
        else keptBytes += info.sizeBytes;
      }
    }
    idle.sort((a, b) => a.mtimeMs - b.mtimeMs);
    let left = idle.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    for (const { path, sizeBytes } of idle) {
      if (left <= maxBytes) break;
      if (!(await this.#takeAway(path, before))) continue;
      removed++;
      removedBytes += sizeBytes;
      left -= sizeBytes;
    }
    return { removed, removedBytes, keptBytes: keptBytes + left };
  }

  /** Removes it, unless somebody has come to need it: who asks for it from now on finds nothing, and who asked before has left the time. */
  async #takeAway(path: string, before: number): Promise<boolean> {
    const info = await this.#files.info(path);
    if (!info || info.mtimeMs >= before) return false;
    const aside = path + ASIDE;
    try {
      await this.#files.rename(path, aside);
    } catch (error) {
      // Another process has taken it away.
      if (error instanceof VmError && error.code === 'not-found') return false;
      throw error;
    }
    const asked = ((await this.#files.info(aside))?.mtimeMs ?? 0) >= before;
    if (asked) await this.#files.rename(aside, path);
    else await this.#files.remove(aside);
    return !asked;
  }

  /** Digests come from manifests: nothing else becomes a path. */
  #path(digest: string): string {
    if (!isSha256(digest)) throw new VmError('bad-digest', `${JSON.stringify(digest.slice(0, 80))} is no SHA-256`);
    return `${this.#directory}/${digest.slice(0, 2)}/${digest.slice(2)}`;
  }
}
