/**
 * Fetches contents of a published day into a store: each once, verified before it is kept, by a patch where what it replaces is here
 * and the patch is smaller. What has been kept is not fetched again, so whatever interrupts it, the next run goes on.
 */
import { concatBytes } from '../../base/bytes.ts';
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import type { Zstd } from '../../platform/zstd.ts';
import { MemoryChunkStore, type ChunkStore, type RemovableChunkStore } from '../../storage/chunk-store.ts';
import type { Frame, PackIndex, Patch, Piece } from '../../storage/packs/pack-index.ts';
import { packFile } from '../publish/manifest.ts';
import { fetchStretch, stretchesOf, unpackFrame, type Stretch } from './frames.ts';
import type { Source } from './source.ts';

const PARALLEL = 4;
/** A content's pieces wait in memory for each other; so much is begun before some must have ended. */
const BATCH_BYTES = 64 * 1024 * 1024;

export interface FetchCounts {
  /** Bytes from the source. */
  fetchedBytes: number;
  /** Contents made of a patch. */
  patched: number;
}

/** A wanted content and how it is to be got. */
interface Plan {
  readonly digest: string;
  readonly pieces: readonly Piece[];
  readonly patch: Patch | undefined;
}

export class ContentFetcher {
  readonly #source: Source;
  readonly #index: PackIndex;
  readonly #store: ChunkStore;
  readonly #zstd: Zstd;
  /** Pieces of contents that are not whole yet. */
  readonly #pieces: RemovableChunkStore;
  readonly counts: FetchCounts = { fetchedBytes: 0, patched: 0 };

  constructor(source: Source, index: PackIndex, store: ChunkStore, zstd: Zstd, pieces: RemovableChunkStore = new MemoryChunkStore()) {
    this.#pieces = pieces;
    this.#source = source;
    this.#index = index;
    this.#store = store;
    this.#zstd = zstd;
  }

  /** Takes a piece that is here in another content, so that it is not fetched. */
  async offer(data: Uint8Array): Promise<void> {
    await this.#pieces.put(data);
  }

  /** How many bytes fetching these would take, as far as the index tells. */
  async costOf(digests: readonly string[]): Promise<number> {
    const plans = await this.#plansOf(digests);
    return stretchesOf(plans.flatMap(framesOf)).reduce((sum, { length }) => sum + length, 0);
  }

  /** Rejects with `bad-digest`, `network`, `not-found`, `cancelled` or `host-io`; what came before that is kept. */
  async fetch(digests: readonly string[], onContent: (count: number) => void, signal?: AbortSignal): Promise<void> {
    let batch: string[] = [];
    let bytes = 0;
    for (const digest of digests) {
      batch.push(digest);
      bytes += (this.#index.locate(digest) ?? []).reduce((sum, piece) => sum + piece.sizeBytes, 0);
      if (bytes < BATCH_BYTES) continue;
      await this.#fetchBatch(batch, onContent, signal);
      batch = [];
      bytes = 0;
    }
    await this.#fetchBatch(batch, onContent, signal);
  }

  async #plansOf(digests: readonly string[]): Promise<Plan[]> {
    const plans: Plan[] = [];
    for (const digest of digests) {
      const pieces = this.#index.locate(digest);
      if (!pieces)
        throw new VmError('bad-image', `${this.#source.name}: its index does not know the content ${digest}: tell the publisher`);
      plans.push({ digest, pieces, patch: await this.#patchFor(digest, pieces) });
    }
    return plans;
  }

  async #patchFor(digest: string, pieces: readonly Piece[]): Promise<Patch | undefined> {
    // A frame that others share is not fetched for this content alone: its part is what counts.
    const plain = pieces.reduce((sum, { frame, sizeBytes }) => sum + (frame.length * sizeBytes) / frame.rawBytes, 0);
    for (const patch of this.#index.patches(digest)) {
      if (patch.frame.length < plain && (await this.#store.has(patch.base))) return patch;
    }
    return undefined;
  }

  async #fetchBatch(digests: readonly string[], onContent: (count: number) => void, signal?: AbortSignal): Promise<void> {
    const plans = await this.#plansOf(digests);
    const failed = await this.#run(plans, onContent, signal);
    // A base that has gone bad, or pieces that are gone: then once more, without them.
    if (failed.length > 0) await this.#run(failed.map((plan) => ({ ...plan, patch: undefined })), onContent, signal); // prettier-ignore
  }

  async #run(plans: readonly Plan[], onContent: (count: number) => void, signal?: AbortSignal): Promise<Plan[]> {
    const waiting = new Map<Frame, Plan[]>();
    const missing = new Map<Plan, Set<Frame>>();
    const failed: Plan[] = [];
    const complete = async (plan: Plan): Promise<void> => {
      if (await this.#assemble(plan)) onContent(1);
      else failed.push(plan);
    };
    for (const plan of plans) {
      const frames = new Set(await this.#framesFor(plan));
      missing.set(plan, frames);
      for (const frame of frames) waiting.set(frame, [...(waiting.get(frame) ?? []), plan]);
      if (frames.size === 0) await complete(plan);
    }
    const arrived = async (frame: Frame, packed: Uint8Array): Promise<void> => {
      let raw: Uint8Array | undefined;
      for (const plan of waiting.get(frame) ?? []) {
        if (plan.patch) {
          if (await this.#applyPatch(plan.digest, plan.patch, packed)) onContent(1);
          else failed.push(plan);
          continue;
        }
        raw ??= unpackFrame(this.#source, frame, packed, this.#zstd);
        const [first] = plan.pieces;
        if (plan.pieces.length === 1) {
          await this.#keep(this.#store, first!, raw);
          onContent(1);
          continue;
        }
        for (const piece of plan.pieces) if (piece.frame === frame) await this.#keep(this.#pieces, piece, raw);
        const left = missing.get(plan)!;
        left.delete(frame);
        if (left.size === 0) await complete(plan);
      }
    };
    await this.#each(stretchesOf(waiting.keys()), arrived, signal);
    return failed;
  }

  /** What has to be fetched for it: pieces that an earlier run got are there. */
  async #framesFor({ pieces, patch }: Plan): Promise<Frame[]> {
    if (patch) return [patch.frame];
    const frames: Frame[] = [];
    for (const { digest, frame } of pieces) if (pieces.length === 1 || !(await this.#pieces.has(digest))) frames.push(frame);
    return frames;
  }

  async #keep(store: ChunkStore, { digest, frame, offset, sizeBytes }: Piece, raw: Uint8Array): Promise<void> {
    const data = raw.slice(offset, offset + sizeBytes);
    if ((await sha256(data)) !== digest)
      throw new VmError(
        'bad-digest',
        `${this.#source.name}/${packFile(frame.pack.digest)}: the content ${digest} is not what was signed for: the pack is damaged or another one`,
      );
    await store.put(data);
  }

  /** Puts a content's pieces together. False when one is not there any more: another process has done the same meanwhile. */
  async #assemble({ digest, pieces }: Plan): Promise<boolean> {
    const parts: Uint8Array[] = [];
    for (const piece of pieces) {
      const part = await this.#pieces.get(piece.digest).catch(() => undefined);
      if (!part) return false;
      parts.push(part);
    }
    const data = concatBytes(parts);
    if ((await sha256(data)) !== digest)
      throw new VmError(
        'bad-digest',
        `${this.#source.name}: its index says that the content ${digest} is what it is not: tell the publisher`,
      );
    await this.#store.put(data);
    for (const piece of pieces) await this.#pieces.remove(piece.digest);
    return true;
  }

  /** False when it does not give the content that it should. */
  async #applyPatch(digest: string, { base, frame }: Patch, packed: Uint8Array): Promise<boolean> {
    const old = await this.#store.get(base).catch(() => undefined);
    const data = old && this.#zstd.decompressAgainst(old, packed, frame.rawBytes);
    if (!data || (await sha256(data)) !== digest) return false;
    await this.#store.put(data);
    this.counts.patched++;
    return true;
  }

  /** Several stretches at a time; the first failure stops the rest. */
  async #each(
    stretches: readonly Stretch[],
    arrived: (frame: Frame, data: Uint8Array) => Promise<void>,
    signal?: AbortSignal,
  ): Promise<void> {
    const abort = new AbortController();
    const stop = () => abort.abort();
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted) stop();
    let next = 0;
    let failure: unknown;
    const work = async (): Promise<void> => {
      for (let one = stretches[next++]; one && failure === undefined; one = stretches[next++]) {
        try {
          if (signal?.aborted) throw new VmError('cancelled', 'stopped while fetching; what has arrived is kept');
          const frames = await fetchStretch(this.#source, one, abort.signal);
          this.counts.fetchedBytes += one.length;
          for (const [frame, data] of frames) await arrived(frame, data);
        } catch (error) {
          failure ??= error;
          stop();
        }
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    signal?.removeEventListener('abort', stop);
    if (failure !== undefined) throw failure;
  }
}

function framesOf({ pieces, patch }: Plan): Frame[] {
  return patch ? [patch.frame] : pieces.map(({ frame }) => frame);
}
