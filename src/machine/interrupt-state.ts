/**
 * What the interrupt controllers of a PC are at one moment, in terms of their data sheets: what our own chips and those of
 * a host's kernel both save, and each can go on from. The chips themselves are in devices/, and for KVM in node/kvm/.
 */
import { array, bool, count, defineState, struct, u32, u64, u8, type StateOf } from './state.ts';

const MASKED = 1 << 16;
export const IOAPIC_PINS = 24;
const APIC_DEFAULT_BASE = 0xfee0_0000;

/** Intel 231468, and the edge/level register: 82371AB, 4.2.2. */
export const i8259State = defineState('i8259', 1, {
  irr: u8(),
  imr: u8(),
  isr: u8(),
  elcr: u8(),
  /** Levels of the inputs. */
  inputs: u8(),
  /** The pin with the highest priority. */
  highest: u8(),
  vectorBase: u8(),
  icw1: u8(),
  icw4: u8(),
  /** The initialization word that port 1 expects next: 0 for none, or 2 to 4 less 1. */
  step: u8(),
  rotateOnAutoEoi: bool(),
  specialMask: bool(),
  poll: bool(),
  readIsr: bool(),
});

/** Intel 290566-001. */
export const ioapicState = defineState('ioapic', 1, {
  select: u8(),
  id: u32(),
  pins: array(IOAPIC_PINS, struct({ low: u32(MASKED), high: u32(), level: bool() })),
});

/** SDM vol. 3, table 11-1. */
export const localApicState = defineState('local-apic', 1, {
  base: count(APIC_DEFAULT_BASE),
  enabled: bool(true),
  x2apic: bool(),
  tpr: u8(),
  ldr: u32(),
  dfr: u32(0xffff_ffff),
  svr: u32(0xff),
  isr: array(8, u32()),
  tmr: array(8, u32()),
  irr: array(8, u32()),
  /** What the ESR shows, and what it will show after the next write to it. */
  esr: u32(),
  errors: u32(),
  icrLow: u32(),
  icrHigh: u32(),
  /** LVT entries: thermal, performance, LINT0, LINT1, error. */
  lvt: array(5, u32(MASKED)),
  /** Levels of the two pins. */
  lint: array(2, bool()),
  /** An ExtINT message has arrived and was not acknowledged. */
  extInt: bool(),
  lvtTimer: u32(MASKED),
  initialCount: u32(),
  divideConfiguration: u32(),
  /** Tick of the timer's input clock at which the current period began. */
  periodStart: count(),
  /** Guest time of the next interrupt of a counting timer. */
  expiryNs: count(Infinity),
  tscDeadline: u64(),
});

export type I8259State = StateOf<typeof i8259State>;
export type IoApicState = StateOf<typeof ioapicState>;
export type LocalApicState = StateOf<typeof localApicState>;

/** The divider of a local APIC's timer: bits 0, 1 and 3; 000 divides by 2 … 110 by 128, 111 by 1. SDM vol. 3, 11.5.4. */
export const timerDivisor = (divideConfiguration: number): number =>
  1 << (((divideConfiguration & 3) + ((divideConfiguration & 8) >> 1) + 1) & 7);

const TIMER_MODE = 3 << 17;
const TIMER_PERIODIC = 1 << 17;
export const isPeriodic = (state: Pick<LocalApicState, 'lvtTimer'>): boolean => (state.lvtTimer & TIMER_MODE) === TIMER_PERIODIC;

const SVR_ENABLE = 1 << 8;
const DELIVERY_NMI = 4 << 8;
const DELIVERY_EXTINT = 7 << 8;

/** As firmware leaves the bootstrap processor: 8259A interrupts on LINT0, NMI on LINT1. MP Specification 3.6.2.2. */
export function virtualWire(state: LocalApicState): void {
  state.svr = SVR_ENABLE | 0xff;
  state.lvt[2] = DELIVERY_EXTINT;
  state.lvt[3] = DELIVERY_NMI;
}

/** What a local APIC's timer shows as its current count at a tick of its input clock. */
export function timerCount(state: LocalApicState, tick: number): number {
  const { initialCount, periodStart, expiryNs } = state;
  if (initialCount === 0 || expiryNs === Infinity) return 0;
  const elapsed = Math.floor((tick - periodStart) / timerDivisor(state.divideConfiguration));
  return isPeriodic(state) ? initialCount - (elapsed % initialCount) : Math.max(0, initialCount - elapsed);
}
