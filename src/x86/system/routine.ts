import type { Cpu } from '../cpu.ts';
import type { Instruction } from '../instruction.ts';

/**
 * What a row's semantics names when they are the system's business. `cpu.next` is already the next instruction; a
 * routine may change it. Answers false when a fault has been recorded, and then has changed nothing.
 */
export type Routine = (cpu: Cpu, i: Instruction) => boolean;
