/**
 * What a guest's CPUID offers, as names: a saved machine has seen them, and needs them where it goes on. Intel SDM vol. 2,
 * CPUID; AMD APM vol. 3, appendix E. Names are those of our models, and for the rest Linux's, as in /proc/cpuinfo.
 */
import type { Register } from '../../machine/cpu-model.ts';
import { KVM_CPUID_ENTRY_BYTES } from './abi.ts';

interface Bits {
  readonly leaf: number;
  readonly subleaf: number;
  readonly register: Register;
  /** Names from bit 0 on; `-` has none. */
  readonly names: string;
}

const HEADER = 8;
const REGISTER_AT: Readonly<Record<Register, number>> = { eax: 12, ebx: 16, ecx: 20, edx: 24 };

const TABLE: readonly Bits[] = [
  {
    leaf: 1, subleaf: 0, register: 'ecx',
    names: 'sse3 pclmul dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse41 sse42 x2apic movbe popcnt tsc_deadline aes xsave - avx f16c rdrand hypervisor',
  },
  {
    leaf: 1, subleaf: 0, register: 'edx',
    names: 'fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe',
  },
  {
    leaf: 7, subleaf: 0, register: 'ebx',
    names: 'fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha avx512bw avx512vl',
  },
  {
    leaf: 7, subleaf: 0, register: 'ecx',
    names: '- avx512vbmi umip pku - waitpkg avx512_vbmi2 shstk gfni vaes vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd sgx_lc pks',
  },
  {
    leaf: 7, subleaf: 0, register: 'edx',
    names: '- - avx512_4vnniw avx512_4fmaps fsrm uintr - - avx512_vp2intersect - md_clear - - - serialize - tsxldtrk - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 spec_ctrl stibp flush_l1d arch_capabilities - ssbd',
  },
  { leaf: 6, subleaf: 0, register: 'eax', names: '- - arat' },
  { leaf: 7, subleaf: 2, register: 'edx', names: 'psfd ipred_ctrl rrsba_ctrl ddpd_u bhi_ctrl mcdt_no' },
  { leaf: 0x8000_0007, subleaf: 0, register: 'edx', names: '- - - - - - - - constant_tsc' },
  { leaf: 7, subleaf: 1, register: 'eax', names: '- - - - avx_vnni avx512_bf16' },
  { leaf: 0xd, subleaf: 0, register: 'eax', names: 'xcr0_x87 xcr0_sse xcr0_avx xcr0_bndregs xcr0_bndcsr xcr0_opmask xcr0_zmm_hi256 xcr0_hi16_zmm - xcr0_pkru' },
  { leaf: 0xd, subleaf: 1, register: 'eax', names: 'xsaveopt xsavec xgetbv1 xsaves xfd' },
  {
    leaf: 0x8000_0001, subleaf: 0, register: 'ecx',
    names: 'lahf cmp_legacy svm extapic cr8_legacy lzcnt sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 - - - - tbm topoext',
  },
  { leaf: 0x8000_0001, subleaf: 0, register: 'edx', names: '- - - - - - - - - - - syscall - - - - - - - - nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm' },
]; // prettier-ignore

/** AMD repeats the lower bits of leaf 1 there. */
const ONLY_EXTENDED = 0x2e10_0800;

/** Names of all that a struct kvm_cpuid2 offers; what has no name here is named by its place. */
export function featuresOf(cpuid: Uint8Array): string[] {
  const view = new DataView(cpuid.buffer, cpuid.byteOffset, cpuid.byteLength);
  const features: string[] = [];
  for (const { leaf, subleaf, register, names } of TABLE) {
    let value = entry(view, leaf, subleaf, register);
    if (leaf === 0x8000_0001 && register === 'edx') value &= ONLY_EXTENDED;
    const known = names.split(' ');
    for (let bit = 0; bit < 32; bit++) {
      if (!((value >>> bit) & 1)) continue;
      const name = known[bit] ?? '-';
      features.push(name === '-' ? `cpuid ${leaf.toString(16)}.${subleaf} ${register} bit ${bit}` : name);
    }
  }
  return features;
}

function entry(view: DataView, leaf: number, subleaf: number, register: Register): number {
  const count = view.getUint32(0, true);
  for (let at = HEADER; at < HEADER + count * KVM_CPUID_ENTRY_BYTES; at += KVM_CPUID_ENTRY_BYTES) {
    if (view.getUint32(at, true) === leaf && view.getUint32(at + 4, true) === subleaf)
      return view.getUint32(at + REGISTER_AT[register], true);
  }
  return 0;
}
