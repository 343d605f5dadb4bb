/**
 * A published booted state as a machine reads it: what every machine needs is fetched before, the rest piece by piece when a page is asked
 * for. Pieces are verified before they are used, and kept like other contents.
 */
import { VmError } from '../../base/errors.ts';
import type { ByteSource } from '../../machine/saved-state.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import type { PackIndex, Piece } from '../../storage/packs/pack-index.ts';
import type { StateBytes } from '../catalogue/booted.ts';
import type { ContentFetcher } from './fetcher.ts';

export type StatePiece = Pick<Piece, 'digest' | 'sizeBytes'>;

/** What a state consists of, and those pieces that are here. Plain data: it may be given to another thread. */
export interface StateParts {
  readonly name: string;
  /** In order. */
  readonly pieces: readonly StatePiece[];
  readonly needed: ReadonlyMap<string, Uint8Array>;
}

/** A piece's bytes, verified, at once: whoever asks waits, and nothing else goes on meanwhile. Throws as `ContentFetcher.fetch` rejects. */
export type TakePiece = (piece: StatePiece) => Uint8Array;

/** Pieces that were asked for lately: frames next to each other lie in one. */
const LATELY = 16;

export interface PublishedStateOptions {
  readonly index: PackIndex;
  readonly fetcher: ContentFetcher;
  readonly store: ChunkStore;
}

export class PublishedState {
  readonly parts: StateParts;
  readonly #options: PublishedStateOptions;

  private constructor(parts: StateParts, options: PublishedStateOptions) {
    this.parts = parts;
    this.#options = options;
  }

  /** Fetches what every machine needs into `store`. Rejects with `bad-image` when the index has no such state, or as `ContentFetcher.fetch` does. */
  static async open(
    name: string,
    { state, sizeBytes, firstBytes, tailBytes }: StateBytes,
    options: PublishedStateOptions,
    onPiece: (done: number, total: number) => void,
    signal?: AbortSignal,
  ): Promise<PublishedState> {
    const pieces = options.index.locate(state) ?? [];
    let at = 0;
    const wanted: string[] = [];
    for (const { digest, sizeBytes: length } of pieces) {
      if (at < firstBytes || at + length > sizeBytes - tailBytes) wanted.push(digest);
      at += length;
    }
    if (at !== sizeBytes) throw new VmError('bad-image', `${name}: it is not in the index as it should be: tell the publisher`);
    await bring(options, wanted, onPiece, signal);
    const needed = new Map<string, Uint8Array>();
    for (const digest of wanted) needed.set(digest, await options.store.get(digest));
    const plain = pieces.map(({ digest, sizeBytes: length }) => ({ digest, sizeBytes: length }));
    return new PublishedState({ name, pieces: plain, needed }, options);
  }

  /** Fetches all that is not here yet. Rejects as `ContentFetcher.fetch` does. */
  complete(onPiece: (done: number, total: number) => void, signal?: AbortSignal): Promise<void> {
    return bring(
      this.#options,
      this.parts.pieces.map(({ digest }) => digest),
      onPiece,
      signal,
    );
  }

  /** One piece, from here or from where it is published. Rejects as `ContentFetcher.fetch` does. */
  async piece(digest: string): Promise<Uint8Array> {
    const { store, fetcher } = this.#options;
    const here = (await store.has(digest)) ? await store.get(digest).catch(() => undefined) : undefined;
    if (here) return here;
    await fetcher.fetch([digest], () => {});
    return store.get(digest);
  }
}

async function bring(
  { store, fetcher }: PublishedStateOptions,
  digests: readonly string[],
  onPiece: (done: number, total: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const missing: string[] = [];
  for (const digest of digests) if (!(await store.has(digest))) missing.push(digest);
  let done = digests.length - missing.length;
  await fetcher.fetch(missing, (count) => onPiece((done += count), digests.length), signal);
}

/** The state's bytes: those of pieces that are not here come by `take`. */
export class PieceSource implements ByteSource {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #pieces: readonly StatePiece[];
  /** Where each piece begins, and behind the last. */
  readonly #starts: readonly number[];
  readonly #needed: ReadonlyMap<string, Uint8Array>;
  readonly #lately = new Map<string, Uint8Array>();
  readonly #take: TakePiece;

  constructor({ name, pieces, needed }: StateParts, take: TakePiece) {
    const starts = [0];
    for (const piece of pieces) starts.push(starts.at(-1)! + piece.sizeBytes);
    this.name = name;
    this.sizeBytes = starts.at(-1)!;
    this.#pieces = pieces;
    this.#starts = starts;
    this.#needed = needed;
    this.#take = take;
  }

  read(offset: number, length: number): Uint8Array {
    if (offset < 0 || length < 0 || offset + length > this.sizeBytes)
      throw new VmError('bad-state', `${this.name}: it has no bytes from ${offset} to ${offset + length}`);
    const bytes = new Uint8Array(length);
    for (let done = 0, n = this.#pieceAt(offset); done < length; n++) {
      const from = offset + done - this.#starts[n]!;
      const some = this.#piece(this.#pieces[n]!).subarray(from, from + length - done);
      bytes.set(some, done);
      done += some.length;
    }
    return bytes;
  }

  #pieceAt(offset: number): number {
    let [low, high] = [0, this.#pieces.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return low;
  }

  #piece(piece: StatePiece): Uint8Array {
    const { digest } = piece;
    const known = this.#needed.get(digest) ?? this.#lately.get(digest);
    if (known) return known;
    const data = this.#take(piece);
    this.#lately.set(digest, data);
    if (this.#lately.size > LATELY) this.#lately.delete(this.#lately.keys().next().value!);
    return data;
  }
}
