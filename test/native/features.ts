/** What the host's processor offers, from its CPUID leaves. SDM vol. 2, "CPUID". */

/** Name → leaf, subleaf, register (0 eax … 3 edx), bit. */
const BITS = {
  sse3: [1, 0, 2, 0],
  pclmulqdq: [1, 0, 2, 1],
  ssse3: [1, 0, 2, 9],
  fma: [1, 0, 2, 12],
  cmpxchg16b: [1, 0, 2, 13],
  sse41: [1, 0, 2, 19],
  sse42: [1, 0, 2, 20],
  movbe: [1, 0, 2, 22],
  popcnt: [1, 0, 2, 23],
  aes: [1, 0, 2, 25],
  avx: [1, 0, 2, 28],
  f16c: [1, 0, 2, 29],
  rdrand: [1, 0, 2, 30],
  fsgsbase: [7, 0, 1, 0],
  bmi1: [7, 0, 1, 3],
  avx2: [7, 0, 1, 5],
  bmi2: [7, 0, 1, 8],
  erms: [7, 0, 1, 9],
  rdseed: [7, 0, 1, 18],
  adx: [7, 0, 1, 19],
  clflushopt: [7, 0, 1, 23],
  clwb: [7, 0, 1, 24],
  sha: [7, 0, 1, 29],
  rdpid: [7, 0, 2, 22],
  gfni: [7, 0, 2, 8],
  vaes: [7, 0, 2, 9],
  vpclmulqdq: [7, 0, 2, 10],
  lahf64: [0x8000_0001, 0, 2, 0],
  lzcnt: [0x8000_0001, 0, 2, 5],
  sse4a: [0x8000_0001, 0, 2, 6],
  misalignsse: [0x8000_0001, 0, 2, 7],
  prefetchw: [0x8000_0001, 0, 2, 8],
  rdtscp: [0x8000_0001, 0, 3, 27],
} as const satisfies Record<string, readonly [number, number, number, number]>;

export type FeatureName = keyof typeof BITS;

export interface HostFeatures {
  /** "GenuineIntel" or "AuthenticAMD", which differ in what some instructions do. */
  readonly vendor: string;
  readonly names: ReadonlySet<FeatureName>;
  /** Cases with `mode: 16` can run. */
  readonly code16: boolean;
}

/** Bytes of the runner's report: records of leaf, subleaf, eax, ebx, ecx, edx. */
export const FEATURE_REPORT_SIZE = 10 * 24;

export function parseFeatures(report: Buffer): HostFeatures {
  const read = (leaf: number, subleaf: number, register: number): number => {
    for (let at = 0; at < report.length; at += 24) {
      if (report.readUInt32LE(at) === leaf && report.readUInt32LE(at + 4) === subleaf) return report.readUInt32LE(at + 8 + register * 4);
    }
    return 0;
  };
  const vendor = Buffer.alloc(12);
  [1, 3, 2].forEach((register, i) => vendor.writeUInt32LE(read(0, 0, register), i * 4));
  const names = new Set<FeatureName>();
  for (const [name, [leaf, subleaf, register, bit]] of Object.entries(BITS)) {
    if ((read(leaf, subleaf, register) >>> bit) & 1) names.add(name as FeatureName);
  }
  return { vendor: vendor.toString('latin1'), names, code16: read(0xffff_ffff, 0, 0) !== 0 };
}
