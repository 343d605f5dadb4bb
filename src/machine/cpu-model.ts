/**
 * CPUID and the CPU models: the same under every accelerator, so that a machine can move between them. What a model offers is
 * what its programs will use, so it is a policy as much as a fact: what runs fast here (`rep movsb` as a bulk copy, time from
 * the TSC) is advertised. SDM vol. 2, CPUID.
 */
import { VmError } from '../base/errors.ts';
import type { CpuIdentity } from './vcpu.ts';

export interface CpuModel {
  readonly name: string;
  /** Names as in /proc/cpuinfo, without underscores where the manual has none. */
  readonly features: ReadonlySet<string>;
  /** Family, model and stepping: leaf 1, EAX. */
  readonly signature: number;
  /** What the TSC counts in a millisecond. */
  readonly tscKhz: number;
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
/** Not on every x86-64-v3 processor that KVM runs on: Intel's have all of it since 2019 at the latest, AMD's since 2020, BHI_CTRL only Intel's. */
const NEWER = ['pcid', 'invpcid', 'erms', 'fsrm', 'rdpid', 'bhi_ctrl', 'sha', 'vaes', 'vpclmulqdq'];
/**
 * Ways around side channels. A processor of ours has nothing to go around, so no model offers them; but it takes what a guest that
 * was started under KVM does with them.
 */
export const MITIGATIONS: readonly string[] = ['md_clear', 'spec_ctrl', 'stibp', 'flush_l1d', 'ssbd'];

const LEVELS: Readonly<Record<string, readonly string[]>> = {
  'x86-64': [...BASE, ...SYSTEM],
  'x86-64-v2': [...BASE, ...SYSTEM, ...V2],
  'x86-64-v3': [...BASE, ...SYSTEM, ...V2, ...V3],
  // IA32_ARCH_CAPABILITIES promises IBRS, which bhi_ctrl or spec_ctrl brings.
  portable: [...BASE, ...SYSTEM, ...V2, ...V3, ...MAX, 'spec_ctrl'].filter((feature) => !NEWER.includes(feature)),
  max: [...BASE, ...SYSTEM, ...V2, ...V3, ...MAX],
};

/** Intel family 6 model 85: a signature for which kernels know no erratum that matters here. */
const SIGNATURE = 0x0005_0657;
/** The TSC is guest time: one tick a nanosecond. */
export const TSC_KHZ = 1_000_000;

/** Throws VmError `usage` for a name that is not known. */
export function cpuModel(name: string): CpuModel {
  const features = Object.hasOwn(LEVELS, name) ? LEVELS[name] : undefined;
  if (!features) throw new VmError('usage', `unknown CPU model ${name} (known: ${Object.keys(LEVELS).join(', ')}; and host, under KVM)`);
  return { name, features: new Set(features), signature: SIGNATURE, tscKhz: TSC_KHZ };
}

export const identityOf = ({ name, features, tscKhz }: CpuModel): CpuIdentity => ({ name, features: [...features], tscKhz });

/** Throws VmError `unsupported` that names what is wanted and not offered. @param who does not offer it, for the message */
export function checkOffer(wanted: CpuIdentity, offered: Omit<CpuIdentity, 'name'>, who: string): void {
  const lacks = wanted.features.filter((feature) => !offered.features.includes(feature));
  if (wanted.tscKhz !== offered.tscKhz) lacks.push(`a TSC of ${wanted.tscKhz} kHz (it has ${offered.tscKhz})`);
  if (lacks.length === 0) return;
  throw new VmError('unsupported', `CPU model ${wanted.name} here needs ${lacks.join(', ')}, which ${who} does not offer`);
}

/** The processor that a saved machine has seen. */
export function modelOf({ name, features, tscKhz }: CpuIdentity): CpuModel {
  return { name, features: new Set(features), signature: SIGNATURE, tscKhz };
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
const LEAF6_EAX: Bits = { arat: 2 };
const LEAF7_EDX: Bits = { fsrm: 4, md_clear: 10, serialize: 14, spec_ctrl: 26, stibp: 27, flush_l1d: 28, arch_capabilities: 29, ssbd: 31 };
const LEAF7_2_EDX: Bits = { bhi_ctrl: 4 };
const EXT1_EDX: Bits = { syscall: 11, nx: 20, pdpe1gb: 26, rdtscp: 27, lm: 29 };
const EXT1_ECX: Bits = { lahf: 0, lzcnt: 5 };
const EXT7_EDX: Bits = { constant_tsc: 8 };
const LEAFD1_EAX: Bits = { xsaveopt: 0, xsavec: 1, xgetbv1: 2, xsaves: 3 };

export type Register = 'eax' | 'ebx' | 'ecx' | 'edx';

/** Where CPUID says which feature. */
export const FEATURE_BITS: readonly {
  readonly leaf: number;
  readonly subleaf: number;
  readonly register: Register;
  readonly bits: Bits;
}[] = [
  { leaf: 1, subleaf: 0, register: 'ecx', bits: LEAF1_ECX },
  { leaf: 1, subleaf: 0, register: 'edx', bits: LEAF1_EDX },
  { leaf: 6, subleaf: 0, register: 'eax', bits: LEAF6_EAX },
  { leaf: 7, subleaf: 0, register: 'ebx', bits: LEAF7_EBX },
  { leaf: 7, subleaf: 0, register: 'ecx', bits: LEAF7_ECX },
  { leaf: 7, subleaf: 0, register: 'edx', bits: LEAF7_EDX },
  { leaf: 7, subleaf: 2, register: 'edx', bits: LEAF7_2_EDX },
  { leaf: 0xd, subleaf: 1, register: 'eax', bits: LEAFD1_EAX },
  { leaf: 0x8000_0001, subleaf: 0, register: 'ecx', bits: EXT1_ECX },
  { leaf: 0x8000_0001, subleaf: 0, register: 'edx', bits: EXT1_EDX },
  { leaf: 0x8000_0007, subleaf: 0, register: 'edx', bits: EXT7_EDX },
];

/** All that CPUID can tell. */
export const FEATURES: ReadonlySet<string> = new Set(FEATURE_BITS.flatMap(({ bits }) => Object.keys(bits)));

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

/** All leaves and subleaves that are not nothing. */
export const LEAVES: readonly (readonly [leaf: number, subleaf: number])[] = [
  ...[0, 1, 2, 6, 0x15, 0x16].map((leaf) => [leaf, 0] as const),
  ...[0, 1, 2, 3].map((subleaf) => [4, subleaf] as const),
  ...[0, 2].map((subleaf) => [7, subleaf] as const),
  ...[0, 1].map((subleaf) => [0xb, subleaf] as const),
  ...[0, 1, 2].map((subleaf) => [0xd, subleaf] as const),
  ...[0, 1, 0x10].map((leaf) => [0x4000_0000 + leaf, 0] as const),
  ...[0, 1, 2, 3, 4, 6, 7, 8].map((leaf) => [0x8000_0000 + leaf, 0] as const),
];

const MAX_LEAF = 0x16;
const CRYSTAL_KHZ = 25_000;
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
      return [bitsOf(LEAF6_EAX, features), 0, 0, 0];
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
    case 0x15: // a crystal of 25 MHz, and what the TSC makes of it
      return model.tscKhz === TSC_KHZ
        ? [1, TSC_KHZ / CRYSTAL_KHZ, CRYSTAL_KHZ * 1000, 0]
        : [CRYSTAL_KHZ, model.tscKhz, CRYSTAL_KHZ * 1000, 0];
    case 0x16: {
      const mhz = Math.round(model.tscKhz / 1000);
      return [mhz, mhz, 100, 0];
    }
    case 0x40000000:
      return [MAX_HYPERVISOR, text('KVMK', 0), text('VMKV', 0), text('M\0\0\0', 0)];
    case 0x40000001: // CLOCKSOURCE, NOP_IO_DELAY, CLOCKSOURCE2, and that the clock needs no check between processors
      return [(1 << 0) | (1 << 1) | (1 << 3) | (1 << 24), 0, 0, 0];
    case 0x40000010: // TSC and bus frequency in kHz
      return [model.tscKhz, 1_000_000, 0, 0];
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
      return [0, 0, 0, bitsOf(EXT7_EDX, features)];
    case 0x80000008: // 40 physical, 48 linear address bits
      return [(48 << 8) | 40, 0, 0, 0];
    default:
      return NOTHING;
  }
}
