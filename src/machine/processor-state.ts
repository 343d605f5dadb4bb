/**
 * All that an x86-64 processor is between two instructions, in terms of the architecture: what one accelerator saves and
 * another can go on from. Intel SDM vol. 3, 8.1 and table 9-1; the form of XSAVE's area is in vol. 1, 13.4.
 */
import { array, bool, bytes, defineState, list, struct, u16, u32, u64, u8, type Field, type StateOf } from './state.ts';
import type { Segment, SegmentName } from './vcpu.ts';

/** XSAVE's standard format with x87, SSE and AVX state: legacy region, header, upper halves of YMM. */
export const XSAVE_BYTES = 512 + 64 + 256;
export const XSTATE_BV = 512;
export const AVX_AT = 576;

/** What a processor that has not started waits for. A machine's first one has always started. SDM vol. 3, 9.4.3. */
export const STARTED = 0;
export const WAITS_FOR_INIT = 1;
export const WAITS_FOR_SIPI = 2;

/** MSRs that are plain state, by index. SDM vol. 4; the last two: Linux's Documentation/virt/kvm/x86/msr.rst. */
export const STATE_MSRS = {
  sysenterCs: 0x174,
  sysenterEsp: 0x175,
  sysenterEip: 0x176,
  pat: 0x277,
  star: 0xc000_0081,
  lstar: 0xc000_0082,
  cstar: 0xc000_0083,
  fmask: 0xc000_0084,
  kernelGsBase: 0xc000_0102,
  tscAux: 0xc000_0103,
  kvmWallClock: 0x4b56_4d00,
  kvmSystemTime: 0x4b56_4d01,
} as const;

export type StateMsr = keyof typeof STATE_MSRS;
export const STATE_MSR_NAMES = Object.keys(STATE_MSRS) as readonly StateMsr[];

export const SEGMENT_NAMES: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'];

/** What an event that has been accepted and not yet delivered is; the next thing that the processor does is to deliver it. */
export const NO_EVENT = 0;
export const EXCEPTION = 1;
export const EXTERNAL_INTERRUPT = 2;

const segment: Field<Segment> = struct({ selector: u16(), base: u64(), limit: u32(), attributes: u32() });
const table = struct({ base: u64(), limit: u16() });
const named = <N extends string, T>(names: readonly N[], field: Field<T>) =>
  struct(Object.fromEntries(names.map((name) => [name, field])) as Record<N, Field<T>>);

export const processorState = defineState('processor', 4, {
  gpr: array(16, u64()),
  rip: u64(),
  rflags: u64(2n),
  segments: named(SEGMENT_NAMES, segment),
  gdtr: table,
  idtr: table,
  cr0: u64(),
  cr2: u64(),
  cr3: u64(),
  cr4: u64(),
  efer: u64(),
  xcr0: u64(1n),
  /** DR0 to DR3, DR6, DR7. */
  dr: array(6, u64()),
  msrs: named(STATE_MSR_NAMES, u64()),
  tsc: u64(),
  /** IA32_TSC_ADJUST: what the guest has added to its TSC. */
  tscAdjust: u64(),
  /** Standard format. */
  xsave: bytes(XSAVE_BYTES),
  /** `STARTED` … `WAITS_FOR_SIPI`. */
  startup: u8(STARTED),
  halted: bool(),
  /** Interrupts wait for one more instruction: after STI or MOV SS. */
  shadow: bool(),
  /** Within an NMI's handler. */
  nmiBlocked: bool(),
  /** An NMI has come and waits. */
  nmiPending: bool(),
  /** IA32_SPEC_CTRL, where nothing but reading it back depends on it. */
  specCtrl: u64(),
  /** Registers that only the accelerator has that saved them, as far as the guest has changed them. */
  otherMsrs: list(256, struct({ index: u32(), value: u64() })),
  event: struct({ kind: u8(), vector: u8(), hasError: bool(), error: u32() }),
});

export type ProcessorState = StateOf<typeof processorState>;

/** No event. */
export const NOTHING: Readonly<ProcessorState['event']> = { kind: NO_EVENT, vector: 0, hasError: false, error: 0 };
