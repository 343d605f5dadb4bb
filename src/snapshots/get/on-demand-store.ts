/**
 * Contents of a published day as they are asked for: what is on this computer comes from there, the rest from the source, verified, into a
 * cache. A content that is fetched brings along those that share its frame. So a tree can be a machine's root before its contents are here.
 */
import type { ChunkStore } from '../../storage/chunk-store.ts';
import type { PackIndex } from '../../storage/packs/pack-index.ts';
import type { ContentFetcher } from './fetcher.ts';

/** Contents fetched ahead at once: what the guest asks for meanwhile waits for no more than these. */
const AHEAD = 16;

/** Several stores, of which the last takes what is put. */
export class LayeredStore implements ChunkStore {
  readonly #stores: readonly ChunkStore[];

  constructor(...stores: readonly ChunkStore[]) {
    this.#stores = stores;
  }

  async has(digest: string): Promise<boolean> {
    for (const store of this.#stores) if (await store.has(digest)) return true;
    return false;
  }

  async get(digest: string): Promise<Uint8Array> {
    for (const store of this.#stores.slice(0, -1)) {
      const data = (await store.has(digest)) ? await store.get(digest).catch(() => undefined) : undefined;
      if (data) return data;
    }
    return this.#stores.at(-1)!.get(digest);
  }

  put(data: Uint8Array): Promise<string> {
    return this.#stores.at(-1)!.put(data);
  }
}

export class OnDemandStore implements ChunkStore {
  readonly #here: ChunkStore;
  readonly #index: PackIndex;
  readonly #fetcher: ContentFetcher;
  readonly #coming = new Map<string, Promise<void>>();

  /** `here` is where `fetcher` puts what it gets. */
  constructor(here: ChunkStore, index: PackIndex, fetcher: ContentFetcher) {
    this.#here = here;
    this.#index = index;
    this.#fetcher = fetcher;
  }

  async has(digest: string): Promise<boolean> {
    return this.#index.locate(digest) !== undefined || this.#here.has(digest);
  }

  /** Rejects as `ContentFetcher.fetch` does, when it is nowhere. */
  async get(digest: string): Promise<Uint8Array> {
    if (await this.#here.has(digest)) {
      const data = await this.#here.get(digest).catch(() => undefined);
      if (data) return data;
    }
    await this.#fetch(digest);
    return this.#here.get(digest);
  }

  put(data: Uint8Array): Promise<string> {
    return this.#here.put(data);
  }

  /** Fetches those of these that are not here. Rejects as `ContentFetcher.fetch` does. */
  async fetchAll(digests: readonly string[], onContent: (done: number, total: number) => void, signal?: AbortSignal): Promise<void> {
    const missing: string[] = [];
    for (const digest of digests) if (!(await this.#here.has(digest))) missing.push(digest);
    let done = 0;
    await this.#fetcher.fetch(missing, (count) => onContent((done += count), missing.length), signal);
  }

  /** Fetches these in order, until it is told to stop. What the guest asks for meanwhile goes first. */
  async fetchAhead(digests: readonly string[], signal: AbortSignal): Promise<void> {
    for (let at = 0; at < digests.length && !signal.aborted; at += AHEAD) {
      while (this.#coming.size > 0) await Promise.allSettled(this.#coming.values());
      const missing: string[] = [];
      for (const digest of digests.slice(at, at + AHEAD)) if (!(await this.#here.has(digest))) missing.push(digest);
      if (missing.length > 0) await this.#fetcher.fetch(missing, () => {}, signal);
    }
  }

  #fetch(digest: string): Promise<void> {
    const coming = this.#coming.get(digest);
    if (coming) return coming;
    const work = this.#withNeighbours(digest).finally(() => this.#coming.delete(digest));
    this.#coming.set(digest, work);
    return work;
  }

  async #withNeighbours(digest: string): Promise<void> {
    const [piece, ...more] = this.#index.locate(digest) ?? [];
    const wanted = [digest];
    if (piece && more.length === 0) {
      for (const other of this.#index.inFrame(piece.frame)) {
        if (other !== digest && !this.#coming.has(other) && !(await this.#here.has(other))) wanted.push(other);
      }
    }
    await this.#fetcher.fetch(wanted, () => {});
  }
}

/** Notes in which order contents are first asked for. */
export class RecordingStore implements ChunkStore {
  readonly #store: ChunkStore;
  readonly #order = new Set<string>();

  constructor(store: ChunkStore) {
    this.#store = store;
  }

  get order(): readonly string[] {
    return [...this.#order];
  }

  has(digest: string): Promise<boolean> {
    return this.#store.has(digest);
  }

  get(digest: string): Promise<Uint8Array> {
    this.#order.add(digest);
    return this.#store.get(digest);
  }

  put(data: Uint8Array): Promise<string> {
    return this.#store.put(data);
  }
}
