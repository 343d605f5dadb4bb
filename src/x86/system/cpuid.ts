/**
 * CPUID and the CPU models. What a model offers is what its programs will use, so it is a policy as much as a fact: what
 * runs fast here (`rep movsb` as a bulk copy, time from the TSC) is advertised. SDM vol. 2, CPUID.
 */
import { VmError } from '../../base/errors.ts';
import * as L from '../runtime/layout.ts';
import type { Routine } from './routine.ts';

export interface CpuModel {
  readonly name: string;
  /** Names as in /proc/cpuinfo, without underscores where the manual has none. */
  readonly features: ReadonlySet<string>;
  /** Family, model and stepping: leaf 1, EAX. */
  readonly signature: number;
}

const BASE =
  'fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm pdpe1gb rdtscp lahf constant_tsc'.split(
    ' ',
  );
/** What a machine has whatever its instruction set level. */
const SYSTEM =
  'x2apic tsc_deadline hypervisor arat smep smap umip fsgsbase erms fsrm rdpid invpcid pcid rdrand rdseed arch_capabilities bhi_ctrl tsc_adjust clflushopt'.split(
    ' ',
  );
const V2 = 'sse3 ssse3 sse41 sse42 popcnt cx16'.split(' ');
const V3 = 'avx avx2 bmi1 bmi2 f16c fma lzcnt movbe xsave'.split(' ');
const MAX = 'aes pclmul sha adx xsaveopt xsavec xgetbv1 xsaves vaes vpclmulqdq'.split(' ');

const LEVELS: Readonly<Record<string, readonly string[]>> = {
  'x86-64': [...BASE, ...SYSTEM],
  'x86-64-v2': [...BASE, ...SYSTEM, ...V2],
  'x86-64-v3': [...BASE, ...SYSTEM, ...V2, ...V3],
  max: [...BASE, ...SYSTEM, ...V2, ...V3, ...MAX],
};

/** @param implemented features that the instruction table and the system really have */
export function cpuModel(name: string, implemented: (feature: string) => boolean): CpuModel {
  const features = LEVELS[name];
  if (!features) throw new VmError('usage', `unknown CPU model ${name} (known: ${Object.keys(LEVELS).join(', ')})`);
  // Intel family 6 model 85: a signature for which kernels know no erratum that matters here.
  return { name, features: new Set(features.filter(implemented)), signature: 0x00050657 };
}

type Bits = Readonly<Record<string, number>>;

const LEAF1_EDX: Bits = {
  fpu: 0, vme: 1, de: 2, pse: 3, tsc: 4, msr: 5, pae: 6, mce: 7, cx8: 8, apic: 9, sep: 11, mtrr: 12, pge: 13, mca: 14, cmov: 15,
  pat: 16, pse36: 17, clflush: 19, mmx: 23, fxsr: 24, sse: 25, sse2: 26,
}; // prettier-ignore
const LEAF1_ECX: Bits = {
  sse3: 0, pclmul: 1, ssse3: 9, fma: 12, cx16: 13, pcid: 17, sse41: 19, sse42: 20, x2apic: 21, movbe: 22, popcnt: 23,
  tsc_deadline: 24, aes: 25, xsave: 26, avx: 28, f16c: 29, rdrand: 30, hypervisor: 31,
}; // prettier-ignore
const LEAF7_EBX: Bits = {
  fsgsbase: 0, tsc_adjust: 1, bmi1: 3, avx2: 5, smep: 7, bmi2: 8, erms: 9, invpcid: 10, rdseed: 18, adx: 19, smap: 20, clflushopt: 23, sha: 29,
}; // prettier-ignore
const LEAF7_ECX: Bits = { umip: 2, vaes: 9, vpclmulqdq: 10, rdpid: 22 };
const LEAF7_EDX: Bits = { fsrm: 4, serialize: 14, arch_capabilities: 29 };
const LEAF7_2_EDX: Bits = { bhi_ctrl: 4 };
const EXT1_EDX: Bits = { syscall: 11, nx: 20, pdpe1gb: 26, rdtscp: 27, lm: 29 };
const EXT1_ECX: Bits = { lahf: 0, lzcnt: 5 };
const LEAFD1_EAX: Bits = { xsaveopt: 0, xsavec: 1, xgetbv1: 2, xsaves: 3 };

function bitsOf(table: Bits, features: ReadonlySet<string>): number {
  let value = 0;
  for (const [name, bit] of Object.entries(table)) if (features.has(name)) value |= 1 << bit;
  return value >>> 0;
}

const text = (s: string, at: number): number =>
  [0, 1, 2, 3].reduce((value, n) => value | ((s.charCodeAt(at + n) || 0) << (8 * n)), 0) >>> 0;

export type Leaf = readonly [eax: number, ebx: number, ecx: number, edx: number];
const NOTHING: Leaf = [0, 0, 0, 0];

/** Facts of the running machine that CPUID reports. */
export interface CpuidContext {
  readonly osxsave: boolean;
  readonly xcr0: number;
  readonly apicId: number;
}

const MAX_LEAF = 0x16;
const MAX_EXTENDED = 0x80000008;
const MAX_HYPERVISOR = 0x40000010;

export function cpuid(model: CpuModel, leaf: number, subleaf: number, context: CpuidContext): Leaf {
  const { features } = model;
  // Beyond the last leaf, Intel's answer is the highest basic leaf's; a kernel never relies on it: zeros are safer.
  switch (leaf) {
    case 0:
      return [MAX_LEAF, text('Genu', 0), text('ntel', 0), text('ineI', 0)];
    case 1:
      return [
        model.signature,
        (context.apicId << 24) | (1 << 16) | (8 << 8),
        (bitsOf(LEAF1_ECX, features) | (context.osxsave ? 1 << 27 : 0)) >>> 0,
        bitsOf(LEAF1_EDX, features),
      ];
    case 2:
      return [0x00feff01, 0, 0, 0];
    case 4: // 32 KiB L1D and L1I, 1 MiB L2, 16 MiB L3
      if (subleaf === 0) return [0x121, (7 << 22) | 63, 63, 0];
      if (subleaf === 1) return [0x122, (7 << 22) | 63, 63, 0];
      if (subleaf === 2) return [0x143, (15 << 22) | 63, 1023, 0];
      if (subleaf === 3) return [0x163, (15 << 22) | 63, 16383, 4];
      return NOTHING;
    case 6:
      return [features.has('arat') ? 4 : 0, 0, 0, 0];
    case 7:
      if (subleaf === 2) return [0, 0, 0, bitsOf(LEAF7_2_EDX, features)];
      if (subleaf !== 0) return NOTHING;
      // Bit 13: FCS and FDS are not kept.
      return [2, (bitsOf(LEAF7_EBX, features) | (1 << 13)) >>> 0, bitsOf(LEAF7_ECX, features), bitsOf(LEAF7_EDX, features)];
    case 0xb: // one thread, one core
      if (subleaf === 0) return [0, 1, 0x100, context.apicId];
      if (subleaf === 1) return [0, 1, 0x201, context.apicId];
      return [0, 0, subleaf, context.apicId];
    case 0xd: {
      if (!features.has('xsave')) return NOTHING;
      const supported = features.has('avx') ? 7 : 3;
      const size = (xcr0: number): number => (xcr0 & 4 ? 832 : 576);
      if (subleaf === 0) return [supported, size(context.xcr0), size(supported), 0];
      if (subleaf === 1) return [bitsOf(LEAFD1_EAX, features), size(context.xcr0), 0, 0];
      if (subleaf === 2 && features.has('avx')) return [256, 576, 0, 0];
      return NOTHING;
    }
    case 0x15: // the TSC runs at 1 GHz: 25 MHz crystal times 40
      return [1, 40, 25_000_000, 0];
    case 0x16:
      return [1000, 1000, 100, 0];
    case 0x40000000:
      return [MAX_HYPERVISOR, text('KVMK', 0), text('VMKV', 0), text('M\0\0\0', 0)];
    case 0x40000001: // CLOCKSOURCE, NOP_IO_DELAY, CLOCKSOURCE2, and that the clock needs no check between processors
      return [(1 << 0) | (1 << 1) | (1 << 3) | (1 << 24), 0, 0, 0];
    case 0x40000010: // TSC and bus frequency in kHz
      return [1_000_000, 1_000_000, 0, 0];
    case 0x80000000:
      return [MAX_EXTENDED, 0, 0, 0];
    case 0x80000001:
      return [0, 0, bitsOf(EXT1_ECX, features), bitsOf(EXT1_EDX, features)];
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const brand = `Daybreak ${model.name} virtual processor`.padEnd(48, '\0');
      const at = (leaf - 0x80000002) * 16;
      return [text(brand, at), text(brand, at + 4), text(brand, at + 8), text(brand, at + 12)];
    }
    case 0x80000006:
      return [0, 0, (1024 << 16) | (6 << 12) | 64, 0];
    case 0x80000007: // the TSC is invariant
      return [0, 0, 0, 1 << 8];
    case 0x80000008: // 40 physical, 48 linear address bits
      return [(48 << 8) | 40, 0, 0, 0];
    default:
      return NOTHING;
  }
}

const cpuidRoutine: Routine = (cpu) => {
  const { state } = cpu;
  const context = { osxsave: (state.u32(L.CR4) & (1 << 18)) !== 0, xcr0: state.u32(L.XCR0), apicId: 0 };
  const [eax, ebx, ecx, edx] = cpuid(cpu.model, state.gpr32(0), state.gpr32(1), context);
  state.setGpr32(0, eax);
  state.setGpr32(3, ebx);
  state.setGpr32(1, ecx);
  state.setGpr32(2, edx);
  return true;
};

export const CPUID: Readonly<Record<string, Routine>> = { cpuid: cpuidRoutine };
