import type { VCpuCounts } from '../vcpu.ts';

/** Counts of a processor that has executed so many instructions and done nothing else. */
export function countsOf(instructions: number): VCpuCounts {
  return { instructions, interpreted: instructions, compiled: 0, decoded: 0, tlbMisses: 0, invalidations: 0, exits: {} };
}
