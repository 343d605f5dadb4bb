/** The inside of a local APIC. SDM vol. 3, chapter 11. */
import { BROADCAST, DELIVERY_EXTINT, DELIVERY_FIXED, DELIVERY_INIT, DELIVERY_LOWEST } from '../machine/apic.ts';
import { DELIVERY_NMI, DELIVERY_STARTUP } from '../machine/apic.ts';
import type { ApicBus, ApicMessage } from '../machine/apic.ts';
import type { GuestClock } from '../machine/clock.ts';
import type { Device } from '../machine/device.ts';
import { localApicState, type LocalApicState } from '../machine/interrupt-state.ts';
import type { IrqLine } from '../machine/irq.ts';
import {
  APR,
  CURRENT_COUNT,
  DFR,
  DIVIDE,
  EOI,
  ESR,
  ESR_ILLEGAL_REGISTER,
  ESR_RECEIVE_ILLEGAL,
  ESR_SEND_ILLEGAL,
  ICR_HIGH,
  ICR_LOW,
  ID,
  INITIAL_COUNT,
  IRR,
  ISR,
  LDR,
  LVT_ERROR,
  LVT_LEVEL,
  LVT_LINT0,
  LVT_LINT1,
  LVT_REMOTE_IRR,
  LVT_THERMAL,
  LVT_TIMER,
  PPR,
  RRD,
  SELF_IPI,
  SVR,
  SVR_ENABLE,
  SVR_NO_EOI_BROADCAST,
  TMR,
  TPR,
  VERSION,
  VERSION_VALUE,
} from './apic-registers.ts';
import { ApicTimer, LVT_MASKED } from './apic-timer.ts';
import { hasVector, highestVector, putVector } from './interrupt-bits.ts';

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

/** Priorities, pins, messages and registers, without the ways to reach them. */
export class ApicCore implements Device<LocalApicState> {
  readonly schema = localApicState;
  readonly state = localApicState.create();
  readonly id: number;
  /** Pins: the 8259A pair's INT, and NMI. */
  readonly lint0: IrqLine = { set: (level) => this.#setLint(0, level) };
  readonly lint1: IrqLine = { set: (level) => this.#setLint(1, level) };
  readonly #bus: ApicBus;
  protected readonly outputs: LocalApicOutputs;
  protected readonly timer: ApicTimer;
  #output = false;

  constructor({ id, clock, tscHz, timerHz = 1e9, bus, outputs }: LocalApicOptions) {
    this.id = id;
    this.#bus = bus;
    this.outputs = outputs;
    this.timer = new ApicTimer(this.state, clock, tscHz, timerHz, () => this.#accept(this.state.lvtTimer & 0xff, false));
  }

  sync(): void {
    this.timer.arm();
    this.#output = this.interruptPending();
    this.outputs.interrupt(this.#output);
  }

  /** The processor's time-stamp counter is guest time plus this. */
  tscMoved(offset: bigint): void {
    this.timer.tscOffset = offset;
    this.timer.arm();
  }

  /** As firmware leaves the bootstrap processor: 8259A interrupts on LINT0, NMI on LINT1. MP Specification 3.6.2.2. */
  enableVirtualWire(): void {
    this.writeRegister(SVR, SVR_ENABLE | 0xff, 0);
    this.writeRegister(LVT_LINT0, DELIVERY_EXTINT << 8, 0);
    this.writeRegister(LVT_LINT1, DELIVERY_NMI << 8, 0);
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
      this.update();
      return vector;
    }
    if (!this.#externalPending) return -1;
    state.extInt = false;
    const external = this.outputs.acknowledgeExternal();
    this.update();
    return external;
  }

  /** Bits 7:4 of the TPR, which MOV to and from CR8 reach. */
  get cr8(): number {
    return this.state.tpr >> 4;
  }

  set cr8(value: number) {
    this.writeRegister(TPR, (value & 0xf) << 4, 0);
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
        this.outputs.nmi();
        break;
      case DELIVERY_INIT: {
        const { base, enabled, x2apic, lint } = this.state;
        Object.assign(this.state, this.schema.create(), { base, enabled, x2apic, lint });
        this.timer.arm();
        this.update();
        this.outputs.init();
        break;
      }
      case DELIVERY_STARTUP:
        this.outputs.startup(vector);
        break;
      case DELIVERY_EXTINT:
        this.state.extInt = true;
        this.update();
        break;
      default: // SMI: there is no system-management mode to enter.
    }
  }

  get #ldr(): number {
    const { state, id } = this;
    return state.x2apic ? (((id >> 4) << 16) | (1 << (id & 15))) >>> 0 : state.ldr;
  }

  protected readRegister(register: number): number | undefined {
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
        return this.timer.currentCount;
      case DIVIDE:
        return state.divideConfiguration;
      default:
        return undefined;
    }
  }

  /** `value` has writable bits only; `whole` is what the guest gave. */
  protected writeRegister(register: number, value: number, whole: number): void {
    const { state } = this;
    switch (register) {
      case TPR:
        state.tpr = value;
        this.update();
        break;
      case EOI:
        this.#endOfInterrupt();
        break;
      case SVR:
        state.svr = value;
        if (!(value & SVR_ENABLE)) {
          state.lvt = state.lvt.map((entry) => entry | LVT_MASKED);
          this.timer.writeLvt(state.lvtTimer | LVT_MASKED);
        }
        this.update();
        break;
      case ESR:
        state.esr = state.errors;
        state.errors = 0;
        break;
      case INITIAL_COUNT:
        this.timer.writeInitialCount(value);
        break;
      case DIVIDE:
        this.timer.writeDivideConfiguration(whole);
        break;
      case SELF_IPI:
        this.#accept(value, false);
        break;
      case LVT_TIMER:
        this.timer.writeLvt(value | this.#forcedMask);
        break;
      default: {
        const i = register - LVT_THERMAL;
        state.lvt[i] = value | this.#forcedMask | (state.lvt[i]! & LVT_REMOTE_IRR & (value >> 1));
        this.#assertLint(register - LVT_LINT0, false);
        this.update();
      }
    }
  }

  /** Entries cannot be unmasked while the APIC is software-disabled. SDM vol. 3, 11.4.7.2. */
  get #forcedMask(): number {
    return this.state.svr & SVR_ENABLE ? 0 : LVT_MASKED;
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

  protected update(): void {
    const level = this.interruptPending();
    if (level === this.#output) return;
    this.#output = level;
    this.outputs.interrupt(level);
  }

  #accept(vector: number, level: boolean): void {
    if (vector < 16) return this.#error(ESR_RECEIVE_ILLEGAL);
    if (!this.accepts) return;
    putVector(this.state.irr, vector, true);
    putVector(this.state.tmr, vector, level);
    this.update();
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
    this.update();
  }

  #setLint(pin: 0 | 1, level: boolean): void {
    const { state } = this;
    if (state.lint[pin] === level) return;
    state.lint[pin] = level;
    this.#assertLint(pin, level);
    this.update();
  }

  /** Acts on a high pin: on its `edge`, or on its level. */
  #assertLint(pin: number, edge: boolean): void {
    const { state } = this;
    if (!state.lint[pin]) return;
    if (!state.enabled) {
      if (pin === 1 && edge) this.outputs.nmi();
      return;
    }
    const i = LVT_LINT0 - LVT_THERMAL + pin;
    const entry = state.lvt[i]!;
    if (entry & LVT_MASKED) return;
    const mode = (entry >> 8) & 7;
    if (mode === DELIVERY_NMI && edge) this.outputs.nmi();
    if (mode !== DELIVERY_FIXED) return;
    if (!(entry & LVT_LEVEL)) {
      if (edge) this.#accept(entry & 0xff, false);
    } else if (!(entry & LVT_REMOTE_IRR)) {
      state.lvt[i] = entry | LVT_REMOTE_IRR;
      this.#accept(entry & 0xff, true);
    }
  }

  protected sendIpi(low: number, destination: number): void {
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

  protected illegalRegister(): number {
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
