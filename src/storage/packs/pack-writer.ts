/**
 * Puts contents into packs. Small contents share a frame, which compresses better and is fetched at once; large ones are cut into
 * pieces. The same contents in the same order give the same packs.
 */
import { concatBytes } from '../../base/bytes.ts';
import { sha256 } from '../../base/sha256.ts';
import type { Zstd } from '../../platform/zstd.ts';
import {
  PACK_MAX_BYTES,
  PIECE_MAX_BYTES,
  type Frame,
  type Pack,
  type PackIndex,
  type Patch,
  type Piece,
  type Segment,
} from './pack-index.ts';

/** Small contents are put together up to this. */
const SHARED_FRAME_BYTES = 64 * 1024;

/** Where a content may be cut into pieces: ends of the pieces, ascending, the last being its length. */
export type Cut = (data: Uint8Array) => number[];

export const everyMebibyte: Cut = (data) => {
  const ends: number[] = [];
  for (let end = PIECE_MAX_BYTES; end < data.length; end += PIECE_MAX_BYTES) ends.push(end);
  return [...ends, data.length];
};

interface Waiting {
  readonly digest: string;
  readonly data: Uint8Array;
}

interface WaitingFrame {
  readonly data: Uint8Array;
  readonly rawBytes: number;
  readonly pieces: readonly Omit<Piece, 'frame'>[];
  readonly patch?: Omit<Patch, 'frame'>;
}

export class PackWriter {
  readonly #zstd: Zstd;
  readonly #level: number;
  readonly #known: PackIndex;
  readonly #sink: (digest: string, pack: Uint8Array) => Promise<void>;
  #small: Waiting[] = [];
  #smallBytes = 0;
  #frames: WaitingFrame[] = [];
  #packBytes = 0;
  readonly #added = new Set<string>();
  readonly #pieces: Piece[] = [];
  readonly #lists = new Map<string, readonly string[]>();
  readonly #patches: Patch[] = [];
  /** Of all packs that were written. */
  packedBytes = 0;

  /** What `known` has is not written again. `sink` gets each pack when it is full. */
  constructor(zstd: Zstd, level: number, known: PackIndex, sink: (digest: string, pack: Uint8Array) => Promise<void>) {
    this.#zstd = zstd;
    this.#level = level;
    this.#known = known;
    this.#sink = sink;
  }

  has(digest: string): boolean {
    return this.#added.has(digest) || this.#known.locate(digest) !== undefined;
  }

  /** `digest` is that of `data`. */
  async add(digest: string, data: Uint8Array, cut: Cut = everyMebibyte): Promise<void> {
    if (this.has(digest)) return;
    this.#added.add(digest);
    const ends = cut(data);
    if (ends.length === 1) return this.#addPiece(digest, data);
    const parts: string[] = [];
    let from = 0;
    for (const end of ends) {
      const part = data.subarray(from, end);
      const name = await sha256(part);
      parts.push(name);
      if (!this.#added.has(name) && !this.#known.piece(name)) {
        this.#added.add(name);
        await this.#addPiece(name, part);
      }
      from = end;
    }
    this.#lists.set(digest, parts);
  }

  /** A way to `digest` for whoever has `base`. */
  async addPatch(digest: string, base: string, frame: Uint8Array, rawBytes: number): Promise<void> {
    await this.#addFrame({ data: frame, rawBytes, pieces: [], patch: { digest, base } });
  }

  async #addPiece(digest: string, data: Uint8Array): Promise<void> {
    if (data.length >= SHARED_FRAME_BYTES) {
      await this.#addFrame(this.#pack([{ digest, data }]));
      return;
    }
    this.#small.push({ digest, data });
    this.#smallBytes += data.length;
    if (this.#smallBytes >= SHARED_FRAME_BYTES) await this.#flushSmall();
  }

  async #flushSmall(): Promise<void> {
    if (this.#small.length === 0) return;
    const frame = this.#pack(this.#small);
    this.#small = [];
    this.#smallBytes = 0;
    await this.#addFrame(frame);
  }

  #pack(contents: readonly Waiting[]): WaitingFrame {
    const raw = concatBytes(contents.map(({ data }) => data));
    let offset = 0;
    const pieces = contents.map(({ digest, data }) => {
      offset += data.length;
      return { digest, offset: offset - data.length, sizeBytes: data.length };
    });
    return { data: this.#zstd.compress(raw, this.#level), rawBytes: raw.length, pieces };
  }

  async #addFrame(frame: WaitingFrame): Promise<void> {
    if (this.#packBytes + frame.data.length > PACK_MAX_BYTES) await this.#flushPack();
    this.#frames.push(frame);
    this.#packBytes += frame.data.length;
  }

  async #flushPack(): Promise<void> {
    if (this.#frames.length === 0) return;
    const data = concatBytes(this.#frames.map((frame) => frame.data));
    const pack: Pack = { digest: await sha256(data), sizeBytes: data.length };
    await this.#sink(pack.digest, data);
    let offset = 0;
    for (const { data: packed, rawBytes, pieces, patch } of this.#frames) {
      const frame: Frame = { pack, offset, length: packed.length, rawBytes };
      offset += packed.length;
      for (const piece of pieces) this.#pieces.push({ ...piece, frame });
      if (patch) this.#patches.push({ ...patch, frame });
    }
    this.packedBytes += data.length;
    this.#frames = [];
    this.#packBytes = 0;
  }

  /** Writes what is left, and gives the segment of all that is new; undefined when nothing is. */
  async finish(): Promise<Segment | undefined> {
    await this.#flushSmall();
    await this.#flushPack();
    if (this.#pieces.length + this.#lists.size + this.#patches.length === 0) return undefined;
    return { pieces: this.#pieces, lists: this.#lists, patches: this.#patches };
  }
}
