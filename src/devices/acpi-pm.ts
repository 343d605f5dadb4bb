/** ACPI fixed hardware: PM1a event and control blocks, PM timer, GPE0 block, SMI command port. ACPI 6.5, 4.8. */
import type { BusDevice } from '../machine/bus.ts';
import type { GuestClock, Timer } from '../machine/clock.ts';
import type { Device } from '../machine/device.ts';
import type { IrqLine } from '../machine/irq.ts';
import { count, defineState, u16 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { ticksAt, timeOfTick } from '../machine/ticks.ts';
import { BytePort } from './byte-ports.ts';

const PM_TIMER_HZ = 3_579_545;
/** What the FADT and `\_S5` must say. */
export const ACPI_ENABLE = 0xa1;
export const ACPI_DISABLE = 0xa0;
export const SLP_TYP_S5 = 5;
/** Sizes of the faces in bytes. */
export const PM1_EVENT_SIZE = 4;
export const PM1_CONTROL_SIZE = 2;
export const PM_TIMER_SIZE = 4;
export const GPE0_SIZE = 4;

const TMR_STS = 1 << 0;
const PWRBTN_STS = 1 << 8;
const RTC_STS = 1 << 10;
const WAK_STS = 1 << 15;
const STATUS_BITS = TMR_STS | (1 << 4) | (1 << 5) | PWRBTN_STS | (1 << 9) | RTC_STS | WAK_STS;
const ENABLE_BITS = TMR_STS | (1 << 5) | PWRBTN_STS | (1 << 9) | RTC_STS;
const SCI_EN = 1 << 0;
const SLP_EN = 1 << 13;
/** Writable: BM_RLD and SLP_TYP. SCI_EN belongs to the SMI command port, GBL_RLS and SLP_EN read as zero. */
const CONTROL_BITS = (1 << 1) | (7 << 10);

/** What reading the timer takes, about as on hardware. */
const READ_NS = 1000;

export const acpiPmState = defineState('acpi-pm', 1, {
  status: u16(),
  enable: u16(),
  control: u16(),
  gpeStatus: u16(),
  gpeEnable: u16(),
  /** Changes of the timer's top bit that TMR_STS accounts for. */
  seenCarries: count(),
});

export interface AcpiPmOptions {
  readonly clock: GuestClock;
  readonly sci: IrqLine;
  /** The guest has entered S5. */
  readonly powerOff: () => void;
  /** Width of the PM timer: the FADT's TMR_VAL_EXT. */
  readonly timerBits?: 24 | 32;
}

export class AcpiPm implements Device<StateOf<typeof acpiPmState>> {
  readonly schema = acpiPmState;
  readonly state = acpiPmState.create();
  readonly event: BusDevice;
  readonly control: BusDevice;
  readonly timer: BusDevice;
  readonly gpe0: BusDevice;
  readonly smiCommand: BusDevice;
  readonly #clock: GuestClock;
  readonly #sci: IrqLine;
  readonly #powerOff: () => void;
  readonly #timerBits: number;
  readonly #carry: Timer;

  constructor({ clock, sci, powerOff, timerBits = 32 }: AcpiPmOptions) {
    this.#clock = clock;
    this.#sci = sci;
    this.#powerOff = powerOff;
    this.#timerBits = timerBits;
    this.#carry = clock.timer(() => this.#update());
    const { state } = this;
    this.event = new BytePort(
      (offset) => {
        this.#noteCarries();
        return wordByte(offset < 2 ? state.status : state.enable, offset, PM1_EVENT_SIZE);
      },
      (offset, value) => {
        this.#noteCarries();
        const bits = value << (8 * (offset & 1));
        if (offset < 2) state.status &= ~bits;
        else if (offset < 4) state.enable = replaceByte(state.enable, offset, value) & ENABLE_BITS;
        this.sync();
      },
    );
    this.control = new BytePort(
      (offset) => wordByte(state.control, offset, PM1_CONTROL_SIZE),
      (offset, value) => this.#writeControl(offset, value),
    );
    const timer = new BytePort(
      (offset) => Math.floor(this.#count() / 2 ** (8 * Math.min(offset, 4))) & 0xff,
      () => {},
    );
    this.timer = {
      read: (offset, width) => {
        const value = timer.read(offset, width);
        this.#clock.pass(READ_NS);
        return value;
      },
      write() {},
    };
    this.gpe0 = new BytePort(
      (offset) => wordByte(offset < 2 ? state.gpeStatus : state.gpeEnable, offset, GPE0_SIZE),
      (offset, value) => {
        if (offset < 2) state.gpeStatus &= ~(value << (8 * offset));
        else if (offset < 4) state.gpeEnable = replaceByte(state.gpeEnable, offset, value);
        this.sync();
      },
    );
    this.smiCommand = new BytePort(
      () => 0,
      (offset, value) => {
        if (offset !== 0) return;
        if (value === ACPI_ENABLE) state.control |= SCI_EN;
        else if (value === ACPI_DISABLE) state.control &= ~SCI_EN;
        this.sync();
      },
    );
  }

  /** Presses the power button. False when the guest does not listen. */
  pressPowerButton(): boolean {
    this.state.status |= PWRBTN_STS;
    this.sync();
    return (this.state.control & SCI_EN) !== 0 && (this.state.enable & PWRBTN_STS) !== 0;
  }

  /** A general-purpose event, 0 to 15, whose method `_Lxx` or `_Exx` the guest runs. */
  raiseGpe(number: number): void {
    this.state.gpeStatus |= 1 << number;
    this.sync();
  }

  sync(): void {
    const { state } = this;
    const pending = (state.status & state.enable) !== 0 || (state.gpeStatus & state.gpeEnable) !== 0;
    this.#sci.set(pending && (state.control & SCI_EN) !== 0);
    if (state.enable & TMR_STS && !(state.status & TMR_STS) && state.control & SCI_EN) {
      this.#carry.arm(timeOfTick((state.seenCarries + 1) * this.#carryTicks, PM_TIMER_HZ));
    } else this.#carry.cancel();
  }

  #update(): void {
    this.#noteCarries();
    this.sync();
  }

  #writeControl(offset: number, value: number): void {
    const { state } = this;
    if (offset > 1) return;
    const written = replaceByte(state.control, offset, value);
    state.control = (written & CONTROL_BITS) | (state.control & SCI_EN);
    if (offset === 1 && written & SLP_EN) {
      if (((written >> 10) & 7) === SLP_TYP_S5) this.#powerOff();
      // Any other state is left at once: `WAK_STS` is what the guest waits for.
      else state.status |= WAK_STS;
    }
    this.sync();
  }

  #ticks(): number {
    return ticksAt(this.#clock.now(), PM_TIMER_HZ);
  }

  #count(): number {
    return this.#ticks() % 2 ** this.#timerBits;
  }

  /** Ticks between changes of the top bit. */
  get #carryTicks(): number {
    return 2 ** (this.#timerBits - 1);
  }

  #noteCarries(): void {
    const { state } = this;
    const carries = Math.floor(this.#ticks() / this.#carryTicks);
    if (carries > state.seenCarries) state.status |= TMR_STS;
    state.seenCarries = carries;
    state.status &= STATUS_BITS;
  }
}

const wordByte = (word: number, offset: number, size: number): number => (offset < size ? (word >> (8 * (offset & 1))) & 0xff : 0xff);
const replaceByte = (word: number, offset: number, value: number): number =>
  offset & 1 ? (word & 0xff) | (value << 8) : (word & 0xff00) | value;
