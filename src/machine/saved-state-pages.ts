/** Which pages of RAM a state holds: those that are not all zeros, each content once. */
import { PAGE_SIZE, type Memory } from './memory.ts';

const WORDS = PAGE_SIZE / 4;

/** Pages in use, by ascending number in host order, and for each which of the stored contents it has. */
export interface UsedPages {
  readonly pages: Uint32Array;
  readonly contents: Uint32Array;
  /** For each content, a page that has it. */
  readonly samples: Uint32Array;
}

/** Brings what is not here yet, and looks at every page that has ever been written. */
export function findUsedPages(memory: Memory): UsedPages {
  memory.bringAll();
  const words = new Uint32Array(memory.wasm.buffer, memory.ramOffset, memory.sizeBytes / 4);
  const pages: number[] = [];
  const contents: number[] = [];
  const samples: number[] = [];
  /** By hash. Two contents with one hash are both stored, and only the first is found again. */
  const known = new Map<number, number>();
  for (let page = 0; page < memory.dirty.length; page++) {
    if (memory.tracksWrites && memory.dirty[page] === 0) continue;
    const hash = hashPage(words, page * WORDS);
    if (hash === 0) continue;
    let content = known.get(hash);
    if (content === undefined || !equalPages(words, page * WORDS, samples[content]! * WORDS)) {
      if (content === undefined) known.set(hash, samples.length);
      content = samples.length;
      samples.push(page);
    }
    pages.push(page);
    contents.push(content);
  }
  return { pages: Uint32Array.from(pages), contents: Uint32Array.from(contents), samples: Uint32Array.from(samples) };
}

/** 0 for a page of zeros and no other; else 52 bits that differ for most pages that differ. */
function hashPage(words: Uint32Array, from: number): number {
  let any = 0;
  let a = 0x811c9dc5;
  let b = 0x2545f491;
  for (let at = from; at < from + WORDS; at++) {
    const word = words[at]!;
    any |= word;
    a = Math.imul(a ^ word, 0x01000193);
    b = Math.imul(b + word, 0x9e3779b1) ^ (b >>> 15);
  }
  return any === 0 ? 0 : 1 + (a >>> 0) + (b >>> 12) * 2 ** 32;
}

function equalPages(words: Uint32Array, one: number, other: number): boolean {
  for (let n = 0; n < WORDS; n++) if (words[one + n] !== words[other + n]) return false;
  return true;
}
