/**
 * The bytes of a file: what was written, in pages of 4 KiB, over the content that the file has in its tree. A page of a large
 * file can be written without copying the rest. What nobody wrote, and what was cut out, takes no room.
 *
 * Pages lie in blocks of 16. Each page is *present* (its bytes are here), or *hidden* (a hole; the content below does not
 * show), or neither: then the content below shows, as far as `baseLimit`, and zeros behind it.
 */
import type { Quota } from './quota.ts';

export const PAGE = 4096;
const BLOCK_PAGES = 16;
export const BLOCK = PAGE * BLOCK_PAGES;
const ZEROS = new Uint8Array(BLOCK);
const SMALLEST = 256;

/** What lies below: a content of the tree's store. */
export interface Base {
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface Block {
  /** From the block's beginning; shorter than a block when the file is: the rest are zeros. */
  bytes: Uint8Array;
  /** A bit for each page. */
  present: number;
  hidden: number;
}

type Kind = 'hole' | 'base' | 'block';
type Sink = (at: number, bytes: Uint8Array) => void;
type Source = (at: number, into: Uint8Array) => void;

export class FileContent {
  sizeBytes: number;
  readonly base: Base | undefined;
  /** So much of the base shows: what was once cut off does not come back. */
  baseLimit: number;
  readonly blocks: Map<number, Block>;
  readonly #quota: Quota;

  constructor(quota: Quota, base?: Base) {
    this.#quota = quota;
    this.base = base;
    this.sizeBytes = base?.sizeBytes ?? 0;
    this.baseLimit = this.sizeBytes;
    this.blocks = new Map();
  }

  /** Whether it is the base and nothing else. */
  get pristine(): boolean {
    return this.blocks.size === 0 && this.base !== undefined && this.baseLimit === this.sizeBytes && this.base.sizeBytes === this.sizeBytes;
  }

  /** Bytes that take room, here or below. */
  get allocatedBytes(): number {
    let pages = Math.ceil(this.baseLimit / PAGE);
    for (const [index, block] of this.blocks) {
      pages += bits(block.present);
      const below = Math.ceil((this.baseLimit - index * BLOCK) / PAGE);
      if (below > 0) pages -= bits((block.present | block.hidden) & mask(0, Math.min(below, BLOCK_PAGES)));
    }
    return pages * PAGE;
  }

  /** Whether a read of this range has to look at the base. */
  readNeedsBase(offset: number, length: number): boolean {
    const end = Math.min(offset + length, this.sizeBytes);
    if (offset >= Math.min(end, this.baseLimit)) return false;
    if (this.blocks.size === 0) return true;
    let needed = false;
    this.#eachPart(offset, end, (kind) => {
      needed = kind === 'base';
      return !needed;
    });
    return needed;
  }

  /** Hands the bytes to `sink` in order; answers how many. `base` is needed when `readNeedsBase`. */
  read(offset: number, length: number, base: Uint8Array | undefined, sink: Sink): number {
    const end = Math.min(offset + length, this.sizeBytes);
    if (end <= offset) return 0;
    this.#eachPart(offset, end, (kind, at, to, block) => {
      if (kind === 'base') sink(at - offset, base!.subarray(at, to));
      else if (kind === 'block') {
        const start = at % BLOCK;
        const bytes = block!.bytes.subarray(start, start + to - at);
        sink(at - offset, bytes);
        zeros(at + bytes.length - offset, to - offset, sink);
      } else zeros(at - offset, to - offset, sink);
      return true;
    });
    return end - offset;
  }

  /** Whether a change of this range needs the base: its first or last page shows it, and only a part of the page changes. */
  changeNeedsBase(offset: number, length: number): boolean {
    const end = offset + length;
    const first = Math.floor(offset / PAGE);
    const last = Math.floor((end - 1) / PAGE);
    if (offset % PAGE !== 0 && this.#showsBase(first)) return true;
    // Behind the base's end nothing of it is left to keep.
    if (end % PAGE !== 0 && end < this.baseLimit && this.#showsBase(last)) return true;
    return false;
  }

  #showsBase(page: number): boolean {
    if (page * PAGE >= this.baseLimit) return false;
    const block = this.blocks.get(Math.floor(page / BLOCK_PAGES));
    return !block || ((block.present | block.hidden) & (1 << (page % BLOCK_PAGES))) === 0;
  }

  /** Has `source` fill the range. False when there is no room left; then a part may be written. */
  write(offset: number, length: number, base: Uint8Array | undefined, source: Source): boolean {
    const end = offset + length;
    for (let at = offset; at < end;) {
      const index = Math.floor(at / BLOCK);
      const start = at - index * BLOCK;
      const stop = Math.min(BLOCK, end - index * BLOCK);
      const block = this.#blockFor(index, stop);
      if (!block) return false;
      this.#materialize(block, index, start, stop, base);
      source(at - offset, block.bytes.subarray(start, stop));
      at = index * BLOCK + stop;
      this.sizeBytes = Math.max(this.sizeBytes, at);
    }
    return true;
  }

  /** Makes the pages of a range of a block present, with what they had where they will not be overwritten as a whole. */
  #materialize(block: Block, index: number, start: number, stop: number, base: Uint8Array | undefined): void {
    const first = Math.floor(start / PAGE);
    const last = Math.floor((stop - 1) / PAGE);
    for (let page = first; page <= last; page++) {
      const bit = 1 << page;
      if (block.present & bit) continue;
      const from = page * PAGE;
      const to = from + PAGE;
      if (from < start || to > stop) {
        const target = block.bytes.subarray(from, to);
        target.fill(0);
        const fileOffset = index * BLOCK + from;
        const shown = Math.min(PAGE, this.baseLimit - fileOffset, block.bytes.length - from);
        if (base && (block.hidden & bit) === 0 && shown > 0) target.set(base.subarray(fileOffset, fileOffset + shown));
      }
      block.present |= bit;
      block.hidden &= ~bit;
    }
  }

  /** The block with room up to `stop`, or undefined when the quota is used up. */
  #blockFor(index: number, stop: number): Block | undefined {
    let block = this.blocks.get(index);
    // A page of a base has to fit as a whole.
    const wanted = this.baseLimit > index * BLOCK ? Math.ceil(stop / PAGE) * PAGE : stop;
    const have = block?.bytes.length ?? 0;
    if (have < wanted) {
      let room = Math.max(SMALLEST, have);
      while (room < wanted) room *= 2;
      if (!this.#quota.take(room - have)) return undefined;
      const bytes = new Uint8Array(room);
      if (block) {
        bytes.set(block.bytes);
        block.bytes = bytes;
      } else block = { bytes, present: 0, hidden: 0 };
      this.blocks.set(index, block);
    }
    return block;
  }

  /** Cuts off or extends by a hole. */
  truncate(sizeBytes: number): void {
    if (sizeBytes < this.sizeBytes) {
      const edge = Math.floor(sizeBytes / BLOCK);
      for (const [index, block] of this.blocks) if (index > edge) this.#drop(index, block);
      const block = this.blocks.get(edge);
      if (block) {
        const start = sizeBytes - edge * BLOCK;
        block.bytes.fill(0, start);
        const kept = mask(0, Math.ceil(start / PAGE));
        block.present &= kept;
        block.hidden &= kept;
        if (!block.present && !block.hidden) this.#drop(edge, block);
      }
      this.baseLimit = Math.min(this.baseLimit, sizeBytes);
    }
    this.sizeBytes = sizeBytes;
  }

  /** Makes a range within the size read as zeros. False when there is no room to remember it. */
  punch(offset: number, length: number, base: Uint8Array | undefined): boolean {
    const end = Math.min(offset + length, Math.ceil(this.sizeBytes / PAGE) * PAGE);
    for (let at = offset; at < end;) {
      const index = Math.floor(at / BLOCK);
      const start = at - index * BLOCK;
      const stop = Math.min(BLOCK, end - index * BLOCK);
      if (!this.#punchBlock(index, start, stop, base)) return false;
      at = index * BLOCK + stop;
    }
    return true;
  }

  #punchBlock(index: number, start: number, stop: number, base: Uint8Array | undefined): boolean {
    const shows = this.baseLimit > index * BLOCK;
    if (!shows && !this.blocks.has(index)) return true;
    const block = this.#blockFor(index, shows && (start % PAGE !== 0 || stop % PAGE !== 0) ? stop : 1);
    if (!block) return false;
    const firstWhole = Math.ceil(start / PAGE);
    const endWhole = Math.floor(stop / PAGE);
    for (const [from, to] of firstWhole > endWhole
      ? [[start, stop] as const]
      : [[start, firstWhole * PAGE] as const, [endWhole * PAGE, stop] as const]) {
      if (from >= to) continue;
      const page = Math.floor(from / PAGE);
      const isHole = ((block.present >> page) & 1) === 0 && !this.#showsBase(index * BLOCK_PAGES + page);
      if (isHole) continue;
      this.#materialize(block, index, from, to, base);
      block.bytes.fill(0, from, to);
    }
    const whole = firstWhole < endWhole ? mask(firstWhole, endWhole) : 0;
    block.present &= ~whole;
    const below = Math.min(BLOCK_PAGES, Math.max(0, Math.ceil((this.baseLimit - index * BLOCK) / PAGE)));
    block.hidden |= whole & mask(0, below);
    if (!block.present && !block.hidden) this.#drop(index, block);
    return true;
  }

  /** Puts back a block of a saved state. False when it has no room, or cannot be. */
  restoreBlock(index: number, block: Block): boolean {
    const { bytes, present, hidden } = block;
    if (bytes.length > BLOCK || present > 0xffff || hidden > 0xffff || (present & hidden) !== 0 || this.blocks.has(index)) return false;
    if (index * BLOCK >= this.sizeBytes || !this.#quota.take(bytes.length)) return false;
    this.blocks.set(index, block);
    return true;
  }

  /** Gives back what the quota was charged with: the file is gone. */
  dispose(): void {
    for (const [index, block] of this.blocks) this.#drop(index, block);
  }

  #drop(index: number, block: Block): void {
    this.#quota.give(block.bytes.length);
    this.blocks.delete(index);
  }

  /** Visits stretches of one kind, in order, until told to stop. */
  #eachPart(offset: number, end: number, visit: (kind: Kind, at: number, to: number, block?: Block) => boolean): void {
    for (let at = offset; at < end;) {
      const index = Math.floor(at / BLOCK);
      const block = this.blocks.get(index);
      let to = Math.min(end, this.blocks.size === 0 ? end : (index + 1) * BLOCK);
      let kind: Kind = 'hole';
      if (block) {
        const page = Math.floor((at - index * BLOCK) / PAGE);
        const present = (block.present >> page) & 1;
        const hidden = (block.hidden >> page) & 1;
        let next = page + 1;
        while (next < BLOCK_PAGES && ((block.present >> next) & 1) === present && ((block.hidden >> next) & 1) === hidden) next++;
        to = Math.min(to, index * BLOCK + next * PAGE);
        if (present) kind = 'block';
        else if (!hidden && at < this.baseLimit) kind = 'base';
      } else if (at < this.baseLimit) kind = 'base';
      if (kind === 'base') to = Math.min(to, this.baseLimit);
      if (!visit(kind, at, to, block)) return;
      at = to;
    }
  }
}

function zeros(at: number, to: number, sink: Sink): void {
  for (let done = at; done < to; done += BLOCK) sink(done, ZEROS.subarray(0, Math.min(BLOCK, to - done)));
}

function mask(from: number, to: number): number {
  return ((1 << to) - 1) & ~((1 << from) - 1);
}

function bits(word: number): number {
  let count = 0;
  for (let rest = word; rest; rest &= rest - 1) count++;
  return count;
}
