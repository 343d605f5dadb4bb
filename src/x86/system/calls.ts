/** SYSCALL and SYSRET. SDM vol. 2; AMD64 APM vol. 3 for compatibility mode. */
import type { Cpu } from '../cpu.ts';
import { GP, UD } from '../faults.ts';
import { RF, TF, VM } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import { ATTR_DB, ATTR_G, ATTR_L, ATTR_P, ATTR_S, CR0_PE, CS, EFER_SCE, SS } from '../state.ts';
import type { Routine } from './routine.ts';

const FLAT = ATTR_G | ATTR_P | ATTR_S;

/** Flat segments by number, without reading descriptors. */
function setFlat(cpu: Cpu, segment: number, selector: number, attributes: number): void {
  const { state } = cpu;
  state.setSelector(segment, selector);
  state.setBase(segment, 0n);
  state.setLimit(segment, 0xffffffff);
  state.setAttributes(segment, attributes);
}

const systemCall: Routine = (cpu) => {
  const { state } = cpu;
  if (!(state.u32(L.EFER) & EFER_SCE) || !(state.u32(L.CR0) & CR0_PE)) return cpu.fault(UD);
  const star = Number(state.u64(L.STAR) >> 32n);
  const flags = cpu.rflags;
  const { long } = cpu;
  state.setGpr(1, cpu.longModeActive ? cpu.next : cpu.ip);
  if (cpu.longModeActive) {
    state.setGpr(11, BigInt(flags & ~RF));
    cpu.rflags = flags & ~RF & ~state.u32(L.SFMASK);
  } else cpu.rflags = flags & ~(VM | RF | 0x200);
  setFlat(cpu, CS, star & 0xfffc, FLAT | 11 | (cpu.longModeActive ? ATTR_L : ATTR_DB));
  setFlat(cpu, SS, ((star & 0xfffc) + 8) & 0xffff, FLAT | ATTR_DB | 3);
  state.setU32(L.CPL, 0);
  // Single step traps after SYSCALL and SYSRET by the flags that they load: SFMASK can prevent it.
  cpu.trap = (state.u32(L.RFLAGS) & TF) !== 0;
  cpu.updateMode();
  cpu.next = cpu.longModeActive ? state.u64(long ? L.LSTAR : L.CSTAR) : state.u64(L.STAR) & 0xffffffffn;
  return true;
};

const systemReturn: Routine = (cpu, i) => {
  const { state } = cpu;
  if (!(state.u32(L.EFER) & EFER_SCE) || !cpu.protectedMode) return cpu.fault(UD);
  if (cpu.cpl !== 0) return cpu.fault(GP, 0);
  const star = Number(state.u64(L.STAR) >> 48n);
  const target = state.gpr(1);
  const wide = cpu.longModeActive && i.size === 64;
  if (wide && BigInt.asUintN(64, BigInt.asIntN(48, target)) !== target) return cpu.fault(GP, 0);
  if (cpu.longModeActive) cpu.rflags = Number(state.gpr(11) & 0x3c7fd7n) | 2;
  else cpu.rflags |= 0x200;
  setFlat(cpu, CS, ((star + (wide ? 16 : 0)) & 0xffff) | 3, FLAT | 0x60 | 11 | (wide ? ATTR_L : ATTR_DB));
  setFlat(cpu, SS, ((star + 8) & 0xffff) | 3, FLAT | 0x60 | ATTR_DB | 3);
  state.setU32(L.CPL, 3);
  cpu.trap = (state.u32(L.RFLAGS) & TF) !== 0;
  cpu.updateMode();
  cpu.next = wide ? target : target & 0xffffffffn;
  return true;
};

export const CALLS: Readonly<Record<string, Routine>> = { systemCall, systemReturn };
