/**
 * The TLBs: direct-mapped tables of linear pages. They are in parts: one for the kernel, which is the same in all address
 * spaces but for what is not global, and one for the user's side of each of six address spaces by PCID. So what a process
 * touches is still known when its turn comes again. SDM vol. 3, 4.10.
 *
 * An entry is 16 bytes: linear page (u64), host address minus linear address, or a code page (u32), flags (bit 0: global,
 * bit 1: a piece of a page larger than 4 KiB).
 */
import * as L from './layout';

const RFLAGS_AC = 1 << 18;
const CR0_AM = 1 << 18;
const CR4_PCIDE = 1 << 17;
const CR4_SMAP = 1 << 21;

const GLOBAL: u32 = 1;
const LARGE: u32 = 2;

/** The kernel's part; the spaces' have the numbers from 1 on. */
const KERNEL: u32 = 0;
const PARTS: u32 = 1 + L.TLB_SPACES;

// What is known of each part
const PART_PCID = 0;
/** Non-zero: its tables hold entries. */
const PART_LIVE = 4;
/** Non-global entries filled since those were last flushed, which the log may not have all of. */
const PART_LOGGED = 8;
const PART_BYTES = 12;

const NO_PCID: u32 = 0xffffffff;

/** The present space, and the one that has made room last. */
let current: u32 = 1;
let victim: u32 = 1;

// @ts-ignore: decorator
@inline
function about(part: u32): u32 {
  return L.TLB_STATES + part * PART_BYTES;
}

// @ts-ignore: decorator
@inline
function tablesOf(part: u32): u32 {
  return L.TLB + part * L.TLB_PART_BYTES;
}

// @ts-ignore: decorator
@inline
function endOf(part: u32): u32 {
  return tablesOf(part + 1);
}

// @ts-ignore: decorator
@inline
function isLive(part: u32): bool {
  return load<u32>(about(part), PART_LIVE) != 0;
}

// @ts-ignore: decorator
@inline
function logOf(part: u32): u32 {
  return L.TLB_LOGS + part * L.TLB_LOG_SIZE * 4;
}

// @ts-ignore: decorator
@inline
export function entryOf(table: u32, va: u64): u32 {
  return table + ((<u32>(va >> 8)) & ((L.TLB_ENTRIES - 1) << 4));
}

/** Marks by gigabyte of linear addresses, hashed: non-zero when a piece of a large page there has been entered. */
const LARGE_MARKS: u32 = 1024;
const largeMarks = memory.data(1024);

// @ts-ignore: decorator
@inline
function largeMark(va: u64): u32 {
  return <u32>largeMarks + (<u32>(va >> 30) & (LARGE_MARKS - 1));
}

/** Flags of the page that was walked to last. */
let walked: u32 = 0;

/** What the page is like that entries are about to be made of. */
export function describePage(global: bool, large: bool): void {
  walked = (global ? GLOBAL : 0) | (large ? LARGE : 0);
}

/** Any of JUMPS_LIVE: there is something in JUMPS. */
const SOME: u32 = 1 << 31;

/**
 * Notes where a jump has gone, in its place in JUMPS: the code TLB leads there now. An entry may make way for another page's and come back:
 * then what is noted still holds. It goes when the page is flushed.
 */
export function noteJump(va: u64, record: u32, place: u32): void {
  const table = load<u32>(L.TLB_CODE);
  const part = (table - L.TLB) / L.TLB_PART_BYTES;
  const global = (load<u32>(entryOf(table, va), 12) & GLOBAL) != 0;
  // What a guest has of these may differ from space to space, by mistake, and then it matters how long they are known.
  if (global && part != KERNEL) return;
  store<u64>(place, va);
  store<u32>(place, record, 8);
  store<u32>(place, table, 12);
  store<u8>(jumpMark(va), 1);
  store<u32>(L.JUMPS_LIVE, load<u32>(L.JUMPS_LIVE) | SOME | (global ? 0 : 1 << part));
}

/** Non-zero when JUMPS may lead to a page. */
// @ts-ignore: decorator
@inline
function jumpMark(va: u64): u32 {
  return L.JUMP_PAGES + (<u32>(va >> 12) & (L.JUMP_MARKS - 1));
}

/** @param which bits of JUMPS_LIVE: the parts whose non-global pages go, or all */
function forgetJumps(which: u32): void {
  if (!(load<u32>(L.JUMPS_LIVE) & which)) return;
  memory.fill(L.JUMPS, 0, L.JUMP_ENTRIES * 16);
  memory.fill(L.JUMP_PAGES, 0, L.JUMP_MARKS);
  store<u32>(L.JUMPS_LIVE, 0);
}

/** Enters a translation into an active table; `value` is what that holds: host minus linear address, or a code page. */
export function fill(table: u32, va: u64, value: u32): void {
  const entry = entryOf(table, va);
  store<u64>(entry, va & ~0xfff);
  store<u32>(entry, value, 8);
  store<u32>(entry, walked, 12);
  if (walked & LARGE) store<u8>(largeMark(va), 1);
  if (!(walked & GLOBAL)) {
    const part = table < endOf(KERNEL) ? KERNEL : current;
    const count = load<u32>(about(part), PART_LOGGED);
    if (count < <u32>L.TLB_LOG_SIZE) store<u32>(logOf(part) + (count << 2), entry);
    store<u32>(about(part), count + 1, PART_LOGGED);
  }
}

/** No linear page matches an entry of all ones, but for the last entry's: that one gets another. */
function clearTable(table: u32): void {
  memory.fill(table, 0xff, L.TLB_TABLE_BYTES);
  store<u64>(table + L.TLB_TABLE_BYTES - 16, 0);
}

function clearPart(part: u32): void {
  for (let table = tablesOf(part); table < endOf(part); table += L.TLB_TABLE_BYTES) clearTable(table);
  forgetJumps(SOME);
  store<u32>(about(part), 1, PART_LIVE);
  store<u32>(about(part), 0, PART_LOGGED);
}

// @ts-ignore: decorator
@inline
function dropEntry(entry: u32): void {
  // A page number that belongs to another entry matches nothing here.
  store<u64>(entry, (entry & ((L.TLB_ENTRIES - 1) << 4)) == 0 ? 0x1000 : 0);
}

/** Drops everything, of all address spaces. Call it after changing CR3 and CR4. */
export function flushTlb(): void {
  for (let part: u32 = 1; part < PARTS; part++) {
    store<u32>(about(part), 0, PART_LIVE);
    store<u32>(about(part), NO_PCID, PART_PCID);
  }
  store<u32>(about(KERNEL), NO_PCID, PART_PCID);
  clearPart(KERNEL);
  clearPart(current);
  store<u32>(about(current), load<u32>(L.CR4) & CR4_PCIDE ? load<u32>(L.CR3) & 0xfff : 0, PART_PCID);
  memory.fill(<u32>largeMarks, 0, LARGE_MARKS);
}

/** Drops what is not global of one part. */
function flushPart(part: u32): void {
  forgetJumps(1 << part);
  const count = load<u32>(about(part), PART_LOGGED);
  if (count > <u32>L.TLB_LOG_SIZE) {
    for (let entry = tablesOf(part); entry < endOf(part); entry += 16) {
      if (!(load<u32>(entry, 12) & GLOBAL)) dropEntry(entry);
    }
  } else {
    for (let i: u32 = 0; i < count; i++) {
      const entry = load<u32>(logOf(part) + (i << 2));
      if (!(load<u32>(entry, 12) & GLOBAL)) dropEntry(entry);
    }
  }
  store<u32>(about(part), 0, PART_LOGGED);
}

/** Drops what is not global, of all address spaces. */
export function flushAllNonGlobal(): void {
  for (let part: u32 = 0; part < PARTS; part++) if (isLive(part)) flushPart(part);
}

/** Drops what is not global, of the address space with a PCID. */
export function flushPcid(pcid: u32): void {
  flushPart(KERNEL);
  for (let part: u32 = 1; part < PARTS; part++) if (load<u32>(about(part), PART_PCID) == pcid) flushPart(part);
}

/** Drops every piece of a large page in a linear address's gigabyte. */
function flushLarge(va: u64): void {
  forgetJumps(SOME);
  for (let part: u32 = 0; part < PARTS; part++) {
    if (!isLive(part)) continue;
    for (let entry = tablesOf(part); entry < endOf(part); entry += 16) {
      if (load<u32>(entry, 12) & LARGE && (load<u64>(entry) ^ va) >> 30 == 0) dropEntry(entry);
    }
  }
  store<u8>(largeMark(va), 0);
}

/** INVLPG: drops a linear page from every table of every space, global or not, all of it when it is a large one. */
export function flushPage(va: u64): void {
  if (load<u8>(largeMark(va))) flushLarge(va);
  if (load<u8>(jumpMark(va))) forgetJumps(SOME);
  for (let part: u32 = 0; part < PARTS; part++) {
    if (!isLive(part)) continue;
    for (let table = tablesOf(part); table < endOf(part); table += L.TLB_TABLE_BYTES) {
      const entry = entryOf(table, va);
      if (load<u64>(entry) == (va & ~0xfff)) dropEntry(entry);
    }
  }
}

/** Clears one table of each set: the first, second or third by its offset in the set. */
function clearTables(offset: u32): void {
  for (let part: u32 = 0; part < PARTS; part++) {
    if (!isLive(part)) continue;
    for (let set = tablesOf(part); set < endOf(part); set += L.TLB_SET_BYTES) clearTable(set + offset);
  }
}

/** Forgets which pages may be written: after a page got its first code. */
export function flushWriteTlb(): void {
  clearTables(L.TLB_TABLE_BYTES);
}

export function flushCodeTlb(): void {
  clearTables(2 * L.TLB_TABLE_BYTES);
  forgetJumps(SOME);
}

/** Makes the tables of the current privilege the active ones. Call when CPL, RFLAGS.AC or CR4.SMAP changed. */
export function selectTlb(): void {
  const user = load<u32>(L.CPL) == 3;
  const open = (load<u32>(L.RFLAGS) & RFLAGS_AC) != 0 && (load<u32>(L.CR4) & CR4_SMAP) != 0;
  const aligned = user && (load<u32>(L.RFLAGS) & RFLAGS_AC) != 0 && (load<u32>(L.CR0) & CR0_AM) != 0;
  const base = tablesOf(user ? current : KERNEL) + (aligned || (!user && open) ? L.TLB_SET_BYTES : 0);
  store<u32>(L.TLB_READ, base);
  store<u32>(L.TLB_WRITE, base + L.TLB_TABLE_BYTES);
  store<u32>(L.TLB_CODE, base + 2 * L.TLB_TABLE_BYTES);
}

/** Alignment checks are on: then data never enters the TLB, so that every access comes by here. SDM vol. 3, 6.15, #AC. */
// @ts-ignore: decorator
@inline
export function checksAlignment(): bool {
  return load<u32>(L.TLB_READ) == tablesOf(current) + L.TLB_SET_BYTES;
}

/** Goes to the address space with a PCID. Where none is left, one that was there earlier goes. */
function enterSpace(pcid: u32): void {
  if (load<u32>(about(current), PART_PCID) == pcid) return;
  flushPart(KERNEL);
  for (let part: u32 = 1; part < PARTS; part++) {
    if (load<u32>(about(part), PART_PCID) != pcid) continue;
    current = part;
    return;
  }
  victim = victim == L.TLB_SPACES ? 1 : victim + 1;
  if (victim == current) victim = victim == L.TLB_SPACES ? 1 : victim + 1;
  current = victim;
  if (isLive(current)) flushPart(current);
  else clearPart(current);
  store<u32>(about(current), pcid, PART_PCID);
}

/** A checked value, as MOV to CR3 has it: with PCIDs, bit 63 asks to keep the translations. SDM vol. 3, 4.10.4.1. */
export function loadCr3(value: u64): void {
  const pcids = (load<u32>(L.CR4) & CR4_PCIDE) != 0;
  if (pcids) enterSpace(<u32>value & 0xfff);
  if (!pcids || !(value >> 63)) {
    flushPart(KERNEL);
    flushPart(current);
  }
  store<u64>(L.CR3, pcids ? value & 0x7fffffffffffffff : value);
  selectTlb();
}
