/** Functions that a module of regions imports: as many as it calls. */
import * as L from '../layout';

/** Those that every region may call, by their indices. */
export const LEAVE_AT: u32 = 0;
export const LEAVE_TO: u32 = 1;
export const LEAVE_HERE: u32 = 2;
export const LEAVE_UNBEGUN: u32 = 3;
const LEAVES: u32 = 4;

/** A module begins. */
export function beginModule(): void {
  memory.fill(L.COMPILE_CALLEES, 0, 1024);
  store<u32>(L.COMPILE_RESULT, 0, 4);
}

/** Index of a function in the module, by its number in templates. */
export function indexOf(callee: u32): u32 {
  const known = load<u32>(L.COMPILE_CALLEES + (callee << 2));
  if (known) return known;
  const called = load<u32>(L.COMPILE_RESULT, 4);
  store<u32>(L.COMPILE_CALLED + (called << 2), callee);
  store<u32>(L.COMPILE_RESULT, called + 1, 4);
  store<u32>(L.COMPILE_CALLEES + (callee << 2), LEAVES + called);
  return LEAVES + called;
}
