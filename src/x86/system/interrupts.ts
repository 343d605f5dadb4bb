/** Delivery of interrupts and exceptions in long mode, and what happens when delivery itself faults. SDM vol. 3, 6.14, 6.15. */
import type { Cpu } from '../cpu.ts';
import { DE, DOUBLE_FAULT, GP, NP, PAGE_FAULT, SS as STACK_FAULT, TS } from '../faults.ts';
import { IF, NT, RF, TF, VM } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import { ATTR_CODE, ATTR_CONFORMING, ATTR_DB, ATTR_L, ATTR_P, ATTR_S, CS, SS, TR, dpl } from '../state.ts';
import { IMPLICIT } from './access.ts';
import { deliverLegacy } from './legacy-interrupts.ts';
import { isNull, markAccessed, readDescriptor, setNull, setSegment } from './segments.ts';

export type InterruptKind = 'exception' | 'external' | 'software';

const CONTRIBUTORY: ReadonlySet<number> = new Set([DE, TS, NP, STACK_FAULT, GP]);

/**
 * Delivers a vector at `cpu.next`. Faults on the way are delivered in its place or, by the table of SDM vol. 3, 6.15
 * (double fault), become one. Answers false on a triple fault.
 */
export function deliver(cpu: Cpu, vector: number, error: number | undefined, kind: InterruptKind): boolean {
  const { state } = cpu;
  for (let depth = 0; ; depth++) {
    if (deliverOnce(cpu, vector, error, kind)) return true;
    if (vector === DOUBLE_FAULT && kind === 'exception') return false;
    const second = state.u32(L.FAULT_VECTOR);
    const benign = kind !== 'exception' || !(CONTRIBUTORY.has(vector) || vector === PAGE_FAULT);
    const double = !benign && (vector === PAGE_FAULT ? CONTRIBUTORY.has(second) || second === PAGE_FAULT : CONTRIBUTORY.has(second));
    vector = double || depth > 4 ? DOUBLE_FAULT : second;
    error = double || depth > 4 ? 0 : state.u32(L.FAULT_ERROR);
    kind = 'exception';
  }
}

/** One delivery; false with a fault recorded and nothing changed. For INT n and the like, whose faults are the instruction's. */
export function deliverOnce(cpu: Cpu, vector: number, error: number | undefined, kind: InterruptKind): boolean {
  const done = cpu.longModeActive ? deliverLong(cpu, vector, error, kind) : deliverLegacy(cpu, vector, error, kind);
  if (done) cpu.trap = false;
  return done;
}

/** Whether an address is canonical, by its upper 32 bits. */
function canonicalHalf(high: number): boolean {
  const sign = (high | 0) >> 15;
  return sign === 0 || sign === -1;
}

/** One delivery through a 64-bit gate; false with a fault recorded. Sums need not be cut: WebAssembly and `State` do. */
function deliverLong(cpu: Cpu, vector: number, error: number | undefined, kind: InterruptKind): boolean {
  const { state } = cpu;
  const external = kind === 'software' ? 0 : 1;
  const gateError = vector * 8 + 2 + external;
  if (vector * 16 + 15 > state.u32(L.IDTR_LIMIT)) return cpu.fault(GP, gateError);
  if (!cpu.engine.runtime.systemRead(state.u64(L.IDTR_BASE) + BigInt(vector * 16), L.TRANSFER, 16, IMPLICIT)) return false;
  const low = state.u32(L.TRANSFER);
  const middle = state.u32(L.TRANSFER + 4);
  const high = state.u32(L.TRANSFER + 8);
  const type = (middle >>> 8) & 0x1f;
  if (type !== 14 && type !== 15) return cpu.fault(GP, gateError);
  if (kind === 'software' && ((middle >>> 13) & 3) < cpu.cpl) return cpu.fault(GP, gateError);
  if (!(middle & 0x8000)) return cpu.fault(NP, gateError);
  // The offset in one piece, where the gate has it in three.
  state.setU32(L.TRANSFER + 4, (middle & 0xffff0000) | (low & 0xffff));
  const target = state.u64(L.TRANSFER + 4);
  const selector = low >>> 16;
  const ist = middle & 7;
  if (isNull(selector)) return cpu.fault(GP, external);
  const code = readDescriptor(cpu, selector);
  if (!code) {
    if (state.u32(L.FAULT_VECTOR) === GP) state.setU32(L.FAULT_ERROR, state.u32(L.FAULT_ERROR) | external);
    return false;
  }
  const { attributes } = code;
  const selectorError = (selector & 0xfffc) | external;
  const level = dpl(attributes);
  if (!(attributes & ATTR_S) || !(attributes & ATTR_CODE) || level > cpu.cpl) return cpu.fault(GP, selectorError);
  if (!(attributes & ATTR_P)) return cpu.fault(NP, selectorError);
  if (!(attributes & ATTR_L) || attributes & ATTR_DB) return cpu.fault(GP, selectorError);
  if (!canonicalHalf(high)) return cpu.fault(GP, external);
  if (!markAccessed(cpu, code)) return false;
  const inner = !(attributes & ATTR_CONFORMING) && level < cpu.cpl;
  const cpl = attributes & ATTR_CONFORMING ? cpu.cpl : level;

  let stack = state.gpr(4);
  if (ist || inner) {
    const at = ist ? 28 + ist * 8 : 4 + level * 8;
    if (at + 7 > state.limit(TR)) return cpu.fault(TS, (state.selector(TR) & 0xfffc) | external);
    if (!cpu.engine.runtime.systemRead(state.base(TR) + BigInt(at), L.TRANSFER, 8, IMPLICIT)) return false;
    if (!canonicalHalf(state.u32(L.TRANSFER + 4))) return cpu.fault(STACK_FAULT, external);
    stack = state.u64(L.TRANSFER);
  } else if (!canonicalHalf(state.u32(L.GPR + 4 * 8 + 4))) return cpu.fault(STACK_FAULT, external);

  // The frame, lowest address first
  const flags = cpu.rflags;
  let at = L.TRANSFER;
  const put = (value: bigint): void => {
    state.setU64(at, value);
    at += 8;
  };
  const putWord = (value: number): void => {
    state.setU32(at, value);
    state.setU32(at + 4, 0);
    at += 8;
  };
  if (error !== undefined) putWord(error);
  put(cpu.ip);
  putWord(state.selector(CS));
  // RF is set in the image of a fault, so that an instruction breakpoint does not fire again.
  putWord(kind === 'exception' && vector !== 1 && vector !== 3 && vector !== 4 ? flags | RF : flags);
  put(state.gpr(4));
  putWord(state.selector(SS));
  const bytes = at - L.TRANSFER;
  // The stack is aligned to 16 bytes first.
  const pointer = (stack & ~0xfn) - BigInt(bytes);
  if (!cpu.engine.runtime.systemWrite(pointer, L.TRANSFER, bytes, cpl === 3 ? 4 : 0)) return false;

  setSegment(cpu, CS, (selector & ~3) | cpl, code);
  state.setU32(L.CPL, cpl);
  if (inner) setNull(cpu, SS, cpl);
  state.setGpr(4, pointer);
  const cleared = TF | NT | RF | VM | (type === 14 ? IF : 0);
  state.setU32(L.RFLAGS, state.u32(L.RFLAGS) & ~cleared);
  cpu.updateMode();
  cpu.next = target;
  return true;
}
