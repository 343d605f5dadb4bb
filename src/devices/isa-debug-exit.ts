/** QEMU's isa-debug-exit: a write ends the machine, with `(value << 1) | 1` as the exit status. */
import type { Device } from '../machine/device.ts';
import type { BusDevice, Width } from '../machine/bus.ts';
import { defineState } from '../machine/state.ts';

export const isaDebugExitState = defineState('isa-debug-exit', 1, {});

export class IsaDebugExit implements Device, BusDevice {
  readonly schema = isaDebugExitState;
  readonly state = isaDebugExitState.create();
  readonly #exit: (value: number) => void;

  /** @param exit told the value as written */
  constructor(exit: (value: number) => void) {
    this.#exit = exit;
  }

  sync(): void {}

  read(_offset: number, _width: Width): number {
    return 0;
  }

  write(_offset: number, _width: Width, value: number): void {
    this.#exit(value);
  }
}
