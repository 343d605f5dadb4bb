/** 8254 programmable interval timer at 1.193182 MHz. Intel 231164. */
import type { GuestClock, Timer } from '../machine/clock.ts';
import type { Device } from '../machine/device.ts';
import type { IrqLine } from '../machine/irq.ts';
import { bool, count, defineState, struct, u16, u32, u8 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { ticksAt, timeOfTick } from '../machine/ticks.ts';
import { BytePorts } from './byte-ports.ts';

export const PIT_HZ = 1_193_182;
/** A guest may ask for more; it gets one edge for all that fall into this. */
const MIN_PERIOD_NS = 20_000;

const STATUS_OUT = 1 << 7;
const STATUS_NULL_COUNT = 1 << 6;

const channelFields = struct({
  /** Bits 5:0 of the control word: access, mode, BCD. */
  control: u8(),
  /** The count in effect, and the one last written; 0 before the first. */
  count: u32(),
  nextCount: u32(),
  /** Tick at which `count` took effect, or its trigger came. */
  startTick: count(),
  /** Ticks counted so far, while `counting` is false. */
  frozenTicks: count(),
  counting: bool(),
  lowByte: u8(),
  /** The next access of a pair is to the high byte. */
  writeHigh: bool(),
  readHigh: bool(),
  latch: u16(),
  latchedBytes: u8(),
  status: u8(),
  statusLatched: bool(),
});

export const i8254State = defineState('i8254', 1, {
  channel0: channelFields,
  channel1: channelFields,
  channel2: channelFields,
  gate2: bool(),
  /** Guest time of the next rising edge on channel 0's output. */
  edgeNs: count(Infinity),
});

type Channel = StateOf<typeof i8254State>['channel0'];

const mode = (channel: Channel): number => {
  const m = (channel.control >> 1) & 7;
  return m > 5 ? m & 3 : m;
};
const isBcd = (channel: Channel): boolean => (channel.control & 1) !== 0;
const isPeriodic = (channel: Channel): boolean => mode(channel) === 2 || mode(channel) === 3;
const isTriggered = (channel: Channel): boolean => mode(channel) === 1 || mode(channel) === 5;
const fromBcd = (v: number): number => (v >> 12) * 1000 + ((v >> 8) & 15) * 100 + ((v >> 4) & 15) * 10 + (v & 15);
const toBcd = (v: number): number =>
  (Math.floor(v / 1000) << 12) | (Math.floor((v / 100) % 10) << 8) | (Math.floor((v / 10) % 10) << 4) | (v % 10);

export class I8254 extends BytePorts implements Device<StateOf<typeof i8254State>> {
  readonly schema = i8254State;
  readonly state = i8254State.create();
  readonly #clock: GuestClock;
  readonly #out0: IrqLine;
  readonly #timer: Timer;

  constructor(clock: GuestClock, out0: IrqLine) {
    super();
    this.#clock = clock;
    this.#out0 = out0;
    this.#timer = clock.timer(() => this.#edge());
  }

  sync(): void {
    const { channel0 } = this.state;
    // The low part of a periodic output is left out here as in `#edge`: a restored machine's line is at what it was.
    this.#out0.set(isPeriodic(channel0) || this.#out(channel0, true));
    if (this.state.edgeNs === Infinity) this.#timer.cancel();
    else this.#timer.arm(this.state.edgeNs);
  }

  /** Output of channel 2, which port 0x61 shows and the speaker sounds. */
  get out2(): boolean {
    return this.#out(this.state.channel2, this.state.gate2);
  }

  /** Frequency of channel 2's square wave in hertz; 0 when there is none. */
  get frequency2(): number {
    const { channel2, gate2 } = this.state;
    return gate2 && channel2.counting && isPeriodic(channel2) ? PIT_HZ / channel2.count : 0;
  }

  /** Drives the GATE input of channel 2; the others are tied high. */
  setGate2(level: boolean): void {
    const { state } = this;
    if (state.gate2 === level) return;
    const channel = state.channel2;
    this.#catchUp(channel);
    state.gate2 = level;
    if (level && (isTriggered(channel) || isPeriodic(channel))) {
      if (channel.nextCount !== 0) this.#load(channel);
    } else if (level && channel.count !== 0 && !channel.writeHigh) {
      channel.startTick = Math.max(0, this.#now() - channel.frozenTicks);
      channel.counting = true;
    } else if (!level && !isTriggered(channel)) this.#freeze(channel);
  }

  protected readByte(offset: number): number {
    if (offset > 2) return 0xff;
    const channel = this.#channel(offset);
    if (channel.statusLatched) {
      channel.statusLatched = false;
      return channel.status;
    }
    if (channel.latchedBytes > 0) {
      channel.latchedBytes--;
      const value = channel.latch & 0xff;
      channel.latch >>= 8;
      return value;
    }
    const value = this.#value(channel);
    const access = channel.control >> 4;
    const high = access === 3 ? channel.readHigh : access === 2;
    if (access === 3) channel.readHigh = !channel.readHigh;
    return high ? value >> 8 : value & 0xff;
  }

  protected writeByte(offset: number, value: number): void {
    if (offset > 3) return;
    if (offset === 3) this.#writeControl(value);
    else this.#writeCount(offset, value);
  }

  #channel(index: number): Channel {
    return index === 0 ? this.state.channel0 : index === 1 ? this.state.channel1 : this.state.channel2;
  }

  #gate(channel: Channel): boolean {
    return channel !== this.state.channel2 || this.state.gate2;
  }

  #now(): number {
    return ticksAt(this.#clock.now(), PIT_HZ);
  }

  #writeControl(value: number): void {
    const select = value >> 6;
    if (select === 3) {
      for (let i = 0; i < 3; i++) {
        if (!(value & (2 << i))) continue;
        const channel = this.#channel(i);
        if (!(value & 0x20)) this.#latchCount(channel);
        if (!(value & 0x10)) this.#latchStatus(channel);
      }
      return;
    }
    const channel = this.#channel(select);
    if ((value & 0x30) === 0) {
      this.#latchCount(channel);
      return;
    }
    Object.assign(channel, channelFields.create(), { control: value & 0x3f });
    if (select === 0) this.#schedule();
  }

  #writeCount(index: number, value: number): void {
    const channel = this.#channel(index);
    const access = channel.control >> 4;
    if (access === 3 && !channel.writeHigh) {
      channel.lowByte = value;
      channel.writeHigh = true;
      // In mode 0 the first byte stops the count and takes OUT low.
      if (mode(channel) === 0) {
        this.#freeze(channel);
        channel.count = 0;
        channel.frozenTicks = 0;
        if (index === 0) this.#schedule();
      }
      return;
    }
    channel.writeHigh = false;
    const word = access === 3 ? (value << 8) | channel.lowByte : access === 2 ? value << 8 : value;
    this.#catchUp(channel);
    channel.nextCount = isBcd(channel) ? fromBcd(word) || 10_000 : word || 0x1_0000;
    // A running rate generator finishes its period first; a triggered mode waits for its gate.
    if (isTriggered(channel) || (isPeriodic(channel) && channel.counting)) return;
    this.#load(channel);
    if (index === 0) this.#schedule();
  }

  #load(channel: Channel): void {
    channel.count = channel.nextCount;
    channel.startTick = this.#now();
    channel.frozenTicks = 0;
    channel.counting = isTriggered(channel) || this.#gate(channel);
  }

  #freeze(channel: Channel): void {
    channel.frozenTicks = this.#elapsed(channel);
    channel.counting = false;
  }

  #elapsed(channel: Channel): number {
    return channel.counting ? this.#now() - channel.startTick : channel.frozenTicks;
  }

  /** Lets a new count of a rate generator take effect at the end of the period that was running. */
  #catchUp(channel: Channel): void {
    if (!isPeriodic(channel) || !channel.counting || channel.count === channel.nextCount) return;
    const elapsed = this.#elapsed(channel);
    if (elapsed < channel.count) return;
    channel.startTick += channel.count;
    channel.count = channel.nextCount;
  }

  #value(channel: Channel): number {
    this.#catchUp(channel);
    const { count: n } = channel;
    const elapsed = this.#elapsed(channel);
    const modulus = isBcd(channel) ? 10_000 : 0x1_0000;
    let value: number;
    if (n === 0) value = 0;
    else if (mode(channel) === 2) value = n - (elapsed % n);
    else if (mode(channel) === 3) value = (n - ((2 * elapsed) % n)) & ~1;
    else value = (((n - elapsed) % modulus) + modulus) % modulus;
    value %= modulus;
    return isBcd(channel) ? toBcd(value) : value;
  }

  #out(channel: Channel, gate: boolean): boolean {
    this.#catchUp(channel);
    const { count: n } = channel;
    const elapsed = this.#elapsed(channel);
    switch (mode(channel)) {
      case 0:
        return n !== 0 && elapsed >= n;
      case 1:
        return n === 0 || elapsed >= n;
      case 2:
        return n === 0 || !gate || elapsed % n !== n - 1;
      case 3:
        return n === 0 || !gate || elapsed % n < Math.ceil(n / 2);
      default:
        return n === 0 || elapsed !== n;
    }
  }

  #latchCount(channel: Channel): void {
    if (channel.latchedBytes > 0) return;
    const value = this.#value(channel);
    const access = channel.control >> 4;
    channel.latch = access === 2 ? value >> 8 : value;
    channel.latchedBytes = access === 3 ? 2 : 1;
  }

  #latchStatus(channel: Channel): void {
    if (channel.statusLatched) return;
    const out = this.#out(channel, this.#gate(channel)) ? STATUS_OUT : 0;
    const nullCount = channel.nextCount === 0 || channel.count !== channel.nextCount || channel.writeHigh ? STATUS_NULL_COUNT : 0;
    channel.status = out | nullCount | channel.control;
    channel.statusLatched = true;
  }

  /** Finds channel 0's next rising edge after a control word or count. */
  #schedule(): void {
    const { state } = this;
    const channel = state.channel0;
    const { count: n, startTick, counting } = channel;
    if (n === 0 || !counting) state.edgeNs = Infinity;
    else state.edgeNs = timeOfTick(startTick + n + (mode(channel) === 4 ? 1 : 0), PIT_HZ);
    if (isPeriodic(channel)) state.edgeNs = Math.max(state.edgeNs, Math.ceil(this.#clock.now()) + MIN_PERIOD_NS);
    this.sync();
  }

  #edge(): void {
    const { state } = this;
    if (state.edgeNs === Infinity) return;
    const channel = state.channel0;
    if (isPeriodic(channel)) {
      this.#catchUp(channel);
      const { count: n, startTick } = channel;
      const periods = Math.floor((this.#now() - startTick) / n) + 1;
      const now = Math.ceil(this.#clock.now());
      state.edgeNs = Math.max(timeOfTick(startTick + periods * n, PIT_HZ), now + MIN_PERIOD_NS);
    } else state.edgeNs = Infinity;
    // The low part of a periodic output has passed meanwhile: nothing looks at it.
    this.#out0.set(false);
    this.#out0.set(true);
    if (state.edgeNs !== Infinity) this.#timer.arm(state.edgeNs);
  }
}
