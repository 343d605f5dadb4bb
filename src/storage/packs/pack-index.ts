/**
 * Where contents lie in packs. A pack is zstd frames one after the other. A frame unpacks to one or more pieces; a piece is a
 * content, or a part of a large one; each has its SHA-256, so that whatever an index says, wrong bytes are noticed. A patch is a frame
 * that unpacks to a content for whoever has another. Every publication adds a segment to the index with what is new.
 */
import { VmError } from '../../base/errors.ts';
import { fromHex, toHex } from '../../base/sha256.ts';

export const PACK_MAX_BYTES = 4 * 1024 * 1024;
/** Of a piece: what has to be fetched and held at once. */
export const PIECE_MAX_BYTES = 1024 * 1024;
/** Of a content that has patches: both lie in memory at once. */
export const PATCH_MAX_BYTES = 16 * 1024 * 1024;
export const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

export interface Pack {
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface Frame {
  readonly pack: Pack;
  readonly offset: number;
  /** In the pack. */
  readonly length: number;
  /** Unpacked. */
  readonly rawBytes: number;
}

export interface Piece {
  readonly digest: string;
  readonly frame: Frame;
  /** In the unpacked frame. */
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface Patch {
  /** Of the content that one must have. */
  readonly base: string;
  readonly digest: string;
  readonly frame: Frame;
}

export interface Segment {
  readonly pieces: readonly Piece[];
  /** Contents of several pieces. */
  readonly lists: ReadonlyMap<string, readonly string[]>;
  readonly patches: readonly Patch[];
}

const MAGIC = 'DBINDEX1';
const HEAD_BYTES = 8 + 5 * 4;
const DIGEST_BYTES = 32;

/** The form is in docs/publishing.md. */
export function encodeSegment({ pieces, lists, patches }: Segment): Uint8Array {
  const frames = [...new Set([...pieces, ...patches].map(({ frame }) => frame))];
  const packs = [...new Map(frames.map(({ pack }) => [pack.digest, pack])).values()];
  const packNumber = new Map(packs.map(({ digest }, n) => [digest, n]));
  const frameNumber = new Map(frames.map((frame, n) => [frame, n]));
  const listBytes = [...lists.values()].reduce((sum, list) => sum + 36 + list.length * DIGEST_BYTES, 0);
  const data = new Uint8Array(HEAD_BYTES + packs.length * 36 + frames.length * 16 + pieces.length * 44 + listBytes + patches.length * 68);
  const view = new DataView(data.buffer);
  let at = 0;
  const number = (value: number): void => {
    view.setUint32(at, value, true);
    at += 4;
  };
  const digest = (hex: string): void => {
    data.set(fromHex(hex), at);
    at += DIGEST_BYTES;
  };
  data.set(new TextEncoder().encode(MAGIC));
  at = 8;
  for (const count of [packs.length, frames.length, pieces.length, lists.size, patches.length]) number(count);
  for (const pack of packs) {
    digest(pack.digest);
    number(pack.sizeBytes);
  }
  for (const { pack, offset, length, rawBytes } of frames)
    for (const value of [packNumber.get(pack.digest)!, offset, length, rawBytes]) number(value);
  for (const piece of pieces) {
    digest(piece.digest);
    for (const value of [frameNumber.get(piece.frame)!, piece.offset, piece.sizeBytes]) number(value);
  }
  for (const [content, list] of lists) {
    digest(content);
    number(list.length);
    for (const piece of list) digest(piece);
  }
  for (const patch of patches) {
    digest(patch.digest);
    digest(patch.base);
    number(frameNumber.get(patch.frame)!);
  }
  return data;
}

/** `name` is for messages. Throws `bad-image` when it is no segment or does not fit together. */
export function decodeSegment(name: string, data: Uint8Array): Segment {
  const bad = (what: string): never => {
    throw new VmError('bad-image', `${name}: not an index of packs: ${what}`);
  };
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 8;
  const need = (bytes: number): void => void (at + bytes > data.length && bad('it is cut short'));
  const number = (): number => {
    need(4);
    at += 4;
    return view.getUint32(at - 4, true);
  };
  const digest = (): string => {
    need(DIGEST_BYTES);
    at += DIGEST_BYTES;
    return toHex(data.subarray(at - DIGEST_BYTES, at));
  };
  // A count is believed only as far as there is data for it.
  const rows = <T>(count: number, rowBytes: number, read: () => T): T[] => {
    need(count * rowBytes);
    return Array.from({ length: count }, read);
  };
  if (data.length < HEAD_BYTES || new TextDecoder().decode(data.subarray(0, 8)) !== MAGIC) bad(`it does not begin with ${MAGIC}`);
  const [packCount, frameCount, pieceCount, listCount, patchCount] = [number(), number(), number(), number(), number()];
  const packs = rows(packCount, 36, (): Pack => ({ digest: digest(), sizeBytes: number() }));
  if (packs.some(({ sizeBytes }) => sizeBytes > PACK_MAX_BYTES)) bad(`a pack has more than ${PACK_MAX_BYTES} bytes`);
  const frames = rows(frameCount, 16, (): Frame => {
    const pack = packs[number()] ?? bad('a frame lies in no pack');
    const frame = { pack, offset: number(), length: number(), rawBytes: number() };
    if (frame.length === 0 || frame.offset + frame.length > pack.sizeBytes || frame.rawBytes > PATCH_MAX_BYTES) bad('a frame does not fit');
    return frame;
  });
  const pieces = rows(pieceCount, 44, (): Piece => {
    const piece = { digest: digest(), frame: frames[number()] ?? bad('a piece lies in no frame'), offset: number(), sizeBytes: number() };
    if (piece.offset + piece.sizeBytes > piece.frame.rawBytes || piece.frame.rawBytes > PIECE_MAX_BYTES)
      bad('a piece does not fit its frame');
    return piece;
  });
  const lists = new Map(
    rows(listCount, 36, (): [string, string[]] => {
      const content = digest();
      return [content, rows(number(), DIGEST_BYTES, digest)];
    }),
  );
  const patches = rows(patchCount, 68, (): Patch => {
    const [target, base] = [digest(), digest()];
    return { digest: target, base, frame: frames[number()] ?? bad('a patch lies in no frame') };
  });
  if (at !== data.length) bad('there is something behind its end');
  return { pieces, lists, patches };
}

/** All segments together. */
export class PackIndex {
  readonly #pieces = new Map<string, Piece>();
  readonly #lists = new Map<string, readonly string[]>();
  readonly #patches = new Map<string, Patch[]>();
  readonly #frames = new Map<Frame, string[]>();

  add({ pieces, lists, patches }: Segment): void {
    for (const piece of pieces) {
      this.#pieces.set(piece.digest, piece);
      const others = this.#frames.get(piece.frame);
      if (others) others.push(piece.digest);
      else this.#frames.set(piece.frame, [piece.digest]);
    }
    for (const [digest, list] of lists) this.#lists.set(digest, list);
    for (const patch of patches) {
      const known = this.#patches.get(patch.digest);
      if (known) known.push(patch);
      else this.#patches.set(patch.digest, [patch]);
    }
  }

  /** The pieces that a content consists of, in order; undefined when it is not here as a whole. */
  locate(digest: string): readonly Piece[] | undefined {
    if (digest === EMPTY_SHA256) return [];
    const piece = this.#pieces.get(digest);
    if (piece) return [piece];
    const found = this.#lists.get(digest)?.map((part) => this.#pieces.get(part));
    return found?.every((part) => part !== undefined) ? (found as Piece[]) : undefined;
  }

  piece(digest: string): Piece | undefined {
    return this.#pieces.get(digest);
  }

  /** Digests of all pieces of a frame. */
  inFrame(frame: Frame): readonly string[] {
    return this.#frames.get(frame) ?? [];
  }

  patches(digest: string): readonly Patch[] {
    return this.#patches.get(digest) ?? [];
  }

  /** Everything, for a new segment that takes the place of many. */
  all(): Segment {
    return { pieces: [...this.#pieces.values()], lists: this.#lists, patches: [...this.#patches.values()].flat() };
  }
}
