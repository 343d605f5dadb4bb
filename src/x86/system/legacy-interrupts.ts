/**
 * Delivery of interrupts and exceptions outside long mode: the interrupt vector table of real mode, and the gates of
 * protected mode. SDM vol. 2, INT n; vol. 3, 6.10 to 6.13, 20.1.4 and 20.3.
 */
import type { Cpu } from '../cpu.ts';
import { GP, NP } from '../faults.ts';
import { AC, IF, NT, RF, TF, VM } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import { ATTR_P, ATTR_S, CS, DS, ES, FS, GS, SS, dpl } from '../state.ts';
import { IMPLICIT } from './access.ts';
import { checkTarget, enterCode, innerStack, isCode, isConforming, markExternal, takeStack } from './privilege.ts';
import { isNull, markAccessed, readDescriptor, setNull, setRealSegment, type Descriptor } from './segments.ts';
import { Stack } from './stack.ts';
import { switchTask } from './tasks.ts';

const TASK_GATE = 5;
/** Not faults: RF in the flags image stays as it was. SDM vol. 3, 18.3.1.1. */
const TRAPS: ReadonlySet<number> = new Set([1, 3, 4]);

/** One delivery; false with a fault recorded and nothing changed. */
export function deliverLegacy(cpu: Cpu, vector: number, error: number | undefined, kind: 'exception' | 'external' | 'software'): boolean {
  return cpu.protectedMode ? deliverProtected(cpu, vector, error, kind) : deliverReal(cpu, vector);
}

/** Through a table of far pointers at the linear address `table`; no error code is ever pushed. */
function deliverReal(cpu: Cpu, vector: number): boolean {
  const { state } = cpu;
  if (vector * 4 + 3 > state.u32(L.IDTR_LIMIT)) return cpu.fault(GP, 0);
  return throughVectorTable(cpu, state.u64(L.IDTR_BASE), vector, cpu.rflags, IF | TF | AC | RF);
}

/** Far pointers as in real mode; pushes `image` and clears `cleared`. */
export function throughVectorTable(cpu: Cpu, table: bigint, vector: number, image: number, cleared: number): boolean {
  const { state } = cpu;
  const entry = cpu.read((table + BigInt(vector * 4)) & 0xffff_ffffn, 4, IMPLICIT);
  if (entry === undefined) return false;
  const stack = Stack.current(cpu);
  if (!stack.pushAll(2, [image, state.selector(CS), cpu.ip])) return false;
  const offset = entry & 0xffffn;
  if (offset > BigInt(state.limit(CS))) return cpu.fault(GP, 0);
  stack.keep();
  cpu.rflags &= ~cleared;
  setRealSegment(cpu, CS, Number(entry >> 16n));
  cpu.updateMode();
  cpu.ip = offset;
  return true;
}

function deliverProtected(cpu: Cpu, vector: number, error: number | undefined, kind: 'exception' | 'external' | 'software'): boolean {
  const { state } = cpu;
  const external = kind === 'software' ? 0 : 1;
  const gateError = vector * 8 + 2 + external;
  if (vector * 8 + 7 > state.u32(L.IDTR_LIMIT)) return cpu.fault(GP, gateError);
  const gate = cpu.read((state.u64(L.IDTR_BASE) + BigInt(vector * 8)) & 0xffff_ffffn, 8, IMPLICIT);
  if (gate === undefined) return false;
  const low = Number(gate & 0xffffffffn);
  const high = Number(gate >> 32n);
  const type = (high >>> 8) & 0x1f;
  const interruptOrTrap = (type & ~9) === 6; // 6, 7, 14, 15
  if (!interruptOrTrap && type !== TASK_GATE) return cpu.fault(GP, gateError);
  if (kind === 'software' && ((high >>> 13) & 3) < cpu.cpl) return cpu.fault(GP, gateError);
  if (!(high & 0x8000)) return cpu.fault(NP, gateError);
  const selector = low >>> 16;
  if (type === TASK_GATE) return throughTaskGate(cpu, selector, error, external);

  if (isNull(selector)) return cpu.fault(GP, external);
  const code = readDescriptor(cpu, selector);
  if (!code) {
    markExternal(cpu, external);
    return false;
  }
  const { attributes } = code;
  const level = dpl(attributes);
  const { cpl } = cpu;
  const selectorError = (selector & 0xfffc) | external;
  if (!isCode(attributes) || level > cpl) return cpu.fault(GP, selectorError);
  if (!(attributes & ATTR_P)) return cpu.fault(NP, selectorError);
  const virtual = (state.u32(L.RFLAGS) & VM) !== 0;
  const inner = !isConforming(attributes) && level < cpl;
  if (virtual && (!inner || level !== 0)) return cpu.fault(GP, selectorError);

  const wide = (type & 8) !== 0;
  const bytes = wide ? 4 : 2;
  const offset = BigInt(wide ? ((high & 0xffff0000) | (low & 0xffff)) >>> 0 : low & 0xffff);
  if (!checkTarget(cpu, code, offset, external) || !markAccessed(cpu, code)) return false;
  const frame = [kind === 'exception' && !TRAPS.has(vector) ? cpu.rflags | RF : cpu.rflags, state.selector(CS), cpu.ip];
  if (error !== undefined) frame.push(error);
  if (!(inner ? enterInner(cpu, level, bytes, frame, virtual, external) : pushHere(cpu, bytes, frame))) return false;
  cpu.rflags &= ~(TF | NT | RF | VM | ((type & 1) === 0 ? IF : 0));
  enterCode(cpu, selector, code, inner ? level : cpl, offset);
  return true;
}

function pushHere(cpu: Cpu, bytes: number, frame: readonly (number | bigint)[]): boolean {
  const stack = Stack.current(cpu);
  if (!stack.pushAll(bytes, frame)) return false;
  stack.keep();
  return true;
}

/** Pushes on the inner level's stack and makes that the current one. SDM vol. 3, 6.12.1; from virtual-8086 mode 20.3.1.1. */
function enterInner(
  cpu: Cpu,
  level: number,
  bytes: number,
  frame: readonly (number | bigint)[],
  virtual: boolean,
  external: number,
): boolean {
  const { state } = cpu;
  const inner = innerStack(cpu, level, external);
  if (!inner) return false;
  const data = virtual ? [GS, FS, DS, ES] : [];
  const saved = [...data.map((segment) => state.selector(segment)), state.selector(SS), state.gpr(4)];
  if (!inner.stack.pushAll(bytes, [...saved, ...frame])) return false;
  takeStack(cpu, inner);
  for (const segment of data) setNull(cpu, segment, 0);
  return true;
}

function throughTaskGate(cpu: Cpu, selector: number, error: number | undefined, external: number): boolean {
  const selectorError = (selector & 0xfffc) | external;
  if (isNull(selector) || selector & 4) return cpu.fault(GP, selectorError);
  const descriptor: Descriptor | undefined = readDescriptor(cpu, selector);
  if (!descriptor) {
    markExternal(cpu, external);
    return false;
  }
  if ((descriptor.attributes & (ATTR_S | 7)) !== 1) return cpu.fault(GP, selectorError);
  if (!(descriptor.attributes & ATTR_P)) return cpu.fault(NP, selectorError);
  return switchTask(cpu, selector, descriptor, 'interrupt', external, error);
}
