/** Access flags of `Runtime.systemRead` and `systemWrite`, `Cpu.read` and `Cpu.write`; as in runtime/mmu.ts. */

/** By user code: page rights as at CPL 3. */
export const USER = 4;
/** By the processor itself, for descriptor tables and the like: supervisor rights at any CPL, never excepted from SMAP. */
export const IMPLICIT = 256;
