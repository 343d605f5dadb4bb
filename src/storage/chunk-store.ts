/** Immutable bytes by SHA-256. */
import { VmError } from '../base/errors.ts';
import { isSha256, sha256 } from '../base/sha256.ts';
import type { Files } from '../platform/files.ts';

export interface ChunkStore {
  has(digest: string): Promise<boolean>;
  /** The bytes, verified. Rejects with `not-found`, or `bad-digest` when what is stored has gone bad. */
  get(digest: string): Promise<Uint8Array>;
  /** Stores a copy or a view (the caller leaves the bytes alone from now on) and gives its digest. */
  put(data: Uint8Array): Promise<string>;
}

/** Chunks in memory. Verified when they come in; they cannot go bad here. */
export class MemoryChunkStore implements ChunkStore {
  readonly #chunks = new Map<string, Uint8Array>();

  async has(digest: string): Promise<boolean> {
    return this.#chunks.has(digest);
  }

  async get(digest: string): Promise<Uint8Array> {
    const data = this.#chunks.get(digest);
    if (!data) throw new VmError('not-found', `no chunk ${digest} in memory`);
    return data;
  }

  async put(data: Uint8Array): Promise<string> {
    const digest = await sha256(data);
    this.#chunks.set(digest, data);
    return digest;
  }
}

/** Chunks as files `DIRECTORY/ab/cdef…`. */
export class FileChunkStore implements ChunkStore {
  readonly #files: Files;
  readonly #directory: string;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  async has(digest: string): Promise<boolean> {
    return (await this.#files.info(this.#path(digest))) !== undefined;
  }

  async get(digest: string): Promise<Uint8Array> {
    const path = this.#path(digest);
    const data = await this.#files.read(path);
    if (!data) throw new VmError('not-found', `no chunk ${digest} in ${this.#directory}`);
    if ((await sha256(data)) !== digest) throw new VmError('bad-digest', `${path} does not have the digest it is named by; remove it`);
    return data;
  }

  async put(data: Uint8Array): Promise<string> {
    const digest = await sha256(data);
    if (!(await this.has(digest))) await this.#files.write(this.#path(digest), data);
    return digest;
  }

  #path(digest: string): string {
    if (!isSha256(digest)) throw new VmError('bad-digest', `not a SHA-256: ${digest}`);
    return `${this.#directory}/${digest.slice(0, 2)}/${digest.slice(2)}`;
  }
}
