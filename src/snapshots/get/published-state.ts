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

/** A piece's bytes, verified, at once: whoever asks waits, and nothing else goes on meanwhile. Throws as `ContentFetcher.fetch` rejects. */
export type TakePiece = (piece: Piece) => Uint8Array;

/** Pieces that were asked for lately: frames next to each other lie in one. */
const LATELY = 16;

export class PublishedState implements ByteSource {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #pieces: readonly Piece[];
  /** Where each piece begins, and behind the last. */
  readonly #starts: readonly number[];
  readonly #needed: ReadonlyMap<string, Uint8Array>;
  readonly #lately = new Map<string, Uint8Array>();
  readonly #take: TakePiece;
  /** Fetches all that is not here yet. Rejects as `ContentFetcher.fetch` does. */
  readonly complete: (onPiece: (done: number, total: number) => void, signal?: AbortSignal) => Promise<void>;

  private constructor(
    name: string,
    pieces: readonly Piece[],
    starts: readonly number[],
    needed: ReadonlyMap<string, Uint8Array>,
    take: TakePiece,
    complete: PublishedState['complete'],
  ) {
    this.name = name;
    this.sizeBytes = starts.at(-1)!;
    this.#pieces = pieces;
    this.#starts = starts;
    this.#needed = needed;
    this.#take = take;
    this.complete = complete;
  }

  /** Fetches what every machine needs into `store`. Rejects with `bad-image` when the index has no such state, or as `ContentFetcher.fetch` does. */
  static async open(
    name: string,
    { state, sizeBytes, firstBytes, tailBytes }: StateBytes,
    { index, fetcher, store, take }: { index: PackIndex; fetcher: ContentFetcher; store: ChunkStore; take: TakePiece },
    onPiece: (done: number, total: number) => void,
    signal?: AbortSignal,
  ): Promise<PublishedState> {
    const pieces = index.locate(state) ?? [];
    const starts = [0];
    for (const piece of pieces) starts.push(starts.at(-1)! + piece.sizeBytes);
    if (starts.at(-1) !== sizeBytes) throw new VmError('bad-image', `${name}: it is not in the index as it should be: tell the publisher`);
    const wanted = pieces.filter((_, n) => starts[n]! < firstBytes || starts[n + 1]! > sizeBytes - tailBytes).map(({ digest }) => digest);
    const bring = async (digests: readonly string[], on: typeof onPiece, stop?: AbortSignal): Promise<void> => {
      const missing: string[] = [];
      for (const digest of digests) if (!(await store.has(digest))) missing.push(digest);
      let done = digests.length - missing.length;
      await fetcher.fetch(missing, (count) => on((done += count), digests.length), stop);
    };
    await bring(wanted, onPiece, signal);
    const needed = new Map<string, Uint8Array>();
    for (const digest of wanted) needed.set(digest, await store.get(digest));
    const all = pieces.map(({ digest }) => digest);
    return new PublishedState(name, pieces, starts, needed, take, (on, stop) => bring(all, on, stop));
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

  #piece(piece: Piece): Uint8Array {
    const { digest } = piece;
    const known = this.#needed.get(digest) ?? this.#lately.get(digest);
    if (known) return known;
    const data = this.#take(piece);
    this.#lately.set(digest, data);
    if (this.#lately.size > LATELY) this.#lately.delete(this.#lately.keys().next().value!);
    return data;
  }
}
