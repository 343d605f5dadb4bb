/** Interrupts that programs ask for, BOUND, and the stack instructions too odd for the handlers. SDM vol. 2. */
import type { Cpu } from '../cpu.ts';
import { BP, BR, DB, GP, OVERFLOW, PAGE_FAULT, UD } from '../faults.ts';
import { IF, IOPL, NT, OF, TF, VIF, VM } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import { TR } from '../state.ts';
import { IMPLICIT } from './access.ts';
import { deliverOnce } from './interrupts.ts';
import { throughVectorTable } from './legacy-interrupts.ts';
import { readMemory } from './operand.ts';
import type { Routine } from './routine.ts';
import { Stack } from './stack.ts';
import { hasVirtualFlag, virtualImage } from './virtual-interrupts.ts';

const RSP = 4;
const RBP = 5;
/** Offset of the I/O map base in a 32-bit TSS; the interrupt redirection map is the 32 bytes below that map. */
const IO_MAP_AT = 0x66;

// Delivery that faults is a fault of the instruction: it is found at its own address.
const breakpoint: Routine = (cpu) => deliverOnce(cpu, BP, undefined, 'software');
/** INT1 is like the debug exception it raises: gate privilege does not matter. */
const debugTrap: Routine = (cpu) => deliverOnce(cpu, DB, undefined, 'exception');

const softwareInterrupt: Routine = (cpu, i) => {
  const vector = i.immediate & 0xff;
  return cpu.state.u32(L.RFLAGS) & VM ? virtualInterrupt(cpu, vector) : deliverOnce(cpu, vector, undefined, 'software');
};

/** Whether INT n of virtual-8086 mode goes to the protected-mode handler; undefined with #GP or a page fault recorded. */
function redirected(cpu: Cpu, vector: number): boolean | undefined {
  const { state } = cpu;
  const limit = state.limit(TR);
  const read = (at: number, bytes: number): bigint | undefined => {
    if (at >= 0 && at + bytes - 1 <= limit) return cpu.read((state.base(TR) + BigInt(at)) & 0xffff_ffffn, bytes, IMPLICIT);
    cpu.fault(GP, 0);
    return undefined;
  };
  const map = read(IO_MAP_AT, 2);
  if (map === undefined) return undefined;
  const bits = read(Number(map) - 32 + (vector >> 3), 1);
  return bits === undefined ? undefined : ((bits >> BigInt(vector & 7)) & 1n) !== 0n;
}

/** INT n in virtual-8086 mode. SDM vol. 3, 20.3.3 and table 20-2. */
function virtualInterrupt(cpu: Cpu, vector: number): boolean {
  const flags = cpu.rflags;
  const trusted = (flags & IOPL) === IOPL;
  if (hasVirtualFlag(cpu)) {
    const toMonitor = redirected(cpu, vector);
    if (toMonitor === undefined) return false;
    if (!toMonitor) {
      // To the 8086 program's own handler. Without IOPL it sees its virtual interrupt flag, and IOPL as 3.
      const image = trusted ? flags : virtualImage(flags);
      return throughVectorTable(cpu, 0n, vector, image, trusted ? IF | TF | NT : VIF | TF | NT);
    }
  }
  return trusted ? deliverOnce(cpu, vector, undefined, 'software') : cpu.fault(GP, 0);
}

const interruptOnOverflow: Routine = (cpu) => (cpu.rflags & OF) === 0 || deliverOnce(cpu, OVERFLOW, undefined, 'software');

const bound: Routine = (cpu, i) => {
  const { state } = cpu;
  const { size } = i;
  if (!readMemory(cpu, i, size / 8, size / 8)) return false;
  const signed = (at: number): bigint => BigInt.asIntN(size, state.u64(at));
  const index = signed(i.reg);
  return (index >= signed(L.TRANSFER) && index <= signed(L.TRANSFER + size / 8)) || cpu.fault(BR);
};

const undefined_: Routine = (cpu) => cpu.fault(UD);

const enter: Routine = (cpu, i) => {
  const { state } = cpu;
  const bytes = i.size / 8;
  const level = (i.immediate >>> 16) & 31;
  const stack = Stack.current(cpu);
  if (!stack.push(bytes, state.gpr(RBP))) return false;
  // On a 16-bit stack, EBP takes the upper half of ESP, which stays.
  const frame = stack.whole;
  const outer = Stack.current(cpu);
  outer.pointer = state.gpr(RBP);
  outer.skip(0);
  for (let n = 1; n < level; n++) {
    outer.skip(-bytes);
    const pointer = outer.pop(bytes);
    outer.skip(-bytes);
    if (pointer === undefined || !stack.push(bytes, pointer)) return false;
  }
  if (level > 0 && !stack.push(bytes, frame)) return false;
  stack.skip(-(i.immediate & 0xffff));
  // The place that RSP ends at must be writable, though nothing is written.
  const end = stack.pointer;
  const probe = stack.pop(1);
  if (probe === undefined) {
    // It is a write that failed, though only a read was tried.
    if (state.u32(L.FAULT_VECTOR) === PAGE_FAULT) state.setU32(L.FAULT_ERROR, state.u32(L.FAULT_ERROR) | 2);
    return false;
  }
  if (!stack.push(1, probe)) return false;
  cpu.writeRegister(L.GPR + RBP * 8, i.size, frame);
  stack.pointer = end;
  stack.keep();
  return true;
};

const REGISTERS = [0, 1, 2, 3, 4, 5, 6, 7];

const pusha: Routine = (cpu, i) => {
  const stack = Stack.current(cpu);
  if (!stack.pushAll(i.size / 8, REGISTERS.map(cpu.state.gpr))) return false;
  stack.keep();
  return true;
};

const popa: Routine = (cpu, i) => {
  const stack = Stack.current(cpu);
  const values = stack.popAll(i.size / 8, 8);
  if (!values) return false;
  stack.keep();
  values.toReversed().forEach((value, n) => {
    if (n !== RSP) cpu.writeRegister(L.GPR + n * 8, i.size, value);
  });
  return true;
};

export const SOFT_INT: Readonly<Record<string, Routine>> = {
  breakpoint, debugTrap, softwareInterrupt, interruptOnOverflow, bound, undefined: undefined_, enter, pusha, popa,
}; // prettier-ignore
