/** Segment registers, descriptors and selectors. SDM vol. 3, chapters 3 and 5. */
import type { Cpu } from '../cpu.ts';
import { GP, NP, SS as STACK_FAULT } from '../faults.ts';
import { VM } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import { ATTR_CODE, ATTR_CONFORMING, ATTR_G, ATTR_P, ATTR_S, ATTR_UNUSABLE, ATTR_WRITE_READ, CS, LDTR, SS, dpl } from '../state.ts';
import { IMPLICIT } from './access.ts';

/** An 8-byte descriptor (16 bytes for system descriptors in long mode: see `baseHigh`). */
export interface Descriptor {
  /** Linear address of the descriptor itself. */
  readonly address: bigint;
  readonly base: bigint;
  /** In bytes, granularity applied. */
  readonly limit: number;
  /** As a VMCS access-rights field. */
  readonly attributes: number;
  /** As it is in memory. */
  readonly low: number;
  readonly high: number;
}

export function parseDescriptor(address: bigint, low: number, high: number): Descriptor {
  const base = ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000)) >>> 0;
  const attributes = ((high >>> 8) & 0xff) | ((high >>> 8) & 0xf000);
  const limit20 = (low & 0xffff) | (high & 0xf0000);
  const limit = attributes & ATTR_G ? ((limit20 << 12) | 0xfff) >>> 0 : limit20;
  return { address, base: BigInt(base), limit, attributes, low, high };
}

export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;

/** Descriptor of a selector; undefined when it lies outside its table (#GP or `vector` with the selector) or faults. */
export function readDescriptor(cpu: Cpu, selector: number, vector = GP): Descriptor | undefined {
  const { state } = cpu;
  const local = (selector & 4) !== 0;
  const limit = local ? state.limit(LDTR) : state.u32(L.GDTR_LIMIT);
  const index = selector & 0xfff8;
  if (index + 7 > limit || (local && state.attributes(LDTR) & ATTR_UNUSABLE)) {
    cpu.fault(vector, selector & 0xfffc);
    return undefined;
  }
  const address = (local ? state.base(LDTR) : state.u64(L.GDTR_BASE)) + BigInt(index);
  if (!cpu.engine.runtime.systemRead(address, L.TRANSFER, 8, IMPLICIT)) return undefined;
  return parseDescriptor(address, state.u32(L.TRANSFER), state.u32(L.TRANSFER + 4));
}

/** The upper half of a 16-byte system descriptor: bits 63–32 of its base. */
export function readBaseHigh(cpu: Cpu, descriptor: Descriptor): bigint | undefined {
  return cpu.read(descriptor.address + 8n, 8, IMPLICIT);
}

/** Sets the accessed bit of a code or data descriptor in memory. */
export function markAccessed(cpu: Cpu, descriptor: Descriptor): boolean {
  if (descriptor.attributes & 1) return true;
  return cpu.write(descriptor.address + 5n, 1, BigInt(((descriptor.high >>> 8) & 0xff) | 1), IMPLICIT);
}

/** Fills a segment register's descriptor cache. */
export function setSegment(cpu: Cpu, segment: number, selector: number, descriptor: Descriptor): void {
  const { state } = cpu;
  state.setSelector(segment, selector);
  state.setBase(segment, descriptor.base);
  state.setLimit(segment, descriptor.limit);
  state.setAttributes(segment, descriptor.attributes | 1);
}

/** A null selector: in 64-bit mode such a segment is still usable. */
export function setNull(cpu: Cpu, segment: number, selector: number): void {
  const { state } = cpu;
  state.setSelector(segment, selector);
  state.setAttributes(segment, ATTR_UNUSABLE | (segment === SS ? (selector & 3) << 5 : 0));
  if (!cpu.longModeActive) {
    state.setBase(segment, 0n);
    state.setLimit(segment, 0);
  } else if (segment >= 4) state.setBase(segment, 0n);
}

/** Real and virtual-8086 mode: base is the selector times 16. */
export function setRealSegment(cpu: Cpu, segment: number, selector: number): void {
  const { state } = cpu;
  state.setSelector(segment, selector);
  state.setBase(segment, BigInt(selector << 4));
  if (state.u32(L.RFLAGS) & VM) {
    state.setLimit(segment, 0xffff);
    state.setAttributes(segment, 0xf3);
  } else if (segment === CS) state.setAttributes(CS, (state.attributes(CS) & ~0x6f) | 0x93);
}

/** MOV and POP to ES, SS, DS, FS, GS. */
export function loadSegment(cpu: Cpu, segment: number, selector: number): boolean {
  const { state } = cpu;
  if (!cpu.protectedMode || state.u32(L.RFLAGS) & VM) {
    setRealSegment(cpu, segment, selector);
    return true;
  }
  const { cpl } = cpu;
  const rpl = selector & 3;
  const error = selector & 0xfffc;
  if (isNull(selector)) {
    if (segment === SS && (!cpu.long || cpl === 3 || rpl !== cpl)) return cpu.fault(GP, 0);
    setNull(cpu, segment, selector);
    if (segment === SS) cpu.updateMode();
    return true;
  }
  const descriptor = readDescriptor(cpu, selector);
  if (!descriptor) return false;
  const { attributes } = descriptor;
  const level = dpl(attributes);
  if (segment === SS) {
    const writable = attributes & ATTR_S && !(attributes & ATTR_CODE) && attributes & ATTR_WRITE_READ;
    if (rpl !== cpl || !writable || level !== cpl) return cpu.fault(GP, error);
    if (!(attributes & ATTR_P)) return cpu.fault(STACK_FAULT, error);
  } else {
    if (!(attributes & ATTR_S)) return cpu.fault(GP, error);
    if (attributes & ATTR_CODE && !(attributes & ATTR_WRITE_READ)) return cpu.fault(GP, error);
    const conforming = attributes & ATTR_CODE && attributes & ATTR_CONFORMING;
    if (!conforming && (rpl > level || cpl > level)) return cpu.fault(GP, error);
    if (!(attributes & ATTR_P)) return cpu.fault(NP, error);
  }
  if (!markAccessed(cpu, descriptor)) return false;
  setSegment(cpu, segment, selector, descriptor);
  if (segment === SS) cpu.updateMode();
  return true;
}
