/** Model-specific registers, the time-stamp counter, random numbers. SDM vol. 4; Linux's Documentation/virt/kvm/x86/msr.rst. */
import type { Cpu } from '../cpu.ts';
import { GP, UD } from '../faults.ts';
import { ARITHMETIC, CF } from '../flags.ts';
import * as L from '../runtime/layout.ts';
import { EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE, FS, GS } from '../state.ts';
import type { Routine } from './routine.ts';

const canonical = (value: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, value)) === value;

/** Registers that are just kept: index to the state's address. */
const PLAIN: Readonly<Record<number, number>> = {
  0x174: L.SYSENTER_CS, 0x175: L.SYSENTER_ESP, 0x176: L.SYSENTER_EIP, 0x277: L.PAT,
  0xc0000081: L.STAR, 0xc0000082: L.LSTAR, 0xc0000083: L.CSTAR, 0xc0000084: L.SFMASK,
  0xc0000100: L.SEG_BASE + FS * 8, 0xc0000101: L.SEG_BASE + GS * 8, 0xc0000102: L.KERNEL_GS_BASE, 0xc0000103: L.TSC_AUX,
}; // prettier-ignore

/** Must hold canonical addresses. */
const ADDRESSES: ReadonlySet<number> = new Set([0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102]);

/** Registers that read as constants and swallow writes: machine check, MTRRs, microcode, power. */
const CONSTANT: Readonly<Record<number, bigint>> = {
  0x17: 0n, // platform id
  0x3a: 1n, // feature control: locked, no VMX
  0x8b: 1n << 32n, // microcode revision
  0xce: 0n, // platform info
  0xfe: 0n, // MTRR capabilities: none
  0x179: 0n, 0x17a: 0n, 0x17b: 0n, // machine check: no banks
  0x1a0: 1n, // fast strings
  0x1d9: 0n, // DEBUGCTL
  0x2ff: 0n, // MTRR default type
  0x140: 0n, 0x33: 0n,
  0xc0010015: 1n << 24n, // AMD HWCR: TSC counts at the nominal rate
  0xc001001f: 0n, 0xc0011029: 2n, // AMD NB_CFG, DE_CFG: LFENCE serializes
}; // prettier-ignore

/**
 * IA32_ARCH_CAPABILITIES: no side channel of real hardware exists here. RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO,
 * IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO; no bit that promises
 * another register. SDM vol. 4, table 2-2.
 */
const ARCH_CAPABILITIES = [0, 1, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62].reduce((value, bit) => value | (1n << BigInt(bit)), 0n);

/**
 * IA32_SPEC_CTRL, by the features that offer its bits, which do nothing here. Linux trusts BHI_NO for attacks from outside the kernel only: without
 * BHI_DIS_S it runs a loop of branches at each system call.
 */
const SPEC_CTRL = 0x48;
const SPEC_CTRL_BITS: Readonly<Record<string, bigint>> = { bhi_ctrl: 0x401n, spec_ctrl: 1n, stibp: 2n, ssbd: 4n };

function specCtrlBits({ model: { features } }: Cpu): bigint {
  return Object.entries(SPEC_CTRL_BITS).reduce((bits, [feature, bit]) => (features.has(feature) ? bits | bit : bits), 0n);
}

const TSC = 0x10;
const EFER = 0xc0000080;
const KVM_WALL_CLOCK = 0x4b564d00;
const KVM_SYSTEM_TIME = 0x4b564d01;

export function timeStamp(cpu: Cpu): bigint {
  return BigInt.asUintN(64, cpu.time + cpu.state.u64(L.TSC_OFFSET));
}

/** What the guest adds to its TSC shows in IA32_TSC_ADJUST, too. SDM vol. 3, 18.17.3. */
function moveTsc(cpu: Cpu, by: bigint): void {
  const { state } = cpu;
  state.setU64(L.TSC_ADJUST, BigInt.asUintN(64, state.u64(L.TSC_ADJUST) + by));
  cpu.setTscOffset(state.u64(L.TSC_OFFSET) + by);
  if (state.u64(L.KVM_TIME) & 1n) describeSystemTime(cpu);
}

export function readMsr(cpu: Cpu, index: number): bigint | undefined {
  const { state } = cpu;
  const plain = PLAIN[index];
  if (plain !== undefined) return state.u64(plain);
  switch (index) {
    case TSC:
      return timeStamp(cpu);
    case EFER:
      return BigInt(state.u32(L.EFER));
    case 0x3b: // TSC_ADJUST
      return state.u64(L.TSC_ADJUST);
    case SPEC_CTRL:
      return specCtrlBits(cpu) ? state.u64(L.SPEC_CTRL) : undefined;
    case 0x10a:
      return cpu.model.features.has('arch_capabilities') ? ARCH_CAPABILITIES : undefined;
    case 0xda0: // XSS
      return cpu.model.features.has('xsaves') ? state.u64(L.XSS) : undefined;
    case KVM_WALL_CLOCK:
    case 0x11:
      return state.u64(L.KVM_WALL);
    case KVM_SYSTEM_TIME:
    case 0x12:
      return state.u64(L.KVM_TIME);
    default:
      return CONSTANT[index] ?? cpu.host.readMsr(index);
  }
}

function writeEfer(cpu: Cpu, value: bigint): boolean {
  const { state } = cpu;
  const old = state.u32(L.EFER);
  const allowed = EFER_SCE | EFER_LME | EFER_NXE | EFER_LMA | (1 << 14);
  if (value & ~BigInt(allowed)) return false;
  const next = (Number(value) & ~EFER_LMA) | (old & EFER_LMA);
  if ((next ^ old) & EFER_LME && state.u32(L.CR0) & 0x80000000) return false;
  state.setU32(L.EFER, next);
  if ((next ^ old) & EFER_NXE) cpu.engine.runtime.flushTlb();
  return true;
}

function writeSystemTime(cpu: Cpu, value: bigint): boolean {
  cpu.state.setU64(L.KVM_TIME, value);
  return (value & 1n) === 0n || describeSystemTime(cpu);
}

/**
 * Fills in pvclock_vcpu_time_info, where the guest wants it: with a TSC of 1 GHz that never stops, time is the TSC itself. A guest
 * that is reading there what was so before, under another accelerator, sees another version and reads again.
 */
export function describeSystemTime(cpu: Cpu): boolean {
  const gpa = Number(cpu.state.u64(L.KVM_TIME) & ~1n);
  const { memory } = cpu.host;
  const info = memory.view(gpa, 32);
  if (!info) return false;
  const view = new DataView(info.buffer, info.byteOffset, 32);
  const before = info.slice();
  view.setUint32(4, 0, true);
  view.setBigUint64(8, cpu.state.u64(L.TSC_OFFSET), true); // TSC at which system_time was
  view.setBigUint64(16, 0n, true);
  view.setUint32(24, 0x80000000, true); // ns = (ticks << 1) * mul >> 32
  view.setInt8(28, 1);
  view.setUint8(29, 1); // TSC is stable
  view.setUint16(30, 0, true);
  if (info.every((byte, n) => byte === before[n])) return true;
  view.setUint32(0, ((view.getUint32(0, true) | 1) + 1) >>> 0, true); // even means consistent
  memory.written(gpa, 32);
  return true;
}

/** pvclock_wall_clock: the time of day at system time zero. */
function writeWallClock(cpu: Cpu, value: bigint): boolean {
  cpu.state.setU64(L.KVM_WALL, value);
  const gpa = Number(value);
  const { memory, epochMs } = cpu.host;
  if (memory.hostOffset(gpa, 12) < 0) return false;
  memory.write32(gpa, 2);
  memory.write32(gpa + 4, Math.floor(epochMs / 1000));
  memory.write32(gpa + 8, Math.floor(epochMs % 1000) * 1_000_000);
  return true;
}

/** Whether a register has that value here and cannot have another. */
export const isConstant = (index: number, value: bigint): boolean => CONSTANT[index] === value;

/** False: the register does not exist or refuses the value. */
export function writeMsr(cpu: Cpu, index: number, value: bigint): boolean {
  const { state } = cpu;
  const plain = PLAIN[index];
  if (plain !== undefined) {
    if (ADDRESSES.has(index) && !canonical(value)) return false;
    if (index === 0x277 && !patValid(value)) return false;
    if (index === 0xc0000084 || index === 0xc0000103) value &= 0xffffffffn;
    state.setU64(plain, value);
    return true;
  }
  switch (index) {
    case TSC:
      moveTsc(cpu, value - timeStamp(cpu));
      return true;
    case 0x3b:
      moveTsc(cpu, value - state.u64(L.TSC_ADJUST));
      return true;
    case EFER:
      return writeEfer(cpu, value);
    case SPEC_CTRL:
      if (value & ~specCtrlBits(cpu) || !specCtrlBits(cpu)) return false;
      state.setU64(L.SPEC_CTRL, value);
      return true;
    case 0x10a:
      return false;
    case 0xda0:
      return value === 0n && cpu.model.features.has('xsaves');
    case KVM_WALL_CLOCK:
    case 0x11:
      return writeWallClock(cpu, value);
    case KVM_SYSTEM_TIME:
    case 0x12:
      return writeSystemTime(cpu, value);
    case 0x49: // PRED_CMD, FLUSH_CMD: nothing to predict or flush
    case 0x10b:
    case 0x79:
      return true;
    default:
      return CONSTANT[index] !== undefined || cpu.host.writeMsr(index, value);
  }
}

/** Each byte one of the memory types UC, WC, WT, WP, WB, UC-. */
function patValid(value: bigint): boolean {
  for (let n = 0n; n < 64n; n += 8n) {
    const type = (value >> n) & 0xffn;
    if (type > 7n || type === 2n || type === 3n) return false;
  }
  return true;
}

const readMsrRoutine: Routine = (cpu) => {
  if (cpu.cpl !== 0) return cpu.fault(GP, 0);
  const value = readMsr(cpu, cpu.state.gpr32(1));
  if (value === undefined) return cpu.fault(GP, 0);
  cpu.state.setGpr(0, value & 0xffffffffn);
  cpu.state.setGpr(2, value >> 32n);
  return true;
};

const writeMsrRoutine: Routine = (cpu) => {
  const { state } = cpu;
  if (cpu.cpl !== 0) return cpu.fault(GP, 0);
  const value = (BigInt(state.gpr32(2)) << 32n) | BigInt(state.gpr32(0));
  return writeMsr(cpu, state.gpr32(1), value) || cpu.fault(GP, 0);
};

const readPmc: Routine = (cpu) => cpu.fault(GP, 0);

/** RDRAND and RDSEED always succeed: CF set, the other flags clear. */
const random: Routine = (cpu, i) => {
  cpu.writeRegister(i.rm, i.size, cpu.host.random());
  cpu.rflags = (cpu.rflags & ~ARITHMETIC) | CF;
  return true;
};

const readXcr: Routine = (cpu) => {
  const { state } = cpu;
  if (!(state.u32(L.CR4) & (1 << 18))) return cpu.fault(UD);
  const index = state.gpr32(1);
  if (index > 1) return cpu.fault(GP, 0);
  const value = state.u64(L.XCR0);
  state.setGpr(0, value & 0xffffffffn);
  state.setGpr(2, value >> 32n);
  return true;
};

const writeXcr: Routine = (cpu) => {
  const { state, model } = cpu;
  if (!(state.u32(L.CR4) & (1 << 18))) return cpu.fault(UD);
  if (cpu.cpl !== 0) return cpu.fault(GP, 0);
  const value = (BigInt(state.gpr32(2)) << 32n) | BigInt(state.gpr32(0));
  const supported = model.features.has('avx') ? 7n : 3n;
  if (state.gpr32(1) !== 0 || value & ~supported || !(value & 1n) || (value & 6n) === 4n) return cpu.fault(GP, 0);
  state.setU64(L.XCR0, value);
  cpu.updateMode();
  return true;
};

export const MSR: Readonly<Record<string, Routine>> = {
  readMsr: readMsrRoutine, writeMsr: writeMsrRoutine, readPmc, random, readXcr, writeXcr,
}; // prettier-ignore
