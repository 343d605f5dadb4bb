/**
 * CLI, STI, PUSHF and POPF where they do not simply change IF: interrupts that wait, too little privilege, and the virtual
 * interrupt flag that stands for IF then. SDM vol. 3, 21.3 (virtual-8086 mode extensions) and 21.4 (protected mode).
 */
import type { Cpu } from '../cpu.ts';
import { GP } from '../faults.ts';
import { ARITHMETIC, DF, IF, IOPL, NT, RF, TF, VIF, VIP, VM } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import type { Routine } from './routine.ts';
import { Stack } from './stack.ts';

const CR4_VME = 1;
const CR4_PVI = 2;

const mayChangeIf = (cpu: Cpu): boolean => cpu.cpl <= (cpu.state.u32(L.RFLAGS) & IOPL) >> 12;

/** Whether programs of too little privilege have VIF in place of IF. */
export function hasVirtualFlag(cpu: Cpu): boolean {
  const virtual = (cpu.state.u32(L.RFLAGS) & VM) !== 0;
  return cpu.cpl === 3 && (cpu.state.u32(L.CR4) & (virtual ? CR4_VME : CR4_PVI)) !== 0;
}

const disableInterrupts: Routine = (cpu) => {
  if (!hasVirtualFlag(cpu)) return cpu.fault(GP, 0);
  cpu.state.setU32(L.RFLAGS, cpu.state.u32(L.RFLAGS) & ~VIF);
  return true;
};

/** STI with something pending: the next instruction runs before it. Or STI of VIF. */
const enableInterrupts: Routine = (cpu) => {
  const { state } = cpu;
  const flags = state.u32(L.RFLAGS);
  if (!mayChangeIf(cpu)) {
    // A virtual interrupt that waits is taken by the monitor, through this fault.
    if (!hasVirtualFlag(cpu) || flags & VIP) return cpu.fault(GP, 0);
    state.setU32(L.RFLAGS, flags | VIF);
    return true;
  }
  if (!(flags & IF)) cpu.shadow = true;
  state.setU32(L.RFLAGS, flags | IF);
  return true;
};

/** In virtual-8086 mode with IOPL below 3: the program sees VIF as IF, and IOPL as 3. */
const pushVirtualFlags: Routine = (cpu, i) => {
  if (i.size !== 16 || !hasVirtualFlag(cpu)) return cpu.fault(GP, 0);
  const stack = Stack.current(cpu);
  if (!stack.push(2, virtualImage(cpu.rflags))) return false;
  stack.keep();
  return true;
};

/** FLAGS as a program without IOPL sees them. */
export const virtualImage = (flags: number): number => (flags & ~IF) | IOPL | (flags & VIF ? IF : 0);

const popVirtualFlags: Routine = (cpu, i) => {
  if (i.size !== 16 || !hasVirtualFlag(cpu)) return cpu.fault(GP, 0);
  const stack = Stack.current(cpu);
  const popped = stack.pop(2);
  if (popped === undefined) return false;
  const image = Number(popped);
  const old = cpu.rflags;
  if (image & TF || (image & IF && old & VIP)) return cpu.fault(GP, 0);
  stack.keep();
  const mask = ARITHMETIC | TF | DF | NT;
  cpu.rflags = (old & ~(mask | VIF | RF)) | (image & mask) | (image & IF ? VIF : 0);
  return true;
};

export const VIRTUAL_INTERRUPTS: Readonly<Record<string, Routine>> = {
  disableInterrupts, enableInterrupts, pushVirtualFlags, popVirtualFlags,
}; // prettier-ignore
