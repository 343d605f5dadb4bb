/** IRET in every mode. SDM vol. 2, IRET/IRETD/IRETQ; vol. 3, 20.2.7 and 20.3 for virtual-8086 mode. */
import type { Cpu } from '../cpu.ts';
import { GP, SS as STACK_FAULT } from '../faults.ts';
import { AC, ARITHMETIC, DF, ID, IF, IOPL, NT, RF, TF, VIF, VIP, VM } from '../flags.ts';
import type { Instruction } from '../instruction.ts';
import * as L from '../runtime/layout.ts';
import { CS, DS, ES, FS, GS, SS } from '../state.ts';
import { USER } from './access.ts';
import { checkTarget, dropInnerSegments, enterCode, isWide, returnCode, returnStack } from './privilege.ts';
import type { Routine } from './routine.ts';
import { setNull, setRealSegment, setSegment } from './segments.ts';
import { canonical, Stack } from './stack.ts';
import { returnToTask } from './tasks.ts';
import { hasVirtualFlag } from './virtual-interrupts.ts';

const RSP = 4;

const ioPrivilege = (flags: number): number => (flags >> 12) & 3;

/** Bits of the flags image that IRET loads at a privilege. SDM vol. 2, IRET, "RETURN-TO-SAME-PRIVILEGE-LEVEL". */
function loadableFlags(cpu: Cpu, size: number): number {
  const { cpl } = cpu;
  const wide = size > 16;
  let mask = ARITHMETIC | TF | DF | NT;
  if (wide) mask |= RF | AC | ID;
  if (cpl <= ioPrivilege(cpu.state.u32(L.RFLAGS))) mask |= IF;
  if (cpl === 0) mask |= wide ? IOPL | VIF | VIP : IOPL;
  return mask;
}

function loadFlags(cpu: Cpu, image: number, mask: number): void {
  cpu.rflags = (cpu.rflags & ~mask) | (image & mask);
}

/** From 64-bit code: SS and RSP are popped at any privilege. */
function returnFromWide(cpu: Cpu, i: Instruction): boolean {
  const { state, cpl } = cpu;
  if (state.u32(L.RFLAGS) & NT) return cpu.fault(GP, 0);
  const { size } = i;
  const bytes = size / 8;
  const pointer = state.gpr(RSP);
  if (!canonical(pointer)) return cpu.fault(STACK_FAULT, 0);
  const { systemRead } = cpu.engine.runtime;
  // Checked for alignment by the size of one element.
  if (cpl === 3 && !systemRead(pointer, L.TRANSFER, bytes, USER)) return false;
  if (!systemRead(pointer, L.TRANSFER, bytes * 5, cpl === 3 ? USER : 0)) return false;
  const offset = size === 64 ? state.u64(L.TRANSFER) : BigInt.asUintN(size, state.u64(L.TRANSFER));
  const selector = state.u16(L.TRANSFER + bytes);
  const image = state.u32(L.TRANSFER + bytes * 2) & (size === 16 ? 0xffff : 0xffffffff);
  const at = state.u64(L.TRANSFER + bytes * 3);
  const stackPointer = size === 64 ? at : BigInt.asUintN(size, at);
  const stackSelector = state.u16(L.TRANSFER + bytes * 4);

  const code = returnCode(cpu, selector);
  if (!code) return false;
  const rpl = selector & 3;
  const wide = isWide(cpu, code.attributes);
  const descriptor = returnStack(cpu, stackSelector, rpl, wide);
  if (descriptor === undefined || !checkTarget(cpu, code, offset)) return false;

  loadFlags(cpu, image, loadableFlags(cpu, size));
  if (descriptor) setSegment(cpu, SS, stackSelector, descriptor);
  else setNull(cpu, SS, stackSelector);
  if (wide) state.setGpr(RSP, stackPointer);
  else new Stack(cpu, descriptor ?? undefined, stackPointer, rpl).keep();
  enterCode(cpu, selector, code, rpl, offset);
  if (rpl > cpl) dropInnerSegments(cpu);
  return true;
}

/** Protected mode, and compatibility mode. */
function returnProtected(cpu: Cpu, i: Instruction): boolean {
  const { state, cpl } = cpu;
  if (state.u32(L.RFLAGS) & NT) return cpu.longModeActive ? cpu.fault(GP, 0) : returnToTask(cpu);
  const { size } = i;
  const bytes = size / 8;
  const stack = Stack.current(cpu);
  const popped = stack.popAll(bytes, 3);
  if (!popped) return false;
  const offset = popped[0]!;
  const selector = Number(popped[1]! & 0xffffn);
  const image = Number(popped[2]!);
  if (image & VM && cpl === 0 && size === 32 && !cpu.longModeActive) return returnToVirtual(cpu, stack, offset, selector, image);

  const code = returnCode(cpu, selector);
  if (!code) return false;
  const rpl = selector & 3;
  if (rpl === cpl) {
    if (!checkTarget(cpu, code, offset)) return false;
    loadFlags(cpu, image, loadableFlags(cpu, size));
    stack.keep();
    enterCode(cpu, selector, code, cpl, offset);
    return true;
  }
  const outer = stack.popAll(bytes, 2);
  if (!outer) return false;
  const stackSelector = Number(outer[1]! & 0xffffn);
  const wide = isWide(cpu, code.attributes);
  const descriptor = returnStack(cpu, stackSelector, rpl, wide);
  if (descriptor === undefined || !checkTarget(cpu, code, offset)) return false;
  loadFlags(cpu, image, loadableFlags(cpu, size));
  if (descriptor) setSegment(cpu, SS, stackSelector, descriptor);
  else setNull(cpu, SS, stackSelector);
  new Stack(cpu, wide || !descriptor ? undefined : descriptor, outer[0]!, rpl).keep();
  enterCode(cpu, selector, code, rpl, offset);
  dropInnerSegments(cpu);
  return true;
}

/** To virtual-8086 mode, from CPL 0. SDM vol. 3, 20.2.6. */
function returnToVirtual(cpu: Cpu, stack: Stack, offset: bigint, selector: number, image: number): boolean {
  const { state } = cpu;
  const rest = stack.popAll(4, 6);
  if (!rest) return false;
  if (offset > 0xffffn) return cpu.fault(GP, 0);
  const selectors = rest.map((value) => Number(value & 0xffffn));
  cpu.rflags = image;
  [SS, ES, DS, FS, GS].forEach((segment, n) => setRealSegment(cpu, segment, selectors[n + 1]!));
  setRealSegment(cpu, CS, selector);
  state.setU32(L.CPL, 3);
  state.setGpr(RSP, rest[0]!);
  cpu.updateMode();
  cpu.ip = offset;
  return true;
}

/** Real and virtual-8086 mode. */
function returnReal(cpu: Cpu, i: Instruction): boolean {
  const { state } = cpu;
  const { size } = i;
  const old = state.u32(L.RFLAGS);
  const virtual = (old & VM) !== 0;
  const extended = virtual && ioPrivilege(old) < 3;
  // With IOPL below 3 only the 16-bit form works, on the virtual interrupt flag. SDM vol. 3, 20.3.3.4.
  if (extended && (!hasVirtualFlag(cpu) || size !== 16)) return cpu.fault(GP, 0);
  const stack = Stack.current(cpu);
  const popped = stack.popAll(size / 8, 3);
  if (!popped) return false;
  const offset = popped[0]!;
  const image = Number(popped[2]!);
  if (offset > BigInt(state.limit(CS))) return cpu.fault(GP, 0);
  let mask = ARITHMETIC | TF | DF | NT;
  if (size > 16) mask |= RF | AC | ID;
  if (extended) {
    if (image & TF || (image & IF && old & VIP)) return cpu.fault(GP, 0);
    loadFlags(cpu, (image & ~VIF) | (image & IF ? VIF : 0), mask | VIF);
  } else loadFlags(cpu, image, mask | IF | (virtual ? 0 : IOPL));
  stack.keep();
  setRealSegment(cpu, CS, Number(popped[1]! & 0xffffn));
  cpu.updateMode();
  cpu.ip = offset;
  return true;
}

const interruptReturn: Routine = (cpu, i) => {
  const done = cpu.long
    ? returnFromWide(cpu, i)
    : cpu.protectedMode && !(cpu.state.u32(L.RFLAGS) & VM)
      ? returnProtected(cpu, i)
      : returnReal(cpu, i);
  if (done) cpu.nmiBlocked = false;
  return done;
};

export const IRET: Readonly<Record<string, Routine>> = { interruptReturn };
