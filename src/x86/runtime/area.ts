/**
 * Areas of memory larger than an operand, for images of processor state. An area within one page of RAM is used where
 * it lies; any other is put together in STAGE. All of it is translated before anything is read or written.
 */
import * as L from './layout';
import { hostForRead, hostForWrite, isCanonical, misaligned, noteWatched, systemRead, systemWrite, USER, WRITE } from './mmu';

let pendingVa: u64 = 0;
/** Bytes of STAGE that `finishWrite` has to send off; 0 when the area was written in place. */
let pendingBytes: u32 = 0;
let pendingFirst: u32 = 0;
let pendingSecond: u32 = 0;

function privilege(): u32 {
  return load<u32>(L.CPL) == 3 ? USER : 0;
}

function nextPage(va: u64): u64 {
  const next = (va | 0xfff) + 1;
  return load<u32>(L.CODE_MODE) == 2 ? next : next & 0xffffffff;
}

/** A non-canonical address in the stack segment is #SS(0). */
function failed(segment: u32): u32 {
  if (segment == 2 && load<u32>(L.FAULT_VECTOR) == 13) store<u32>(L.FAULT_VECTOR, 12);
  return 0;
}

/** Images of 28 and 108 bytes are of doublewords, those of 14 and 94 of words; larger ones have an alignment of their own. */
// @ts-ignore: decorator
@inline
function unitOf(bytes: u32): u32 {
  return bytes >= 512 ? 1 : bytes & 3 ? 2 : 4;
}

/**
 * Whether the area's end can be accessed, in the order in which processors look: a page fault names the last byte of
 * FXSAVE's and XSAVE's areas, and of smaller ones when their first word or doubleword can be accessed.
 */
function endIsAccessible(va: u64, bytes: u32, access: u32): bool {
  if (bytes < 512 && !systemRead(va, L.STAGE, unitOf(bytes), access)) return false;
  const last = va + bytes - 1;
  return systemRead(load<u32>(L.CODE_MODE) == 2 ? last : last & 0xffffffff, L.STAGE, 1, access) != 0;
}

/** Host address of `bytes` (at most a page) to read, or 0 with the fault recorded. */
export function areaForRead(va: u64, bytes: u32, segment: u32): u32 {
  if (isCanonical(va) && isCanonical(va + bytes - 1) && misaligned(va, unitOf(bytes))) return 0;
  noteWatched(va, bytes, false);
  const first = hostForRead(va);
  const rest: u32 = 0x1000 - (<u32>va & 0xfff);
  if (first && bytes <= rest) return first;
  if (first) {
    const second = hostForRead(nextPage(va));
    if (second) {
      memory.copy(L.STAGE, first, rest);
      memory.copy(L.STAGE + rest, second, bytes - rest);
      return L.STAGE;
    }
  }
  const access = privilege();
  return endIsAccessible(va, bytes, access) && systemRead(va, L.STAGE, bytes, access) ? L.STAGE : failed(segment);
}

/**
 * Where to write `bytes` (at most a page), or 0 with the fault recorded. What is there now can be read there and may
 * be left as it is. `finishWrite` must follow.
 */
export function areaForWrite(va: u64, bytes: u32, segment: u32): u32 {
  if (isCanonical(va) && isCanonical(va + bytes - 1) && misaligned(va, unitOf(bytes))) return 0;
  noteWatched(va, bytes, true);
  const rest: u32 = 0x1000 - (<u32>va & 0xfff);
  pendingBytes = 0;
  if (bytes <= rest) {
    const host = hostForWrite(va, bytes);
    if (host) return host;
  } else {
    pendingFirst = hostForWrite(va, rest);
    pendingSecond = pendingFirst ? hostForWrite(nextPage(va), bytes - rest) : 0;
    if (pendingSecond) {
      memory.copy(L.STAGE, pendingFirst, rest);
      memory.copy(L.STAGE + rest, pendingSecond, bytes - rest);
      pendingBytes = bytes;
      pendingVa = va;
      return L.STAGE;
    }
  }
  const access = privilege() | WRITE;
  if (!endIsAccessible(va, bytes, access) || !systemRead(va, L.STAGE, bytes, access)) return failed(segment);
  pendingBytes = bytes;
  pendingVa = va;
  pendingSecond = 0;
  return L.STAGE;
}

export function finishWrite(): void {
  if (!pendingBytes) return;
  if (!pendingSecond) {
    systemWrite(pendingVa, L.STAGE, pendingBytes, privilege());
    return;
  }
  const rest: u32 = 0x1000 - (<u32>pendingVa & 0xfff);
  memory.copy(pendingFirst, L.STAGE, rest);
  memory.copy(pendingSecond, L.STAGE + rest, pendingBytes - rest);
}
