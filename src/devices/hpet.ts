/** IA-PC HPET with three comparators at 100 MHz. IA-PC HPET Specification 1.0a, section 2.3. */
import type { BusDevice, Width } from '../machine/bus.ts';
import type { GuestClock, Timer } from '../machine/clock.ts';
import type { Device } from '../machine/device.ts';
import type { IrqLine } from '../machine/irq.ts';
import { array, bool, count, defineState, struct, u32, u64 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';

const TIMERS = 3;
const TICK_NS = 10;
const PERIOD_FEMTOSECONDS = TICK_NS * 1_000_000;
/** A guest may ask for a shorter period; it gets one interrupt for all that fall into this. */
const MIN_PERIOD_NS = 20_000;
/** What reading the main counter takes, about as on hardware. */
const READ_NS = 500;
export const HPET_SIZE = 0x400;
/** The ACPI table's event timer block id: the low half of the capabilities. */
export const HPET_BLOCK_ID = 0x8086_a201;

const CAPABILITIES = 0x000;
const CONFIGURATION = 0x010;
const STATUS = 0x020;
const COUNTER = 0x0f0;
const TIMER_BLOCK = 0x100;

const ENABLE_CNF = 1 << 0;
const LEG_RT_CNF = 1 << 1;

const INT_TYPE_LEVEL = 1 << 1;
const INT_ENB = 1 << 2;
const TYPE_PERIODIC = 1 << 3;
const PER_INT_CAP = 1 << 4;
const SIZE_CAP = 1 << 5;
const VAL_SET = 1 << 6;
const MODE_32 = 1 << 8;
const ROUTE = 0x1f << 9;
const CONFIG_WRITABLE = INT_TYPE_LEVEL | INT_ENB | TYPE_PERIODIC | VAL_SET | MODE_32 | ROUTE;

const MASK32 = 0xffff_ffffn;

export const hpetState = defineState('hpet', 1, {
  configuration: u32(),
  status: u32(),
  /** The main counter's value at guest time `counterNs`; the value itself while it is halted. */
  counter: u64(),
  counterNs: count(),
  timers: array(
    TIMERS,
    struct({
      config: u32(),
      comparator: u64(MASK32 | (MASK32 << 32n)),
      period: u64(),
      /** The next write to the comparator's high half belongs to one that set the accumulator. */
      setHigh: bool(),
      expiryNs: count(Infinity),
    }),
  ),
  /** Levels of the interrupts that legacy replacement cuts off: PIT, RTC. */
  legacyInputs: array(2, bool()),
});

type TimerState = StateOf<typeof hpetState>['timers'][number];

export interface HpetOptions {
  readonly clock: GuestClock;
  /** Interrupts 0 and 8, which come from PIT and RTC unless legacy replacement is on. */
  readonly legacy: readonly [IrqLine, IrqLine];
  /** The I/O APIC inputs that a timer may be routed to, by number. */
  readonly routes: ReadonlyMap<number, IrqLine>;
}

/** Replaces 32 bits of a 64-bit register. */
const withHalf = (whole: bigint, high: boolean, half: number): bigint =>
  high ? (whole & MASK32) | (BigInt(half) << 32n) : (whole & (MASK32 << 32n)) | BigInt(half);
const halfOf = (whole: bigint, high: boolean): number => Number(high ? whole >> 32n : whole & MASK32);

export class Hpet implements Device<StateOf<typeof hpetState>>, BusDevice {
  readonly schema = hpetState;
  readonly state = hpetState.create();
  /** Where the PIT's channel 0 and the RTC connect to. */
  readonly pit: IrqLine = { set: (level) => this.#setLegacy(0, level) };
  readonly rtc: IrqLine = { set: (level) => this.#setLegacy(1, level) };
  readonly #clock: GuestClock;
  readonly #legacy: readonly [IrqLine, IrqLine];
  readonly #routes: ReadonlyMap<number, IrqLine>;
  readonly #routeCap: number;
  readonly #timers: readonly Timer[];

  constructor({ clock, legacy, routes }: HpetOptions) {
    this.#clock = clock;
    this.#legacy = legacy;
    this.#routes = routes;
    this.#routeCap = [...routes.keys()].reduce((mask, pin) => (mask | (1 << pin)) >>> 0, 0);
    this.#timers = Array.from({ length: TIMERS }, (_, n) => clock.timer(() => this.#expire(n)));
  }

  sync(): void {
    const { state } = this;
    for (const [pin, line] of this.#routes) line.set(this.#routeLevel(pin));
    for (const n of [0, 1] as const) this.#legacy[n].set(this.#legacyOn ? this.#levelOf(n) : state.legacyInputs[n]!);
    for (const [n, { expiryNs }] of state.timers.entries()) this.#arm(n, expiryNs);
  }

  read(offset: number, width: Width): number {
    const value = this.#read(offset & ~7, (offset & 4) !== 0);
    if (width === 4 && (offset & 3) === 0) return value;
    return ((value >>> (8 * (offset & 3))) & (2 ** (8 * width) - 1)) >>> 0;
  }

  write(offset: number, width: Width, value: number): void {
    // Registers are accessed by aligned 32 or 64 bits only. Specification 2.4.4.
    if (width !== 4 || offset & 3 || offset >= HPET_SIZE) return;
    const high = (offset & 4) !== 0;
    const { state } = this;
    switch (offset & ~7) {
      case CONFIGURATION:
        if (!high) this.#writeConfiguration(value & (ENABLE_CNF | LEG_RT_CNF));
        break;
      case STATUS:
        if (!high) state.status &= ~value;
        this.sync();
        break;
      case COUNTER:
        if (this.#enabled) break;
        state.counter = withHalf(state.counter, high, value);
        break;
      default:
        this.#writeTimer(offset, high, value);
    }
  }

  get #enabled(): boolean {
    return (this.state.configuration & ENABLE_CNF) !== 0;
  }

  get #legacyOn(): boolean {
    return (this.state.configuration & LEG_RT_CNF) !== 0;
  }

  #count(now: number): bigint {
    const { counter, counterNs } = this.state;
    return this.#enabled ? BigInt.asUintN(64, counter + BigInt(Math.floor((now - counterNs) / TICK_NS))) : counter;
  }

  #read(register: number, high: boolean): number {
    const { state } = this;
    switch (register) {
      case CAPABILITIES:
        return high ? PERIOD_FEMTOSECONDS : HPET_BLOCK_ID;
      case CONFIGURATION:
        return high ? 0 : state.configuration;
      case STATUS:
        return high ? 0 : state.status;
      case COUNTER: {
        const half = halfOf(this.#count(this.#clock.now()), high);
        this.#clock.pass(READ_NS);
        return half;
      }
      default: {
        const timer = state.timers[(register - TIMER_BLOCK) >> 5];
        if (!timer) return 0;
        if ((register & 0x18) === 0) return high ? this.#routeCap : timer.config | PER_INT_CAP | SIZE_CAP;
        return (register & 0x18) === 8 ? halfOf(timer.comparator, high) : 0;
      }
    }
  }

  #writeConfiguration(value: number): void {
    const { state } = this;
    const now = Math.floor(this.#clock.now());
    state.counter = this.#count(now);
    state.counterNs = now;
    state.configuration = value;
    this.#scheduleAll();
    this.sync();
  }

  #writeTimer(offset: number, high: boolean, value: number): void {
    const n = (offset - TIMER_BLOCK) >> 5;
    const timer = this.state.timers[n];
    if (!timer) return;
    const register = offset & 0x18;
    if (register === 0 && !high) {
      timer.config = value & CONFIG_WRITABLE;
      if (timer.config & MODE_32) {
        timer.comparator &= MASK32;
        timer.period &= MASK32;
      }
      // An edge-triggered timer has no status.
      if (!(value & INT_TYPE_LEVEL)) this.state.status &= ~(1 << n);
      this.sync();
    } else if (register === 8) this.#writeComparator(timer, high, value);
    else return;
    this.#schedule(n, this.#clock.now());
  }

  #writeComparator(timer: TimerState, high: boolean, value: number): void {
    if (high && timer.config & MODE_32) return;
    const periodic = (timer.config & TYPE_PERIODIC) !== 0;
    const sets = !periodic || (high ? timer.setHigh : (timer.config & VAL_SET) !== 0);
    if (sets) timer.comparator = withHalf(timer.comparator, high, value);
    if (periodic) timer.period = withHalf(timer.period, high, value);
    timer.setHigh = !high && periodic && sets;
    timer.config &= ~VAL_SET;
  }

  #scheduleAll(): void {
    const now = this.#clock.now();
    for (let n = 0; n < TIMERS; n++) this.#schedule(n, now);
  }

  /** Finds when the main counter will next equal a comparator. A match right now has already happened. */
  #schedule(n: number, now: number): void {
    const timer = this.state.timers[n]!;
    timer.expiryNs = Infinity;
    if (this.#enabled && timer.config & INT_ENB) {
      const bits = timer.config & MODE_32 ? 32 : 64;
      const counter = this.#count(now);
      const delta = BigInt.asUintN(bits, timer.comparator - counter) || 1n << BigInt(bits);
      const { counterNs, counter: base } = this.state;
      const ticks = BigInt.asUintN(64, counter - base) + delta;
      if (ticks < 1n << 48n) timer.expiryNs = counterNs + Number(ticks) * TICK_NS;
    }
    this.#arm(n, timer.expiryNs);
  }

  #arm(n: number, expiryNs: number): void {
    if (expiryNs === Infinity) this.#timers[n]!.cancel();
    else this.#timers[n]!.arm(expiryNs);
  }

  #expire(n: number): void {
    const timer = this.state.timers[n]!;
    if (timer.expiryNs === Infinity) return;
    const now = Math.ceil(this.#clock.now());
    if (timer.config & TYPE_PERIODIC && timer.period !== 0n) {
      const bits = timer.config & MODE_32 ? 32 : 64;
      const late = BigInt.asUintN(bits, this.#count(now) - timer.comparator);
      timer.comparator = BigInt.asUintN(bits, timer.comparator + (late / timer.period + 1n) * timer.period);
    }
    this.#schedule(n, now);
    if (timer.expiryNs < now + MIN_PERIOD_NS) {
      timer.expiryNs = now + MIN_PERIOD_NS;
      this.#arm(n, timer.expiryNs);
    }
    this.#interrupt(n, timer);
  }

  #interrupt(n: number, timer: TimerState): void {
    if (timer.config & INT_TYPE_LEVEL) {
      this.state.status |= 1 << n;
      this.sync();
      return;
    }
    const line = this.#line(n, timer);
    line?.set(true);
    line?.set(false);
  }

  /** Where a timer's interrupt goes. */
  #line(n: number, timer: TimerState): IrqLine | undefined {
    if (this.#legacyOn && n < 2) return this.#legacy[n as 0 | 1];
    return this.#routes.get((timer.config & ROUTE) >> 9);
  }

  #levelOf(n: number): boolean {
    const { config } = this.state.timers[n]!;
    return (config & INT_TYPE_LEVEL) !== 0 && (config & INT_ENB) !== 0 && (this.state.status & (1 << n)) !== 0;
  }

  #routeLevel(pin: number): boolean {
    return this.state.timers.some(({ config }, n) => this.#levelOf(n) && (config & ROUTE) >> 9 === pin && !(this.#legacyOn && n < 2));
  }

  #setLegacy(n: 0 | 1, level: boolean): void {
    this.state.legacyInputs[n] = level;
    if (!this.#legacyOn) this.#legacy[n].set(level);
  }
}
