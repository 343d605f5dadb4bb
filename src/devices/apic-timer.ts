/** The timer of a local APIC: one-shot, periodic and TSC-deadline. SDM vol. 3, 11.5.4. */
import type { GuestClock, Timer } from '../machine/clock.ts';
import { isPeriodic, type LocalApicState, timerCount, timerDivisor } from '../machine/interrupt-state.ts';
import { ticksAt, timeOfTick } from '../machine/ticks.ts';

export const LVT_MASKED = 1 << 16;
const TIMER_MODE = 3 << 17;
const TIMER_TSC_DEADLINE = 2 << 17;

/** A guest may ask for a shorter period; it gets one interrupt for all periods that fit into this. */
const MIN_PERIOD_NS = 10_000;

export class ApicTimer {
  readonly #state: LocalApicState;
  readonly #clock: GuestClock;
  readonly #tscHz: number;
  readonly #inputHz: number;
  readonly #fire: () => void;
  readonly #timer: Timer;
  /** Ticks by which the TSC is ahead of guest time. */
  tscOffset = 0n;

  /** @param fire called when the timer expires and is not masked */
  constructor(state: LocalApicState, clock: GuestClock, tscHz: number, inputHz: number, fire: () => void) {
    this.#state = state;
    this.#clock = clock;
    this.#tscHz = tscHz;
    this.#inputHz = inputHz;
    this.#fire = fire;
    this.#timer = clock.timer(() => this.#expire());
  }

  writeLvt(value: number): void {
    const state = this.#state;
    const wasDeadline = this.#deadlineMode;
    const wasPeriodic = this.#periodic;
    state.lvtTimer = value;
    if (wasDeadline !== this.#deadlineMode) {
      // A change between TSC-deadline and the counting modes disarms the timer.
      state.initialCount = 0;
      state.expiryNs = Infinity;
      state.tscDeadline = 0n;
    } else if (wasPeriodic !== this.#periodic && state.expiryNs === Infinity && this.#periodic) this.#start();
    else if (this.#periodic && state.expiryNs <= this.#clock.now()) this.#nextPeriod();
    this.arm();
  }

  writeInitialCount(value: number): void {
    if (this.#deadlineMode) return;
    this.#state.initialCount = value;
    this.#start();
    this.arm();
  }

  /** Changes the rate of a running count from where it is. */
  writeDivideConfiguration(value: number): void {
    const state = this.#state;
    const counted = state.initialCount - this.currentCount;
    state.divideConfiguration = value & 0x0b;
    if (state.expiryNs === Infinity) return;
    state.periodStart = Math.max(0, this.#now() - counted * this.#divisor);
    state.expiryNs = timeOfTick(state.periodStart + this.#period, this.#inputHz);
    this.arm();
  }

  get currentCount(): number {
    return timerCount(this.#state, this.#now());
  }

  get tscDeadline(): bigint {
    return this.#state.tscDeadline;
  }

  /** Ignored outside TSC-deadline mode. */
  writeTscDeadline(value: bigint): void {
    if (!this.#deadlineMode) return;
    this.#state.tscDeadline = value;
    if (value !== 0n && value - this.tscOffset <= BigInt(ticksAt(this.#clock.now(), this.#tscHz))) {
      this.#timer.cancel();
      this.#expireDeadline();
    } else this.arm();
  }

  /** Sets the host's timer from the state. */
  arm(): void {
    const { expiryNs, lvtTimer, tscDeadline } = this.#state;
    if (this.#deadlineMode) {
      const tick = tscDeadline - this.tscOffset;
      if (tscDeadline === 0n || tick >= 1n << 53n) this.#timer.cancel();
      else this.#timer.arm(timeOfTick(Math.max(0, Number(tick)), this.#tscHz));
    } else if (expiryNs === Infinity || (this.#periodic && lvtTimer & LVT_MASKED)) this.#timer.cancel();
    else this.#timer.arm(expiryNs);
  }

  #now(): number {
    return ticksAt(this.#clock.now(), this.#inputHz);
  }

  get #periodic(): boolean {
    return isPeriodic(this.#state);
  }

  get #deadlineMode(): boolean {
    return (this.#state.lvtTimer & TIMER_MODE) === TIMER_TSC_DEADLINE;
  }

  get #divisor(): number {
    return timerDivisor(this.#state.divideConfiguration);
  }

  /** In input ticks. */
  get #period(): number {
    return this.#state.initialCount * this.#divisor;
  }

  #start(): void {
    const state = this.#state;
    state.periodStart = this.#now();
    state.expiryNs = state.initialCount === 0 ? Infinity : timeOfTick(state.periodStart + this.#period, this.#inputHz);
  }

  /** Moves to the period that runs now; periods that were missed are lost, as they are when an interrupt is still pending. */
  #nextPeriod(): void {
    const state = this.#state;
    const now = this.#clock.now();
    const period = this.#period;
    state.periodStart += Math.floor((this.#now() - state.periodStart) / period) * period;
    state.expiryNs = Math.max(timeOfTick(state.periodStart + period, this.#inputHz), Math.ceil(now) + MIN_PERIOD_NS);
  }

  #expire(): void {
    const state = this.#state;
    if (this.#deadlineMode) {
      if (state.tscDeadline !== 0n) this.#expireDeadline();
      return;
    }
    if (state.expiryNs === Infinity) return;
    if (this.#periodic) this.#nextPeriod();
    else state.expiryNs = Infinity;
    this.arm();
    if (!(state.lvtTimer & LVT_MASKED)) this.#fire();
  }

  #expireDeadline(): void {
    this.#state.tscDeadline = 0n;
    if (!(this.#state.lvtTimer & LVT_MASKED)) this.#fire();
  }
}
