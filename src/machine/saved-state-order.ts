/**
 * A saved state whose pages lie in another order: those that a machine needs first lie together, at the beginning; others in the frames of
 * another state, where that has them, so that whoever has that one need not get them again.
 */
import { concatBytes } from '../base/bytes.ts';
import { PAGE_SIZE } from './memory.ts';
import { encodeEnd, encodeHead, openState, PAGES_IN_FRAME, type OpenedState } from './saved-state-file.ts';
import { inFrames, type Frame } from './saved-state-frames.ts';
import type { ByteSource, StateCodec } from './saved-state.ts';

/** Of a frame's pages so many must be needed for the frame to be taken over; the others are there for nothing. */
const LIVE_PAGES = 12;

export interface OrderedState {
  readonly data: Uint8Array;
  /** Bytes from the file's beginning that hold the pages that come first. */
  readonly firstBytes: number;
  /** Bytes up to the file's end that hold everything but pages: what is needed before the machine goes on. */
  readonly tailBytes: number;
}

/** A frame of another state, and where in it contents of this one lie. */
interface TakenFrame {
  readonly data: Uint8Array;
  readonly slots: ReadonlyMap<number, number>;
}

/**
 * The same state with the contents of `first`, numbers of pages, first. Frames of `like`, the state of the day before for example, are
 * taken over as they are where most of their pages are needed. Throws `bad-state` when either is no whole state.
 */
export function orderState(source: ByteSource, first: readonly number[], codec: StateCodec, like?: ByteSource): OrderedState {
  const state = openState(source, codec);
  const { pages, contents, textBytes, dataBytes } = state;
  const contentOf = new Map<number, number>();
  pages.forEach((page, entry) => contentOf.set(page, contents[entry]!));
  const wanted = new Set<number>();
  for (const page of first) {
    const content = contentOf.get(page);
    if (content !== undefined) wanted.add(content);
  }
  const firstFrames = Math.ceil(wanted.size / PAGES_IN_FRAME);
  const rest = [...new Set(contents)].filter((content) => !wanted.has(content)).sort((a, b) => a - b);
  const read = frameCache(state);
  const taken = like ? framesOf(like, rest, read, codec) : [];
  const inTaken = new Set(taken.flatMap(({ slots }) => [...slots.keys()]));
  const fresh = [...wanted, ...rest.filter((content) => !inTaken.has(content))];
  // Only a state's last frame may have fewer pages than others.
  while (taken.length > 0 && fresh.length < firstFrames * PAGES_IN_FRAME) fresh.push(fresh[0]!);

  const head = encodeHead();
  const parts = [head];
  let offset = head.length;
  const frames: Frame[] = [];
  const place = new Map<number, number>();
  const add = (data: Uint8Array): void => {
    frames.push({ offset, length: data.length, digest: codec.sha256(data) });
    parts.push(data);
    offset += data.length;
  };
  const addFresh = (some: readonly number[]): void => {
    some.forEach((content, n) => place.set(content, frames.length * PAGES_IN_FRAME + n));
    for (const content of inFrames(contentsOf(some, read))) add(codec.compress(content));
  };
  addFresh(fresh.slice(0, firstFrames * PAGES_IN_FRAME));
  const firstBytes = offset;
  for (const { data, slots } of taken) {
    for (const [content, slot] of slots) place.set(content, frames.length * PAGES_IN_FRAME + slot);
    add(data);
  }
  addFresh(fresh.slice(firstFrames * PAGES_IN_FRAME));
  const pagesEnd = offset;
  for (const frame of state.described) add(source.read(frame.offset, frame.length));
  parts.push(encodeEnd({ pages, contents: contents.map((content) => place.get(content)!) }, frames, textBytes, dataBytes, codec));
  const data = concatBytes(parts);
  return { data, firstBytes, tailBytes: data.length - pagesEnd };
}

/** Full frames of another state of whose pages most are among `contents`. */
function framesOf(like: ByteSource, contents: readonly number[], read: (content: number) => Uint8Array, codec: StateCodec): TakenFrame[] {
  const keyOf = (page: Uint8Array): string => String.fromCharCode(...codec.sha256(page));
  const left = new Map(contents.map((content) => [keyOf(read(content)), content]));
  const other = openState(like, codec);
  const taken: TakenFrame[] = [];
  for (const [number, { offset, length }] of other.frames.entries()) {
    const frame = other.readFrame(number);
    if (frame.length < PAGES_IN_FRAME * PAGE_SIZE) continue;
    const keys = Array.from({ length: PAGES_IN_FRAME }, (_, n) => keyOf(frame.subarray(n * PAGE_SIZE, (n + 1) * PAGE_SIZE)));
    const slots = new Map<number, number>();
    for (const [slot, key] of keys.entries()) {
      const content = left.get(key);
      if (content !== undefined) slots.set(content, slot);
    }
    if (slots.size < LIVE_PAGES) continue;
    for (const key of keys) left.delete(key);
    taken.push({ data: like.read(offset, length), slots });
  }
  return taken;
}

/** Gives a content. What is asked for in the contents' order unpacks each frame once; what comes first is spread over all of them. */
function frameCache({ readFrame }: Pick<OpenedState, 'readFrame'>): (content: number) => Uint8Array {
  const read = new Map<number, Uint8Array>();
  return (content) => {
    const number = Math.floor(content / PAGES_IN_FRAME);
    let frame = read.get(number);
    if (!frame) read.set(number, (frame = readFrame(number)));
    const from = (content % PAGES_IN_FRAME) * PAGE_SIZE;
    return frame.subarray(from, from + PAGE_SIZE);
  };
}

function* contentsOf(contents: readonly number[], read: (content: number) => Uint8Array): Generator<Uint8Array> {
  for (const content of contents) yield read(content);
}
