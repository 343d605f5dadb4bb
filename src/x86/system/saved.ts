/** The processor's state as plain data. The state block is one stretch of memory, so it is saved as one. */
import { VmError } from '../../base/errors.ts';
import { bool, bytes, count, defineState } from '../../machine/state.ts';
import { NOTHING } from '../../machine/processor-state.ts';
import type { Cpu } from '../cpu.ts';
import * as L from '../runtime/layout.ts';

/** Everything of the state block that is architectural or part of an instruction boundary; TLB bases are derived. */
const SIZE = L.RAM_LOW - L.STATE;

const cpuState = defineState('x86-cpu', 2, {
  block: bytes(SIZE),
  next: bytes(8),
  executed: count(),
  halted: bool(),
  shadow: bool(),
  debugShadow: bool(),
});

export function saveCpu(cpu: Cpu): unknown {
  cpu.deliverEvent();
  const { state } = cpu;
  const next = new Uint8Array(8);
  new DataView(next.buffer).setBigUint64(0, cpu.next, true);
  return cpuState.save({
    block: new Uint8Array(state.view.buffer, L.STATE, SIZE).slice(),
    next,
    executed: cpu.executed,
    halted: cpu.halted,
    shadow: cpu.shadow,
    debugShadow: cpu.debugShadow,
  });
}

export function restoreCpu(cpu: Cpu, data: unknown): void {
  const saved = cpuState.load(data);
  const { state, engine } = cpu;
  const check = new DataView(saved.block.buffer, saved.block.byteOffset);
  if (check.getUint32(L.CPL - L.STATE, true) > 3 || check.getUint32(L.CODE_MODE - L.STATE, true) > 2) {
    throw new VmError('bad-state', 'x86-cpu.block: impossible privilege level or code mode');
  }
  new Uint8Array(state.view.buffer, L.STATE, SIZE).set(saved.block);
  engine.resetArena();
  cpu.event = NOTHING;
  engine.runtime.flushTlb();
  cpu.setTscOffset(state.u64(L.TSC_OFFSET));
  cpu.next = new DataView(saved.next.buffer, saved.next.byteOffset).getBigUint64(0, true);
  cpu.executed = saved.executed;
  cpu.halted = saved.halted;
  cpu.shadow = saved.shadow;
  cpu.debugShadow = saved.debugShadow;
  cpu.trap = false;
  cpu.updateMode();
}
