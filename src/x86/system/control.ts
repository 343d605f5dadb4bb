/** Control and debug registers, descriptor-table registers, TLB maintenance. SDM vol. 3, chapters 2, 4.10 and 18. */
import type { Cpu } from '../cpu.ts';
import { DB, GP, UD } from '../faults.ts';
import * as L from '../runtime/layout.ts';
import { CR0_PE, CR0_PG, EFER_LMA, EFER_LME } from '../state.ts';
import { loadPdptes } from './pdptes.ts';
import type { Routine } from './routine.ts';

const CR0_WRITABLE = 0xe005_003f;
const CR0_ET = 0x10;
const CR0_NW = 1 << 29;
const CR0_CD = 1 << 30;
const CR4_PAE = 1 << 5;
const CR4_PCIDE = 1 << 17;
/** Changes that load the PDPTEs again: PG, CD, NW; PSE, PAE, PGE, SMEP. SDM vol. 3, 4.4.1. */
const PDPTE_CR0 = CR0_PG | CR0_CD | CR0_NW;
const PDPTE_CR4 = 0x10_00b0;
const DR7_GD = 1 << 13;
/** In a value for CR3: translations of its PCID stay. SDM vol. 3, 4.10.4.1. */
const KEEP = 1n << 63n;

/** CR4 bits that the features of the model allow. */
function cr4Allowed(cpu: Cpu): number {
  const { features } = cpu.model;
  let bits = 0x7ff; // VME to OSXMMEXCPT
  if (features.has('umip')) bits |= 1 << 11;
  if (features.has('fsgsbase')) bits |= 1 << 16;
  if (features.has('pcid')) bits |= CR4_PCIDE;
  if (features.has('xsave')) bits |= 1 << 18;
  if (features.has('smep')) bits |= 1 << 20;
  if (features.has('smap')) bits |= 1 << 21;
  return bits;
}

function privileged(cpu: Cpu): boolean {
  return cpu.cpl === 0 || cpu.fault(GP, 0);
}

function writeCr0(cpu: Cpu, value: bigint): boolean {
  const { state } = cpu;
  if (value >> 32n) return cpu.fault(GP, 0);
  const next = ((Number(value) & CR0_WRITABLE) | CR0_ET) >>> 0;
  const old = state.u32(L.CR0);
  if ((next & CR0_PG && !(next & CR0_PE)) || (next & CR0_NW && !(next & CR0_CD))) return cpu.fault(GP, 0);
  const efer = state.u32(L.EFER);
  const cr4 = state.u32(L.CR4);
  if (next & CR0_PG && !(old & CR0_PG)) {
    if (efer & EFER_LME) {
      if (!(cr4 & CR4_PAE) || state.attributes(1) & 0x2000) return cpu.fault(GP, 0);
      state.setU32(L.EFER, efer | EFER_LMA);
    }
  } else if (!(next & CR0_PG) && old & CR0_PG) {
    if (cpu.long || cr4 & CR4_PCIDE) return cpu.fault(GP, 0);
    state.setU32(L.EFER, efer & ~EFER_LMA);
  }
  const pae = next & CR0_PG && cr4 & CR4_PAE && !cpu.longModeActive;
  if (pae && (next ^ old) & PDPTE_CR0 && !loadPdptes(cpu, state.u64(L.CR3))) return false;
  state.setU64(L.CR0, BigInt(next));
  // Leaving protected mode: CPL is 0, the segments stay as they were cached.
  if (!(next & CR0_PE)) state.setU32(L.CPL, 0);
  if ((next ^ old) & (CR0_PG | CR0_PE | 0x10000)) cpu.engine.runtime.flushTlb();
  cpu.updateMode();
  return true;
}

function writeCr3(cpu: Cpu, value: bigint): boolean {
  const { state } = cpu;
  const pcide = (state.u32(L.CR4) & CR4_PCIDE) !== 0;
  if (cpu.longModeActive) {
    if ((pcide ? value & ~KEEP : value) >> 40n) return cpu.fault(GP, 0);
  } else {
    value &= 0xffffffffn;
    if (state.u32(L.CR4) & CR4_PAE && state.u32(L.CR0) & CR0_PG && !loadPdptes(cpu, value)) return false;
  }
  cpu.engine.runtime.loadCr3(value);
  return true;
}

function writeCr4(cpu: Cpu, value: bigint): boolean {
  const { state } = cpu;
  const old = state.u32(L.CR4);
  const next = Number(value & 0xffffffffn);
  if (value >> 32n || next & ~cr4Allowed(cpu)) return cpu.fault(GP, 0);
  if (cpu.longModeActive && !(next & CR4_PAE)) return cpu.fault(GP, 0);
  if (next & CR4_PCIDE && !(old & CR4_PCIDE) && (!cpu.longModeActive || state.u64(L.CR3) & 0xfffn)) return cpu.fault(GP, 0);
  const paging = state.u32(L.CR0) & CR0_PG && !cpu.longModeActive && next & CR4_PAE;
  if (paging && (next ^ old) & PDPTE_CR4 && !loadPdptes(cpu, state.u64(L.CR3))) return false;
  state.setU64(L.CR4, BigInt(next));
  if ((next ^ old) & 0x3200b0) cpu.engine.runtime.flushTlb(); // PSE PAE PGE PCIDE SMEP SMAP
  cpu.updateMode();
  return true;
}

const EXISTS: ReadonlySet<number> = new Set([0, 2, 3, 4, 8]);

const readControl: Routine = (cpu, i) => {
  if (!EXISTS.has(i.reg)) return cpu.fault(UD);
  if (!privileged(cpu)) return false;
  const { state } = cpu;
  const sources: Record<number, () => bigint> = {
    0: () => state.u64(L.CR0),
    2: () => state.u64(L.CR2),
    3: () => state.u64(L.CR3),
    4: () => state.u64(L.CR4),
    8: () => cpu.host.cr8 ?? 0n,
  };
  const source = sources[i.reg];
  if (!source || (i.reg === 8 && !cpu.long)) return cpu.fault(UD);
  cpu.writeRegister(i.rm, cpu.long ? 64 : 32, source());
  return true;
};

const writeControl: Routine = (cpu, i) => {
  if (!EXISTS.has(i.reg)) return cpu.fault(UD);
  if (!privileged(cpu)) return false;
  const { state } = cpu;
  const value = cpu.long ? state.u64(i.rm) : BigInt(state.u32(i.rm));
  switch (i.reg) {
    case 0:
      return writeCr0(cpu, value);
    case 2:
      state.setU64(L.CR2, value);
      return true;
    case 3:
      return writeCr3(cpu, value);
    case 4:
      return writeCr4(cpu, value);
    case 8:
      if (!cpu.long) return cpu.fault(UD);
      if (value > 15n) return cpu.fault(GP, 0);
      cpu.host.cr8 = value;
      return true;
    default:
      return cpu.fault(UD);
  }
};

/** DR4 and DR5 are DR6 and DR7 unless CR4.DE. */
function debugRegister(cpu: Cpu, number: number): number | undefined {
  if (number > 7) return undefined;
  if (number === 4 || number === 5) return cpu.state.u32(L.CR4) & 8 ? undefined : number + 2;
  return number;
}

function generalDetect(cpu: Cpu): boolean {
  const { state } = cpu;
  if (!(state.u32(L.DR7) & DR7_GD)) return false;
  state.setU64(L.DR + 32, state.u64(L.DR + 32) | 0x2000n);
  state.setU32(L.DR7, state.u32(L.DR7) & ~DR7_GD);
  return true;
}

const readDebug: Routine = (cpu, i) => {
  const number = debugRegister(cpu, i.reg);
  if (number === undefined) return cpu.fault(UD);
  if (!privileged(cpu)) return false;
  if (generalDetect(cpu)) return cpu.fault(DB);
  const { state } = cpu;
  const value = number < 4 ? state.u64(L.DR + number * 8) : number === 6 ? state.u64(L.DR + 32) : BigInt(state.u32(L.DR7));
  cpu.writeRegister(i.rm, cpu.long ? 64 : 32, value);
  return true;
};

const writeDebug: Routine = (cpu, i) => {
  const number = debugRegister(cpu, i.reg);
  if (number === undefined) return cpu.fault(UD);
  if (!privileged(cpu)) return false;
  if (generalDetect(cpu)) return cpu.fault(DB);
  const { state } = cpu;
  const value = cpu.long ? state.u64(i.rm) : BigInt(state.u32(i.rm));
  if (number >= 6 && value >> 32n) return cpu.fault(GP, 0);
  if (number < 4) state.setU64(L.DR + number * 8, value);
  else if (number === 6) state.setU64(L.DR + 32, (value & 0xe00fn) | 0xffff0ff0n);
  else state.setU32(L.DR7, (Number(value) & 0xffff2bff) | 0x400);
  state.setU32(L.WATCH_HITS, 0);
  cpu.engine.runtime.flushTlb(); // watched pages must not be in it
  return true;
};

const storeTable: Routine = (cpu, i) => {
  const { state } = cpu;
  if (state.u32(L.CR4) & 0x800 && cpu.cpl !== 0) return cpu.fault(GP, 0);
  const [base, limit] = i.encoding.digit === 0 ? [L.GDTR_BASE, L.GDTR_LIMIT] : [L.IDTR_BASE, L.IDTR_LIMIT];
  const bytes = cpu.long ? 10 : 6;
  const va = cpu.address(i, bytes, true);
  state.setU16(L.TRANSFER, state.u32(limit));
  state.setU64(L.TRANSFER + 2, state.u64(base));
  return cpu.engine.runtime.systemWrite(va, L.TRANSFER, bytes, cpu.cpl === 3 ? 4 : 0) !== 0;
};

const loadTable: Routine = (cpu, i) => {
  if (!privileged(cpu)) return false;
  const { state } = cpu;
  const bytes = cpu.long ? 10 : 6;
  if (!cpu.engine.runtime.systemRead(cpu.address(i, bytes), L.TRANSFER, bytes, 0)) return false;
  const limit = state.u16(L.TRANSFER);
  let base = cpu.long ? state.u64(L.TRANSFER + 2) : BigInt(state.u32(L.TRANSFER + 2));
  if (!cpu.long && i.size === 16) base &= 0xffffffn;
  if (BigInt.asUintN(64, BigInt.asIntN(48, base)) !== base) return cpu.fault(GP, 0);
  const [baseAt, limitAt] = i.encoding.digit === 2 ? [L.GDTR_BASE, L.GDTR_LIMIT] : [L.IDTR_BASE, L.IDTR_LIMIT];
  state.setU64(baseAt, base);
  state.setU32(limitAt, limit);
  return true;
};

const storeMachineStatus: Routine = (cpu, i) => {
  const { state } = cpu;
  if (state.u32(L.CR4) & 0x800 && cpu.cpl !== 0) return cpu.fault(GP, 0);
  return cpu.writeOperand(i, i.memory ? 16 : i.size, state.u64(L.CR0));
};

/** LMSW changes PE (only to 1), MP, EM and TS. */
const loadMachineStatus: Routine = (cpu, i) => {
  if (!privileged(cpu)) return false;
  const value = cpu.readOperand(i, 16);
  if (value === undefined) return false;
  const old = cpu.state.u64(L.CR0);
  return writeCr0(cpu, (old & ~0xen) | (value & 0xfn) | (old & 1n));
};

const clearTaskSwitched: Routine = (cpu) => {
  if (!privileged(cpu)) return false;
  cpu.state.setU64(L.CR0, cpu.state.u64(L.CR0) & ~8n);
  cpu.updateMode();
  return true;
};

const invalidatePage: Routine = (cpu, i) => {
  if (!privileged(cpu)) return false;
  cpu.engine.runtime.flushPage(cpu.address(i, 1));
  return true;
};

/** Types 0 to 3; each may drop more than it was asked for, and type 0 does. */
const invalidatePcid: Routine = (cpu, i) => {
  if (!privileged(cpu)) return false;
  const { state, engine } = cpu;
  const type = cpu.long ? state.u64(i.reg) : BigInt(state.u32(i.reg));
  if (!engine.runtime.systemRead(cpu.address(i, 16), L.TRANSFER, 16, 0)) return false;
  const pcid = state.u64(L.TRANSFER);
  const linear = state.u64(L.TRANSFER + 8);
  if (type > 3n || (type < 2n && pcid >> 12n)) return cpu.fault(GP, 0);
  if (type < 2n && pcid !== 0n && !(state.u32(L.CR4) & CR4_PCIDE)) return cpu.fault(GP, 0);
  if (type === 0n) {
    if (BigInt.asUintN(64, BigInt.asIntN(48, linear)) !== linear) return cpu.fault(GP, 0);
    engine.runtime.flushPage(linear);
  } else if (type === 1n) engine.runtime.flushPcid(Number(pcid));
  else if (type === 2n) engine.runtime.flushTlb();
  else engine.runtime.flushAllNonGlobal();
  return true;
};

const invalidateCaches: Routine = (cpu) => privileged(cpu);

export const CONTROL: Readonly<Record<string, Routine>> = {
  readControl, writeControl, readDebug, writeDebug, storeTable, loadTable, storeMachineStatus, loadMachineStatus,
  clearTaskSwitched, invalidatePage, invalidatePcid, invalidateCaches,
}; // prettier-ignore
