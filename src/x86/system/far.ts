/** Far CALL, JMP and RET in every mode, and call gates. SDM vol. 2, CALL, JMP and RET; vol. 3, 5.8. */
import type { Cpu } from '../cpu.ts';
import { GP, NP } from '../faults.ts';
import type { Instruction } from '../instruction.ts';
import * as L from '../runtime/layout.ts';
import { ATTR_DB, ATTR_L, ATTR_P, ATTR_S, CS, LDTR, SS, dpl } from '../state.ts';
import { readFarPointer, type FarPointer } from './operand.ts';
import {
  checkTarget,
  dropInnerSegments,
  enterCode,
  innerStack,
  isCode,
  isConforming,
  isReserved,
  isWide,
  returnCode,
  returnStack,
  takeStack,
} from './privilege.ts';
import type { Routine } from './routine.ts';
import { isNull, markAccessed, readBaseHigh, readDescriptor, setNull, setRealSegment, setSegment, type Descriptor } from './segments.ts';
import { Stack, usesDescriptors } from './stack.ts';
import { switchTask } from './tasks.ts';

const RSP = 4;
/** Types of system descriptors. SDM vol. 3, table 3-2. */
const TSS_16 = 1;
const CALL_GATE_16 = 4;
const TASK_GATE = 5;
const TSS_32 = 9;
const CALL_GATE_32 = 12;

const immediatePointer = (i: Instruction): FarPointer => ({ selector: i.immediateHigh & 0xffff, offset: BigInt(i.immediate) });

/** Real and virtual-8086 mode: the limit of CS is all there is to check. */
function realTransfer(cpu: Cpu, i: Instruction, { selector, offset }: FarPointer, call: boolean): boolean {
  const { state } = cpu;
  if (offset > BigInt(state.limit(CS))) return cpu.fault(GP, 0);
  if (call) {
    const stack = Stack.current(cpu);
    if (!stack.pushAll(i.size / 8, [state.selector(CS), cpu.ip])) return false;
    stack.keep();
  }
  setRealSegment(cpu, CS, selector);
  cpu.updateMode();
  cpu.ip = offset;
  return true;
}

function transfer(cpu: Cpu, i: Instruction, pointer: FarPointer | undefined, call: boolean): boolean {
  if (!pointer) return false;
  if (!usesDescriptors(cpu)) return realTransfer(cpu, i, pointer, call);
  const { selector } = pointer;
  if (isNull(selector)) return cpu.fault(GP, 0);
  const descriptor = readDescriptor(cpu, selector);
  if (!descriptor) return false;
  const { attributes } = descriptor;
  const error = selector & 0xfffc;
  if (attributes & ATTR_S) return toSegment(cpu, i, pointer, descriptor, call);
  const type = attributes & 15;
  const known = cpu.longModeActive ? type === CALL_GATE_32 : [TSS_16, CALL_GATE_16, TASK_GATE, TSS_32, CALL_GATE_32].includes(type);
  const task = type === TSS_16 || type === TSS_32;
  // A TSS is found in the GDT only.
  if (!known || dpl(attributes) < cpu.cpl || dpl(attributes) < (selector & 3) || (task && selector & 4)) return cpu.fault(GP, error);
  if (!(attributes & ATTR_P)) return cpu.fault(NP, error);
  if (task) return switchTask(cpu, selector, descriptor, call ? 'call' : 'jump', 0);
  if (type === TASK_GATE) return throughTaskGate(cpu, descriptor.low >>> 16, call);
  const gate = readGate(cpu, selector, descriptor, call);
  return gate !== undefined && (call ? callThroughGate(cpu, gate) : jumpThroughGate(cpu, gate));
}

/** Straight to a code segment, at the present privilege. */
function toSegment(cpu: Cpu, i: Instruction, { selector, offset }: FarPointer, code: Descriptor, call: boolean): boolean {
  const { cpl, state } = cpu;
  const { attributes } = code;
  const error = selector & 0xfffc;
  if (!isCode(attributes) || isReserved(cpu, attributes)) return cpu.fault(GP, error);
  const level = dpl(attributes);
  if (isConforming(attributes) ? level > cpl : (selector & 3) > cpl || level !== cpl) return cpu.fault(GP, error);
  if (!(attributes & ATTR_P)) return cpu.fault(NP, error);
  if (!checkTarget(cpu, code, offset) || !markAccessed(cpu, code)) return false;
  if (call) {
    const stack = Stack.current(cpu);
    if (!stack.pushAll(i.size / 8, [state.selector(CS), cpu.ip])) return false;
    stack.keep();
  }
  enterCode(cpu, selector, code, cpl, offset);
  return true;
}

function throughTaskGate(cpu: Cpu, selector: number, call: boolean): boolean {
  const error = selector & 0xfffc;
  if (isNull(selector) || selector & 4) return cpu.fault(GP, error);
  const descriptor = readDescriptor(cpu, selector);
  if (!descriptor) return false;
  const type = descriptor.attributes & (ATTR_S | 15);
  if (type !== TSS_16 && type !== TSS_32) return cpu.fault(GP, error);
  if (!(descriptor.attributes & ATTR_P)) return cpu.fault(NP, error);
  return switchTask(cpu, selector, descriptor, call ? 'call' : 'jump', 0);
}

interface Gate {
  readonly selector: number;
  readonly offset: bigint;
  readonly code: Descriptor;
  /** Size of what is pushed. */
  readonly bytes: number;
  readonly parameters: number;
}

/** A call gate and its code segment, checked. SDM vol. 3, 5.8.3 and 5.8.3.1. */
function readGate(cpu: Cpu, gateSelector: number, gate: Descriptor, call: boolean): Gate | undefined {
  const { state } = cpu;
  const wide = cpu.longModeActive;
  const { low, high } = gate;
  const fail = (vector: number, error: number): undefined => void cpu.fault(vector, error & 0xfffc);
  const bytes = wide ? 8 : (gate.attributes & 15) === CALL_GATE_16 ? 2 : 4;
  let offset = BigInt(bytes === 2 ? low & 0xffff : ((high & 0xffff0000) | (low & 0xffff)) >>> 0);
  if (wide) {
    const limit = gateSelector & 4 ? state.limit(LDTR) : state.u32(L.GDTR_LIMIT);
    if ((gateSelector & 0xfff8) + 15 > limit) return fail(GP, gateSelector);
    const upper = readBaseHigh(cpu, gate);
    if (upper === undefined) return undefined;
    if (upper & 0x1f00_0000_0000n) return fail(GP, gateSelector);
    offset |= (upper & 0xffffffffn) << 32n;
  }
  const selector = low >>> 16;
  if (isNull(selector)) return fail(GP, 0);
  const code = readDescriptor(cpu, selector);
  if (!code) return undefined;
  const { attributes } = code;
  if (!isCode(attributes) || dpl(attributes) > cpu.cpl) return fail(GP, selector);
  if (wide && (!(attributes & ATTR_L) || attributes & ATTR_DB)) return fail(GP, selector);
  // Only CALL gains privilege.
  if (!call && !isConforming(attributes) && dpl(attributes) !== cpu.cpl) return fail(GP, selector);
  if (!(attributes & ATTR_P)) return fail(NP, selector);
  if (!checkTarget(cpu, code, offset) || !markAccessed(cpu, code)) return undefined;
  return { selector, offset, code, bytes, parameters: wide ? 0 : high & 31 };
}

function jumpThroughGate(cpu: Cpu, { selector, offset, code }: Gate): boolean {
  enterCode(cpu, selector, code, cpu.cpl, offset);
  return true;
}

function callThroughGate(cpu: Cpu, gate: Gate): boolean {
  const { state, cpl } = cpu;
  const { selector, offset, code, bytes } = gate;
  const back = [state.selector(CS), cpu.ip];
  const level = dpl(code.attributes);
  if (isConforming(code.attributes) || level === cpl) {
    // Through a 64-bit gate the pushes already are 64-bit code's.
    const stack = bytes === 8 ? new Stack(cpu, undefined, state.gpr(4), cpl) : Stack.current(cpu);
    if (!stack.pushAll(bytes, back)) return false;
    stack.keep();
    enterCode(cpu, selector, code, cpl, offset);
    return true;
  }
  // More privilege: SDM vol. 3, 5.8.5
  const inner = innerStack(cpu, level, 0);
  if (!inner) return false;
  const parameters = Stack.current(cpu).popAll(bytes, gate.parameters);
  if (!parameters) return false;
  if (!inner.stack.pushAll(bytes, [state.selector(SS), state.gpr(4), ...parameters.toReversed(), ...back])) return false;
  takeStack(cpu, inner);
  enterCode(cpu, selector, code, level, offset);
  return true;
}

const returnFar: Routine = (cpu, i) => {
  const { state, cpl } = cpu;
  const bytes = i.size / 8;
  const release = i.opcode === 0xca ? i.immediate & 0xffff : 0;
  const stack = Stack.current(cpu);
  const back = stack.popAll(bytes, 2);
  if (!back) return false;
  const offset = back[0]!;
  const selector = Number(back[1]! & 0xffffn);
  if (!usesDescriptors(cpu)) {
    if (offset > BigInt(state.limit(CS))) return cpu.fault(GP, 0);
    stack.skip(release);
    stack.keep();
    setRealSegment(cpu, CS, selector);
    cpu.updateMode();
    cpu.ip = offset;
    return true;
  }
  const code = returnCode(cpu, selector);
  if (!code) return false;
  const rpl = selector & 3;
  if (rpl === cpl) {
    if (!checkTarget(cpu, code, offset)) return false;
    // From compatibility mode to 64-bit code, the stack has all its width when the parameters are released.
    const widens = isWide(cpu, code.attributes) && !cpu.long;
    if (!widens) stack.skip(release);
    stack.keep();
    if (widens) state.setGpr(RSP, state.gpr(RSP) + BigInt(release));
    enterCode(cpu, selector, code, cpl, offset);
    return true;
  }
  stack.skip(release);
  const outer = stack.popAll(bytes, 2);
  if (!outer) return false;
  const stackSelector = Number(outer[1]! & 0xffffn);
  const wide = isWide(cpu, code.attributes);
  const descriptor = returnStack(cpu, stackSelector, rpl, wide);
  if (descriptor === undefined || !checkTarget(cpu, code, offset)) return false;
  if (descriptor) setSegment(cpu, SS, stackSelector, descriptor);
  else setNull(cpu, SS, stackSelector);
  const after = new Stack(cpu, wide || !descriptor ? undefined : descriptor, outer[0]!, rpl);
  after.skip(release);
  after.keep();
  enterCode(cpu, selector, code, rpl, offset);
  dropInnerSegments(cpu);
  return true;
};

export const FAR: Readonly<Record<string, Routine>> = {
  callFar: (cpu, i) => transfer(cpu, i, immediatePointer(i), true),
  jumpFar: (cpu, i) => transfer(cpu, i, immediatePointer(i), false),
  callFarIndirect: (cpu, i) => transfer(cpu, i, readFarPointer(cpu, i), true),
  jumpFarIndirect: (cpu, i) => transfer(cpu, i, readFarPointer(cpu, i), false),
  returnFar,
};
