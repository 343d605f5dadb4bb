/** Where a lockstep program's things lie. Linear and physical addresses are the same unless said otherwise. */
import { DATA, KERNEL_STACK, PAGE } from '../engine/bench.ts';

export { CODE, DATA, KERNEL_STACK, PAGE } from '../engine/bench.ts';

/** Tops of the stacks of faults and of NMIs. */
export const FAULT_STACK = 0xa000;
export const NMI_STACK = 0xb000;
export const KERNEL = 0xc000;
/** The kernel's variables. */
export const VARIABLES = 0xe000;

/** Page tables of the second address space. */
export const OTHER_TABLES = 0x38000;

export const CODE_PAGES = 8;
/** The code's pages once more. */
export const ALIAS = 0x70000;
/** What the second address space has in place of some code pages. */
export const OTHER_CODE = 0x48000;

export const DATA_PAGES = 8;
export const READ_ONLY = 3;
/** Not present until the first access. */
export const LAZY: readonly number[] = [4, 6];
/** Never present. */
export const GUARD = 7;
/** Pages of the stack: two, with a gap below. */
export const STACK_TOP = 0x61000;
export const STACK_GAP = 0x5e000;
/** A device's page, by linear address. */
export const DEVICE = 0x200000;
export const DEVICE_GPA = 0xd000_0000;

export const TICK = 0x40;
export const RESCHEDULE = 0x41;
export const SERVICE = 0x80;

// In VARIABLES
export const SAVED_RSP = VARIABLES;
export const FAULTS = VARIABLES + 0x08;
export const TICKS = VARIABLES + 0x10;
export const NMIS = VARIABLES + 0x18;
export const STAMP = VARIABLES + 0x20;
/** Code addresses where a program goes on after a fault. */
export const LANDINGS = VARIABLES + 0x100;
export const LANDING_COUNT = 16;
/** Values for CR3. */
export const SPACES = VARIABLES + 0x200;
/** Immediates in code that may change. */
export const MUTABLE = VARIABLES + 0x300;
export const MUTABLE_COUNT = 32;
/** Entries of the code's pages as they should be. */
export const CODE_ENTRIES = VARIABLES + 0x400;
export const SERVICES = VARIABLES + 0x500;

export const dataPage = (n: number): number => DATA + n * PAGE;
export const kernelStack = KERNEL_STACK;
