/** `--save FILE`: when a machine's state is written, and what people are told of it. */
import { VmError } from '../base/errors.ts';
import { formatBytes, type Messages } from './messages.ts';
import type { RunningMachine } from './machine.ts';

export interface SavingOptions {
  readonly path: string;
  /** Save as soon as the guest has printed this. */
  readonly when: string | undefined;
}

export class Saving {
  readonly #path: string;
  readonly #marker: string;
  readonly #messages: Messages;
  #tail = '';
  #seen = false;
  #machine: RunningMachine | undefined;
  #running: Promise<boolean> | undefined;

  constructor({ path, when }: SavingOptions, messages: Messages) {
    this.#path = path;
    this.#marker = when === undefined ? '' : latin1(new TextEncoder().encode(when));
    this.#messages = messages;
  }

  /** To be called once, with the machine that `output` comes from. */
  attach(machine: RunningMachine): void {
    this.#machine = machine;
    if (this.#seen) void this.saveAndEnd();
  }

  /** What the guest prints. */
  output(data: Uint8Array): void {
    if (this.#marker === '' || this.#seen) return;
    const text = this.#tail + latin1(data);
    this.#seen = text.includes(this.#marker);
    this.#tail = text.slice(1 - this.#marker.length || text.length);
    if (this.#seen && this.#machine) void this.saveAndEnd();
  }

  /** Writes the state and ends the machine; answers false when that fails, having said why: then the machine goes on. */
  saveAndEnd(): Promise<boolean> {
    this.#running ??= this.#save().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #save(): Promise<boolean> {
    try {
      const start = performance.now();
      const size = await this.#machine!.save(this.#path, 'end');
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      this.#messages.line(`saved to ${this.#path} (${formatBytes(size)} in ${seconds} s); --restore ${this.#path} goes on from there`);
      return true;
    } catch (error) {
      // The guest was faster, and is no more.
      if (error instanceof VmError && error.code === 'cancelled') return false;
      this.#messages.error(`not saved, the machine goes on: ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  }
}

function latin1(data: Uint8Array): string {
  let text = '';
  for (const byte of data) text += String.fromCharCode(byte);
  return text;
}
