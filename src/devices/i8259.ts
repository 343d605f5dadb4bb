/**
 * 8259A interrupt controller, with the edge/level register (ELCR) of PC chip sets. Intel 231468; ELCR: 82371AB, 4.2.2.
 * A PC has two: the slave's INT on the master's IR2. As in other emulators, an edge stays latched when its line falls: so a
 * master that is initialized while the slave's INT is high hears of it when INT has been down once (ICW1 resets the edge
 * sense circuit). KVM's tells the master of a waiting slave at each access, and is heard at once.
 */
import type { BusDevice } from '../machine/bus.ts';
import type { Device } from '../machine/device.ts';
import { i8259State, type I8259State } from '../machine/interrupt-state.ts';
import type { IrqLine } from '../machine/irq.ts';
import { BytePort, BytePorts } from './byte-ports.ts';

const CASCADE_PIN = 2;
const SPURIOUS_PIN = 7;

const ICW1_IC4 = 1 << 0;
const ICW1_SNGL = 1 << 1;
const ICW1_LTIM = 1 << 3;
const ICW1 = 1 << 4;
const OCW3 = 1 << 3;
const ICW4_AEOI = 1 << 1;
const ICW4_SFNM = 1 << 4;

/** The next initialization word that port 1 expects. */
const READY = 0;
const WAIT_ICW2 = 1;
const WAIT_ICW3 = 2;
const WAIT_ICW4 = 3;

export interface I8259Options {
  readonly int: IrqLine;
  /** The chip whose INT is this one's IR2: given for the master only. */
  readonly slave?: I8259;
}

export class I8259 extends BytePorts implements Device<I8259State> {
  readonly schema = i8259State;
  readonly state = i8259State.create();
  /** Inputs IR0 to IR7. */
  readonly lines: readonly IrqLine[] = Array.from({ length: 8 }, (_, pin) => ({ set: (level) => this.#set(pin, level) }));
  /** Port 0x4d0 or 0x4d1: which inputs are level-triggered. */
  readonly elcr: BusDevice = new BytePort(
    (offset) => (offset === 0 ? this.state.elcr : 0xff),
    (offset, value) => {
      if (offset === 0) this.state.elcr = value & this.#elcrWritable;
    },
  );
  readonly #int: IrqLine;
  readonly #slave: I8259 | undefined;
  /** Timer, keyboard, cascade, RTC and coprocessor are always edges. */
  readonly #elcrWritable: number;

  constructor({ int, slave }: I8259Options) {
    super();
    this.#int = int;
    this.#slave = slave;
    this.#elcrWritable = slave ? 0xf8 : 0xde;
  }

  sync(): void {
    this.#int.set(this.#next() >= 0);
  }

  /** Two INTA cycles: takes the highest request into service and gives its vector, that of IR7 when there is none any more. */
  acknowledge(): number {
    const pin = this.#next();
    if (pin < 0) return this.state.vectorBase + SPURIOUS_PIN;
    this.#serve(pin);
    const vector = pin === CASCADE_PIN && this.#slave ? this.#slave.acknowledge() : this.state.vectorBase + pin;
    this.sync();
    return vector;
  }

  protected readByte(offset: number): number {
    const { state } = this;
    if (offset > 1) return 0xff;
    if (state.poll) {
      state.poll = false;
      const pin = this.#next();
      if (pin < 0) return 0;
      this.#serve(pin);
      this.sync();
      return 0x80 | pin;
    }
    if (offset === 1) return state.imr;
    return state.readIsr ? state.isr : state.irr;
  }

  protected writeByte(offset: number, value: number): void {
    if (offset > 1) return;
    if (offset === 0) {
      if (value & ICW1) this.#initialize(value);
      else if (value & OCW3) this.#writeOcw3(value);
      else this.#writeOcw2(value);
    } else this.#writeData(value);
    this.sync();
  }

  #initialize(value: number): void {
    const { state } = this;
    const { elcr, inputs } = state;
    Object.assign(state, this.schema.create(), { elcr, inputs, icw1: value, step: WAIT_ICW2 });
    // The edge sense circuit is reset: a high line must fall first. A level requests on.
    state.irr = inputs & this.#levelPins;
  }

  #writeData(value: number): void {
    const { state } = this;
    const wantsIcw4 = state.icw1 & ICW1_IC4 ? WAIT_ICW4 : READY;
    switch (state.step) {
      case WAIT_ICW2:
        state.vectorBase = value & 0xf8;
        state.step = state.icw1 & ICW1_SNGL ? wantsIcw4 : WAIT_ICW3;
        break;
      case WAIT_ICW3:
        state.step = wantsIcw4;
        break;
      case WAIT_ICW4:
        state.icw4 = value;
        state.step = READY;
        break;
      default:
        state.imr = value;
    }
  }

  #writeOcw2(value: number): void {
    const { state } = this;
    const pin = value & 7;
    switch (value >> 5) {
      case 0:
        state.rotateOnAutoEoi = false;
        break;
      case 4:
        state.rotateOnAutoEoi = true;
        break;
      case 1:
      case 5: {
        const served = this.#first(state.specialMask ? state.isr & ~state.imr : state.isr);
        if (served < 0) break;
        state.isr &= ~(1 << served);
        if (value & 0x80) state.highest = (served + 1) & 7;
        break;
      }
      case 3:
        state.isr &= ~(1 << pin);
        break;
      case 7:
        state.isr &= ~(1 << pin);
        state.highest = (pin + 1) & 7;
        break;
      case 6:
        state.highest = (pin + 1) & 7;
        break;
      default:
    }
  }

  #writeOcw3(value: number): void {
    const { state } = this;
    if (value & 0x40) state.specialMask = (value & 0x20) !== 0;
    if (value & 0x04) state.poll = true;
    else if (value & 0x02) state.readIsr = (value & 0x01) !== 0;
  }

  get #levelPins(): number {
    return this.state.icw1 & ICW1_LTIM ? 0xff : this.state.elcr;
  }

  #set(pin: number, level: boolean): void {
    const { state } = this;
    const bit = 1 << pin;
    if (((state.inputs & bit) !== 0) === level) return;
    state.inputs ^= bit;
    if (level) state.irr |= bit;
    else if (this.#levelPins & bit) state.irr &= ~bit;
    else return;
    this.sync();
  }

  /** The pin of highest priority among `pins`, or -1. */
  #first(pins: number): number {
    if (pins === 0) return -1;
    const { highest } = this.state;
    for (let i = 0; i < 8; i++) {
      const pin = (highest + i) & 7;
      if (pins & (1 << pin)) return pin;
    }
    return -1;
  }

  #rank(pin: number): number {
    return pin < 0 ? 8 : (pin - this.state.highest) & 7;
  }

  /** The request that INT is high for, or -1. */
  #next(): number {
    const { state } = this;
    const requests = state.irr & ~state.imr;
    if (requests === 0) return -1;
    let serving = state.isr;
    if (state.specialMask) serving &= ~state.imr;
    // In the special fully nested mode a slave may interrupt its own service.
    if (state.icw4 & ICW4_SFNM && this.#slave) serving &= ~(1 << CASCADE_PIN);
    const pin = this.#first(requests);
    return this.#rank(pin) < this.#rank(this.#first(serving)) ? pin : -1;
  }

  /**
   * An INTA takes INT down, and a request that remains takes it up again (`sync`): a slave's is a new edge for the master,
   * whose latch for the last one has been cleared. Only with automatic EOI does a request remain that INT is high for.
   */
  #serve(pin: number): void {
    const { state } = this;
    this.#int.set(false);
    const bit = 1 << pin;
    if (state.icw4 & ICW4_AEOI) {
      if (state.rotateOnAutoEoi) state.highest = (pin + 1) & 7;
    } else state.isr |= bit;
    if (!(this.#levelPins & bit)) state.irr &= ~bit;
  }
}
