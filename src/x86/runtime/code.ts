/**
 * Code pages: which RAM pages have decoded instructions, and what happens when they are written. Records of a page
 * that was written become stale in place, so that whoever still runs them looks up their address again.
 */
import { decodeRun, hasRoom, recordAt } from './decode';
import * as L from './layout';
import { isCanonical, pageOfHost, ramHost, walk, FETCH, USER } from './mmu';
import { entryOf, fill, flushCodeTlb, flushWriteTlb } from './tlb';

const NONE: u64 = 0xffffffffffffffff;

/** Answers of `codePage` that are not a code page. */
export const FAULT = 0;
export const NOT_RAM = 1;
export const ARENA_FULL = 2;

/** Translation of the last `codePage`: host address of the page. */
export let codeHost: u32 = 0;

/** A code page for a RAM page that has none; 0 when the arena is full. */
function newPage(host: u32, mode: u32): u32 {
  let page = load<u32>(L.CODE_FREE);
  if (page) {
    store<u32>(L.CODE_FREE, load<u32>(page, L.CP_RUNS));
    for (let n = 0; n < L.CODE_PARTS; n++) {
      const part = load<u32>(page + (n << 2));
      if (part != L.EMPTY_PART) memory.fill(part, 0, L.CODE_PART_BYTES);
    }
  } else {
    page = load<u32>(L.ARENA_NEXT);
    if (page + L.CODE_PAGE_BYTES > <u32>L.ARENA_END) return 0;
    store<u32>(L.ARENA_NEXT, page + L.CODE_PAGE_BYTES);
    for (let n = 0; n < L.CODE_PARTS; n++) store<u32>(page + (n << 2), L.EMPTY_PART);
  }
  memory.fill(page + L.CP_MODE, 0, L.CODE_PAGE_BYTES - L.CP_MODE);
  store<u32>(page, mode, L.CP_MODE);
  const version = load<u32>(L.CODE_VERSION) + 1;
  store<u32>(L.CODE_VERSION, version);
  store<u32>(page, version, L.CP_VERSION);
  store<u32>(page, pageOfHost(host), L.CP_NUMBER);
  store<u32>(L.CODE_PAGES + (pageOfHost(host) << 2), page);
  flushWriteTlb();
  return page;
}

/**
 * Code page of a linear address, made when there is none yet, and entered into the code TLB.
 * FAULT: the exception is recorded. Linear addresses outside 64-bit code are below 2^32.
 */
export function codePage(va: u64, mode: u32): u32 {
  if (!isCanonical(va)) {
    store<u32>(L.FAULT_VECTOR, 13);
    store<u32>(L.FAULT_ERROR, 0);
    return FAULT;
  }
  const pa = walk(va, FETCH | (load<u32>(L.CPL) == 3 ? USER : 0));
  if (pa == NONE) return FAULT;
  const host = ramHost(pa & ~0xfff);
  if (!host) return NOT_RAM;
  codeHost = host;
  const slot: u32 = L.CODE_PAGES + (pageOfHost(host) << 2);
  let page = load<u32>(slot);
  if (page && load<u32>(page, L.CP_MODE) != mode) {
    invalidate(page);
    page = 0;
  }
  if (!page) page = newPage(host, mode);
  if (!page) return ARENA_FULL;
  fill(load<u32>(L.TLB_CODE), va, page);
  return page;
}

/**
 * Record of a linear address that the code TLB does not lead to, decoded now if it was not yet; its page is the current one
 * then. 0 when the fetch faults, or something has to be cleared away first.
 */
export function refind(va: u64): u32 {
  if (!isCanonical(va)) return 0;
  const cr2 = load<u64>(L.CR2);
  const pa = walk(va, FETCH | (load<u32>(L.CPL) == 3 ? USER : 0));
  if (pa == NONE) {
    // Whether the fetch comes to pass is not known yet: an interrupt may come first.
    store<u64>(L.CR2, cr2);
    return 0;
  }
  const host = ramHost(pa & ~0xfff);
  if (!host) return 0;
  const mode = load<u32>(L.CODE_MODE);
  let page = load<u32>(L.CODE_PAGES + (pageOfHost(host) << 2));
  if (!page) page = newPage(host, mode);
  if (!page || load<u32>(page, L.CP_MODE) != mode) return 0;
  fill(load<u32>(L.TLB_CODE), va, page);
  const offset = <u32>va & 0xfff;
  const known = recordAt(page, offset);
  if (!known && !hasRoom()) return 0;
  store<u64>(L.PAGE_BASE, va & ~0xfff);
  return known ? known : decodeRun(page, host, offset, mode);
}

/** Record of the instruction that begins at another record and ends on the next page; 0 when that is not known now. */
export function crossing(record: u32): u32 {
  const known = L.CROSSING + ((record >> 5) & (L.CROSSINGS - 1)) * L.CROSSING_BYTES;
  if (load<u32>(known, L.X_RECORD) != record) return 0;
  let next = load<u64>(L.PAGE_BASE) + 4096;
  if (load<u32>(L.CODE_MODE) != 2) next &= 0xffffffff;
  const entry = entryOf(load<u32>(L.TLB_CODE), next);
  const page = load<u32>(known, L.X_PAGE);
  if (load<u64>(entry) != next || load<u32>(entry, 8) != page) return 0;
  return load<u32>(page, L.CP_VERSION) == load<u32>(known, L.X_VERSION) ? known + L.RECORD_BYTES : 0;
}

/** Drops everything decoded: the arena is empty afterwards. Nothing may be running from it. */
export function resetArena(): void {
  memory.fill(L.CROSSING, 0, L.CROSSINGS * L.CROSSING_BYTES);
  memory.fill(L.CODE_PAGES, 0, L.CODE_PAGES_END - L.CODE_PAGES);
  store<u32>(L.ARENA_NEXT, L.ARENA);
  store<u32>(L.CODE_FREE, 0);
  flushCodeTlb();
  flushWriteTlb();
}

function invalidate(page: u32): void {
  store<u64>(L.COUNT_INVALIDATIONS, load<u64>(L.COUNT_INVALIDATIONS) + 1);
  for (let run = load<u32>(page, L.CP_RUNS); run; run = load<u32>(run, L.RUN_NEXT)) {
    const count = load<u32>(run, L.RUN_COUNT);
    for (let i: u32 = 1; i <= count; i++) store<u16>(run + i * L.RECORD_BYTES, L.H_STALE);
  }
  const number = load<u32>(page, L.CP_NUMBER);
  const dropped = load<u32>(L.DROPPED_COUNT);
  if (dropped < <u32>L.DROPPED_SIZE) store<u32>(L.DROPPED + (dropped << 2), number);
  store<u32>(L.DROPPED_COUNT, dropped + 1);
  store<u32>(L.CODE_PAGES + (number << 2), 0);
  store<u32>(page, 0, L.CP_VERSION);
  store<u32>(page, load<u32>(L.CODE_FREE), L.CP_RUNS);
  store<u32>(L.CODE_FREE, page);
  flushCodeTlb();
}

/** RAM bytes within one page are about to change: drops the page's records when they cover any of them. */
export function codeWritten(host: u32, bytes: u32): void {
  const page = load<u32>(L.CODE_PAGES + (pageOfHost(host) << 2));
  if (!page) return;
  const offset = host & 0xfff;
  if (offset < load<u32>(page, L.CP_CROSSED)) {
    invalidate(page);
    return;
  }
  const last = min<u32>(offset + bytes, 4096);
  for (let at: u32 = offset > 14 ? offset - 14 : 0; at < last; at++) {
    if ((at & 0xff) == 0 && load<u32>(page + ((at >> 8) << 2)) == L.EMPTY_PART) {
      at += 0xff;
      continue;
    }
    const record = recordAt(page, at);
    if (record && at + max<u32>(load<u8>(record, L.R_LENGTH), 1) > offset) {
      invalidate(page);
      return;
    }
  }
}

/** A device wrote RAM pages (numbers in host order, inclusive). */
export function deviceWrote(first: u32, last: u32): void {
  for (let n = first; n <= last; n++) {
    const page = load<u32>(L.CODE_PAGES + (n << 2));
    if (page) invalidate(page);
  }
}
