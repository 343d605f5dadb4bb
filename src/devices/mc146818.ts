/**
 * MC146818A real-time clock and CMOS RAM, ports 0x70 and 0x71. Motorola MC146818A data sheet; century in byte 0x32.
 * Time is the clock's wall time in UTC, plus what the guest has set.
 */
import type { GuestClock, Timer } from '../machine/clock.ts';
import type { Device } from '../machine/device.ts';
import type { IrqLine } from '../machine/irq.ts';
import { bool, bytes, count, defineState, u8 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { ticksAt, timeOfTick } from '../machine/ticks.ts';
import { BytePorts } from './byte-ports.ts';
import { decodeTime, encodeTime, isTimeRegister, nextAlarm } from './rtc-time.ts';

const REG_A = 0x0a;
const REG_B = 0x0b;
const REG_C = 0x0c;
const REG_D = 0x0d;

const A_UIP = 1 << 7;
const A_DIVIDER = 0x70;
const A_DIVIDER_32768 = 0x20;
const B_SET = 1 << 7;
const B_PIE = 1 << 6;
const B_AIE = 1 << 5;
const B_UIE = 1 << 4;
const B_24H = 1 << 1;
const C_IRQF = 1 << 7;
const C_PF = 1 << 6;
const C_AF = 1 << 5;
const C_UF = 1 << 4;
const D_VRT = 1 << 7;

const PERIODIC_HZ = 32_768;
/** UIP announces an update 244 microseconds ahead, and the update takes 1984. Data sheet, table 6. */
const UIP_NS = 2_228_000;

export const mc146818State = defineState('mc146818', 1, {
  index: u8(),
  /** Bit 7 of port 0x70. */
  nmiMasked: bool(),
  /** Registers as stored: time registers are current only while the clock stands. */
  ram: bytes(128),
  registerA: u8(0x26),
  registerB: u8(B_24H),
  registerC: u8(),
  /** The guest has set the clock: it shows `baseMs` (since 1970) at guest time `baseNs`. */
  adjusted: bool(),
  baseMs: count(),
  baseNs: count(),
  /** Seconds and periodic ticks that the flags in register C account for. */
  seenSecond: count(),
  seenTick: count(),
});

/** CMOS bytes that tell the amount of memory, as a PC's firmware leaves them. */
export function cmosMemory(belowFourGiB: number, aboveFourGiB: number): Record<number, number> {
  const extendedKib = Math.min(0xffff, Math.floor(belowFourGiB / 1024) - 1024);
  const above16Mib = Math.min(0xffff, Math.max(0, Math.floor(belowFourGiB / 0x1_0000) - 256));
  const high = Math.floor(aboveFourGiB / 0x1_0000);
  return {
    0x15: 640 & 0xff,
    0x16: 640 >> 8,
    0x17: extendedKib & 0xff,
    0x18: extendedKib >> 8,
    0x30: extendedKib & 0xff,
    0x31: extendedKib >> 8,
    0x34: above16Mib & 0xff,
    0x35: above16Mib >> 8,
    0x5b: high & 0xff,
    0x5c: (high >> 8) & 0xff,
    0x5d: (high >> 16) & 0xff,
  };
}

export class Mc146818 extends BytePorts implements Device<StateOf<typeof mc146818State>> {
  readonly schema = mc146818State;
  readonly state = mc146818State.create();
  readonly #clock: GuestClock;
  readonly #irq: IrqLine;
  readonly #fixed: Readonly<Record<number, number>>;
  readonly #timer: Timer;

  /** @param fixed bytes that the board knows better than the guest; writes to them are dropped */
  constructor(clock: GuestClock, irq: IrqLine, fixed: Readonly<Record<number, number>> = {}) {
    super();
    this.#clock = clock;
    this.#irq = irq;
    this.#fixed = fixed;
    this.#timer = clock.timer(() => this.#update());
  }

  /** Whether port 0x70 keeps NMIs from the processor. */
  get nmiMasked(): boolean {
    return this.state.nmiMasked;
  }

  /** The RESET pin: interrupts are disabled, but the battery keeps time and memory. */
  resetPin(): void {
    this.state.registerB &= ~(B_PIE | B_AIE | B_UIE | 0x08);
    this.state.registerC = 0;
    this.sync();
  }

  /** The guest was saved and goes on this much later: a clock that it has set itself goes on, too. */
  letPass(milliseconds: number): void {
    const { state } = this;
    if (state.adjusted) state.baseMs = Math.max(0, state.baseMs + Math.floor(milliseconds));
    this.sync();
  }

  sync(): void {
    this.#irq.set((this.state.registerC & C_IRQF) !== 0);
    this.#arm();
  }

  protected readByte(offset: number): number {
    if (offset !== 1) return 0xff;
    const { state } = this;
    const { index } = state;
    switch (index) {
      case REG_A:
        return state.registerA | (this.#updating ? A_UIP : 0);
      case REG_B:
        return state.registerB;
      case REG_C: {
        this.#update();
        const value = state.registerC;
        state.registerC = 0;
        this.sync();
        return value;
      }
      case REG_D:
        return D_VRT;
      default: {
        if (isTimeRegister(index) && this.#running) this.#store();
        return this.#fixed[index] ?? state.ram[index]!;
      }
    }
  }

  protected writeByte(offset: number, value: number): void {
    const { state } = this;
    if (offset === 0) {
      state.index = value & 0x7f;
      state.nmiMasked = (value & 0x80) !== 0;
      return;
    }
    if (offset !== 1) return;
    this.#update();
    const { index } = state;
    if (index === REG_A || index === REG_B) this.#writeControl(index, value);
    else if (index === REG_C || index === REG_D || index in this.#fixed) return;
    else if (isTimeRegister(index) && this.#running) {
      const fraction = this.#milliseconds % 1000;
      this.#store();
      state.ram[index] = value;
      this.#setTime(fraction);
    } else state.ram[index] = value;
    this.sync();
  }

  #writeControl(register: typeof REG_A | typeof REG_B, value: number): void {
    const { state } = this;
    const wasRunning = this.#running;
    const wasReset = (state.registerA & A_DIVIDER) !== A_DIVIDER_32768;
    if (wasRunning) this.#store();
    if (register === REG_A) {
      state.registerA = value & 0x7f;
      state.seenTick = this.#tick;
    } else {
      state.registerB = value & B_SET ? value & ~B_UIE : value;
      // A flag that is already set interrupts as soon as it is enabled.
      this.#raise(0);
    }
    // The first update after the divider's reset follows half a second later.
    if (!wasRunning && this.#running) this.#setTime(wasReset ? 500 : 0);
    else if (wasRunning && this.#running) this.#store();
  }

  /** The clock counts: it is neither being set nor is its divider held. */
  get #running(): boolean {
    return !(this.state.registerB & B_SET) && (this.state.registerA & A_DIVIDER) === A_DIVIDER_32768;
  }

  /** What the running clock shows, in milliseconds since 1970. */
  get #milliseconds(): number {
    const { adjusted, baseMs, baseNs } = this.state;
    const now = this.#clock.now();
    return adjusted ? baseMs + Math.floor((now - baseNs) / 1e6) : this.#clock.epochMs + Math.floor(now / 1e6);
  }

  /** Guest time at which the running clock shows a second's beginning. */
  #timeOfSecond(second: number): number {
    const { adjusted, baseMs, baseNs } = this.state;
    return adjusted ? baseNs + (second * 1000 - baseMs) * 1e6 : (second * 1000 - this.#clock.epochMs) * 1e6;
  }

  get #second(): number {
    return Math.floor(this.#milliseconds / 1000);
  }

  get #updating(): boolean {
    return this.#running && this.#timeOfSecond(this.#second + 1) - this.#clock.now() <= UIP_NS;
  }

  /** Periodic ticks per second; 0 when off. Data sheet, table 5. */
  get #rate(): number {
    const { registerA } = this.state;
    const select = registerA & 0x0f;
    if (select === 0 || (registerA & A_DIVIDER) > A_DIVIDER_32768) return 0;
    return PERIODIC_HZ >> ((select < 3 ? select + 7 : select) - 1);
  }

  get #tick(): number {
    return ticksAt(this.#clock.now(), this.#rate);
  }

  #store(): void {
    encodeTime(this.#milliseconds, this.state.ram, this.state.registerB);
  }

  /** Takes the time from the registers, with `fraction` milliseconds of the second gone. */
  #setTime(fraction: number): void {
    const { state } = this;
    state.baseMs = decodeTime(state.ram, state.registerB) + fraction;
    state.baseNs = Math.floor(this.#clock.now());
    state.adjusted = true;
    state.seenSecond = this.#second;
  }

  /** Sets the flags of what has happened since the last time. */
  #update(): void {
    const { state } = this;
    let flags = 0;
    if (this.#running) {
      const second = this.#second;
      const seen = state.seenSecond === 0 ? this.#startSecond : state.seenSecond;
      if (second !== seen) flags |= C_UF;
      if (second > seen && nextAlarm(seen, state.ram, state.registerB) <= second) flags |= C_AF;
      state.seenSecond = second;
    }
    const tick = this.#tick;
    if (tick > state.seenTick) flags |= C_PF;
    state.seenTick = tick;
    this.#raise(flags);
    this.sync();
  }

  get #startSecond(): number {
    return Math.floor(this.#clock.epochMs / 1000);
  }

  #raise(flags: number): void {
    const { state } = this;
    state.registerC |= flags;
    if (state.registerC & state.registerB & (C_PF | C_AF | C_UF)) state.registerC |= C_IRQF;
  }

  /** Waits for the next enabled event whose flag is not yet set: until the guest reads register C there is no other. */
  #arm(): void {
    const { registerB, registerC, ram } = this.state;
    const wanted = registerB & ~registerC;
    let next = Infinity;
    if (this.#running && !(registerC & C_IRQF)) {
      const second = this.#second;
      if (wanted & B_UIE) next = this.#timeOfSecond(second + 1);
      if (wanted & B_AIE) next = Math.min(next, this.#timeOfSecond(nextAlarm(second, ram, registerB)));
    }
    if (wanted & B_PIE && !(registerC & C_IRQF) && this.#rate > 0) next = Math.min(next, timeOfTick(this.#tick + 1, this.#rate));
    if (next === Infinity) this.#timer.cancel();
    else this.#timer.arm(next);
  }
}
