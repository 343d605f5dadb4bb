/** Local APIC with xAPIC (MMIO) and x2APIC (MSR) faces. SDM vol. 3, chapter 11. */
import { BROADCAST, DELIVERY_EXTINT, DELIVERY_FIXED, DELIVERY_INIT, DELIVERY_LOWEST } from '../machine/apic.ts';
import { DELIVERY_NMI, DELIVERY_STARTUP, destination8 } from '../machine/apic.ts';
import type { ApicBus, ApicMessage } from '../machine/apic.ts';
import type { BusDevice, Width } from '../machine/bus.ts';
import type { GuestClock } from '../machine/clock.ts';
import type { Device } from '../machine/device.ts';
import type { IrqLine } from '../machine/irq.ts';
import { array, bool, count, defineState, u32, u8 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { ApicTimer, apicTimerFields, LVT_MASKED } from './apic-timer.ts';
import { hasVector, highestVector, putVector } from './interrupt-bits.ts';

const IA32_APIC_BASE = 0x1b;
const IA32_TSC_DEADLINE = 0x6e0;
const X2APIC_FIRST = 0x800;
const X2APIC_LAST = 0x83f;

const BASE_BSP = 1 << 8;
const BASE_EXTD = 1 << 10;
const BASE_ENABLE = 1 << 11;
export const APIC_DEFAULT_BASE = 0xfee0_0000;
export const APIC_MMIO_SIZE = 0x1000;

/** Register numbers: the MMIO offset divided by 16, and the x2APIC MSR less 0x800. */
const ID = 0x02;
const VERSION = 0x03;
const TPR = 0x08;
const APR = 0x09;
const PPR = 0x0a;
const EOI = 0x0b;
const RRD = 0x0c;
const LDR = 0x0d;
const DFR = 0x0e;
const SVR = 0x0f;
const ISR = 0x10;
const TMR = 0x18;
const IRR = 0x20;
const ESR = 0x28;
const ICR_LOW = 0x30;
const ICR_HIGH = 0x31;
const LVT_TIMER = 0x32;
const LVT_THERMAL = 0x33;
const LVT_PERFORMANCE = 0x34;
const LVT_LINT0 = 0x35;
const LVT_LINT1 = 0x36;
const LVT_ERROR = 0x37;
const INITIAL_COUNT = 0x38;
const CURRENT_COUNT = 0x39;
const DIVIDE = 0x3e;
const SELF_IPI = 0x3f;

/** Integrated APIC, six LVT entries, EOI broadcasts can be suppressed. */
const VERSION_VALUE = 0x0105_0014;
const SVR_ENABLE = 1 << 8;
const SVR_NO_EOI_BROADCAST = 1 << 12;
const LVT_LEVEL = 1 << 15;
const LVT_REMOTE_IRR = 1 << 14;
const ESR_SEND_ILLEGAL = 1 << 5;
const ESR_RECEIVE_ILLEGAL = 1 << 6;
const ESR_ILLEGAL_REGISTER = 1 << 7;

/** What may be written: other bits are reserved or read-only. */
const WRITABLE: Readonly<Record<number, number>> = {
  [TPR]: 0xff,
  [EOI]: 0,
  [SVR]: 0x11ff,
  [ESR]: 0,
  [LVT_TIMER]: 0x7_00ff,
  [LVT_THERMAL]: 0x1_07ff,
  [LVT_PERFORMANCE]: 0x1_07ff,
  [LVT_LINT0]: 0x1_a7ff,
  [LVT_LINT1]: 0x1_a7ff,
  [LVT_ERROR]: 0x1_00ff,
  [INITIAL_COUNT]: 0xffff_ffff,
  [DIVIDE]: 0x0b,
  [SELF_IPI]: 0xff,
};
const ICR_WRITABLE = 0x000c_cfff;

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
  /** LVT entries from `LVT_THERMAL` to `LVT_ERROR`. */
  lvt: array(5, u32(LVT_MASKED)),
  /** Levels of the two pins. */
  lint: array(2, bool()),
  /** An ExtINT message has arrived and was not acknowledged. */
  extInt: bool(),
  ...apicTimerFields,
});

/** What a local APIC does to its processor and the rest of the board. */
export interface LocalApicOutputs {
  /** Level of INTR; called when it changes. */
  interrupt(level: boolean): void;
  nmi(): void;
  /** INIT: back to reset state, except for what SDM table 9-1 keeps, and wait for a SIPI. */
  init(): void;
  /** Start at `vector << 12` when waiting for a SIPI; else nothing. */
  startup(vector: number): void;
  /** Acknowledges the 8259A pair and gives its vector. */
  acknowledgeExternal(): number;
  /** The guest moved, removed or brought back the MMIO page: `undefined` when it answers nowhere. */
  moved?(base: number | undefined): void;
}

export interface LocalApicOptions {
  /** Also says which one is the bootstrap processor: 0. */
  readonly id: number;
  readonly clock: GuestClock;
  readonly tscHz: number;
  /** Input clock of the timer before its divider. */
  readonly timerHz?: number;
  readonly bus: ApicBus;
  readonly outputs: LocalApicOutputs;
}

export class LocalApic implements Device<StateOf<typeof localApicState>>, BusDevice {
  readonly schema = localApicState;
  readonly state = localApicState.create();
  readonly id: number;
  /** Pins: the 8259A pair's INT, and NMI. */
  readonly lint0: IrqLine = { set: (level) => this.#setLint(0, level) };
  readonly lint1: IrqLine = { set: (level) => this.#setLint(1, level) };
  readonly #bus: ApicBus;
  readonly #outputs: LocalApicOutputs;
  readonly #timer: ApicTimer;
  #output = false;

  constructor({ id, clock, tscHz, timerHz = 1e9, bus, outputs }: LocalApicOptions) {
    this.id = id;
    this.#bus = bus;
    this.#outputs = outputs;
    this.#timer = new ApicTimer(this.state, clock, tscHz, timerHz, () => this.#accept(this.state.lvtTimer & 0xff, false));
  }

  sync(): void {
    this.#timer.arm();
    this.#output = this.interruptPending();
    this.#outputs.interrupt(this.#output);
    this.#outputs.moved?.(this.#mmioBase);
  }

  /** As firmware leaves the bootstrap processor: 8259A interrupts on LINT0, NMI on LINT1. MP Specification 3.6.2.2. */
  enableVirtualWire(): void {
    this.#write(SVR, SVR_ENABLE | 0xff, 0);
    this.#write(LVT_LINT0, DELIVERY_EXTINT << 8, 0);
    this.#write(LVT_LINT1, DELIVERY_NMI << 8, 0);
  }

  /** Whether INTR is high: an interrupt above the processor's priority, or one of the 8259A pair. */
  interruptPending(): boolean {
    return this.#nextVector() >= 0 || this.#externalPending;
  }

  /** Takes the interrupt that INTR is high for into service and gives its vector; -1 when there is none. */
  acknowledge(): number {
    const { state } = this;
    const vector = this.#nextVector();
    if (vector >= 0) {
      putVector(state.irr, vector, false);
      putVector(state.isr, vector, true);
      this.#update();
      return vector;
    }
    if (!this.#externalPending) return -1;
    state.extInt = false;
    const external = this.#outputs.acknowledgeExternal();
    this.#update();
    return external;
  }

  /** Bits 7:4 of the TPR, which MOV to and from CR8 reach. */
  get cr8(): number {
    return this.state.tpr >> 4;
  }

  set cr8(value: number) {
    this.#write(TPR, (value & 0xf) << 4, 0);
  }

  /** PPR: the priority that an interrupt must exceed. */
  get processorPriority(): number {
    const { tpr, isr } = this.state;
    const serving = Math.max(0, highestVector(isr));
    return tpr >> 4 >= serving >> 4 ? tpr : serving & 0xf0;
  }

  /** Whether fixed interrupts are accepted. */
  get accepts(): boolean {
    return this.state.enabled && (this.state.svr & SVR_ENABLE) !== 0;
  }

  matches({ destination, logical, except }: ApicMessage): boolean {
    const { state } = this;
    if (!state.enabled || except === this.id) return false;
    if (destination === BROADCAST) return true;
    if (!logical) return destination === this.id;
    if (state.x2apic) {
      const ldr = this.#ldr;
      return destination >>> 16 === ldr >>> 16 && (destination & ldr & 0xffff) !== 0;
    }
    const ldr = state.ldr >>> 24;
    if (state.dfr >>> 28 === 0xf) return (destination & ldr) !== 0;
    return destination >> 4 === ldr >> 4 && (destination & ldr & 0xf) !== 0;
  }

  /** Takes a message that `matches`. */
  deliver({ mode, vector, level }: Pick<ApicMessage, 'mode' | 'vector' | 'level'>): void {
    switch (mode) {
      case DELIVERY_FIXED:
      case DELIVERY_LOWEST:
        this.#accept(vector, level);
        break;
      case DELIVERY_NMI:
        this.#outputs.nmi();
        break;
      case DELIVERY_INIT: {
        const { base, enabled, x2apic, lint } = this.state;
        Object.assign(this.state, this.schema.create(), { base, enabled, x2apic, lint });
        this.#timer.arm();
        this.#update();
        this.#outputs.init();
        break;
      }
      case DELIVERY_STARTUP:
        this.#outputs.startup(vector);
        break;
      case DELIVERY_EXTINT:
        this.state.extInt = true;
        this.#update();
        break;
      default: // SMI: there is no system-management mode to enter.
    }
  }

  read(offset: number, width: Width): number {
    const { state } = this;
    if (!state.enabled || state.x2apic) return 2 ** (8 * width) - 1;
    if (offset >= 0x400 || (offset & 0xf) + width > 4) return 0;
    const value = this.#read(offset >> 4) ?? this.#illegalRegister();
    return width === 4 ? value : ((value >>> (8 * (offset & 3))) & (2 ** (8 * width) - 1)) >>> 0;
  }

  write(offset: number, width: Width, value: number): void {
    const { state } = this;
    // Only aligned 32-bit accesses are defined. SDM vol. 3, 11.4.1.
    if (!state.enabled || state.x2apic || width !== 4 || offset & 0xf || offset >= 0x400) return;
    const register = offset >> 4;
    if (register === ICR_HIGH) state.icrHigh = (value & 0xff00_0000) >>> 0;
    else if (register === LDR) state.ldr = (value & 0xff00_0000) >>> 0;
    else if (register === DFR) state.dfr = (value | 0x0fff_ffff) >>> 0;
    else if (register === ICR_LOW) this.#sendIpi(value & ICR_WRITABLE, destination8(state.icrHigh >>> 24));
    else if (register in WRITABLE && register !== SELF_IPI) this.#write(register, (value & (WRITABLE[register] ?? 0)) >>> 0, value);
    else if (this.#read(register) === undefined) this.#illegalRegister();
  }

  readMsr(index: number): bigint | undefined {
    const { state } = this;
    if (index === IA32_TSC_DEADLINE) return this.#timer.tscDeadline;
    if (index === IA32_APIC_BASE) {
      const flags = (this.id === 0 ? BASE_BSP : 0) | (state.x2apic ? BASE_EXTD : 0) | (state.enabled ? BASE_ENABLE : 0);
      return BigInt(state.base + flags);
    }
    if (!state.x2apic || index < X2APIC_FIRST || index > X2APIC_LAST) return undefined;
    const register = index - X2APIC_FIRST;
    if (register === ICR_LOW) return (BigInt(state.icrHigh) << 32n) | BigInt(state.icrLow);
    if (register === ICR_HIGH || register === DFR || register === APR || register === RRD) return undefined;
    const value = this.#read(register);
    return value === undefined || register === EOI ? undefined : BigInt(value >>> 0);
  }

  writeMsr(index: number, value: bigint): boolean {
    const { state } = this;
    if (index === IA32_TSC_DEADLINE) {
      this.#timer.writeTscDeadline(value);
      return true;
    }
    if (index === IA32_APIC_BASE) return this.#writeBase(Number(value));
    if (!state.x2apic || index < X2APIC_FIRST || index > X2APIC_LAST) return false;
    const register = index - X2APIC_FIRST;
    const low = Number(value & 0xffff_ffffn);
    if (register === ICR_LOW) {
      if (low & ~ICR_WRITABLE) return false;
      state.icrHigh = Number(value >> 32n);
      this.#sendIpi(low, state.icrHigh);
      return true;
    }
    const writable = WRITABLE[register];
    if (writable === undefined || value > 0xffff_ffffn || low & ~writable) return false;
    this.#write(register, low, low);
    return true;
  }

  get #ldr(): number {
    const { state, id } = this;
    return state.x2apic ? (((id >> 4) << 16) | (1 << (id & 15))) >>> 0 : state.ldr;
  }

  get #mmioBase(): number | undefined {
    return this.state.enabled && !this.state.x2apic ? this.state.base : undefined;
  }

  #read(register: number): number | undefined {
    const { state } = this;
    if (register >= ISR && register < ISR + 8) return state.isr[register - ISR]!;
    if (register >= TMR && register < TMR + 8) return state.tmr[register - TMR]!;
    if (register >= IRR && register < IRR + 8) return state.irr[register - IRR]!;
    if (register >= LVT_THERMAL && register <= LVT_ERROR) return state.lvt[register - LVT_THERMAL]!;
    switch (register) {
      case ID:
        return state.x2apic ? this.id : (this.id << 24) >>> 0;
      case VERSION:
        return VERSION_VALUE;
      case TPR:
        return state.tpr;
      case PPR:
        return this.processorPriority;
      case APR:
      case EOI:
      case RRD:
        return 0;
      case LDR:
        return this.#ldr;
      case DFR:
        return state.dfr;
      case SVR:
        return state.svr;
      case ESR:
        return state.esr;
      case ICR_LOW:
        return state.icrLow;
      case ICR_HIGH:
        return state.icrHigh;
      case LVT_TIMER:
        return state.lvtTimer;
      case INITIAL_COUNT:
        return state.initialCount;
      case CURRENT_COUNT:
        return this.#timer.currentCount;
      case DIVIDE:
        return state.divideConfiguration;
      default:
        return undefined;
    }
  }

  /** `value` has writable bits only; `whole` is what the guest gave. */
  #write(register: number, value: number, whole: number): void {
    const { state } = this;
    switch (register) {
      case TPR:
        state.tpr = value;
        this.#update();
        break;
      case EOI:
        this.#endOfInterrupt();
        break;
      case SVR:
        state.svr = value;
        if (!(value & SVR_ENABLE)) {
          state.lvt = state.lvt.map((entry) => entry | LVT_MASKED);
          this.#timer.writeLvt(state.lvtTimer | LVT_MASKED);
        }
        this.#update();
        break;
      case ESR:
        state.esr = state.errors;
        state.errors = 0;
        break;
      case INITIAL_COUNT:
        this.#timer.writeInitialCount(value);
        break;
      case DIVIDE:
        this.#timer.writeDivideConfiguration(whole);
        break;
      case SELF_IPI:
        this.#accept(value, false);
        break;
      case LVT_TIMER:
        this.#timer.writeLvt(value | this.#forcedMask);
        break;
      default: {
        const i = register - LVT_THERMAL;
        state.lvt[i] = value | this.#forcedMask | (state.lvt[i]! & LVT_REMOTE_IRR & (value >> 1));
        this.#assertLint(register - LVT_LINT0, false);
        this.#update();
      }
    }
  }

  /** Entries cannot be unmasked while the APIC is software-disabled. SDM vol. 3, 11.4.7.2. */
  get #forcedMask(): number {
    return this.state.svr & SVR_ENABLE ? 0 : LVT_MASKED;
  }

  #writeBase(value: number): boolean {
    const { state } = this;
    const enabled = (value & BASE_ENABLE) !== 0;
    const x2apic = (value & BASE_EXTD) !== 0;
    // Transitions: SDM vol. 3, 11.12.5. From x2APIC the only way leads to disabled, and into it only from xAPIC.
    if (value >= 2 ** 52 || value & 0x2ff || (x2apic && !enabled)) return false;
    if ((state.x2apic && enabled && !x2apic) || (!state.enabled && x2apic)) return false;
    if (state.enabled && !enabled) {
      const { lint } = state;
      Object.assign(state, this.schema.create(), { lint });
    }
    state.base = value - (value % 0x1000);
    state.enabled = enabled;
    state.x2apic = x2apic;
    this.#timer.arm();
    this.#update();
    this.#outputs.moved?.(this.#mmioBase);
    return true;
  }

  /** The vector that INTR is high for, or -1. */
  #nextVector(): number {
    const vector = highestVector(this.state.irr);
    return vector >= 0 && this.accepts && vector >> 4 > this.processorPriority >> 4 ? vector : -1;
  }

  get #externalPending(): boolean {
    const { state } = this;
    const lint0 = state.lvt[LVT_LINT0 - LVT_THERMAL]!;
    // A disabled APIC lets its pins through as INTR and NMI. SDM vol. 3, 11.4.3.
    const connected = !state.enabled || (!(lint0 & LVT_MASKED) && (lint0 & 0x700) >> 8 === DELIVERY_EXTINT);
    return state.extInt || (connected && state.lint[0]!);
  }

  #update(): void {
    const level = this.interruptPending();
    if (level === this.#output) return;
    this.#output = level;
    this.#outputs.interrupt(level);
  }

  #accept(vector: number, level: boolean): void {
    if (vector < 16) return this.#error(ESR_RECEIVE_ILLEGAL);
    if (!this.accepts) return;
    putVector(this.state.irr, vector, true);
    putVector(this.state.tmr, vector, level);
    this.#update();
  }

  #endOfInterrupt(): void {
    const { state } = this;
    const vector = highestVector(state.isr);
    if (vector < 0) return;
    putVector(state.isr, vector, false);
    if (hasVector(state.tmr, vector)) {
      if (!(state.svr & SVR_NO_EOI_BROADCAST)) this.#bus.endOfInterrupt(vector);
      for (const pin of [0, 1]) {
        const i = LVT_LINT0 - LVT_THERMAL + pin;
        if (!(state.lvt[i]! & LVT_REMOTE_IRR) || (state.lvt[i]! & 0xff) !== vector) continue;
        state.lvt[i]! &= ~LVT_REMOTE_IRR;
        this.#assertLint(pin, false);
      }
    }
    this.#update();
  }

  #setLint(pin: 0 | 1, level: boolean): void {
    const { state } = this;
    if (state.lint[pin] === level) return;
    state.lint[pin] = level;
    this.#assertLint(pin, level);
    this.#update();
  }

  /** Acts on a high pin: on its `edge`, or on its level. */
  #assertLint(pin: number, edge: boolean): void {
    const { state } = this;
    if (!state.lint[pin]) return;
    if (!state.enabled) {
      if (pin === 1 && edge) this.#outputs.nmi();
      return;
    }
    const i = LVT_LINT0 - LVT_THERMAL + pin;
    const entry = state.lvt[i]!;
    if (entry & LVT_MASKED) return;
    const mode = (entry >> 8) & 7;
    if (mode === DELIVERY_NMI && edge) this.#outputs.nmi();
    if (mode !== DELIVERY_FIXED) return;
    if (!(entry & LVT_LEVEL)) {
      if (edge) this.#accept(entry & 0xff, false);
    } else if (!(entry & LVT_REMOTE_IRR)) {
      state.lvt[i] = entry | LVT_REMOTE_IRR;
      this.#accept(entry & 0xff, true);
    }
  }

  #sendIpi(low: number, destination: number): void {
    const { state } = this;
    state.icrLow = low;
    const vector = low & 0xff;
    const mode = (low >> 8) & 7;
    const shorthand = (low >> 18) & 3;
    if (mode <= DELIVERY_LOWEST && vector < 16) return this.#error(ESR_SEND_ILLEGAL);
    // INIT level de-assert does nothing on processors since the Pentium 4.
    if (mode === DELIVERY_INIT && (low & 0xc000) === 0x8000) return;
    if (shorthand === 1) {
      if (mode === DELIVERY_FIXED) this.#accept(vector, false);
    } else if (shorthand === 0) {
      this.#bus.send({ destination, logical: (low & 0x800) !== 0, mode, vector, level: false });
    } else {
      const all = { destination: BROADCAST, logical: false, mode, vector, level: false };
      this.#bus.send(shorthand === 2 ? all : { ...all, except: this.id });
    }
  }

  #illegalRegister(): number {
    this.#error(ESR_ILLEGAL_REGISTER);
    return 0;
  }

  #error(bit: number): void {
    const { state } = this;
    if (state.errors & bit) return;
    state.errors |= bit;
    const entry = state.lvt[LVT_ERROR - LVT_THERMAL]!;
    if (entry & LVT_MASKED) return;
    // An illegal vector here is one more error, which is told only once.
    this.#accept(entry & 0xff, false);
  }
}
