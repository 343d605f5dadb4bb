/** A saved state whose pages lie in another order: those that a machine needs first lie together, at the beginning. */
import { concatBytes } from '../base/bytes.ts';
import { PAGE_SIZE } from './memory.ts';
import { encodeEnd, encodeHead, openState, PAGES_IN_FRAME } from './saved-state-file.ts';
import { inFrames, type Frame } from './saved-state-frames.ts';
import type { ByteSource, StateCodec } from './saved-state.ts';

export interface OrderedState {
  readonly data: Uint8Array;
  /** Bytes from the file's beginning that hold the pages that come first. */
  readonly firstBytes: number;
  /** Bytes up to the file's end that hold everything but pages: what is needed before the machine goes on. */
  readonly tailBytes: number;
}

/** The same state with the contents of `first`, numbers of pages, first. Throws `bad-state` when `source` is no whole state. */
export function orderState(source: ByteSource, first: readonly number[], codec: StateCodec): OrderedState {
  const state = openState(source, codec);
  const { pages, contents, textBytes, dataBytes } = state;
  const contentOf = new Map<number, number>();
  pages.forEach((page, entry) => contentOf.set(page, contents[entry]!));
  const wanted = new Set<number>();
  for (const page of first) {
    const content = contentOf.get(page);
    if (content !== undefined) wanted.add(content);
  }
  const firstCount = wanted.size;
  for (const content of [...new Set(contents)].sort((a, b) => a - b)) wanted.add(content);
  const order = [...wanted];
  const place = new Map(order.map((content, n) => [content, n]));

  const head = encodeHead();
  const parts = [head];
  let offset = head.length;
  const frames: Frame[] = [];
  const add = (data: Uint8Array): void => {
    frames.push({ offset, length: data.length, digest: codec.sha256(data) });
    parts.push(data);
    offset += data.length;
  };
  for (const content of inFrames(contentsInOrder(order, state.readFrame))) add(codec.compress(content));
  const firstFrame = frames[Math.ceil(firstCount / PAGES_IN_FRAME)];
  const firstBytes = firstFrame?.offset ?? offset;
  const pagesEnd = offset;
  for (const frame of state.described) add(source.read(frame.offset, frame.length));
  parts.push(encodeEnd({ pages, contents: contents.map((content) => place.get(content)!) }, frames, textBytes, dataBytes, codec));
  const data = concatBytes(parts);
  return { data, firstBytes, tailBytes: data.length - pagesEnd };
}

function* contentsInOrder(order: readonly number[], readFrame: (number: number) => Uint8Array): Generator<Uint8Array> {
  // What comes first is spread over all frames, what follows is in their order.
  const read = new Map<number, Uint8Array>();
  for (const content of order) {
    const number = Math.floor(content / PAGES_IN_FRAME);
    const frame = read.get(number) ?? readFrame(number);
    read.set(number, frame);
    const from = (content % PAGES_IN_FRAME) * PAGE_SIZE;
    yield frame.subarray(from, from + PAGE_SIZE);
  }
}
