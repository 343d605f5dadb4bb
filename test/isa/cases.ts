/** Which rows can be judged natively, and cases for them. */
import type { Encoding } from '../../src/x86/isa/encoding.ts';
import type { Case, Mode } from '../native/case.ts';
import type { FeatureName, HostFeatures } from '../native/features.ts';
import { Random, type Flavour } from '../native/random.ts';
import { flavourOf, randomFp, randomImage } from '../native/state.ts';
import { CaseBuilder, type Pools } from './builder.ts';
import { encodeInstruction, fitsMode } from './encode.ts';

/** Instructions whose result in user mode is not the processor's alone, and why. */
const UNJUDGED: Readonly<Record<string, string>> = {
  ...named('ask for facts of this processor', 'cpuid rdpid rdtsc rdtscp rdrand rdseed rdpmc xgetbv'),
  ...named('are system calls', 'syscall sysenter'),
  ...named('are delivered differently under some hypervisors', 'int1'),
  ...named('see tables that the host kernel made', 'sldt str smsw sgdt sidt lar lsl verr verw'),
  ...named('see state components that the engine does not have', 'xsave xsavec xsaveopt xsaves xrstor xrstors'),
};

function named(reason: string, mnemonics: string): Record<string, string> {
  return Object.fromEntries(mnemonics.split(' ').map((mnemonic) => [mnemonic, reason]));
}

/** The rows' feature names where they are not the host report's. */
const FEATURE_NAMES: Readonly<Record<string, FeatureName>> = {
  cx16: 'cmpxchg16b', 'sse4.1': 'sse41', 'sse4.2': 'sse42', sse4_1: 'sse41', sse4_2: 'sse42', pclmul: 'pclmulqdq', abm: 'lzcnt',
}; // prettier-ignore
/** Every x86-64 processor that can run the tests has these, or no bit says so. */
const ALWAYS = new Set(['sse', 'sse2', 'mmx', 'fxsr', 'clflush', 'xsave', 'smap', 'invpcid']);

/** Why an encoding cannot be judged on this host, or undefined when it can. */
export function unjudged(encoding: Encoding, host: HostFeatures): string | undefined {
  const { mnemonic, feature } = encoding.row;
  if (UNJUDGED[mnemonic]) return UNJUDGED[mnemonic];
  if (mnemonic === 'fstp' && encoding.opcode === 0xd9 && encoding.form === 'reg') return 'undocumented, and processors differ in it';
  if (!feature || ALWAYS.has(feature)) return undefined;
  return host.names.has((FEATURE_NAMES[feature] ?? feature) as FeatureName) ? undefined : `the host has no ${feature}`;
}

/** FP states and images for a few thousand cases; vector instructions get a state of their own. */
export function makePools(random: Random): Pools {
  const images = Array.from({ length: 3 }, () => randomImage(random));
  const shared = Array.from({ length: 16 }, () => randomFp(random, 'bytes'));
  return {
    image: () => random.pick(images),
    fp: (flavour: Flavour) => (flavour === 'integer' ? random.pick(shared) : randomFp(random, flavour)),
  };
}

/** One instruction. */
export function instructionCase(random: Random, pools: Pools, encoding: Encoding, mode: Mode): Case {
  const flavour = random.chance(85) ? flavourFor(encoding) : random.pick(['integer', 'bytes', 'float32', 'float64', 'float80'] as const);
  const builder = new CaseBuilder(random, mode, flavour, pools);
  encodeInstruction(builder, encoding);
  return builder.finish();
}

/** Several instructions in a row, so that what one leaves behind (flags above all) is used by another. */
export function sequenceCase(random: Random, pools: Pools, encodings: readonly Encoding[], mode: Mode, length: number): Case {
  const first = random.pick(encodings);
  const builder = new CaseBuilder(random, mode, flavourFor(first), pools);
  for (let i = 0; i < length; i++) {
    const encoding = i === 0 ? first : random.pick(encodings);
    if (fitsMode(encoding, mode)) encodeInstruction(builder, encoding);
  }
  return builder.finish();
}

function flavourFor(encoding: Encoding): Flavour {
  const vector = encoding.operands.some(({ letter }) => 'VWUHPQNX'.includes(letter)) || encoding.row.unit === 'x87';
  if (!vector) return 'integer';
  const flavour = flavourOf(encoding.row.mnemonic);
  return flavour === 'integer' ? 'bytes' : flavour;
}
