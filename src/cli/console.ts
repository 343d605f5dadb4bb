/** Joins the person's terminal (or a pipe) and a machine's console, until the machine ends. */
import type { Terminal } from '../platform/terminal.ts';
import type { MachineEnd, RunningMachine } from './machine.ts';
import type { Messages } from './messages.ts';

/** Ctrl-], as telnet and virsh have it. */
const ESCAPE = 0x1d;
const END_OF_FILE = 0x04;

export const ESCAPE_HINT = 'Ctrl-] q leaves';

export interface ConsoleOptions {
  /** End of piped input is passed on to the guest's terminal as Ctrl-D. */
  readonly endOfInput: 'eof' | 'nothing';
  readonly signal: AbortSignal;
}

/**
 * Gives the console's keys to the machine and its size changes, until it ends; then the terminal is as it was.
 * `onOutput` of the machine goes straight to the terminal and is not our business.
 */
export async function attach(
  terminal: Terminal,
  machine: RunningMachine,
  messages: Messages,
  options: ConsoleOptions,
): Promise<MachineEnd> {
  const keys = new EscapeKey(
    (data) => machine.input(data),
    () => machine.stop(),
    (text) => messages.transient(text),
  );
  const stop = () => machine.stop();
  const raw = terminal.raw();
  const resize = terminal.onResize((size) => machine.resize(size));
  const closed = terminal.onClosed(stop);
  let atLineStart = true;
  const input = terminal.onInput(
    (data) => {
      if (terminal.inputIsTerminal) keys.take(data);
      else {
        machine.input(data);
        if (data.length > 0) atLineStart = data[data.length - 1] === 0x0a;
      }
    },
    () => {
      if (terminal.inputIsTerminal) stop();
      else if (options.endOfInput === 'eof') {
        // In the middle of a line the first Ctrl-D only sends what is there.
        machine.input(Uint8Array.from(atLineStart ? [END_OF_FILE] : [END_OF_FILE, END_OF_FILE]));
      }
    },
  );
  options.signal.addEventListener('abort', stop, { once: true });
  if (options.signal.aborted) stop();
  try {
    return await machine.ended;
  } finally {
    options.signal.removeEventListener('abort', stop);
    input.dispose();
    closed.dispose();
    resize.dispose();
    raw.dispose();
    await terminal.drained();
  }
}

/** Watches typed bytes for the escape key: then `q` quits, the escape key again sends itself, anything else goes on. */
export class EscapeKey {
  readonly #send: (data: Uint8Array) => void;
  readonly #quit: () => void;
  readonly #show: (text: string) => void;
  #escaped = false;

  constructor(send: (data: Uint8Array) => void, quit: () => void, show: (text: string) => void) {
    this.#send = send;
    this.#quit = quit;
    this.#show = show;
  }

  take(data: Uint8Array): void {
    let from = 0;
    for (let at = 0; at < data.length; at++) {
      const byte = data[at]!;
      if (this.#escaped) {
        this.#escaped = false;
        from = at + 1;
        if (byte === 0x71 || byte === 0x51) {
          this.#quit();
          return;
        }
        if (byte === ESCAPE) this.#send(Uint8Array.of(ESCAPE));
      } else if (byte === ESCAPE) {
        if (at > from) this.#send(data.subarray(from, at));
        this.#escaped = true;
        from = at + 1;
        this.#show('\r\n[daybreak: q quits, Ctrl-] sends Ctrl-], any other key goes on]\r\n');
      }
    }
    if (!this.#escaped && from < data.length) this.#send(data.subarray(from));
  }
}
