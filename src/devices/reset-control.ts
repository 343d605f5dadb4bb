/** Reset control register (0xcf9), which the FADT's RESET_REG names. ICH9 data sheet, 13.7.5. */
import type { Device } from '../machine/device.ts';
import { defineState, u8 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { BytePorts } from './byte-ports.ts';

const SYS_RST = 1 << 1;
const RST_CPU = 1 << 2;
const FULL_RST = 1 << 3;
/** What the guest writes to reset: the FADT's RESET_VALUE. */
export const RESET_VALUE = SYS_RST | RST_CPU;

export const resetControlState = defineState('reset-control', 1, { control: u8() });

export class ResetControl extends BytePorts implements Device<StateOf<typeof resetControlState>> {
  readonly schema = resetControlState;
  readonly state = resetControlState.create();
  readonly #reset: () => void;

  constructor(reset: () => void) {
    super();
    this.#reset = reset;
  }

  sync(): void {}

  protected readByte(offset: number): number {
    return offset === 0 ? this.state.control : 0xff;
  }

  protected writeByte(offset: number, value: number): void {
    if (offset !== 0) return;
    const rising = value & ~this.state.control;
    this.state.control = value & (SYS_RST | FULL_RST);
    if (rising & RST_CPU) this.#reset();
  }
}
