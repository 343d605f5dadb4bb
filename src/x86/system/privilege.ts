/** Checks that far transfers, interrupts and returns have in common. SDM vol. 3, 5.8, 6.12.1 and 7.2. */
import type { Cpu } from '../cpu.ts';
import { GP, NP, SS as STACK_FAULT, TS } from '../faults.ts';
import * as L from '../runtime/layout.ts';
import {
  ATTR_CODE,
  ATTR_CONFORMING,
  ATTR_DB,
  ATTR_L,
  ATTR_P,
  ATTR_S,
  ATTR_UNUSABLE,
  ATTR_WRITE_READ,
  CS,
  DS,
  ES,
  FS,
  GS,
  SS,
  TR,
  dpl,
} from '../state.ts';
import { IMPLICIT } from './access.ts';
import { isNull, markAccessed, readDescriptor, setNull, setSegment, type Descriptor } from './segments.ts';
import { canonical, Stack } from './stack.ts';

export const isCode = (attributes: number): boolean => (attributes & (ATTR_S | ATTR_CODE)) === (ATTR_S | ATTR_CODE);
export const isConforming = (attributes: number): boolean => (attributes & ATTR_CONFORMING) !== 0;
const isWritableData = (attributes: number): boolean =>
  (attributes & (ATTR_S | ATTR_CODE | ATTR_WRITE_READ)) === (ATTR_S | ATTR_WRITE_READ);

/** Whether code with these attributes runs in 64-bit mode. */
export const isWide = (cpu: Cpu, attributes: number): boolean => cpu.longModeActive && (attributes & ATTR_L) !== 0;

/** In long mode L and D together are reserved. */
export const isReserved = (cpu: Cpu, attributes: number): boolean => isWide(cpu, attributes) && (attributes & ATTR_DB) !== 0;

/** Adds the EXT bit to the error code of a fault that was recorded while reading a descriptor. */
export function markExternal(cpu: Cpu, external: number): void {
  const { state } = cpu;
  const vector = state.u32(L.FAULT_VECTOR);
  if (vector === GP || vector === TS) state.setU32(L.FAULT_ERROR, state.u32(L.FAULT_ERROR) | external);
}

/** Whether an offset lies in a code segment, or is canonical in a 64-bit one: else #GP. */
export function checkTarget(cpu: Cpu, code: Descriptor, offset: bigint, error = 0): boolean {
  const valid = isWide(cpu, code.attributes) ? canonical(offset) : offset <= BigInt(code.limit);
  return valid || cpu.fault(GP, error);
}

/** Loads CS, CPL and the instruction pointer. Everything has been checked. */
export function enterCode(cpu: Cpu, selector: number, code: Descriptor, cpl: number, offset: bigint): void {
  setSegment(cpu, CS, (selector & 0xfffc) | cpl, code);
  cpu.state.setU32(L.CPL, cpl);
  cpu.updateMode();
  cpu.ip = offset;
}

/** A stack of an inner level that is ready to be pushed to, and what SS will be. */
export interface InnerStack {
  readonly stack: Stack;
  readonly selector: number;
  /** Undefined in long mode: SS becomes null. */
  readonly descriptor: Descriptor | undefined;
}

/**
 * Stack of privilege `level` from the TSS. SDM vol. 3, 7.2.1 (32 bits), 7.6 (16), 7.7 (64).
 * @param external EXT bit of error codes: 1 unless a program asked for the transfer
 * @returns undefined with #TS, #SS or a page fault recorded
 */
export function innerStack(cpu: Cpu, level: number, external: number): InnerStack | undefined {
  const { state } = cpu;
  const wide = cpu.longModeActive;
  const narrow = !wide && !(state.attributes(TR) & 8);
  const [at, pointerBytes] = wide ? [4 + level * 8, 8] : narrow ? [2 + level * 4, 2] : [4 + level * 8, 4];
  const fail = (vector: number, error: number): undefined => void cpu.fault(vector, (error & 0xfffc) | external);
  if (at + pointerBytes + (wide ? 0 : 2) - 1 > state.limit(TR)) return fail(TS, state.selector(TR));
  const base = BigInt.asUintN(wide ? 64 : 32, state.base(TR) + BigInt(at));
  const pointer = cpu.read(base, pointerBytes, IMPLICIT);
  if (pointer === undefined) return undefined;
  if (wide) {
    if (!canonical(pointer)) return fail(STACK_FAULT, 0);
    return { stack: new Stack(cpu, undefined, pointer, level, external), selector: level, descriptor: undefined };
  }
  const word = cpu.read(base + BigInt(pointerBytes), 2, IMPLICIT);
  if (word === undefined) return undefined;
  const selector = Number(word);
  if (isNull(selector)) return fail(TS, 0);
  const descriptor = readDescriptor(cpu, selector, TS);
  if (!descriptor) {
    markExternal(cpu, external);
    return undefined;
  }
  const { attributes } = descriptor;
  if ((selector & 3) !== level || dpl(attributes) !== level || !isWritableData(attributes)) return fail(TS, selector);
  if (!(attributes & ATTR_P)) return fail(STACK_FAULT, selector);
  if (!markAccessed(cpu, descriptor)) return undefined;
  return { stack: new Stack(cpu, descriptor, pointer, level, (selector & 0xfffc) | external), selector, descriptor };
}

/** Loads SS and the stack pointer; CPL and mode follow with `enterCode`. */
export function takeStack(cpu: Cpu, { stack, selector, descriptor }: InnerStack): void {
  if (descriptor) setSegment(cpu, SS, selector, descriptor);
  else setNull(cpu, SS, selector);
  stack.keep();
}

/** Descriptor of the code segment that RETF or IRET goes back to; undefined with a fault recorded. */
export function returnCode(cpu: Cpu, selector: number): Descriptor | undefined {
  const error = selector & 0xfffc;
  const rpl = selector & 3;
  const fail = (vector: number, code: number): undefined => void cpu.fault(vector, code);
  if (isNull(selector)) return fail(GP, 0);
  const code = readDescriptor(cpu, selector);
  if (!code) return undefined;
  const { attributes } = code;
  const level = dpl(attributes);
  if (!isCode(attributes) || rpl < cpu.cpl || isReserved(cpu, attributes)) return fail(GP, error);
  if (isConforming(attributes) ? level > rpl : level !== rpl) return fail(GP, error);
  if (!(attributes & ATTR_P)) return fail(NP, error);
  return markAccessed(cpu, code) ? code : undefined;
}

/**
 * Descriptor of the stack segment for a return to level `cpl`. Null selectors are allowed in 64-bit code that is not
 * the user's; the answer is `null` then. Undefined with a fault recorded.
 */
export function returnStack(cpu: Cpu, selector: number, cpl: number, wide: boolean): Descriptor | null | undefined {
  const error = selector & 0xfffc;
  const fail = (vector: number, code: number): undefined => void cpu.fault(vector, code);
  if (isNull(selector)) return wide && cpl !== 3 && (selector & 3) === cpl ? null : fail(GP, 0);
  const descriptor = readDescriptor(cpu, selector);
  if (!descriptor) return undefined;
  const { attributes } = descriptor;
  if ((selector & 3) !== cpl || dpl(attributes) !== cpl || !isWritableData(attributes)) return fail(GP, error);
  if (!(attributes & ATTR_P)) return fail(STACK_FAULT, error);
  return markAccessed(cpu, descriptor) ? descriptor : undefined;
}

/** After a return to an outer level: data segments that it may not use become null. SDM vol. 2, RET and IRET. */
export function dropInnerSegments(cpu: Cpu): void {
  const { state, cpl } = cpu;
  for (const segment of [ES, DS, FS, GS]) {
    const attributes = state.attributes(segment);
    // A null FS or GS keeps the base that an MSR gave it.
    if (isNull(state.selector(segment)) && attributes & ATTR_UNUSABLE) continue;
    if (dpl(attributes) < cpl && !(isCode(attributes) && isConforming(attributes))) setNull(cpu, segment, 0);
  }
}
