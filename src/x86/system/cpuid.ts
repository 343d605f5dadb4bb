/** The CPUID instruction: what it answers is in machine/cpu-model.ts. */
import { cpuid } from '../../machine/cpu-model.ts';
import * as L from '../runtime/layout.ts';
import type { Routine } from './routine.ts';

const cpuidRoutine: Routine = (cpu) => {
  const { state } = cpu;
  const context = { osxsave: (state.u32(L.CR4) & (1 << 18)) !== 0, xcr0: state.u32(L.XCR0), apicId: 0 };
  const [eax, ebx, ecx, edx] = cpuid(cpu.model, state.gpr32(0), state.gpr32(1), context);
  state.setGpr32(0, eax);
  state.setGpr32(3, ebx);
  state.setGpr32(1, ecx);
  state.setGpr32(2, edx);
  return true;
};

export const CPUID: Readonly<Record<string, Routine>> = { cpuid: cpuidRoutine };
