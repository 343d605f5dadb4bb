/** The processor's state in terms of the architecture, for other accelerators, and back: machine/processor-state.ts. */
import { VmError } from '../../base/errors.ts';
import {
  AVX_AT, type ProcessorState, processorState, STATE_MSR_NAMES, STATE_MSRS, XSAVE_BYTES, XSTATE_BV,
} from '../../machine/processor-state.ts'; // prettier-ignore
import type { Cpu } from '../cpu.ts';
import * as L from '../runtime/layout.ts';
import { describeSystemTime, isConstant, readMsr, timeStamp } from './msr.ts';

/** Places in XSAVE's legacy region. SDM vol. 1, table 10-2. */
const FCW = 0;
const FSW = 2;
const FTW = 4;
const FOP = 6;
const FIP = 8;
const FDP = 16;
const MXCSR = 24;
const ST = 32;
const XMM = 160;
const TOP_SHIFT = 11;
const ALL_STATE = 7n;

/** XSAVE's area in the standard format, whatever XCR0 says: no register's contents are lost. */
function vectorImage({ state }: Cpu): Uint8Array {
  const image = new Uint8Array(XSAVE_BYTES);
  const view = new DataView(image.buffer);
  const top = state.u32(L.FTOP);
  view.setUint16(FCW, state.u32(L.FCW), true);
  view.setUint16(FSW, state.u32(L.FSW) | (top << TOP_SHIFT), true);
  view.setUint8(FTW, state.u32(L.FTAG));
  view.setUint16(FOP, state.u32(L.FOP), true);
  view.setBigUint64(FIP, state.u64(L.FIP), true);
  view.setBigUint64(FDP, state.u64(L.FDP), true);
  view.setUint32(MXCSR, state.u32(L.MXCSR), true);
  for (let n = 0; n < 8; n++) {
    const register = L.X87 + ((top + n) & 7) * 16;
    view.setBigUint64(ST + n * 16, state.u64(register), true);
    view.setUint16(ST + n * 16 + 8, state.u16(register + 8), true);
  }
  for (let n = 0; n < 16; n++) {
    for (const half of [0, 8]) {
      view.setBigUint64(XMM + n * 16 + half, state.u64(L.YMM + n * 32 + half), true);
      view.setBigUint64(AVX_AT + n * 16 + half, state.u64(L.YMM + n * 32 + 16 + half), true);
    }
  }
  view.setBigUint64(XSTATE_BV, ALL_STATE, true);
  return image;
}

/** A component that XSTATE_BV leaves out is in its initial state. */
function takeVectorImage({ state, engine }: Cpu, image: Uint8Array): void {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const present = view.getBigUint64(XSTATE_BV, true);
  const [x87, sse, avx] = [present & 1n, present & 2n, present & 4n];
  const status = x87 ? view.getUint16(FSW, true) : 0;
  const top = (status >> TOP_SHIFT) & 7;
  state.setU32(L.FTOP, top);
  state.setU32(L.FSW, status);
  engine.runtime.x87SetControl(x87 ? view.getUint16(FCW, true) : 0x37f);
  engine.runtime.x87SetStatus(status);
  state.setU32(L.FTAG, x87 ? view.getUint8(FTW) : 0);
  state.setU32(L.FOP, x87 ? view.getUint16(FOP, true) & 0x7ff : 0);
  state.setU64(L.FIP, x87 ? view.getBigUint64(FIP, true) : 0n);
  state.setU64(L.FDP, x87 ? view.getBigUint64(FDP, true) : 0n);
  state.setU32(L.MXCSR, view.getUint32(MXCSR, true) & 0xffff);
  for (let n = 0; n < 8; n++) {
    const register = L.X87 + ((top + n) & 7) * 16;
    state.setU64(register, x87 ? view.getBigUint64(ST + n * 16, true) : 0n);
    state.setU64(register + 8, x87 ? BigInt(view.getUint16(ST + n * 16 + 8, true)) : 0n);
  }
  for (let n = 0; n < 16; n++) {
    for (const half of [0, 8]) {
      state.setU64(L.YMM + n * 32 + half, sse ? view.getBigUint64(XMM + n * 16 + half, true) : 0n);
      state.setU64(L.YMM + n * 32 + 16 + half, avx ? view.getBigUint64(AVX_AT + n * 16 + half, true) : 0n);
    }
  }
}

export function readArchitecture(cpu: Cpu): ProcessorState {
  const { state } = cpu;
  const saved = processorState.create();
  Object.assign(saved, cpu.registers());
  saved.xcr0 = state.u64(L.XCR0);
  for (let n = 0; n < 5; n++) saved.dr[n] = state.u64(L.DR + n * 8);
  saved.dr[5] = BigInt(state.u32(L.DR7));
  for (const name of STATE_MSR_NAMES) saved.msrs[name] = readMsr(cpu, STATE_MSRS[name]) ?? 0n;
  saved.tsc = timeStamp(cpu);
  saved.tscAdjust = state.u64(L.TSC_ADJUST);
  saved.xsave = vectorImage(cpu);
  saved.halted = cpu.halted;
  saved.shadow = cpu.shadow;
  saved.nmiBlocked = cpu.nmiBlocked;
  saved.nmiPending = cpu.nmiPending;
  saved.specCtrl = state.u64(L.SPEC_CTRL);
  saved.event = { ...cpu.event };
  return saved;
}

/** What was decoded before is void: another accelerator may have changed memory. */
export function writeArchitecture(cpu: Cpu, saved: ProcessorState): void {
  const { state, engine } = cpu;
  const foreign = saved.otherMsrs.filter(({ index, value }) => !isConstant(index, value));
  if (foreign.length > 0) {
    const named = foreign.map(({ index, value }) => `MSR 0x${index.toString(16)} (0x${value.toString(16)})`).join(', ');
    throw new VmError('unsupported', `the guest has set ${named}, which Daybreak’s own processor does not have: go on under KVM`);
  }
  engine.resetArena();
  state.setU64(L.XCR0, saved.xcr0 & ALL_STATE);
  cpu.setRegisters(saved);
  for (let n = 0; n < 5; n++) state.setU64(L.DR + n * 8, saved.dr[n]!);
  state.setU32(L.DR7, Number(saved.dr[5]! & 0xffff_ffffn));
  const { msrs } = saved;
  for (const [name, address] of MSR_PLACES) state.setU64(address, msrs[name]);
  state.setU64(L.TSC_ADJUST, saved.tscAdjust);
  cpu.setTscOffset(saved.tsc - cpu.time);
  if (msrs.kvmSystemTime & 1n) describeSystemTime(cpu);
  takeVectorImage(cpu, saved.xsave);
  cpu.halted = saved.halted;
  cpu.shadow = saved.shadow;
  cpu.debugShadow = false;
  cpu.trap = false;
  cpu.nmiBlocked = saved.nmiBlocked;
  cpu.nmiPending = saved.nmiPending;
  state.setU64(L.SPEC_CTRL, saved.specCtrl);
  cpu.event = { ...saved.event };
}

const MSR_PLACES = [
  ['sysenterCs', L.SYSENTER_CS], ['sysenterEsp', L.SYSENTER_ESP], ['sysenterEip', L.SYSENTER_EIP], ['pat', L.PAT],
  ['star', L.STAR], ['lstar', L.LSTAR], ['cstar', L.CSTAR], ['fmask', L.SFMASK], ['kernelGsBase', L.KERNEL_GS_BASE],
  ['tscAux', L.TSC_AUX], ['kvmWallClock', L.KVM_WALL], ['kvmSystemTime', L.KVM_TIME],
] as const; // prettier-ignore
