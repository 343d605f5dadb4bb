/**
 * Regions: guest code that is compiled together. What belongs to one is found, and its function is built, by WebAssembly (runtime/compile), which
 * leaves and takes it as words in memory: IN_* and what follows in codes.ts. Here they are kept while they wait.
 */
import * as C from '../runtime/compile/codes.ts';
import * as L from '../runtime/layout.ts';
import type { State } from '../state.ts';
import type { Templates } from './templates.ts';

export interface Page {
  /** Address of its code page, and the version that this had. */
  readonly codePage: number;
  readonly version: number;
  /** RAM page, in host order. */
  readonly number: number;
}

export interface Region {
  /** Linear address of the place that it was found from, then. */
  readonly linear: bigint;
  /** Of that place in its page. */
  readonly offset: number;
  readonly pages: readonly Page[];
  /** Records that execution comes to from outside; the first is where it was found hot. */
  readonly entries: number[];
  readonly blocks: number;
  /** Instructions. */
  readonly steps: number;
  words: Int32Array;
}

/** Functions of the runtime. */
export interface RegionRuntime {
  findRegion(record: number, warm: number): number;
  beginModule(): void;
  emitRegion(): number;
}

export class Regions {
  readonly #state: State;
  readonly #runtime: RegionRuntime;
  readonly #templates: Templates;
  readonly #memory: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(state: State, runtime: RegionRuntime, templates: Templates) {
    this.#state = state;
    this.#runtime = runtime;
    this.#templates = templates;
    this.#memory = new Int32Array(state.view.buffer);
    this.#bytes = new Uint8Array(state.view.buffer);
  }

  /**
   * The region from a record on, whose page is the current one; undefined when its first instruction is not compiled.
   * @param warm jumps that must have come to a place for it to be included
   */
  find(record: number, warm: number): Region | undefined {
    let found = this.#runtime.findRegion(record, warm);
    for (; found < 0; found = this.#runtime.findRegion(record, warm)) this.#templates.learn(-1 - found);
    if (found === 0) return undefined;
    const { u32 } = this.#state;
    const list = <T>(count: number, words: number, read: (at: number) => T): T[] =>
      Array.from({ length: u32(L.COMPILE_INPUT + count) }, (_, n) => read(u32(L.COMPILE_INPUT + count + 4) + n * words * 4));
    const pages = list(C.IN_PAGES, C.PAGE_WORDS, (at) => ({
      codePage: u32(at + C.PAGE_CODE),
      version: u32(at + C.PAGE_VERSION),
      number: u32(at + C.PAGE_NUMBER),
    }));
    const entries = list(C.IN_ENTRIES, 2, (at) => u32(at + 4));
    const offset = this.#state.u16(record + L.R_OFFSET);
    return {
      linear: this.#state.u64(L.PAGE_BASE) + BigInt(offset),
      offset,
      pages,
      entries,
      blocks: u32(L.COMPILE_INPUT + C.IN_BLOCKS),
      steps: u32(L.COMPILE_INPUT + C.IN_STEPS),
      words: this.#memory.slice(L.COMPILE_INPUT / 4, L.COMPILE_INPUT / 4 + found),
    };
  }

  /** Records that blocks of a region begin at. */
  blocksOf({ words, blocks }: Region): number[] {
    return Array.from({ length: blocks }, (_, n) => words[C.IN_TABLES / 4 + n * C.BLOCK_WORDS + C.BLOCK_RECORD / 4]! >>> 0);
  }

  /** Has a region that is not built yet begin at another of its blocks, too. False when it has too many entries. */
  enterAt(region: Region, record: number): boolean {
    const { words, entries } = region;
    if (entries.length === C.MOST_ENTRIES) return false;
    const block = C.IN_TABLES / 4 + this.blocksOf(region).indexOf(record) * C.BLOCK_WORDS;
    const from = (words[C.IN_ENTRIES_AT / 4]! - L.COMPILE_INPUT) / 4;
    // The table of entries moves to the end.
    const grown = new Int32Array(words.length + entries.length * 2 + 2);
    grown.set(words);
    grown.set(words.subarray(from, from + entries.length * 2), words.length);
    grown.set([words[block + C.BLOCK_AT / 4]!, record], grown.length - 2);
    grown[C.IN_ENTRIES_AT / 4] = L.COMPILE_INPUT + words.length * 4;
    grown[C.IN_ENTRIES / 4] = entries.push(record);
    region.words = grown;
    return true;
  }

  /** What is built from now on goes into another module. */
  beginModule(): void {
    this.#runtime.beginModule();
  }

  /** Functions that the module calls, in order of their indices behind those of LEAVES. */
  get called(): string[] {
    const { u32 } = this.#state;
    return Array.from({ length: u32(L.COMPILE_RESULT + 4) }, (_, n) => this.#templates.callees[u32(L.COMPILE_CALLED + n * 4)]!);
  }

  /** Body of a region's function, which takes the record that it begins at, like a handler. Undefined when there was no room for it. */
  build({ words }: Region): Uint8Array | undefined {
    this.#memory.set(words, L.COMPILE_INPUT / 4);
    const code = this.#runtime.emitRegion();
    if (code === 0) return undefined;
    const locals = this.#state.u32(L.COMPILE_RESULT);
    const body = new Uint8Array(locals + code);
    body.set(this.#bytes.subarray(L.COMPILE_CODE + code, L.COMPILE_CODE + code + locals));
    body.set(this.#bytes.subarray(L.COMPILE_CODE, L.COMPILE_CODE + code), locals);
    return body;
  }
}
