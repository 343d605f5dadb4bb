/** System control port A (0x92): fast A20 gate and fast reset. IBM PS/2 Technical Reference. */
import type { Device } from '../machine/device.ts';
import type { IrqLine } from '../machine/irq.ts';
import { defineState, u8 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { BytePorts } from './byte-ports.ts';

const FAST_RESET = 1 << 0;
const A20_GATE = 1 << 1;

export const port92State = defineState('port92', 1, { control: u8(A20_GATE) });

export class Port92 extends BytePorts implements Device<StateOf<typeof port92State>> {
  readonly schema = port92State;
  readonly state = port92State.create();
  readonly #a20: IrqLine;
  readonly #reset: () => void;

  constructor(a20: IrqLine, reset: () => void) {
    super();
    this.#a20 = a20;
    this.#reset = reset;
  }

  sync(): void {
    this.#a20.set((this.state.control & A20_GATE) !== 0);
  }

  protected readByte(offset: number): number {
    return offset === 0 ? this.state.control : 0xff;
  }

  protected writeByte(offset: number, value: number): void {
    if (offset !== 0) return;
    const rising = value & ~this.state.control;
    this.state.control = value & (FAST_RESET | A20_GATE);
    this.sync();
    if (rising & FAST_RESET) this.#reset();
  }
}
