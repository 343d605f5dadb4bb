/**
 * Address translation: page walks, and the slow paths of memory access (page crossing, MMIO, pages that hold decoded
 * code). SDM vol. 3, chapter 4.
 */
import * as L from './layout';
import { codeWritten } from './code';
import { checksAlignment, describePage, entryOf, fill } from './tlb';

// @ts-ignore: decorator
@external("host", "mmioRead")
export declare function mmioRead(low: u32, high: u32, width: i32): u32;
// @ts-ignore: decorator
@external("host", "mmioWrite")
export declare function mmioWrite(low: u32, high: u32, width: i32, value: u32): void;
// @ts-ignore: decorator
@external("host", "bringPage")
export declare function bringPage(page: u32): void;

const FOUR_GIB: u64 = 0x100000000;
const LOW_RAM_LIMIT: u32 = 0xc0000000;
/** In the dirty map: see machine/memory.ts. */
const ABSENT: u8 = 2;

// Page table entry bits
const P: u64 = 1;
const RW: u64 = 2;
const US: u64 = 4;
const A: u64 = 0x20;
const D: u64 = 0x40;
const PS: u64 = 0x80;
const G: u64 = 0x100;
const NX: u64 = 1 << 63;
const ADDRESS: u64 = 0x000ffffffffff000;
/** Physical addresses have 40 bits: CPUID 80000008. */
const RESERVED: u64 = 0x000fff0000000000;

// Access and error code bits: SDM vol. 3, figure 4-12
export const PRESENT = 1;
export const WRITE = 2;
export const USER = 4;
export const RSVD = 8;
export const FETCH = 16;
/** Not part of an error code: a descriptor-table access by the processor itself, never an explicit one. */
export const IMPLICIT = 256;

const CR0_WP = 1 << 16;
const CR0_PG = 1 << 31;
const CR4_PSE = 1 << 4;
const CR4_PAE = 1 << 5;
const CR4_PGE = 1 << 7;
const CR4_SMEP = 1 << 20;
const CR4_SMAP = 1 << 21;
const EFER_LMA = 1 << 10;
const EFER_NXE = 1 << 11;
const RFLAGS_AC = 1 << 18;

const NONE: u64 = 0xffffffffffffffff;

/** Host address of a RAM byte, or 0. */
export function ramHost(pa: u64): u32 {
  if (pa < load<u64>(L.RAM_LOW)) return <u32>L.RAM + <u32>pa;
  if (pa >= FOUR_GIB && pa - FOUR_GIB < load<u64>(L.RAM_HIGH)) return <u32>L.RAM + LOW_RAM_LIMIT + <u32>(pa - FOUR_GIB);
  return load<u64>(L.ABSENT_LOW) ? absentHost(pa) : 0;
}

/** The same while pages are still to come: whoever asks for a page's address gets it with its content. */
function absentHost(pa: u64): u32 {
  let host: u32;
  if (pa < load<u64>(L.ABSENT_LOW)) host = <u32>L.RAM + <u32>pa;
  else if (pa >= FOUR_GIB && pa - FOUR_GIB < load<u64>(L.ABSENT_HIGH)) host = <u32>L.RAM + LOW_RAM_LIMIT + <u32>(pa - FOUR_GIB);
  else return 0;
  const page = pageOfHost(host);
  if (load<u8>(load<u32>(L.DIRTY_MAP) + page) == ABSENT) bringPage(page);
  return host;
}

/** Number of the RAM page in host order that a host address lies in. */
// @ts-ignore: decorator
@inline
export function pageOfHost(host: u32): u32 {
  return (host - <u32>L.RAM) >> 12;
}

/** Notes that a RAM page has been written. */
// @ts-ignore: decorator
@inline
export function markDirty(host: u32): void {
  store<u8>(load<u32>(L.DIRTY_MAP) + pageOfHost(host), 1);
}

function pageFault(va: u64, error: u32): u64 {
  store<u64>(L.CR2, va);
  store<u32>(L.FAULT_VECTOR, 14);
  store<u32>(L.FAULT_ERROR, error);
  return NONE;
}

/**
 * Guest-physical address of a linear one, for an access described by WRITE, USER, FETCH and IMPLICIT. Sets accessed
 * and dirty bits. All ones when it faults: then the page fault is recorded, CR2 included.
 */
export function walk(va: u64, access: u32): u64 {
  const cr0 = load<u32>(L.CR0);
  if (!(cr0 & CR0_PG)) {
    describePage(true, false);
    return va & 0xffffffff;
  }
  let large = false;
  const cr4 = load<u32>(L.CR4);
  const efer = load<u32>(L.EFER);
  const nxe = (efer & EFER_NXE) != 0 && (cr4 & CR4_PAE) != 0;
  let error = access & (WRITE | USER);
  if (access & FETCH && (nxe || cr4 & CR4_SMEP)) error |= FETCH;

  let entry: u64;
  let host: u32;
  let page: u64; // physical base of the page
  let rights: u64 = RW | US;
  let noExecute: bool = false;
  let wide = true;
  // Entries to set the accessed bit in
  let a0: u32 = 0;
  let a1: u32 = 0;
  let a2: u32 = 0;
  let leaf: u32;

  if (efer & EFER_LMA || cr4 & CR4_PAE) {
    const reservedNx: u64 = nxe ? 0 : NX;
    let table: u64;
    if (efer & EFER_LMA) {
      host = ramHost((load<u64>(L.CR3) & ADDRESS) + ((va >> 36) & 0xff8));
      entry = host ? load<u64>(host) : 0;
      if (!(entry & P)) return pageFault(va, error);
      if (entry & (RESERVED | PS | reservedNx)) return pageFault(va, error | PRESENT | RSVD);
      rights &= entry;
      noExecute = (entry & NX) != 0;
      a0 = host;
      host = ramHost((entry & ADDRESS) + ((va >> 27) & 0xff8));
      entry = host ? load<u64>(host) : 0;
      if (!(entry & P)) return pageFault(va, error);
      if (entry & (RESERVED | reservedNx)) return pageFault(va, error | PRESENT | RSVD);
      rights &= entry;
      noExecute = noExecute || (entry & NX) != 0;
      a1 = host;
    } else {
      // A register: it was checked when it was loaded.
      host = 0;
      entry = load<u64>(L.PDPTES + (<u32>(va >> 27) & 0x18));
      if (!(entry & P)) return pageFault(va, error);
    }
    if (entry & PS) {
      if (entry & 0x3fffe000) return pageFault(va, error | PRESENT | RSVD);
      leaf = host;
      a1 = 0;
      large = true;
      page = (entry & 0x000fffffc0000000) | (va & 0x3ffff000);
    } else {
      table = entry & ADDRESS;
      host = ramHost(table + ((va >> 18) & 0xff8));
      entry = host ? load<u64>(host) : 0;
      if (!(entry & P)) return pageFault(va, error);
      if (entry & (RESERVED | reservedNx)) return pageFault(va, error | PRESENT | RSVD);
      rights &= entry;
      noExecute = noExecute || (entry & NX) != 0;
      if (entry & PS) {
        if (entry & 0x1fe000) return pageFault(va, error | PRESENT | RSVD);
        leaf = host;
        large = true;
        page = (entry & 0x000fffffffe00000) | (va & 0x1ff000);
      } else {
        a2 = host;
        host = ramHost((entry & ADDRESS) + ((va >> 9) & 0xff8));
        entry = host ? load<u64>(host) : 0;
        if (!(entry & P)) return pageFault(va, error);
        if (entry & (RESERVED | reservedNx)) return pageFault(va, error | PRESENT | RSVD);
        rights &= entry;
        noExecute = noExecute || (entry & NX) != 0;
        leaf = host;
        page = entry & ADDRESS;
      }
    }
  } else {
    wide = false;
    host = ramHost((load<u64>(L.CR3) & 0xfffff000) + ((va >> 20) & 0xffc));
    entry = host ? <u64>load<u32>(host) : 0;
    if (!(entry & P)) return pageFault(va, error);
    rights &= entry;
    if (entry & PS && cr4 & CR4_PSE) {
      if (entry & 0x200000) return pageFault(va, error | PRESENT | RSVD);
      leaf = host;
      large = true;
      page = (entry & 0xffc00000) | ((entry & 0x1fe000) << 19) | (va & 0x3ff000); // PSE-36
    } else {
      a2 = host;
      host = ramHost((entry & 0xfffff000) + ((va >> 10) & 0xffc));
      entry = host ? <u64>load<u32>(host) : 0;
      if (!(entry & P)) return pageFault(va, error);
      rights &= entry;
      leaf = host;
      page = entry & 0xfffff000;
    }
  }

  // Rights: SDM vol. 3, 4.6
  let allowed = true;
  if (access & USER) {
    allowed = (rights & US) != 0 && (!(access & WRITE) || (rights & RW) != 0);
  } else {
    if (access & WRITE && !(rights & RW) && cr0 & CR0_WP) allowed = false;
    if (rights & US) {
      if (access & FETCH) {
        if (cr4 & CR4_SMEP) allowed = false;
      } else if (cr4 & CR4_SMAP && (access & IMPLICIT || !(load<u32>(L.RFLAGS) & RFLAGS_AC))) allowed = false;
    }
  }
  if (access & FETCH && noExecute && nxe) allowed = false;
  if (!allowed) return pageFault(va, error | PRESENT);

  if (a0) setBits(a0, A, wide);
  if (a1) setBits(a1, A, wide);
  if (a2) setBits(a2, A, wide);
  setBits(leaf, access & WRITE ? A | D : A, wide);
  describePage((entry & G) != 0 && (cr4 & CR4_PGE) != 0, large);
  return page | (va & 0xfff);
}

function setBits(host: u32, bits: u64, wide: bool): void {
  const entry = wide ? load<u64>(host) : <u64>load<u32>(host);
  if ((entry & bits) == bits) return;
  codeWritten(host, 8);
  if (wide) store<u64>(host, entry | bits);
  else store<u32>(host, <u32>(entry | bits));
  markDirty(host);
}

// Slow paths

// @ts-ignore: decorator
@inline
export function isCanonical(va: u64): bool {
  return <u64>((<i64>(va << 16)) >> 16) == va;
}

/** #SS(0) for the stack segment, #GP(0) for the others. */
function addressFault(segment: u32): u32 {
  store<u32>(L.FAULT_VECTOR, segment == 2 ? 12 : 13);
  store<u32>(L.FAULT_ERROR, 0);
  return 0;
}

// @ts-ignore: decorator
@inline
function privilege(): u32 {
  return load<u32>(L.CPL) == 3 ? USER : 0;
}

/** Operands of 2, 4, 8 and 16 bytes must lie at multiples of their size, those of 10 at multiples of 8, of 32 at ones of 16. */
export function misaligned(va: u64, bytes: u32): bool {
  if (bytes == 10) bytes = 8;
  else if (bytes == 32) bytes = 16;
  if (!checksAlignment() || bytes > 16 || (bytes & (bytes - 1)) != 0 || !(<u32>va & (bytes - 1))) return false;
  store<u32>(L.FAULT_VECTOR, 17);
  store<u32>(L.FAULT_ERROR, 0);
  return true;
}

/** Whether debug registers watch data on this page: then it never enters the TLB. */
function watched(va: u64): bool {
  if (checksAlignment()) return true;
  const dr7 = load<u32>(L.DR7);
  if (!(dr7 & 0xff)) return false;
  for (let i = 0; i < 4; i++) {
    if (dr7 & (3 << (i * 2)) && (load<u64>(L.DR + i * 8) ^ va) >> 12 == 0) return true;
  }
  return false;
}

/** Notes accesses to places that DR7 describes: read or write at those of type 3, write at those of type 1. SDM vol. 3, 18.2.4. */
export function noteWatched(va: u64, bytes: u32, write: bool): void {
  const dr7 = load<u32>(L.DR7);
  if (!(dr7 & 0xff)) return;
  for (let i = 0; i < 4; i++) {
    const type = (dr7 >> (16 + i * 4)) & 3;
    if (!(dr7 & (3 << (i * 2))) || !(type & 1) || (type == 1 && !write)) continue;
    const code = (dr7 >> (18 + i * 4)) & 3;
    const length: u64 = code == 2 ? 8 : code + 1;
    const at = load<u64>(L.DR + i * 8) & ~(length - 1);
    if (va < at + length && at < va + bytes) store<u32>(L.WATCH_HITS, load<u32>(L.WATCH_HITS) | (1 << i));
  }
}

function readPhysical(pa: u64, to: u32, bytes: u32): void {
  const host = ramHost(pa);
  if (host) {
    memory.copy(to, host, bytes);
    return;
  }
  while (bytes > 0) {
    const width: u32 = bytes >= 4 ? 4 : bytes >= 2 ? 2 : 1;
    const value = mmioRead(<u32>pa, <u32>(pa >> 32), width);
    if (width == 4) store<u32>(to, value);
    else if (width == 2) store<u16>(to, value);
    else store<u8>(to, value);
    pa += width;
    to += width;
    bytes -= width;
  }
}

function writePhysical(pa: u64, from: u32, bytes: u32): void {
  const host = ramHost(pa);
  if (host) {
    codeWritten(host, bytes);
    memory.copy(host, from, bytes);
    markDirty(host);
    return;
  }
  while (bytes > 0) {
    const width: u32 = bytes >= 4 ? 4 : bytes >= 2 ? 2 : 1;
    const value: u32 = width == 4 ? load<u32>(from) : width == 2 ? <u32>load<u16>(from) : <u32>load<u8>(from);
    mmioWrite(<u32>pa, <u32>(pa >> 32), width, value);
    pa += width;
    from += width;
    bytes -= width;
  }
}

/** Bytes that are checked before anything else: of ten-byte operands the significand. */
// @ts-ignore: decorator
@inline
function leading(bytes: u32): u32 {
  return bytes == 10 ? 8 : bytes;
}

/**
 * A read that missed the TLB. `flags`: bytes in bits 0–5, bit 7 against alignment checks, segment number from bit 8 on.
 * @returns host address to read from (BOUNCE when the bytes had to be collected), or 0 with the fault recorded
 */
export function slowRead(va: u64, flags: u32): u32 {
  const bytes = flags & 63;
  if (!isCanonical(va) || !isCanonical(legacyWrap(va + leading(bytes) - 1))) return addressFault(flags >> 8);
  if (!(flags & 128) && misaligned(va, bytes)) return 0;
  store<u64>(L.COUNT_TLB_MISSES, load<u64>(L.COUNT_TLB_MISSES) + 1);
  const first = walk(va, privilege());
  if (first == NONE) return 0;
  noteWatched(va, bytes, false);
  const rest: u32 = 0x1000 - (<u32>va & 0xfff);
  if (bytes > rest) {
    const next = legacyWrap(va + rest);
    if (!isCanonical(next)) return addressFault(flags >> 8);
    const second = walk(next, privilege());
    if (second == NONE) return 0;
    readPhysical(first, L.BOUNCE, rest);
    readPhysical(second, L.BOUNCE + rest, bytes - rest);
    return L.BOUNCE;
  }
  const host = ramHost(first);
  if (host) {
    if (!watched(va)) fill(load<u32>(L.TLB_READ), va, host - <u32>va);
    return host;
  }
  readPhysical(first, L.BOUNCE, bytes);
  return L.BOUNCE;
}

// @ts-ignore: decorator
@inline
function legacyWrap(va: u64): u64 {
  return load<u32>(L.CODE_MODE) == 2 ? va : va & 0xffffffff;
}

/**
 * A write (or read-modify-write, bit 6 of `flags`) that missed the TLB. Everything is checked before this returns.
 * @returns host address to write to; BOUNCE when `commit` must be called after the write; 0 with the fault recorded
 */
export function slowWrite(va: u64, flags: u32): u32 {
  const bytes = flags & 63;
  if (!isCanonical(va) || !isCanonical(legacyWrap(va + leading(bytes) - 1))) return addressFault(flags >> 8);
  if (!(flags & 128) && misaligned(va, bytes)) return 0;
  store<u64>(L.COUNT_TLB_MISSES, load<u64>(L.COUNT_TLB_MISSES) + 1);
  const first = walk(va, privilege() | WRITE);
  if (first == NONE) return 0;
  noteWatched(va, bytes, true);
  const rest: u32 = 0x1000 - (<u32>va & 0xfff);
  if (bytes > rest) {
    const next = legacyWrap(va + rest);
    if (!isCanonical(next)) return addressFault(flags >> 8);
    const second = walk(next, privilege() | WRITE);
    if (second == NONE) return 0;
    return bounce(first, second, bytes, rest, (flags & 64) != 0);
  }
  const host = ramHost(first);
  if (!host) return bounce(first, 0, bytes, bytes, (flags & 64) != 0);
  markDirty(host);
  if (load<u32>(L.CODE_PAGES + (pageOfHost(host) << 2))) codeWritten(host, bytes);
  else if (!watched(va)) fill(load<u32>(L.TLB_WRITE), va, host - <u32>va);
  return host;
}

function bounce(first: u64, second: u64, bytes: u32, rest: u32, preload: bool): u32 {
  store<u64>(L.BOUNCE_VA, first);
  store<u64>(L.BOUNCE_PA2, second);
  store<u16>(L.BOUNCE_SIZE, bytes);
  store<u16>(L.BOUNCE_SIZE, rest, 2);
  if (preload) {
    readPhysical(first, L.BOUNCE, rest);
    if (bytes > rest) readPhysical(second, L.BOUNCE + rest, bytes - rest);
  }
  return L.BOUNCE;
}

/** Sends a bounced write where it belongs. */
export function commit(): void {
  const bytes = <u32>load<u16>(L.BOUNCE_SIZE);
  const rest = <u32>load<u16>(L.BOUNCE_SIZE, 2);
  writePhysical(load<u64>(L.BOUNCE_VA), L.BOUNCE, rest);
  if (bytes > rest) writePhysical(load<u64>(L.BOUNCE_PA2), L.BOUNCE + rest, bytes - rest);
}

/** Host address for a read of up to a page's rest, RAM only; 0 when it faults or is not RAM. For bulk work. */
export function hostForRead(va: u64): u32 {
  const entry = entryOf(load<u32>(L.TLB_READ), va);
  if (load<u64>(entry) == (va & ~0xfff)) return load<u32>(entry, 8) + <u32>va;
  if (!isCanonical(va)) return 0;
  const pa = walk(va, privilege());
  if (pa == NONE) return 0;
  const host = ramHost(pa);
  if (host && !watched(va)) fill(load<u32>(L.TLB_READ), va, host - <u32>va);
  return host;
}

/** Host address for writing `bytes` within a page, RAM only; 0 when it faults or is not RAM. For bulk work. */
export function hostForWrite(va: u64, bytes: u32): u32 {
  const entry = entryOf(load<u32>(L.TLB_WRITE), va);
  if (load<u64>(entry) == (va & ~0xfff)) return load<u32>(entry, 8) + <u32>va;
  if (!isCanonical(va)) return 0;
  const pa = walk(va, privilege() | WRITE);
  if (pa == NONE) return 0;
  const host = ramHost(pa);
  if (!host) return 0;
  markDirty(host);
  if (load<u32>(L.CODE_PAGES + (pageOfHost(host) << 2))) codeWritten(host, bytes);
  else if (!watched(va)) fill(load<u32>(L.TLB_WRITE), va, host - <u32>va);
  return host;
}

/** In long mode the processor's own accesses have all 64 bits, from compatibility code too. */
// @ts-ignore: decorator
@inline
function systemWrap(va: u64): u64 {
  return load<u32>(L.EFER) & EFER_LMA ? va : va & 0xffffffff;
}

/**
 * For the processor's own accesses (descriptor tables, exception frames) and the system routines: `access` in WRITE,
 * USER and IMPLICIT bits. Copies between SCRATCH-like memory at `at` and the linear address; 0 with the fault recorded.
 */
export function systemRead(va: u64, at: u32, bytes: u32, access: u32): i32 {
  if (!isCanonical(va) || !isCanonical(systemWrap(va + bytes - 1))) return <i32>addressFault(0);
  if (access & USER && misaligned(va, bytes)) return 0;
  const first = walk(va, access);
  if (first == NONE) return 0;
  const rest = min<u32>(bytes, 0x1000 - (<u32>va & 0xfff));
  let second: u64 = 0;
  if (rest < bytes) {
    second = walk(systemWrap(va + rest), access);
    if (second == NONE) return 0;
  }
  if (!(access & IMPLICIT)) noteWatched(va, bytes, false);
  readPhysical(first, at, rest);
  if (rest < bytes) readPhysical(second, at + rest, bytes - rest);
  return 1;
}

export function systemWrite(va: u64, at: u32, bytes: u32, access: u32): i32 {
  if (!isCanonical(va) || !isCanonical(systemWrap(va + bytes - 1))) return <i32>addressFault(0);
  if (access & USER && misaligned(va, bytes)) return 0;
  const first = walk(va, access | WRITE);
  if (first == NONE) return 0;
  const rest = min<u32>(bytes, 0x1000 - (<u32>va & 0xfff));
  let second: u64 = 0;
  if (rest < bytes) {
    second = walk(systemWrap(va + rest), access | WRITE);
    if (second == NONE) return 0;
  }
  if (!(access & IMPLICIT)) noteWatched(va, bytes, true);
  writePhysical(first, at, rest);
  if (rest < bytes) writePhysical(second, at + rest, bytes - rest);
  return 1;
}
