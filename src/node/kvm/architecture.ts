/** What KVM keeps of a vCPU, in terms of the architecture, and back: machine/processor-state.ts. */
import { VmError } from '../../base/errors.ts';
import {
  AVX_AT, EXCEPTION, EXTERNAL_INTERRUPT, NO_EVENT, type ProcessorState, processorState, STATE_MSR_NAMES, STATE_MSRS, XSAVE_BYTES, XSTATE_BV,
} from '../../machine/processor-state.ts'; // prettier-ignore
import type { Native } from './native.ts';
import { readRegisters, writeRegisters } from './registers.ts';
import { getMsr, getPart, setMsr, setPart } from './vcpu-state.ts';

const TSC = 0x10;
const TSC_ADJUST = 0x3b;
const SPEC_CTRL = 0x48;
const XCR0_AT = 8;
const X87 = 1n;
const SSE = 2n;
const AVX = 4n;
const MXCSR_AT = 24;
const MXCSR_MASK_AT = 28;
const XMM_AT = 160;
const XMM_END = 416;
const FCW_INITIAL = 0x37f;
const MXCSR_INITIAL = 0x1f80;

// struct kvm_vcpu_events
const EXCEPTION_AT = 0;
const INTERRUPT_AT = 8;
const SHADOW_AT = 11;
const NMI_PENDING_AT = 13;
const NMI_MASKED_AT = 14;
const FLAGS_AT = 20;
const VALID_NMI_PENDING = 1;
const VALID_SHADOW = 4;

/** Components that XSTATE_BV leaves out are written as the initial state that they are in. */
function normalized(area: DataView): Uint8Array {
  const image = new Uint8Array(area.buffer.slice(0, XSAVE_BYTES) as ArrayBuffer);
  const view = new DataView(image.buffer);
  const present = view.getBigUint64(XSTATE_BV, true);
  if (!(present & X87)) {
    image.fill(0, 0, MXCSR_AT);
    image.fill(0, 32, XMM_AT);
    view.setUint16(0, FCW_INITIAL, true);
  }
  if (!(present & (SSE | AVX))) view.setUint32(MXCSR_AT, MXCSR_INITIAL, true);
  view.setUint32(MXCSR_MASK_AT, 0, true);
  if (!(present & SSE)) image.fill(0, XMM_AT, XMM_END);
  if (!(present & AVX)) image.fill(0, AVX_AT);
  image.fill(0, XMM_END, AVX_AT);
  view.setBigUint64(XSTATE_BV, X87 | SSE | AVX, true);
  return image;
}

/** The vCPU must have finished its last access, and not be running. */
export function readArchitecture(native: Native, fd: number): ProcessorState {
  const state = processorState.create();
  Object.assign(state, readRegisters(getPart(native, fd, 'regs'), getPart(native, fd, 'sregs')));
  state.xcr0 = getPart(native, fd, 'xcrs').getBigUint64(XCR0_AT + 8, true);
  const debug = getPart(native, fd, 'debugregs');
  state.dr = Array.from({ length: 6 }, (_, n) => debug.getBigUint64(n * 8, true));
  for (const name of STATE_MSR_NAMES) state.msrs[name] = getMsr(native, fd, STATE_MSRS[name]) ?? 0n;
  state.tsc = getMsr(native, fd, TSC) ?? 0n;
  state.tscAdjust = getMsr(native, fd, TSC_ADJUST) ?? 0n;
  state.specCtrl = getMsr(native, fd, SPEC_CTRL) ?? 0n;
  state.xsave = normalized(getPart(native, fd, 'xsave'));
  const events = getPart(native, fd, 'events');
  state.shadow = events.getUint8(SHADOW_AT) !== 0;
  state.nmiPending = events.getUint8(NMI_PENDING_AT) !== 0;
  state.nmiBlocked = events.getUint8(NMI_MASKED_AT) !== 0;
  const exception = events.getUint8(EXCEPTION_AT) || events.getUint8(EXCEPTION_AT + 3);
  const interrupt = events.getUint8(INTERRUPT_AT);
  state.event = {
    kind: exception ? EXCEPTION : interrupt ? EXTERNAL_INTERRUPT : NO_EVENT,
    vector: exception ? events.getUint8(EXCEPTION_AT + 1) : interrupt ? events.getUint8(INTERRUPT_AT + 1) : 0,
    hasError: exception !== 0 && events.getUint8(EXCEPTION_AT + 2) !== 0,
    error: exception ? events.getUint32(EXCEPTION_AT + 4, true) : 0,
  };
  return state;
}

/** All but the TSC. Throws VmError `unsupported` when this host's processor or KVM lacks what the state needs. */
export function writeArchitecture(native: Native, fd: number, state: ProcessorState): void {
  const regs = getPart(native, fd, 'regs');
  const sregs = getPart(native, fd, 'sregs');
  writeRegisters(regs, sregs, state);
  setPart(native, fd, 'sregs', sregs);
  setPart(native, fd, 'regs', regs);

  const xcrs = getPart(native, fd, 'xcrs');
  if (xcrs.getBigUint64(XCR0_AT + 8, true) !== state.xcr0) {
    xcrs.setBigUint64(XCR0_AT + 8, state.xcr0, true);
    needed(() => setPart(native, fd, 'xcrs', xcrs), `XCR0 of 0x${state.xcr0.toString(16)}`);
  }
  const xsave = getPart(native, fd, 'xsave');
  const image = new Uint8Array(xsave.buffer);
  const [mask, before] = [xsave.getUint32(MXCSR_MASK_AT, true), xsave.getBigUint64(XSTATE_BV, true)];
  image.set(state.xsave);
  xsave.setUint32(MXCSR_MASK_AT, mask, true);
  // AVX state that is initial need not be there: a KVM without AVX refuses even to be told of it.
  const avx = state.xsave.subarray(AVX_AT).some((byte) => byte !== 0) ? AVX : 0n;
  xsave.setBigUint64(XSTATE_BV, (before & ~(X87 | SSE | AVX)) | X87 | SSE | avx, true);
  needed(() => setPart(native, fd, 'xsave', xsave), avx ? 'AVX' : 'SSE state as it is');

  const debug = getPart(native, fd, 'debugregs');
  state.dr.forEach((value, n) => debug.setBigUint64(n * 8, value, true));
  setPart(native, fd, 'debugregs', debug);
  // Set from here, it moves no counter.
  setMsr(native, fd, TSC_ADJUST, state.tscAdjust);
  // Mitigations of the guest's: where the host has none, it goes on without.
  if (state.specCtrl !== (getMsr(native, fd, SPEC_CTRL) ?? 0n)) setMsr(native, fd, SPEC_CTRL, state.specCtrl);
  for (const name of STATE_MSR_NAMES) {
    if (!setMsr(native, fd, STATE_MSRS[name], state.msrs[name]) && state.msrs[name] !== 0n) {
      throw new VmError(
        'unsupported',
        `the saved machine needs ${name} (MSR 0x${STATE_MSRS[name].toString(16)}), which KVM here does not take`,
      );
    }
  }
  for (const { index, value } of state.otherMsrs) {
    const msr = `MSR 0x${index.toString(16)}`;
    if (!setMsr(native, fd, index, value)) throw new VmError('unsupported', `the saved machine needs ${msr}, which KVM here does not take`);
  }

  const events = getPart(native, fd, 'events');
  new Uint8Array(events.buffer).fill(0, 0, FLAGS_AT);
  events.setUint32(FLAGS_AT, VALID_NMI_PENDING | VALID_SHADOW, true);
  events.setUint8(SHADOW_AT, state.shadow ? 1 : 0);
  events.setUint8(NMI_PENDING_AT, state.nmiPending ? 1 : 0);
  events.setUint8(NMI_MASKED_AT, state.nmiBlocked ? 1 : 0);
  const { kind, vector, hasError, error } = state.event;
  if (kind === EXCEPTION) {
    new Uint8Array(events.buffer).set([1, vector, hasError ? 1 : 0], EXCEPTION_AT);
    events.setUint32(EXCEPTION_AT + 4, error, true);
  } else if (kind === EXTERNAL_INTERRUPT) new Uint8Array(events.buffer).set([1, vector], INTERRUPT_AT);
  setPart(native, fd, 'events', events);
}

function needed(set: () => void, what: string): void {
  try {
    set();
  } catch (cause) {
    throw new VmError('unsupported', `the saved machine needs ${what}, which the processor or KVM here does not have`, cause);
  }
}

/** Registers that `ProcessorState` or a device's state tells of otherwise, that the host gives, or that count by themselves. */
const TOLD_ELSEWHERE: ReadonlySet<number> = new Set([
  ...Object.values(STATE_MSRS), TSC, TSC_ADJUST, SPEC_CTRL,
  0x11, 0x12, // kvmclock's by their old numbers
  0x1b, 0x6e0, // the local APIC's
  0xc000_0080, 0xc000_0100, 0xc000_0101, // EFER, FS.base, GS.base
  0x8b, 0x10a, 0x34, // microcode, IA32_ARCH_CAPABILITIES, SMI count
  0xe7, 0xe8, 0xc000_00e7, 0xc000_00e8, 0xc000_00e9, // MPERF, APERF
]); // prettier-ignore

/** What the guest has changed since power-on of what is in no other state. */
export function otherMsrs(native: Native, fd: number, powerOn: ReadonlyMap<number, bigint>): ProcessorState['otherMsrs'] {
  return [...powerOn].flatMap(([index, initial]) => {
    const value = TOLD_ELSEWHERE.has(index) ? initial : (getMsr(native, fd, index) ?? initial);
    return value === initial ? [] : [{ index, value }];
  });
}
