/**
 * 16550A UART. National Semiconductor PC16550D data sheet. Bytes are sent as soon as they are written, and arrive as
 * fast as the guest reads them: the divisor is kept but not timed, and a receiver time-out comes at once.
 */
import type { CharBackend } from '../machine/backends.ts';
import type { Device } from '../machine/device.ts';
import type { IrqLine } from '../machine/irq.ts';
import { bool, defineState, list, u16, u8 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { BytePorts } from './byte-ports.ts';

const IER_RDA = 1 << 0;
const IER_THRE = 1 << 1;
const IER_RLS = 1 << 2;
const IER_MS = 1 << 3;

const IIR_MODEM_STATUS = 0x00;
const IIR_NONE = 0x01;
const IIR_THRE = 0x02;
const IIR_RDA = 0x04;
const IIR_RLS = 0x06;
const IIR_TIMEOUT = 0x0c;
const IIR_FIFOS = 0xc0;

const FCR_ENABLE = 1 << 0;
const FCR_CLEAR_RX = 1 << 1;
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;

const LCR_BREAK = 1 << 6;
const LCR_DLAB = 1 << 7;

const MCR_DTR = 1 << 0;
const MCR_RTS = 1 << 1;
const MCR_OUT1 = 1 << 2;
const MCR_OUT2 = 1 << 3;
const MCR_LOOP = 1 << 4;

const LSR_DR = 1 << 0;
const LSR_OE = 1 << 1;
const LSR_BI = 1 << 4;
const LSR_ERRORS = 0x1e;
const LSR_THRE = 1 << 5;
const LSR_TEMT = 1 << 6;
const LSR_FIFO_ERROR = 1 << 7;

const MSR_TERI = 1 << 2;
const MSR_CTS = 1 << 4;
const MSR_DSR = 1 << 5;
const MSR_RI = 1 << 6;
const MSR_DCD = 1 << 7;
/** A terminal is there and ready. */
const MSR_CONNECTED = MSR_CTS | MSR_DSR | MSR_DCD;

const FIFO_SIZE = 16;
/** Bytes that wait outside the chip for room in its FIFO. */
const BACKLOG_SIZE = 4096;
/** A character that is a break, in `backlog` and `fifo`; the error bits of the LSR go above the data. */
const BREAK = LSR_BI << 8;

export const uart16550State = defineState('uart16550', 1, {
  ier: u8(),
  fcr: u8(),
  lcr: u8(),
  mcr: u8(),
  /** Delta bits 0 to 3; the upper half follows from the inputs. */
  msrDelta: u8(),
  scr: u8(),
  divisor: u16(1),
  /** Received characters with their error bits shifted left by 8. */
  fifo: list(FIFO_SIZE, u16()),
  /** Overrun, reported once. */
  overrun: bool(),
  /** Errors of the character at the top of the FIFO have been read. */
  errorsRead: bool(),
  /** The THRE interrupt has been raised and neither read from the IIR nor answered by a write. */
  threPending: bool(),
  backlog: list(BACKLOG_SIZE, u16()),
});

export class Uart16550 extends BytePorts implements Device<StateOf<typeof uart16550State>> {
  readonly schema = uart16550State;
  readonly state = uart16550State.create();
  readonly #output: CharBackend;
  /** The INTR pin. Cards may gate it by OUT2; nothing depends on that. */
  readonly #irq: IrqLine;

  /** Somebody waits for room in the backlog. */
  #refused = false;

  constructor(output: CharBackend, irq: IrqLine) {
    super();
    this.#output = output;
    this.#irq = irq;
  }

  /** Input from outside. Returns how many bytes were taken: fewer than given when the guest does not read, until the backend's `room`. */
  receive(data: Uint8Array): number {
    const { backlog } = this.state;
    const taken = Math.min(data.length, BACKLOG_SIZE - backlog.length);
    for (let i = 0; i < taken; i++) backlog.push(data[i]!);
    if (taken < data.length) this.#refused = true;
    this.sync();
    return taken;
  }

  /** A break condition on the line, which Linux takes as a SysRq key. */
  receiveBreak(): void {
    if (this.state.backlog.length < BACKLOG_SIZE) this.state.backlog.push(BREAK);
    this.sync();
  }

  sync(): void {
    this.#refill();
    this.#irq.set(this.#interrupt() !== IIR_NONE);
  }

  protected readByte(offset: number): number {
    const { state } = this;
    switch (offset) {
      case 0:
        return state.lcr & LCR_DLAB ? state.divisor & 0xff : this.#readData();
      case 1:
        return state.lcr & LCR_DLAB ? state.divisor >> 8 : state.ier;
      case 2: {
        const interrupt = this.#interrupt();
        if (interrupt === IIR_THRE) {
          state.threPending = false;
          this.sync();
        }
        return interrupt | (state.fcr & FCR_ENABLE ? IIR_FIFOS : 0);
      }
      case 3:
        return state.lcr;
      case 4:
        return state.mcr;
      case 5:
        return this.#readLineStatus();
      case 6: {
        const value = this.#modemInputs() | state.msrDelta;
        state.msrDelta = 0;
        this.sync();
        return value;
      }
      case 7:
        return state.scr;
      default:
        return 0xff;
    }
  }

  protected writeByte(offset: number, value: number): void {
    const { state } = this;
    switch (offset) {
      case 0:
        if (state.lcr & LCR_DLAB) state.divisor = (state.divisor & 0xff00) | value;
        else this.#send(value);
        break;
      case 1:
        if (state.lcr & LCR_DLAB) state.divisor = (state.divisor & 0xff) | (value << 8);
        else {
          // The transmitter is always empty, so enabling its interrupt raises it at once.
          if (value & ~state.ier & IER_THRE) state.threPending = true;
          state.ier = value & 0x0f;
        }
        break;
      case 2:
        this.#writeFifoControl(value);
        break;
      case 3:
        if (state.mcr & MCR_LOOP && value & ~state.lcr & LCR_BREAK) this.#arrive(BREAK);
        state.lcr = value;
        break;
      case 4:
        this.#writeModemControl(value & 0x1f);
        break;
      case 7:
        state.scr = value;
        break;
      default:
        return; // LSR and MSR are read-only outside factory tests.
    }
    this.sync();
  }

  #readData(): number {
    const { state } = this;
    const value = (state.fifo.shift() ?? 0) & 0xff;
    state.errorsRead = false;
    this.sync();
    return value;
  }

  #readLineStatus(): number {
    const { state } = this;
    const value = this.#lineStatus();
    if (value & LSR_ERRORS) {
      state.overrun = false;
      state.errorsRead = true;
      this.sync();
    }
    return value;
  }

  #lineStatus(): number {
    const { state } = this;
    let value = LSR_THRE | LSR_TEMT;
    if (state.overrun) value |= LSR_OE;
    if (state.fifo.length === 0) return value;
    value |= LSR_DR;
    if (!state.errorsRead) value |= (state.fifo[0]! >> 8) & LSR_ERRORS;
    if (state.fcr & FCR_ENABLE && state.fifo.some((character, i) => character > 0xff && !(i === 0 && state.errorsRead))) {
      value |= LSR_FIFO_ERROR;
    }
    return value;
  }

  /** The highest pending interrupt, as the low bits of the IIR. Data sheet, table IV. */
  #interrupt(): number {
    const { state } = this;
    if (state.ier === 0) return IIR_NONE;
    if (state.ier & IER_RLS && this.#lineStatus() & LSR_ERRORS) return IIR_RLS;
    if (state.ier & IER_RDA && state.fifo.length > 0) {
      const trigger = state.fcr & FCR_ENABLE ? TRIGGER_LEVELS[(state.fcr >> 6) as 0 | 1 | 2 | 3] : 1;
      return state.fifo.length >= trigger ? IIR_RDA : IIR_TIMEOUT;
    }
    if (state.ier & IER_THRE && state.threPending) return IIR_THRE;
    if (state.ier & IER_MS && state.msrDelta) return IIR_MODEM_STATUS;
    return IIR_NONE;
  }

  #send(value: number): void {
    if (this.state.mcr & MCR_LOOP) this.#arrive(value);
    else this.#output.write(Uint8Array.of(value));
    this.state.threPending = true;
  }

  /** A character from the looped-back transmitter, which does not wait for room. */
  #arrive(character: number): void {
    const { state } = this;
    if (state.fifo.length < this.#capacity) state.fifo.push(character);
    else {
      state.overrun = true;
      // Without FIFOs the new character takes the place of the old one.
      if (!(state.fcr & FCR_ENABLE)) state.fifo[0] = character;
    }
  }

  get #capacity(): number {
    return this.state.fcr & FCR_ENABLE ? FIFO_SIZE : 1;
  }

  #refill(): void {
    const { fifo, backlog, mcr } = this.state;
    // In loopback the receiver is disconnected from its pin.
    if (!(mcr & MCR_LOOP) && backlog.length > 0 && fifo.length < this.#capacity) {
      fifo.push(...backlog.splice(0, this.#capacity - fifo.length));
    }
    // Not for every byte: half of the backlog at once.
    if (!this.#refused || backlog.length > BACKLOG_SIZE / 2) return;
    this.#refused = false;
    this.#output.room?.();
  }

  #writeFifoControl(value: number): void {
    const { state } = this;
    if ((value ^ state.fcr) & FCR_ENABLE || value & FCR_CLEAR_RX) {
      // What came from outside and was not read arrives again: to the guest, just after the reset.
      const unread = state.mcr & MCR_LOOP ? [] : state.fifo;
      state.backlog = [...unread, ...state.backlog].slice(0, BACKLOG_SIZE);
      state.fifo = [];
      state.errorsRead = false;
    }
    state.fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
  }

  #modemInputs(mcr: number = this.state.mcr): number {
    if (!(mcr & MCR_LOOP)) return MSR_CONNECTED;
    return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) | (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
  }

  #writeModemControl(value: number): void {
    const { state } = this;
    const before = this.#modemInputs();
    state.mcr = value;
    const after = this.#modemInputs();
    let delta = ((before ^ after) >> 4) & ~MSR_TERI;
    // The ring indicator tells only of its trailing edge.
    if (before & ~after & MSR_RI) delta |= MSR_TERI;
    state.msrDelta |= delta;
  }
}
