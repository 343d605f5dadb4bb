/** Hardware task switching. SDM vol. 3, chapter 7; the order of steps and of checks is that of 7.3. */
import type { Cpu } from '../cpu.ts';
import { DB, GP, NP, SS as STACK_FAULT, TS } from '../faults.ts';
import { NT, VM } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import {
  ATTR_CODE,
  ATTR_P,
  ATTR_S,
  ATTR_UNUSABLE,
  ATTR_WRITE_READ,
  CR0_PG,
  CR0_TS,
  CS,
  DS,
  ES,
  FS,
  GS,
  LDTR,
  SS,
  TR,
  dpl,
} from '../state.ts';
import { IMPLICIT } from './access.ts';
import { loadPdptes } from './pdptes.ts';
import { isCode, isConforming, markExternal } from './privilege.ts';
import { isNull, markAccessed, readDescriptor, setNull, setRealSegment, setSegment, type Descriptor } from './segments.ts';
import { Stack } from './stack.ts';

export type TaskSwitch = 'call' | 'jump' | 'interrupt' | 'return';

/** Offsets in a task-state segment; registers from `registers` and selectors (ES CS SS DS FS GS LDT) from `selectors` on. SDM vol. 3, 7.2.1, 7.6. */
interface Layout {
  readonly word: 2 | 4;
  /** Offset of the last byte. */
  readonly limit: number;
  readonly ip: number;
  readonly registers: number;
  readonly selectors: number;
  readonly segments: readonly number[];
  readonly ldt: number;
}

const TSS_32: Layout = { word: 4, limit: 0x67, ip: 0x20, registers: 0x28, selectors: 0x48, segments: [ES, CS, SS, DS, FS, GS], ldt: 0x60 };
const TSS_16: Layout = { word: 2, limit: 0x2b, ip: 0x0e, registers: 0x12, selectors: 0x22, segments: [ES, CS, SS, DS], ldt: 0x2a };
const CR3_AT = 0x1c;
const CR4_PAE = 1 << 5;
const TRAP_AT = 0x64;
const BUSY = 2;
/** DR7.L0 to L3 and LE. */
const LOCAL_BREAKPOINTS = 0x155;
const DR6_BT = 0x8000n;

const layoutOf = (attributes: number): Layout => (attributes & 8 ? TSS_32 : TSS_16);
const linear = (base: bigint, offset: number): bigint => (base + BigInt(offset)) & 0xffff_ffffn;

/** Sets or clears the busy bit of a TSS descriptor in memory. */
function setBusy(cpu: Cpu, address: bigint, busy: boolean): boolean {
  const type = cpu.read(address + 5n, 1, IMPLICIT);
  if (type === undefined) return false;
  return cpu.write(address + 5n, 1, busy ? type | BigInt(BUSY) : type & ~BigInt(BUSY), IMPLICIT);
}

/** Writes the running task's registers to its TSS. */
function saveTask(cpu: Cpu, flags: number): boolean {
  const { state } = cpu;
  const { word, ip, limit, segments } = layoutOf(state.attributes(TR));
  if (limit > state.limit(TR)) return cpu.fault(TS, state.selector(TR) & 0xfffc);
  const values = [cpu.ip, BigInt(flags)];
  for (let n = 0; n < 8; n++) values.push(state.gpr(n));
  for (const segment of segments) values.push(BigInt(state.selector(segment)));
  values.forEach((value, n) => {
    if (word === 4) state.setU32(L.TRANSFER + n * 4, Number(value & 0xffffffffn));
    else state.setU16(L.TRANSFER + n * 2, Number(value & 0xffffn));
  });
  return cpu.engine.runtime.systemWrite(linear(state.base(TR), ip), L.TRANSFER, values.length * word, IMPLICIT) !== 0;
}

/** What a task starts with. */
interface Task {
  readonly layout: Layout;
  readonly cr3: number;
  readonly ip: number;
  readonly flags: number;
  readonly registers: readonly number[];
  readonly selectors: readonly number[];
  readonly ldt: number;
  readonly trap: boolean;
}

function readTask(cpu: Cpu, { base, attributes }: Descriptor): Task | undefined {
  const { state } = cpu;
  const layout = layoutOf(attributes);
  if (!cpu.engine.runtime.systemRead(base, L.TRANSFER, layout.limit + 1, IMPLICIT)) return undefined;
  const wide = layout.word === 4;
  const field = (at: number): number => (wide ? state.u32(L.TRANSFER + at) : state.u16(L.TRANSFER + at));
  const selector = (at: number): number => state.u16(L.TRANSFER + at);
  return {
    layout,
    cr3: wide ? field(CR3_AT) : 0,
    ip: field(layout.ip),
    flags: field(layout.ip + layout.word),
    // The manual leaves the upper halves undefined after a switch to a 16-bit task; processors fill them with ones.
    registers: Array.from({ length: 8 }, (_, n) => field(layout.registers + n * layout.word) | (wide ? 0 : 0xffff0000)),
    selectors: layout.segments.map((_, n) => selector(layout.selectors + n * layout.word)),
    ldt: selector(layout.ldt),
    trap: wide && (field(TRAP_AT) & 1) !== 0,
  };
}

/**
 * Switches to the task of a TSS descriptor that has been checked for type, privilege and presence. Faults up to the
 * switch are the old task's (false); later ones are delivered in the new task.
 * @param external EXT bit of error codes
 * @param error error code to push on the new task's stack
 */
export function switchTask(cpu: Cpu, selector: number, tss: Descriptor, how: TaskSwitch, external: number, error?: number): boolean {
  const { state } = cpu;
  if (layoutOf(tss.attributes).limit > tss.limit) return cpu.fault(TS, (selector & 0xfffc) | external);
  const task = readTask(cpu, tss);
  if (!task) return false;
  const nested = how === 'call' || how === 'interrupt';
  const flags = cpu.rflags;
  if (!saveTask(cpu, how === 'return' ? flags & ~NT : flags)) return false;
  if (nested && !cpu.write(tss.base, 2, BigInt(state.selector(TR)), IMPLICIT)) return false;
  const oldDescriptor = (state.u64(L.GDTR_BASE) + BigInt(state.selector(TR) & 0xfff8)) & 0xffff_ffffn;
  if (!nested && !setBusy(cpu, oldDescriptor, false)) return false;
  if (how !== 'return' && !setBusy(cpu, tss.address, true)) return false;

  // From here on it is the new task.
  setSegment(cpu, TR, selector, { ...tss, attributes: tss.attributes | BUSY });
  state.setU64(L.CR0, state.u64(L.CR0) | BigInt(CR0_TS));
  state.setU32(L.DR7, state.u32(L.DR7) & ~LOCAL_BREAKPOINTS);
  let mapped = true;
  if (task.layout === TSS_32 && state.u32(L.CR0) & CR0_PG) {
    if (state.u32(L.CR4) & CR4_PAE) mapped = loadPdptes(cpu, BigInt(task.cr3));
    cpu.engine.runtime.loadCr3(BigInt(task.cr3));
  }
  const wide = task.layout === TSS_32;
  cpu.rflags = (wide ? task.flags : task.flags & 0xffff) | (nested ? NT : 0);
  task.registers.forEach((value, n) => state.setGpr32(n, value));
  const virtual = wide && (task.flags & VM) !== 0;
  const loaded = loadSegments(cpu, task, virtual, external);
  cpu.updateMode();
  cpu.ip = BigInt(task.ip);
  if (!mapped) {
    cpu.interrupt(GP, 0, 'exception');
    return true;
  }
  if (!loaded) {
    cpu.interrupt(state.u32(L.FAULT_VECTOR), state.u32(L.FAULT_ERROR), 'exception');
    return true;
  }
  if (error !== undefined) {
    const stack = Stack.current(cpu);
    if (!stack.push(task.layout.word, error)) {
      cpu.interrupt(state.u32(L.FAULT_VECTOR), state.u32(L.FAULT_ERROR) | external, 'exception');
      return true;
    }
    stack.keep();
  }
  if (BigInt(task.ip) > BigInt(state.limit(CS))) {
    cpu.interrupt(GP, external, 'exception');
  } else if (task.trap) {
    state.setU64(L.DR + 32, state.u64(L.DR + 32) | DR6_BT);
    cpu.interrupt(DB, undefined, 'exception');
  }
  return true;
}

/** Segment registers of the new task. False with the first violation recorded; selectors are all loaded by then. */
function loadSegments(cpu: Cpu, task: Task, virtual: boolean, external: number): boolean {
  const { state } = cpu;
  // Until their descriptors have been checked, nothing can be reached through the segments.
  for (const segment of [ES, CS, SS, DS, FS, GS]) setNull(cpu, segment, 0);
  task.layout.segments.forEach((segment, n) => state.setSelector(segment, task.selectors[n]!));
  state.setSelector(LDTR, task.ldt);
  state.setAttributes(LDTR, ATTR_UNUSABLE);
  const cpl = virtual ? 3 : task.selectors[1]! & 3;
  state.setU32(L.CPL, cpl);
  cpu.engine.runtime.selectTlb();
  const fail = (vector: number, selector: number): false => cpu.fault(vector, (selector & 0xfffc) | external);

  if (!isNull(task.ldt)) {
    if (task.ldt & 4) return fail(TS, task.ldt);
    const descriptor = readDescriptor(cpu, task.ldt, TS);
    if (!descriptor) {
      markExternal(cpu, external);
      return false;
    }
    if ((descriptor.attributes & (ATTR_S | 15)) !== 2 || !(descriptor.attributes & ATTR_P)) return fail(TS, task.ldt);
    setSegment(cpu, LDTR, task.ldt, descriptor);
    state.setAttributes(LDTR, descriptor.attributes);
  }
  if (virtual) {
    task.layout.segments.forEach((segment, n) => setRealSegment(cpu, segment, task.selectors[n]!));
    return true;
  }
  return task.layout.segments.every((segment, n) => {
    const selector = task.selectors[n]!;
    if (isNull(selector)) return segment === CS || segment === SS ? fail(TS, 0) : true;
    const descriptor = readDescriptor(cpu, selector, TS);
    if (!descriptor) {
      markExternal(cpu, external);
      return false;
    }
    if (!fits(segment, selector, descriptor.attributes, cpl)) return fail(TS, selector);
    if (!(descriptor.attributes & ATTR_P)) return fail(segment === SS ? STACK_FAULT : NP, selector);
    if (!markAccessed(cpu, descriptor)) return false;
    setSegment(cpu, segment, selector, descriptor);
    return true;
  });
}

/** Whether a segment register may be loaded with a descriptor in a task switch. SDM vol. 3, table 7-1. */
function fits(segment: number, selector: number, attributes: number, cpl: number): boolean {
  const rpl = selector & 3;
  const level = dpl(attributes);
  if (segment === CS) return isCode(attributes) && (isConforming(attributes) ? level <= rpl : level === rpl);
  if (!(attributes & ATTR_S)) return false;
  const code = (attributes & ATTR_CODE) !== 0;
  if (segment === SS) return !code && (attributes & ATTR_WRITE_READ) !== 0 && rpl === cpl && level === cpl;
  if (code && !(attributes & ATTR_WRITE_READ)) return false;
  return (code && isConforming(attributes)) || (level >= cpl && level >= rpl);
}

/** IRET with NT set: back along the link. */
export function returnToTask(cpu: Cpu): boolean {
  const link = cpu.read(cpu.state.base(TR), 2, IMPLICIT);
  if (link === undefined) return false;
  const selector = Number(link);
  const error = selector & 0xfffc;
  if (isNull(selector) || selector & 4) return cpu.fault(TS, error);
  const descriptor = readDescriptor(cpu, selector, TS);
  if (!descriptor) return false;
  if ((descriptor.attributes & (ATTR_S | 7)) !== 3) return cpu.fault(TS, error);
  if (!(descriptor.attributes & ATTR_P)) return cpu.fault(NP, error);
  return switchTask(cpu, selector, descriptor, 'return', 0);
}
