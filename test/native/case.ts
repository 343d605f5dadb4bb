import { DATA_SIZE } from './layout.ts';

/** Bytes of an XSAVE area in the standard format with x87, SSE and AVX. SDM vol. 1, 13.4. */
export const FP_SIZE = 832;
/** Offsets in it. */
export const FP = { fcw: 0, fsw: 2, ftw: 4, mxcsr: 24, mxcsrMask: 28, st: 32, xmm: 160, header: 512, ymmHigh: 576 } as const;

/** Code size of a case: 64-bit mode, or 32- or 16-bit protected (compatibility) mode. */
export type Mode = 64 | 32 | 16;

export interface Patch {
  /** In the data window. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A piece of user-mode code and everything it can see. */
export interface Case {
  readonly mode: Mode;
  /** At `rip`; a jump to the end follows where there is room for it. */
  readonly code: Uint8Array;
  /** In one of the two mappings of the code pages; in 16-bit mode an offset in them. */
  readonly rip: number;
  /** rax rcx rdx rbx rsp rbp rsi rdi r8…r15 */
  readonly gprs: BigUint64Array;
  /** What IRET at CPL 3 can set of it. */
  readonly rflags: number;
  readonly fsBase: bigint;
  readonly gsBase: bigint;
  /** `FP_SIZE` bytes; may be shared by cases of a batch. */
  readonly fp: Uint8Array;
  /** The data window before `patches`, `DATA_SIZE` bytes; share it, it is sent once a batch. */
  readonly image: Uint8Array;
  readonly patches: readonly Patch[];
}

export const RESULT_KINDS = ['end', 'fault', 'timeout', 'entry-fault', 'crash'] as const;
/** `entry-fault`: the case's own state could not be loaded. `crash`: the runner died of it. Both are faults of the generator. */
export type ResultKind = (typeof RESULT_KINDS)[number];

/** The vector that stands for a refused system call. */
export const VECTOR_SYSTEM_CALL = 0xff;

/** What a case did, as values after its end or at its fault. */
export interface Result {
  readonly kind: ResultKind;
  /** Exception vector, when `kind` is `fault`. */
  readonly vector: number;
  readonly errorCode: number;
  /** For page faults, else 0. */
  readonly cr2: bigint;
  readonly rip: bigint;
  readonly rflags: number;
  readonly gprs: BigUint64Array;
  /** cs ss ds es fs gs */
  readonly selectors: Uint16Array;
  readonly fsBase: bigint;
  readonly gsBase: bigint;
  readonly fp: Uint8Array;
  /** Bytes that differ from what they were, in ascending order, in the runs that `changesBetween` makes. */
  readonly changes: readonly Patch[];
  /** Linux's signal and its si_code, for people; 0 from the engine. */
  readonly signal: number;
  readonly siCode: number;
  /** What the engine threw, when it did: always a bug. */
  readonly bug?: string;
}

/** The initial FPU state: FNINIT, MXCSR 1F80, zeros. */
export function initialFp(): Uint8Array {
  const fp = new Uint8Array(FP_SIZE);
  fp[FP.fcw] = 0x7f;
  fp[FP.fcw + 1] = 0x03;
  fp[FP.mxcsr] = 0x80;
  fp[FP.mxcsr + 1] = 0x1f;
  fp[FP.mxcsrMask] = 0xff;
  fp[FP.mxcsrMask + 1] = 0xff;
  fp[FP.header] = 7;
  return fp;
}

const ZERO_IMAGE = new Uint8Array(DATA_SIZE);

/** A case with everything zero but what is given. */
export function makeCase(given: Partial<Case> & Pick<Case, 'code' | 'rip'>): Case {
  return {
    mode: 64,
    gprs: new BigUint64Array(16),
    rflags: 2,
    fsBase: 0n,
    gsBase: 0n,
    fp: initialFp(),
    image: ZERO_IMAGE,
    patches: [],
    ...given,
  };
}

/** Appends the differences as runs of 16-byte granules, trimmed at both ends, named from `name` on; the runner does the same. */
export function changesBetween(before: Uint8Array, after: Uint8Array, from: number, to: number, name: number, out: Patch[]): void {
  let start = -1;
  for (let granule = from; granule <= to; granule += 16) {
    const differs = granule < to && !equalBytes(before, after, granule, granule + 16);
    if (differs && start < 0) start = granule;
    if (differs || start < 0) continue;
    let end = granule;
    while (before[start] === after[start]) start++;
    while (before[end - 1] === after[end - 1]) end--;
    out.push({ offset: name + start, bytes: after.slice(start, end) });
    start = -1;
  }
}

function equalBytes(a: Uint8Array, b: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (a[at] !== b[at]) return false;
  return true;
}
