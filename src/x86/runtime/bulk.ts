/**
 * Repeated string instructions, as many elements at once as lie within their pages. Upwards only, RAM only. What ends a
 * comparison, and the last element of all that set more than the pointers, are left to be done by themselves.
 */
import { addressMask, segmented, writeAddressSized } from './address';
import { storeFlags } from './flags';
import { hostForRead, hostForWrite } from './mmu';
import { checksAlignment } from './tlb';
import * as L from './layout';

const RCX: u32 = L.GPR + 8;
const RSI: u32 = L.GPR + 48;
const RDI: u32 = L.GPR + 56;
const DF = 1 << 10;
const TF = 1 << 8;

/** Downwards, or every element may end in a debug exception. */
// @ts-ignore: decorator
@inline
function oneByOne(): bool {
  return (load<u32>(L.RFLAGS) & (DF | TF)) != 0 || (load<u32>(L.DR7) & 0xff) != 0;
}

// @ts-ignore: decorator
@inline
function elementsIn(va: u64, bytes: u32): u64 {
  return <u64>((0x1000 - (<u32>va & 0xfff)) / bytes);
}

/** @returns 1 when some elements were done, 0 when the next one must be done by itself */
export function bulkMovs(record: u32, bytes: u32): i32 {
  if (oneByOne()) return 0;
  const mask = addressMask(record);
  const left = load<u64>(RCX) & mask;
  const source = load<u64>(RSI) & mask;
  const destination = load<u64>(RDI) & mask;
  const from = segmented(<u32>load<u8>(record, L.R_SEGMENT), source, bytes);
  const to = segmented(0, destination, bytes | 256);
  let count = min<u64>(left, min<u64>(elementsIn(from, bytes), elementsIn(to, bytes)));
  if (count < 2 || !fits(record, source, destination, count * bytes, mask, true)) return 0;
  const length = <u32>count * bytes;
  const hostTo = hostForWrite(to, length);
  if (!hostTo) return 0;
  const hostFrom = hostForRead(from);
  if (!hostFrom) return 0;
  if (hostTo > hostFrom && hostTo < hostFrom + length) {
    // Overlapping upwards: earlier elements are read again after they were written.
    const distance = hostTo - hostFrom;
    if (distance < bytes) return 0;
    for (let done: u32 = 0; done < length; done += distance) memory.copy(hostTo + done, hostFrom + done, min<u32>(distance - (distance % bytes), length - done));
    if (distance % bytes != 0) return bulkFallback(hostFrom, hostTo, length, bytes, record, count);
  } else memory.copy(hostTo, hostFrom, length);
  advance(record, count, bytes, true, true);
  return 1;
}

function bulkFallback(from: u32, to: u32, length: u32, bytes: u32, record: u32, count: u64): i32 {
  for (let done: u32 = 0; done < length; done += bytes) memory.copy(to + done, from + done, bytes);
  advance(record, count, bytes, true, true);
  return 1;
}

export function bulkStos(record: u32, bytes: u32): i32 {
  if (oneByOne()) return 0;
  const mask = addressMask(record);
  const left = load<u64>(RCX) & mask;
  const destination = load<u64>(RDI) & mask;
  const to = segmented(0, destination, bytes | 256);
  const count = min<u64>(left, elementsIn(to, bytes));
  if (count < 2 || !fits(record, destination, destination, count * bytes, mask, true)) return 0;
  const length = <u32>count * bytes;
  const host = hostForWrite(to, length);
  if (!host) return 0;
  const value = load<u64>(L.GPR);
  if (bytes == 1) memory.fill(host, <u8>value, length);
  else if (bytes == 2) for (let at: u32 = 0; at < length; at += 2) store<u16>(host + at, <u16>value);
  else if (bytes == 4) for (let at: u32 = 0; at < length; at += 4) store<u32>(host + at, <u32>value);
  else if (value == 0) memory.fill(host, 0, length);
  else for (let at: u32 = 0; at < length; at += 8) store<u64>(host + at, value);
  advance(record, count, bytes, false, true);
  return 1;
}

/** The element of `bytes` bytes at a host address, zero-extended. */
// @ts-ignore: decorator
@inline
function elementAt(at: u32, bytes: u32): u64 {
  if (bytes == 1) return <u64>load<u8>(at);
  if (bytes == 2) return <u64>load<u16>(at);
  return bytes == 4 ? <u64>load<u32>(at) : load<u64>(at);
}

/** All ones in the lanes of `bytes` bytes that are equal. */
// @ts-ignore: decorator
@inline
function equalLanes(a: v128, b: v128, bytes: u32): v128 {
  if (bytes == 1) return i8x16.eq(a, b);
  if (bytes == 2) return i16x8.eq(a, b);
  return bytes == 4 ? i32x4.eq(a, b) : i64x2.eq(a, b);
}

function spread(value: u64, bytes: u32): v128 {
  if (bytes == 1) return i8x16.splat(<i8>value);
  if (bytes == 2) return i16x8.splat(<i16>value);
  return bytes == 4 ? i32x4.splat(<i32>value) : i64x2.splat(value);
}

/**
 * Distance from `a` of the first element that is equal to its opposite, or with `whileEqual` of the first that is not; `length`
 * if there is none. The opposite is at `b`, or when `b` is 0 it is `value` for all.
 */
function run(a: u32, b: u32, value: u64, length: u32, bytes: u32, whileEqual: bool): u32 {
  const needle = spread(value, bytes);
  const going = whileEqual ? 0xffff : 0;
  let at: u32 = 0;
  for (; at + 16 <= length; at += 16) {
    const other = b ? v128.load(b + at) : needle;
    const ends = i8x16.bitmask(equalLanes(v128.load(a + at), other, bytes)) ^ going;
    if (ends) return at + ctz<i32>(ends);
  }
  for (; at < length; at += bytes) {
    const other = b ? elementAt(b + at, bytes) : value;
    if ((elementAt(a + at, bytes) == other) != whileEqual) return at;
  }
  return length;
}

function subtractionFlags(a: u64, b: u64, bytes: u32): void {
  storeFlags(L.LAZY_SUB + ctz<i32>(bytes), a, b);
}

export function bulkCmps(record: u32, bytes: u32, whileEqual: u32): i32 {
  if (oneByOne()) return 0;
  const mask = addressMask(record);
  const left = load<u64>(RCX) & mask;
  const source = load<u64>(RSI) & mask;
  const destination = load<u64>(RDI) & mask;
  const from = segmented(<u32>load<u8>(record, L.R_SEGMENT), source, bytes);
  const to = segmented(0, destination, bytes);
  const most = min<u64>(left - 1, min<u64>(elementsIn(from, bytes), elementsIn(to, bytes)));
  if (most < 2 || !fits(record, source, destination, most * bytes, mask, false)) return 0;
  const hostTo = hostForRead(to);
  if (!hostTo) return 0;
  const hostFrom = hostForRead(from);
  if (!hostFrom) return 0;
  const length = run(hostFrom, hostTo, 0, <u32>most * bytes, bytes, whileEqual != 0);
  if (length == 0) return 0;
  subtractionFlags(elementAt(hostFrom + length - bytes, bytes), elementAt(hostTo + length - bytes, bytes), bytes);
  advance(record, length / bytes, bytes, true, true);
  return 1;
}

export function bulkScas(record: u32, bytes: u32, whileEqual: u32): i32 {
  if (oneByOne()) return 0;
  const mask = addressMask(record);
  const left = load<u64>(RCX) & mask;
  const destination = load<u64>(RDI) & mask;
  const at = segmented(0, destination, bytes);
  const most = min<u64>(left - 1, elementsIn(at, bytes));
  if (most < 2 || !fits(record, destination, destination, most * bytes, mask, false)) return 0;
  const host = hostForRead(at);
  if (!host) return 0;
  const value = elementAt(L.GPR, bytes);
  const length = run(host, 0, value, <u32>most * bytes, bytes, whileEqual != 0);
  if (length == 0) return 0;
  subtractionFlags(value, elementAt(host + length - bytes, bytes), bytes);
  advance(record, length / bytes, bytes, false, true);
  return 1;
}

/** Only the last element loaded shows. */
export function bulkLods(record: u32, bytes: u32): i32 {
  if (oneByOne()) return 0;
  const mask = addressMask(record);
  const left = load<u64>(RCX) & mask;
  const source = load<u64>(RSI) & mask;
  const from = segmented(<u32>load<u8>(record, L.R_SEGMENT), source, bytes);
  const count = min<u64>(left, elementsIn(from, bytes));
  if (count < 2 || !fits(record, source, source, count * bytes, mask, false)) return 0;
  const host = hostForRead(from);
  if (!host) return 0;
  const last = elementAt(host + <u32>(count - 1) * bytes, bytes);
  if (bytes == 1) store<u8>(L.GPR, <u8>last);
  else if (bytes == 2) store<u16>(L.GPR, <u16>last);
  else store<u64>(L.GPR, last);
  advance(record, count, bytes, true, false);
  return 1;
}

/** Outside 64-bit code the whole stretch must pass the segment checks and not wrap, or elements go one by one. */
function fits(record: u32, source: u64, destination: u64, length: u64, mask: u64, write: bool): bool {
  if (checksAlignment()) return false;
  if (load<u32>(L.CODE_MODE) == 2 && mask == 0xffffffffffffffff) return true;
  if (source + length - 1 > mask || destination + length - 1 > mask) return false;
  if (load<u32>(L.CODE_MODE) == 2) return true;
  // A violation gives an address that is not canonical.
  const lastSource = segmented(<u32>load<u8>(record, L.R_SEGMENT), source + length - 1, 1);
  return ((lastSource | segmented(0, destination + length - 1, write ? 257 : 1)) >> 63) == 0;
}

function advance(record: u32, count: u64, bytes: u32, source: bool, destination: bool): void {
  const distance = count * bytes;
  writeAddressSized(record, RCX, load<u64>(RCX) - count);
  if (destination) writeAddressSized(record, RDI, load<u64>(RDI) + distance);
  if (source) writeAddressSized(record, RSI, load<u64>(RSI) + distance);
}
