/** The SSE control and status register, and how raised exceptions reach it. */
import { MXCSR, SSE_FAULT } from './layout';

/** Bits of MXCSR; flags are in bits 0-5, their masks in 7-12, RC in 13-14. */
export const MXCSR_DAZ = 0x40;
export const MXCSR_FTZ = 0x8000;
/** RC, all masks: default modes are `(mxcsr & MODES) == DEFAULT_MODES`, apart from DAZ and FTZ. */
export const MODES = 0x7f80;
export const DEFAULT_MODES = 0x1f80;

const PRE_COMPUTATION = 7;

/** Flags raised by the elements of the operation in progress. */
let raised: i32 = 0;

export function mxcsr(): i32 {
  return load<i32>(MXCSR);
}

/** Rounding to nearest and all exceptions masked; flushing does not matter to normal numbers. */
export function isDefault(control: i32): bool {
  return (control & MODES) == DEFAULT_MODES;
}

/** As `isDefault`, and an inexact result changes nothing since PE is set already. */
export function isSettled(control: i32): bool {
  return (control & (MODES | 0x20)) == (DEFAULT_MODES | 0x20);
}

/** Collects an element's flags (bits as in MXCSR); `commit` accounts for all of them. */
export function raise(flags: i32): void {
  raised |= flags & 0x3f;
}

/**
 * Ends an operation: sets the sticky flags. An unmasked flag goes to SSE_FAULT too, and then the destination is to stay
 * unchanged. Numeric results' flags (OE, UE, PE) are not reported beside an unmasked invalid, denormal or division by
 * zero of any element (SDM vol. 1, 11.5.3.2).
 */
export function commit(): void {
  if (raised == 0) return;
  const control = mxcsr();
  const unmasked = ~(control >> 7) & 0x3f;
  if (raised & unmasked & PRE_COMPUTATION) raised &= PRE_COMPUTATION;
  store<i32>(MXCSR, control | raised);
  if (raised & unmasked) store<i32>(SSE_FAULT, load<i32>(SSE_FAULT) | (raised & unmasked));
  raised = 0;
}
