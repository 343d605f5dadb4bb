/** Instructions that load, store and examine selectors. SDM vol. 2. */
import type { Cpu } from '../cpu.ts';
import { GP, NP, UD } from '../faults.ts';
import { ZF } from '../flags.ts';
import type { Instruction } from '../instruction.ts';
import * as L from '../runtime/layout.ts';
import { ATTR_CODE, ATTR_P, ATTR_S, ATTR_UNUSABLE, ATTR_WRITE_READ, CS, DS, ES, FS, GS, LDTR, SS, TR, dpl } from '../state.ts';
import { IMPLICIT } from './access.ts';
import { readFarPointer, readSelector } from './operand.ts';
import { isCode, isConforming } from './privilege.ts';
import type { Routine } from './routine.ts';
import { isNull, loadSegment as load, readBaseHigh, readDescriptor, setNull, setSegment, type Descriptor } from './segments.ts';
import { canonical, Stack, usesDescriptors } from './stack.ts';

const CR4_UMIP = 1 << 11;
const LDT = 2;
const TSS_16 = 1;
const TSS_32 = 9;
const BUSY = 2;
/** System descriptors that LAR and LSL can see. SDM vol. 2, table 3-53 and 3-63. */
const LAR_LEGACY: ReadonlySet<number> = new Set([1, 2, 3, 4, 5, 9, 11, 12]);
const LAR_LONG: ReadonlySet<number> = new Set([2, 9, 11, 12]);
const LSL_LEGACY: ReadonlySet<number> = new Set([1, 2, 3, 9, 11]);
const LSL_LONG: ReadonlySet<number> = new Set([2, 9, 11]);

function setZero(cpu: Cpu, on: boolean): true {
  cpu.rflags = on ? cpu.rflags | ZF : cpu.rflags & ~ZF;
  return true;
}

const adjustRpl: Routine = (cpu, i) => {
  if (!usesDescriptors(cpu)) return cpu.fault(UD);
  const selector = readSelector(cpu, i);
  if (selector === undefined) return false;
  const rpl = cpu.state.u16(i.reg) & 3;
  if ((selector & 3) >= rpl) return setZero(cpu, false);
  return cpu.writeOperand(i, 16, BigInt((selector & 0xfffc) | rpl)) && setZero(cpu, true);
};

/**
 * Descriptor for LAR, LSL, VERR, VERW: `none` when the selector names nothing that this privilege can see; undefined
 * with a fault recorded.
 */
function examine(cpu: Cpu, i: Instruction, system: ReadonlySet<number> | undefined): Descriptor | 'none' | undefined {
  if (!usesDescriptors(cpu)) return void cpu.fault(UD);
  const selector = readSelector(cpu, i);
  if (selector === undefined) return undefined;
  if (isNull(selector)) return 'none';
  const descriptor = readDescriptor(cpu, selector);
  // A selector beyond its table is no fault here; a page fault is.
  if (!descriptor) return cpu.state.u32(L.FAULT_VECTOR) === GP ? 'none' : undefined;
  const { attributes } = descriptor;
  if (!(attributes & ATTR_S) && !system?.has(attributes & 15)) return 'none';
  const level = dpl(attributes);
  const open = isCode(attributes) && isConforming(attributes);
  return open || (level >= cpu.cpl && level >= (selector & 3)) ? descriptor : 'none';
}

const loadAccessRights: Routine = (cpu, i) => {
  const descriptor = examine(cpu, i, cpu.longModeActive ? LAR_LONG : LAR_LEGACY);
  if (descriptor === undefined) return false;
  if (descriptor === 'none') return setZero(cpu, false);
  cpu.writeRegister(i.reg, i.size, BigInt(descriptor.high & 0xffff00));
  return setZero(cpu, true);
};

const loadSegmentLimit: Routine = (cpu, i) => {
  const descriptor = examine(cpu, i, cpu.longModeActive ? LSL_LONG : LSL_LEGACY);
  if (descriptor === undefined) return false;
  if (descriptor === 'none') return setZero(cpu, false);
  cpu.writeRegister(i.reg, i.size, BigInt(descriptor.limit));
  return setZero(cpu, true);
};

/** VERR and VERW. */
const verify: Routine = (cpu, i) => {
  const descriptor = examine(cpu, i, undefined);
  if (descriptor === undefined) return false;
  if (descriptor === 'none') return setZero(cpu, false);
  const { attributes } = descriptor;
  const code = (attributes & ATTR_CODE) !== 0;
  const marked = (attributes & ATTR_WRITE_READ) !== 0;
  return setZero(cpu, i.encoding.digit === 5 ? !code && marked : !code || marked);
};

const LDS = 0xc5;
const POINTER_SEGMENTS: Readonly<Record<number, number>> = { 0xc4: ES, [LDS]: DS, 0xb2: SS, 0xb4: FS, 0xb5: GS };

const loadFarPointer: Routine = (cpu, i) => {
  const pointer = readFarPointer(cpu, i);
  if (!pointer || !load(cpu, POINTER_SEGMENTS[i.opcode]!, pointer.selector)) return false;
  cpu.writeRegister(i.reg, i.size, pointer.offset);
  return true;
};

/** After MOV SS and POP SS one more instruction runs before interrupts and debug exceptions. SDM vol. 3, 6.8.3. */
function holdOff(cpu: Cpu): void {
  cpu.shadow = true;
  cpu.debugShadow = true;
  cpu.trap = false;
}

const loadSegment: Routine = (cpu, i) => {
  if (i.reg === CS || i.reg > GS) return cpu.fault(UD);
  const selector = readSelector(cpu, i);
  if (selector === undefined || !load(cpu, i.reg, selector)) return false;
  if (i.reg === SS) holdOff(cpu);
  return true;
};

const storeSegment: Routine = (cpu, i) => {
  if (i.reg > GS) return cpu.fault(UD);
  return cpu.writeOperand(i, i.memory ? 16 : i.size, BigInt(cpu.state.selector(i.reg)));
};

/** Segment register in the opcode of PUSH and POP. */
function stackedSegment(i: Instruction): number {
  const number = (i.opcode >> 3) & 3;
  return i.encoding.map === 0 ? number : FS + (number & 1);
}

const pushSegment: Routine = (cpu, i) => {
  const stack = Stack.current(cpu);
  if (!stack.push(i.size / 8, cpu.state.selector(stackedSegment(i)))) return false;
  stack.keep();
  return true;
};

const popSegment: Routine = (cpu, i) => {
  const segment = stackedSegment(i);
  const stack = Stack.current(cpu);
  const value = stack.pop(i.size / 8);
  if (value === undefined || !load(cpu, segment, Number(value & 0xffffn))) return false;
  stack.keep();
  if (segment === SS) holdOff(cpu);
  return true;
};

/** Descriptor for LLDT and LTR, with the base of its 16-byte form in long mode; undefined with a fault recorded. */
function systemDescriptor(cpu: Cpu, selector: number, types: readonly number[]): Descriptor | undefined {
  const error = selector & 0xfffc;
  const fail = (vector: number): undefined => void cpu.fault(vector, error);
  if (selector & 4) return fail(GP);
  const descriptor = readDescriptor(cpu, selector);
  if (!descriptor) return undefined;
  if (!types.includes(descriptor.attributes & (ATTR_S | 15))) return fail(GP);
  if (!cpu.longModeActive) return descriptor.attributes & ATTR_P ? descriptor : fail(NP);
  if ((selector & 0xfff8) + 15 > cpu.state.u32(L.GDTR_LIMIT)) return fail(GP);
  const high = readBaseHigh(cpu, descriptor);
  if (high === undefined) return undefined;
  const base = descriptor.base | ((high & 0xffffffffn) << 32n);
  if (high & 0x1f00_0000_0000n || !canonical(base)) return fail(GP);
  return descriptor.attributes & ATTR_P ? { ...descriptor, base } : fail(NP);
}

function setSystemSegment(cpu: Cpu, segment: number, selector: number, descriptor: Descriptor, attributes: number): void {
  setSegment(cpu, segment, selector, descriptor);
  cpu.state.setAttributes(segment, attributes);
}

const loadLdt: Routine = (cpu, i) => {
  if (!usesDescriptors(cpu)) return cpu.fault(UD);
  if (cpu.cpl !== 0) return cpu.fault(GP, 0);
  const selector = readSelector(cpu, i);
  if (selector === undefined) return false;
  if (isNull(selector)) {
    setNull(cpu, LDTR, selector);
    cpu.state.setAttributes(LDTR, ATTR_UNUSABLE);
    return true;
  }
  const descriptor = systemDescriptor(cpu, selector, [LDT]);
  if (!descriptor) return false;
  setSystemSegment(cpu, LDTR, selector, descriptor, descriptor.attributes);
  return true;
};

const loadTaskRegister: Routine = (cpu, i) => {
  if (!usesDescriptors(cpu)) return cpu.fault(UD);
  if (cpu.cpl !== 0) return cpu.fault(GP, 0);
  const selector = readSelector(cpu, i);
  if (selector === undefined) return false;
  if (isNull(selector)) return cpu.fault(GP, 0);
  const descriptor = systemDescriptor(cpu, selector, cpu.longModeActive ? [TSS_32] : [TSS_16, TSS_32]);
  if (!descriptor) return false;
  if (!cpu.write(descriptor.address + 5n, 1, BigInt(((descriptor.high >>> 8) & 0xff) | BUSY), IMPLICIT)) return false;
  setSystemSegment(cpu, TR, selector, descriptor, descriptor.attributes | BUSY);
  return true;
};

/** SLDT and STR. */
const storeSystemSegment: Routine = (cpu, i) => {
  if (!usesDescriptors(cpu)) return cpu.fault(UD);
  if (cpu.state.u32(L.CR4) & CR4_UMIP && cpu.cpl !== 0) return cpu.fault(GP, 0);
  return cpu.writeOperand(i, i.memory ? 16 : i.size, BigInt(cpu.state.selector(i.encoding.digit === 0 ? LDTR : TR)));
};

export const SELECTORS: Readonly<Record<string, Routine>> = {
  adjustRpl, loadAccessRights, loadSegmentLimit, verify, loadFarPointer, loadSegment, storeSegment, pushSegment, popSegment,
  loadLdt, loadTaskRegister, storeSystemSegment,
}; // prettier-ignore
