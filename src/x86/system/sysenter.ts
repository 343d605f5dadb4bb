/** SYSENTER and SYSEXIT. SDM vol. 2; vol. 3, 5.8.7. */
import type { Cpu } from '../cpu.ts';
import { GP } from '../faults.ts';
import { IF, RF, VM } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import { ATTR_ACCESSED, ATTR_CODE, ATTR_DB, ATTR_G, ATTR_L, ATTR_P, ATTR_S, ATTR_WRITE_READ, CS, SS } from '../state.ts';
import type { Routine } from './routine.ts';
import { canonical } from './stack.ts';

const RCX = 1;
const RDX = 2;
const RSP = 4;
const FLAT = ATTR_G | ATTR_P | ATTR_S | ATTR_WRITE_READ | ATTR_ACCESSED;

/** Flat CS and SS at a privilege, as the instructions make them up without reading descriptors. */
function enterFlat(cpu: Cpu, selector: number, cpl: number, wide: boolean): void {
  const { state } = cpu;
  for (const segment of [CS, SS]) {
    state.setSelector(segment, ((segment === CS ? selector : selector + 8) & 0xfffc) | cpl);
    state.setBase(segment, 0n);
    state.setLimit(segment, 0xffff_ffff);
    state.setAttributes(segment, FLAT | (cpl << 5) | (segment === SS ? ATTR_DB : ATTR_CODE | (wide ? ATTR_L : ATTR_DB)));
  }
  state.setU32(L.CPL, cpl);
  cpu.updateMode();
}

const systemEnter: Routine = (cpu) => {
  const { state } = cpu;
  const selector = state.u32(L.SYSENTER_CS) & 0xfffc;
  if (!cpu.protectedMode || selector === 0) return cpu.fault(GP, 0);
  const wide = cpu.longModeActive;
  cpu.rflags &= ~(VM | IF | RF);
  enterFlat(cpu, selector, 0, wide);
  const bits = wide ? 64 : 32;
  state.setGpr(RSP, BigInt.asUintN(bits, state.u64(L.SYSENTER_ESP)));
  cpu.next = BigInt.asUintN(bits, state.u64(L.SYSENTER_EIP));
  return true;
};

const systemExit: Routine = (cpu, i) => {
  const { state } = cpu;
  const selector = state.u32(L.SYSENTER_CS) & 0xfffc;
  if (!cpu.protectedMode || selector === 0 || cpu.cpl !== 0) return cpu.fault(GP, 0);
  const wide = i.size === 64;
  const target = state.gpr(RDX);
  const stack = state.gpr(RCX);
  if (wide && !(canonical(target) && canonical(stack))) return cpu.fault(GP, 0);
  enterFlat(cpu, selector + (wide ? 32 : 16), 3, wide);
  state.setGpr(RSP, BigInt.asUintN(wide ? 64 : 32, stack));
  cpu.next = BigInt.asUintN(wide ? 64 : 32, target);
  return true;
};

export const SYSENTER: Readonly<Record<string, Routine>> = { systemEnter, systemExit };
