/** Power-on state. SDM vol. 3, table 9-1. */
import type { Cpu } from '../cpu.ts';
import * as L from '../runtime/layout.ts';
import { ATTR_P, ATTR_S, ATTR_UNUSABLE, CS, LDTR, TR } from '../state.ts';

/** CR0 after reset: ET, NW and CD. */
const CR0_RESET = 0x6000_0010n;
const DATA = ATTR_P | ATTR_S | 3;
const CODE = ATTR_P | ATTR_S | 11;

export function resetCpu(cpu: Cpu): void {
  const { state } = cpu;
  // What is not state of the processor (memory sizes, the arena's fill) lies beyond.
  new Uint8Array(state.view.buffer, L.STATE, L.RAM_LOW - L.STATE).fill(0);
  cpu.setTscOffset(0n);
  state.setGpr(2, BigInt(cpu.model.signature));
  for (let n = 0; n < 6; n++) {
    state.setLimit(n, 0xffff);
    state.setAttributes(n, n === CS ? CODE : DATA);
  }
  state.setSelector(CS, 0xf000);
  state.setBase(CS, 0xffff0000n);
  state.setLimit(LDTR, 0xffff);
  state.setAttributes(LDTR, ATTR_P | 2 | ATTR_UNUSABLE);
  state.setLimit(TR, 0xffff);
  state.setAttributes(TR, ATTR_P | 11);
  state.setU32(L.GDTR_LIMIT, 0xffff);
  state.setU32(L.IDTR_LIMIT, 0xffff);
  state.setU64(L.CR0, CR0_RESET);
  state.setU32(L.DR7, 0x400);
  state.setU64(L.DR + 32, 0xffff0ff0n);
  state.setU32(L.FCW, 0x40);
  state.setU32(L.MXCSR, 0x1f80);
  state.setU64(L.XCR0, 1n);
  state.setU64(L.PAT, 0x0007040600070406n);
  cpu.rflags = 2;
  cpu.engine.runtime.flushTlb();
  cpu.updateMode();
  cpu.ip = 0xfff0n;
}
