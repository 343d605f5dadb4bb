/** System control port B (0x61): gate and output of timer 2, speaker, refresh toggle. IBM PC AT Technical Reference; 82371AB, 4.2.6.1. */
import type { GuestClock } from '../machine/clock.ts';
import type { Device } from '../machine/device.ts';
import { defineState, u8 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { BytePorts } from './byte-ports.ts';
import type { I8254 } from './i8254.ts';

const GATE2 = 1 << 0;
const SPEAKER = 1 << 1;
const WRITABLE = 0x0f;
const REFRESH = 1 << 4;
const OUT2 = 1 << 5;
/** Memory was refreshed every 15 microseconds, and programs time themselves by it. */
const REFRESH_NS = 15_085;

export const port61State = defineState('port61', 1, { control: u8() });

export class Port61 extends BytePorts implements Device<StateOf<typeof port61State>> {
  readonly schema = port61State;
  readonly state = port61State.create();
  readonly #clock: GuestClock;
  readonly #pit: I8254;
  readonly #tone: (hz: number) => void;

  /** @param tone told what the speaker sounds whenever the port is written; 0 is silence */
  constructor(clock: GuestClock, pit: I8254, tone: (hz: number) => void = () => {}) {
    super();
    this.#clock = clock;
    this.#pit = pit;
    this.#tone = tone;
  }

  sync(): void {
    const { control } = this.state;
    this.#pit.setGate2((control & GATE2) !== 0);
    this.#tone(control & SPEAKER ? this.#pit.frequency2 : 0);
  }

  protected readByte(offset: number): number {
    if (offset !== 0) return 0xff;
    const refresh = Math.floor(this.#clock.now() / REFRESH_NS) & 1 ? REFRESH : 0;
    return this.state.control | refresh | (this.#pit.out2 ? OUT2 : 0);
  }

  protected writeByte(offset: number, value: number): void {
    if (offset !== 0) return;
    this.state.control = value & WRITABLE;
    this.sync();
  }
}
