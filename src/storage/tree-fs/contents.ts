/** Contents of a tree's files as they are needed: the last ones used stay in memory. */
import { VmError } from '../../base/errors.ts';
import type { ChunkStore } from '../chunk-store.ts';
import type { Base } from './file-content.ts';

export class Contents {
  readonly #store: ChunkStore;
  readonly #limitBytes: number;
  /** In the order of last use. */
  readonly #kept = new Map<string, Uint8Array>();
  readonly #coming = new Map<string, Promise<void>>();
  #keptBytes = 0;

  constructor(store: ChunkStore, limitBytes: number) {
    this.#store = store;
    this.#limitBytes = limitBytes;
  }

  /** The content, when it is here. */
  peek(digest: string): Uint8Array | undefined {
    const kept = this.#kept.get(digest);
    if (kept) {
      this.#kept.delete(digest);
      this.#kept.set(digest, kept);
      return kept;
    }
    const data = this.#store.peek?.(digest);
    if (data) this.#keep(digest, data);
    return data;
  }

  /** Resolves once `peek` gives it; it stays until others push it out. */
  fetch(base: Base): Promise<void> {
    const coming = this.#coming.get(base.digest);
    if (coming) return coming;
    const work = this.get(base)
      .then((data) => this.#keep(base.digest, data))
      .finally(() => this.#coming.delete(base.digest));
    this.#coming.set(base.digest, work);
    return work;
  }

  async get({ digest, sizeBytes }: Base): Promise<Uint8Array> {
    const data = this.peek(digest) ?? (await this.#store.get(digest));
    if (data.length !== sizeBytes) {
      throw new VmError('bad-image', `the tree promises ${sizeBytes} bytes for the content ${digest}, but it has ${data.length}`);
    }
    return data;
  }

  /** The newest stays, however large it is: somebody waits for it. */
  #keep(digest: string, data: Uint8Array): void {
    if (this.#kept.has(digest)) return;
    this.#kept.set(digest, data);
    this.#keptBytes += data.length;
    for (const [old, { length }] of this.#kept) {
      if (this.#keptBytes <= this.#limitBytes || old === digest) break;
      this.#kept.delete(old);
      this.#keptBytes -= length;
    }
  }
}
