/** All system routines by the names that rows give them. */
import { CALLS } from './calls.ts';
import { CONTROL } from './control.ts';
import { CPUID } from './cpuid.ts';
import { DECIMAL } from './decimal.ts';
import { FAR } from './far.ts';
import { IRET } from './iret.ts';
import { MSR } from './msr.ts';
import { PORTS } from './ports.ts';
import type { Routine } from './routine.ts';
import { SELECTORS } from './selectors.ts';
import { SOFT_INT } from './soft-int.ts';
import { SYSENTER } from './sysenter.ts';
import { VIRTUAL_INTERRUPTS } from './virtual-interrupts.ts';

export const ROUTINES: Readonly<Record<string, Routine>> = {
  ...CALLS, ...CONTROL, ...CPUID, ...DECIMAL, ...FAR, ...IRET, ...MSR, ...PORTS, ...SELECTORS, ...SOFT_INT, ...SYSENTER,
  ...VIRTUAL_INTERRUPTS,
}; // prettier-ignore
