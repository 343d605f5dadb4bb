/**
 * Which guest code is compiled together: from a hot record along the ways that execution takes, over calls, returns and
 * page borders, as far as the limits go.
 */
import * as L from '../runtime/layout.ts';
import type { State } from '../state.ts';
import type { Variant } from '../ops.ts';
import { readStep, type Step } from './step.ts';
import type { Traits, TraitTable } from './traits.ts';

/** Instructions and blocks of a region: beyond this V8's optimiser takes more than its share. */
const MOST_STEPS = 300;
const MOST_BLOCKS = 64;
/** Instructions of a block: their number has to fit an exit's target, see leaveAt. */
const MOST_IN_BLOCK = 31;
/** Instructions of a function that is compiled into each caller's region. */
const MOST_IN_LEAF = 40;
const MOST_PAGES = 8;
/** Entries have numbers of one byte. */
const MOST_ENTRIES = 200;

/** Offsets (`at`) count from the base of the page that the region was found from; they may be negative. */
export interface Block {
  readonly at: number;
  readonly record: number;
  readonly steps: readonly Step[];
  readonly ending: Traits['ending'] | 'leave';
  /** Record that the interpreter goes on with, when it leaves. */
  readonly leaveAt: number;
}

export interface Page {
  /** Offset from the first page, in bytes. */
  readonly delta: number;
  /** Address of its code page, and the version that this had. */
  readonly codePage: number;
  readonly version: number;
  /** RAM page, in host order. */
  readonly number: number;
}

export interface Region {
  /** Linear address of the page that it was found from, then. */
  readonly base: bigint;
  readonly blocks: readonly Block[];
  readonly pages: readonly Page[];
  /** Offsets of blocks that execution comes to from outside; the first is where it was found hot. */
  readonly entries: readonly number[];
  /** Where calls in it return to. */
  readonly returns: readonly number[];
  /** Records of places outside, on the same page, that blocks go on to. */
  readonly neighbours: ReadonlyMap<number, number>;
}

/** What decoding knows. */
export interface Decoded {
  readonly state: State;
  /** The variant of a record; undefined when it is none: an end, a page crossing, something stale or undefined. */
  variantAt(record: number): Variant | undefined;
  /** Whether compiled code begins at a record, or is about to. */
  isEntry(record: number): boolean;
}

interface Found {
  readonly step: Step;
  readonly traits: Traits;
}

/** Offsets that a block's ending may go to, when they are known. */
export function targetsOf({ steps, ending }: Block): number[] {
  const last = steps.at(-1)!;
  const next = last.at + last.length;
  const jump = pageOf(last.at) + Number(last.immediate);
  switch (ending) {
    case 'next': return [next];
    case 'branch': return [jump, next];
    case 'jump': case 'call': return [jump];
    default: return [];
  } // prettier-ignore
}

const PAGE = 4096;
const pageOf = (at: number): number => at & ~(PAGE - 1);

/** Offset of a block's last byte. One instruction that ends on the page after its own is a block by itself. */
export function lastByteOf({ steps }: Block): number {
  const { at, length } = steps.at(-1)!;
  return at + length - 1;
}

export class RegionFinder {
  readonly #decoded: Decoded;
  readonly #traits: TraitTable;

  constructor(decoded: Decoded, traits: TraitTable) {
    this.#decoded = decoded;
    this.#traits = traits;
  }

  /**
   * The region from a record on whose page is at a linear address now; undefined when its first instruction is not compiled.
   * @param warm jumps that must have come to a place for it to be included
   */
  find(start: number, pageBase: bigint, warm: number): Region | undefined {
    return new Search(this.#decoded, this.#traits, pageBase, warm).run(start);
  }
}

class Search {
  readonly #decoded: Decoded;
  readonly #state: State;
  readonly #traits: TraitTable;
  readonly #pageBase: bigint;
  readonly #warm: number;
  readonly #pages = new Map<number, Page | undefined>();
  /** Instructions by offset; undefined: the interpreter's. */
  readonly #found = new Map<number, Found | undefined>();
  readonly #records = new Map<number, number>();
  readonly #leaders = new Set<number>();
  readonly #entries = new Set<number>();
  readonly #returns = new Set<number>();
  /** Places of functions that belong to their callers' regions. */
  readonly #contained = new Set<number>();
  #steps = 0;

  constructor(decoded: Decoded, traits: TraitTable, pageBase: bigint, warm: number) {
    this.#decoded = decoded;
    this.#state = decoded.state;
    this.#traits = traits;
    this.#pageBase = pageBase;
    this.#warm = warm;
  }

  run(start: number): Region | undefined {
    const first = this.#state.u16(start + L.R_OFFSET);
    const queue = [first];
    this.#entries.add(first);
    for (let n = 0; n < queue.length && this.#leaders.size < MOST_BLOCKS && this.#steps < MOST_STEPS; n++) {
      const at = queue[n]!;
      if (this.#leaders.has(at)) continue;
      const record = this.#recordAt(at);
      if (record === 0 || (at !== first && this.#belongsElsewhere(at, record))) continue;
      this.#leaders.add(at);
      this.#follow(at, queue);
    }
    if (!this.#found.get(first)) return undefined;
    const blocks = [...this.#leaders].flatMap((at) => this.#block(at) ?? []);
    const present = new Set(blocks.map(({ at }) => at));
    const entries = [...this.#entries].filter((at) => present.has(at)).slice(0, MOST_ENTRIES);
    const used = new Set(blocks.flatMap((block) => [pageOf(block.at), pageOf(lastByteOf(block))]));
    const pages = [...this.#pages.values()].filter((page): page is Page => page !== undefined && used.has(page.delta));
    const neighbours = new Map<number, number>();
    for (const block of blocks) {
      for (const at of targetsOf(block)) {
        if (!present.has(at) && pageOf(at) === pageOf(block.at)) neighbours.set(at, this.#recordAt(at));
      }
    }
    return { base: this.#pageBase, blocks, pages, entries, returns: [...this.#returns].filter((at) => present.has(at)), neighbours };
  }

  /** The code page at an offset, if the code TLB has it now. */
  #page(delta: number): Page | undefined {
    if (this.#pages.has(delta)) return this.#pages.get(delta);
    let page: Page | undefined;
    if (this.#pages.size < MOST_PAGES) {
      const state = this.#state;
      const va = BigInt.asUintN(64, this.#pageBase + BigInt(delta));
      const entry = state.u32(L.TLB_CODE) + (Number((va >> 8n) & 0xffffn) & ((L.TLB_ENTRIES - 1) << 4));
      if (state.u64(entry) === va) {
        const codePage = state.u32(entry + 8);
        if (state.u32(codePage + L.CP_MODE) === 2) {
          page = { delta, codePage, version: state.u32(codePage + L.CP_VERSION), number: state.u32(codePage + L.CP_NUMBER) };
        }
      }
    }
    this.#pages.set(delta, page);
    return page;
  }

  #recordAt(at: number): number {
    const known = this.#records.get(at);
    if (known !== undefined) return known;
    const page = this.#page(pageOf(at));
    const record = page ? this.#state.recordAt(page.codePage, at & 0xfff) : 0;
    this.#records.set(at, record);
    return record;
  }

  /** Whether another region begins here. */
  #belongsElsewhere(at: number, record: number): boolean {
    return !this.#contained.has(at) && this.#decoded.isEntry(record);
  }

  /** The decoded instruction that a record at the end of a page stands for, which ends on the next page; 0 when that is not known now. */
  #crossing(record: number, at: number): number {
    const state = this.#state;
    const head = L.CROSSING + ((record >>> 5) & (L.CROSSINGS - 1)) * L.CROSSING_BYTES;
    if (state.u32(head + L.X_RECORD) !== record) return 0;
    const next = this.#page(pageOf(at) + PAGE);
    const known = next?.codePage === state.u32(head + L.X_PAGE) && next.version === state.u32(head + L.X_VERSION);
    return known ? head + L.RECORD_BYTES : 0;
  }

  /** Whether enough jumps have come to a place. */
  #isWarm(at: number): boolean {
    const record = this.#recordAt(at);
    const note = record === 0 ? 0 : this.#state.u32(record + L.R_NOTE);
    return (note & L.NOTE_ENTRY) !== 0 || (note & 0xffff) >= this.#warm;
  }

  /** Whether a conditional branch has ever not been taken. */
  #hasPassed(record: number): boolean {
    return this.#state.view.getUint8(record + L.R_PASSED) !== 0;
  }

  /** Goes along straight execution from a leader, and notes where it branches to. */
  #follow(start: number, queue: number[]): void {
    for (let at = start, count = 0; this.#steps < MOST_STEPS; count++) {
      if (count === MOST_IN_BLOCK) {
        queue.push(at);
        return;
      }
      if (this.#found.has(at)) {
        if (at !== start) this.#leaders.add(at);
        return;
      }
      const record = this.#recordAt(at);
      if (record === 0 || (at !== start && this.#belongsElsewhere(at, record))) return;
      const whole = this.#decoded.variantAt(record);
      const decoded = whole ? record : this.#crossing(record, at);
      const variant = whole ?? (decoded === 0 ? undefined : this.#decoded.variantAt(decoded));
      const traits = variant && this.#traits.of(variant);
      if (!variant || !traits?.compiled) {
        this.#found.set(at, undefined);
        if (variant && !variant.encoding.row.ends) this.#enterAfter(decoded, at, queue);
        return;
      }
      if (!whole && at !== start) {
        // A block of its own, behind a guard: part of it may be mapped elsewhere later.
        queue.push(at);
        return;
      }
      const step = { ...readStep(this.#state, decoded, variant, pageOf(at)), record };
      this.#found.set(at, { step, traits });
      this.#steps++;
      const next = at + step.length;
      const target = pageOf(at) + Number(step.immediate);
      switch (traits.ending) {
        case 'next':
          if (pageOf(next) === pageOf(start)) {
            at = next;
            continue;
          }
          // Another page may be mapped elsewhere later: a block of its own, behind a guard.
          queue.push(next);
          return;
        case 'branch':
          if (target <= at || this.#isWarm(target)) queue.push(target);
          if (this.#hasPassed(decoded)) queue.push(next);
          return;
        case 'jump':
          queue.push(target);
          return;
        case 'call':
          // Another function is another region, but for recursion and for what is too small for the way there.
          if (this.#entries.has(target) || this.#isLeaf(target)) {
            this.#returns.add(next);
            queue.push(target);
            this.#enter(next, queue);
          } else this.#enterWarm(next, queue);
          return;
        case 'indirect':
          if (variant.encoding.row.mnemonic === 'call' || variant.encoding.row.mnemonic === 'syscall') this.#enterWarm(next, queue);
          return;
        case 'return':
          return;
      }
    }
  }

  /** Whether a function calls nobody and is short: then callers contain it. */
  #isLeaf(start: number): boolean {
    if (!this.#isWarm(start)) return false;
    const reached = new Set<number>();
    const queue = [start];
    let returns = false;
    for (let at = queue.pop(); at !== undefined; at = queue.pop()) {
      if (reached.has(at)) continue;
      if (reached.size === MOST_IN_LEAF) return false;
      const record = this.#recordAt(at);
      const variant = record === 0 ? undefined : this.#decoded.variantAt(record);
      const traits = variant && this.#traits.of(variant);
      if (!variant || !traits?.compiled) return false;
      reached.add(at);
      const step = readStep(this.#state, record, variant, pageOf(at));
      const target = pageOf(at) + Number(step.immediate);
      switch (traits.ending) {
        case 'next':
          queue.push(at + step.length);
          continue;
        case 'branch':
          if (target <= at || this.#isWarm(target)) queue.push(target);
          if (this.#hasPassed(record)) queue.push(at + step.length);
          continue;
        case 'jump':
          queue.push(target);
          continue;
        case 'return':
          returns = true;
          continue;
        default:
          return false;
      }
    }
    if (!returns) return false;
    for (const at of reached) this.#contained.add(at);
    return true;
  }

  #enter(at: number, queue: number[]): void {
    this.#entries.add(at);
    queue.push(at);
  }

  /** Where a call returns to, if it does so often. */
  #enterWarm(at: number, queue: number[]): void {
    if (this.#isWarm(at)) this.#enter(at, queue);
  }

  #enterAfter(record: number, at: number, queue: number[]): void {
    this.#enter(at + this.#state.view.getUint8(record + L.R_LENGTH), queue);
  }

  #block(start: number): Block | undefined {
    const steps: Step[] = [];
    for (let at = start; ;) {
      const found = this.#found.get(at);
      if (!found) {
        // Left to the interpreter, which is known to be here as long as this page is; or not in the region.
        const interpreted = this.#found.has(at) && pageOf(at) === pageOf(start);
        return this.#made(start, steps, interpreted ? 'leave' : 'next', interpreted ? this.#recordAt(at) : 0);
      }
      const elsewhere = at !== start && (this.#leaders.has(at) || pageOf(at) !== pageOf(start));
      if (steps.length === MOST_IN_BLOCK || elsewhere) return this.#made(start, steps, 'next', 0);
      steps.push(found.step);
      if (found.traits.ending !== 'next') return this.#made(start, steps, found.traits.ending, 0);
      at += found.step.length;
    }
  }

  #made(at: number, steps: readonly Step[], ending: Block['ending'], leaveAt: number): Block | undefined {
    return steps.length > 0 ? { at, record: this.#recordAt(at), steps, ending, leaveAt } : undefined;
  }
}
