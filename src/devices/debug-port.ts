/** Bochs's debug console (0xe9): what is written appears on the host; reads give 0xe9, by which a guest finds it. */
import type { CharBackend } from '../machine/backends.ts';
import type { Device } from '../machine/device.ts';
import { defineState, u8 } from '../machine/state.ts';
import type { StateOf } from '../machine/state.ts';
import { BytePorts } from './byte-ports.ts';

const PRESENT = 0xe9;

export const debugPortState = defineState('debug-port', 1, {});

export class DebugPort extends BytePorts implements Device {
  readonly schema = debugPortState;
  readonly state = debugPortState.create();
  readonly #output: CharBackend;

  constructor(output: CharBackend) {
    super();
    this.#output = output;
  }

  sync(): void {}

  protected readByte(): number {
    return PRESENT;
  }

  protected writeByte(offset: number, value: number): void {
    if (offset === 0) this.#output.write(Uint8Array.of(value));
  }
}

/** Port 0x80, where firmware writes how far it has come; Linux writes it to pass about a microsecond. */
export const postPortState = defineState('post-port', 1, { code: u8() });

export class PostPort extends BytePorts implements Device<StateOf<typeof postPortState>> {
  readonly schema = postPortState;
  readonly state = postPortState.create();

  sync(): void {}

  protected readByte(offset: number): number {
    return offset === 0 ? this.state.code : 0xff;
  }

  protected writeByte(offset: number, value: number): void {
    if (offset === 0) this.state.code = value;
  }
}
