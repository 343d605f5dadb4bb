/**
 * The state of a local APIC, to and from KVM's: the register page (struct kvm_lapic_state), IA32_APIC_BASE and
 * IA32_TSC_DEADLINE. KVM keeps a counting timer by its current count only: it moves by less than one count.
 */
import { isPeriodic, timerCount, timerDivisor, type LocalApicState } from '../../machine/interrupt-state.ts';

const ID = 0x20;
const VERSION = 0x30;
const TPR = 0x80;
const LDR = 0xd0;
const DFR = 0xe0;
const SVR = 0xf0;
const ISR = 0x100;
const TMR = 0x180;
export const IRR = 0x200;
const ESR = 0x280;
const ICR_LOW = 0x300;
const ICR_HIGH = 0x310;
export const LVT_TIMER = 0x320;
const LVT_FIRST = 0x330;
export const INITIAL_COUNT = 0x380;
export const CURRENT_COUNT = 0x390;
const DIVIDE = 0x3e0;

const VERSION_VALUE = 0x0105_0014;
const BASE_BSP = 1n << 8n;
const BASE_EXTD = 1n << 10n;
const BASE_ENABLE = 1n << 11n;
const PAGE = 0xfffn;

/** What KVM keeps of a local APIC. */
export interface KvmLocalApic {
  readonly page: DataView;
  readonly base: bigint;
  readonly tscDeadline: bigint;
}

/** @param nowNs guest time, to which the timer's count belongs */
export function localApicToKvm(page: DataView, state: LocalApicState, id: number, nowNs: number): KvmLocalApic {
  const put = (at: number, value: number): void => page.setUint32(at, value, true);
  put(ID, id << 24);
  put(VERSION, VERSION_VALUE);
  put(TPR, state.tpr);
  put(LDR, state.x2apic ? (((id >> 4) << 16) | (1 << (id & 15))) >>> 0 : state.ldr);
  put(DFR, state.dfr);
  put(SVR, state.svr);
  for (let n = 0; n < 8; n++) {
    put(ISR + 16 * n, state.isr[n]!);
    put(TMR + 16 * n, state.tmr[n]!);
    put(IRR + 16 * n, state.irr[n]!);
  }
  put(ESR, state.esr);
  put(ICR_LOW, state.icrLow);
  put(ICR_HIGH, state.icrHigh);
  put(LVT_TIMER, state.lvtTimer);
  state.lvt.forEach((entry, n) => put(LVT_FIRST + 16 * n, entry));
  put(INITIAL_COUNT, state.initialCount);
  put(CURRENT_COUNT, timerCount(state, nowNs));
  put(DIVIDE, state.divideConfiguration);
  const flags = (id === 0 ? BASE_BSP : 0n) | (state.x2apic ? BASE_EXTD : 0n) | (state.enabled ? BASE_ENABLE : 0n);
  return { page, base: BigInt(state.base) | flags, tscDeadline: state.tscDeadline };
}

/** @param before gives what KVM does not keep: errors that the ESR does not show yet, and the levels of the pins */
export function localApicFromKvm({ page, base, tscDeadline }: KvmLocalApic, before: LocalApicState, nowNs: number): LocalApicState {
  const get = (at: number): number => page.getUint32(at, true);
  const eight = (at: number): number[] => Array.from({ length: 8 }, (_, n) => get(at + 16 * n));
  const x2apic = (base & BASE_EXTD) !== 0n;
  const state: LocalApicState = {
    ...before,
    base: Number(base - (base & PAGE)),
    enabled: (base & BASE_ENABLE) !== 0n,
    x2apic,
    tpr: get(TPR),
    // In x2APIC mode it follows from the APIC id, and what was there before cannot be seen.
    ldr: x2apic ? before.ldr : get(LDR),
    dfr: get(DFR),
    svr: get(SVR),
    isr: eight(ISR),
    tmr: eight(TMR),
    irr: eight(IRR),
    esr: get(ESR),
    icrLow: get(ICR_LOW),
    icrHigh: get(ICR_HIGH),
    lvtTimer: get(LVT_TIMER),
    lvt: before.lvt.map((_, n) => get(LVT_FIRST + 16 * n)),
    initialCount: get(INITIAL_COUNT),
    divideConfiguration: get(DIVIDE),
    periodStart: 0,
    expiryNs: Infinity,
    tscDeadline,
  };
  return { ...state, ...timer(state, get(CURRENT_COUNT), nowNs) };
}

/** When the period began in which the timer shows that count, and when it ends. */
function timer(state: LocalApicState, current: number, nowNs: number): Pick<LocalApicState, 'periodStart' | 'expiryNs'> {
  const { initialCount } = state;
  if (initialCount === 0 || (current === 0 && !isPeriodic(state))) return { periodStart: 0, expiryNs: Infinity };
  const divisor = timerDivisor(state.divideConfiguration);
  const periodStart = Math.max(0, Math.floor(nowNs) - (initialCount - Math.min(current, initialCount)) * divisor);
  return { periodStart, expiryNs: periodStart + initialCount * divisor };
}
