/** Immutable bytes by SHA-256. */
import { VmError } from '../base/errors.ts';
import { sha256 } from '../base/sha256.ts';

export interface ChunkStore {
  has(digest: string): Promise<boolean>;
  /** The bytes, verified. Rejects with `not-found`, or `bad-digest` when what is stored has gone bad. */
  get(digest: string): Promise<Uint8Array>;
  /** The same without waiting, where the bytes are at hand. */
  peek?(digest: string): Uint8Array | undefined;
  /** Stores a copy or a view (the caller leaves the bytes alone from now on) and gives its digest. */
  put(data: Uint8Array): Promise<string>;
}

/** One whose chunks belong to whoever opened it, so that they can be taken out. */
export interface RemovableChunkStore extends ChunkStore {
  /** Not there is fine. */
  remove(digest: string): Promise<void>;
}

/** Chunks in memory. Verified when they come in; they cannot go bad here. */
export class MemoryChunkStore implements RemovableChunkStore {
  readonly #chunks = new Map<string, Uint8Array>();

  async has(digest: string): Promise<boolean> {
    return this.#chunks.has(digest);
  }

  async get(digest: string): Promise<Uint8Array> {
    const data = this.#chunks.get(digest);
    if (!data) throw new VmError('not-found', `no chunk ${digest} in memory`);
    return data;
  }

  peek(digest: string): Uint8Array | undefined {
    return this.#chunks.get(digest);
  }

  async remove(digest: string): Promise<void> {
    this.#chunks.delete(digest);
  }

  async put(data: Uint8Array): Promise<string> {
    const digest = await sha256(data);
    this.#chunks.set(digest, data);
    return digest;
  }
}
