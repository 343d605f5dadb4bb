/** 82093AA I/O APIC with 24 pins, and the EOI register of version 0x20. Intel 290566-001; ICH9 data sheet 13.5. */
import { DELIVERY_LOWEST } from '../machine/apic.ts';
import { destination8 } from '../machine/apic.ts';
import type { ApicBus } from '../machine/apic.ts';
import type { BusDevice, Width } from '../machine/bus.ts';
import type { Device } from '../machine/device.ts';
import { IOAPIC_PINS as PINS, ioapicState, type IoApicState } from '../machine/interrupt-state.ts';
import type { IrqLine } from '../machine/irq.ts';

const IOREGSEL = 0x00;
const IOWIN = 0x10;
const EOIR = 0x40;
const IOAPICID = 0x00;
const IOAPICVER = 0x01;
const IOAPICARB = 0x02;
const IOREDTBL = 0x10;

const VERSION = 0x20 | ((PINS - 1) << 16);
const REMOTE_IRR = 1 << 14;
const LEVEL = 1 << 15;
const MASKED = 1 << 16;
const LOGICAL = 1 << 11;
/** Without delivery status (12) and remote IRR (14), which are read-only. */
const LOW_WRITABLE = 0x1_afff;

export class IoApic implements Device<IoApicState>, BusDevice {
  readonly schema = ioapicState;
  readonly state = ioapicState.create();
  /** Inputs; high is asserted, whatever polarity the guest programs. */
  readonly lines: readonly IrqLine[] = Array.from({ length: PINS }, (_, pin) => ({ set: (level) => this.#set(pin, level) }));
  readonly #bus: ApicBus;

  constructor(bus: ApicBus) {
    this.#bus = bus;
  }

  /** Its only outputs are messages, which were sent when they happened. */
  sync(): void {}

  endOfInterrupt(vector: number): void {
    const { pins } = this.state;
    for (let pin = 0; pin < PINS; pin++) {
      const entry = pins[pin]!;
      if (!(entry.low & REMOTE_IRR) || (entry.low & 0xff) !== vector) continue;
      entry.low &= ~REMOTE_IRR;
      this.#deliverLevel(pin);
    }
  }

  read(offset: number, width: Width): number {
    const register = offset & ~3;
    const value = register === IOREGSEL ? this.state.select : register === IOWIN ? this.#readWindow() : 0;
    return ((value >>> (8 * (offset & 3))) & (2 ** (8 * width) - 1)) >>> 0;
  }

  write(offset: number, _width: Width, value: number): void {
    if (offset === IOREGSEL) this.state.select = value & 0xff;
    else if (offset === IOWIN) this.#writeWindow(value);
    else if (offset === EOIR) this.endOfInterrupt(value & 0xff);
  }

  #readWindow(): number {
    const { select, id, pins } = this.state;
    if (select === IOAPICID || select === IOAPICARB) return id;
    if (select === IOAPICVER) return VERSION;
    const entry = pins[(select - IOREDTBL) >> 1];
    if (!entry) return 0;
    return select & 1 ? entry.high : entry.low;
  }

  #writeWindow(value: number): void {
    const { state } = this;
    if (state.select === IOAPICID) state.id = value & 0x0f00_0000;
    const pin = (state.select - IOREDTBL) >> 1;
    const entry = state.pins[pin];
    if (!entry) return;
    if (state.select & 1) {
      entry.high = (value & 0xff00_0000) >>> 0;
      return;
    }
    entry.low = (value & LOW_WRITABLE) | (entry.low & REMOTE_IRR);
    // Edge-triggered entries have no remote IRR: going to edge and back is how system software clears one that is stuck.
    if (!(value & LEVEL)) entry.low &= ~REMOTE_IRR;
    this.#deliverLevel(pin);
  }

  #set(pin: number, level: boolean): void {
    const entry = this.state.pins[pin]!;
    if (entry.level === level) return;
    entry.level = level;
    if (!level) return;
    if (entry.low & LEVEL) this.#deliverLevel(pin);
    // An edge on a masked pin is lost. 82093AA, 3.2.4.
    else if (!(entry.low & MASKED)) this.#send(entry);
  }

  #deliverLevel(pin: number): void {
    const entry = this.state.pins[pin]!;
    if (!(entry.low & LEVEL) || !entry.level || entry.low & (MASKED | REMOTE_IRR)) return;
    // Only fixed and lowest-priority interrupts are ended by an EOI.
    if (((entry.low >> 8) & 7) <= DELIVERY_LOWEST) entry.low |= REMOTE_IRR;
    this.#send(entry);
  }

  #send({ low, high }: { low: number; high: number }): void {
    this.#bus.send({
      destination: destination8(high >>> 24),
      logical: (low & LOGICAL) !== 0,
      mode: (low >> 8) & 7,
      vector: low & 0xff,
      level: (low & LEVEL) !== 0,
    });
  }
}
