/** Joins the person's terminal (or a pipe) and a machine's console, until the machine ends. */
import { TYPED_MAX } from '../boards/console-pc.ts';
import type { Terminal } from '../platform/terminal.ts';
import type { MachineEnd, AttachedMachine } from './machine.ts';

/** Ctrl-], as telnet and virsh have it. */
const ESCAPE = 0x1d;
const END_OF_FILE = 0x04;
const FIRST_REPEAT_MS = 100;
const LAST_REPEAT_MS = 2000;

export interface ConsoleOptions {
  /** End of piped input is passed on to the guest's terminal as Ctrl-D. */
  readonly endOfInput: 'eof' | 'nothing';
  readonly signal: AbortSignal;
  /** Piped input waits for this: before, the guest's terminal would echo it. */
  readonly ready?: Promise<void>;
  /** Saves the machine and ends it, when a key asks for it; false when that failed and it goes on. */
  readonly save?: () => Promise<boolean>;
  /** The same when a signal ends us, which ends the machine all the same (default: `save`). */
  readonly saveOnSignal?: () => Promise<boolean>;
}

/** How it came to an end, and whether somebody here wanted it. */
export interface ConsoleEnd {
  readonly machine: MachineEnd;
  /** `closed`: nobody reads our output any more. */
  readonly by: 'guest' | 'escape' | 'closed' | 'signal' | 'hangup';
}

/**
 * Gives the console's keys to the machine and its size changes, until it ends; then the terminal is as it was.
 * `onOutput` of the machine goes straight to the terminal and is not our business.
 */
export async function attach(terminal: Terminal, machine: AttachedMachine, options: ConsoleOptions): Promise<ConsoleEnd> {
  let by: ConsoleEnd['by'] = 'guest';
  const stopBy = (reason: ConsoleEnd['by']) => () => {
    if (by === 'guest') by = reason;
    machine.stop();
  };
  const keys = new EscapeKey(
    (data) => void (machine.waiting() < TYPED_MAX && machine.input(data)),
    stopBy('escape'),
    (text) => terminal.write(new TextEncoder().encode(text)),
    options.save && (() => void options.save!().then((saved) => saved && stopBy('escape')())),
  );
  const end = stopBy('signal');
  const onSignal = options.saveOnSignal ?? options.save;
  const stop = (): void => (onSignal ? void onSignal().then(end) : end());
  const raw = terminal.raw();
  const resize = terminal.onResize((size) => machine.resize(size));
  const closed = terminal.onClosed(stopBy('closed'));
  const piped = new PipedInput((data) => machine.input(data), options.endOfInput, options.ready);
  const input = terminal.inputIsTerminal
    ? terminal.onInput((data) => keys.take(data), stopBy('hangup'))
    : terminal.onInput(
        (data) => {
          input.pause();
          void piped.take(data).then(() => input.resume());
        },
        () => void piped.end(),
      );
  options.signal.addEventListener('abort', stop, { once: true });
  if (options.signal.aborted) stop();
  try {
    return { machine: await machine.ended, by };
  } finally {
    options.signal.removeEventListener('abort', stop);
    input.dispose();
    piped.dispose();
    closed.dispose();
    resize.dispose();
    raw.dispose();
    await terminal.drained();
  }
}

/**
 * Input that nobody types: held back until the guest is ready, and given as fast as it reads. Its end is Ctrl-D again and
 * again, because the end of a file lasts, while one Ctrl-D ends one read: some programs read once more, and a shell's child
 * may read first.
 */
class PipedInput {
  readonly #send: (data: Uint8Array) => Promise<void>;
  readonly #atEnd: ConsoleOptions['endOfInput'];
  /** Everything before has been taken. */
  #taken: Promise<void>;
  #ended = false;
  #disposed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (data: Uint8Array) => Promise<void>, atEnd: ConsoleOptions['endOfInput'], ready = Promise.resolve()) {
    this.#send = send;
    this.#atEnd = atEnd;
    this.#taken = ready;
  }

  /** Resolves when the guest has taken the bytes: until then there should be no more. */
  take(data: Uint8Array): Promise<void> {
    return (this.#taken = this.#taken.then(() => this.#send(data)));
  }

  async end(): Promise<void> {
    if (this.#atEnd === 'nothing' || this.#ended) return;
    this.#ended = true;
    await this.#taken;
    this.#sendEnd(FIRST_REPEAT_MS);
  }

  dispose(): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
  }

  #sendEnd(repeatMs: number): void {
    if (this.#disposed) return;
    void this.#send(Uint8Array.of(END_OF_FILE));
    this.#timer = setTimeout(() => this.#sendEnd(Math.min(repeatMs * 2, LAST_REPEAT_MS)), repeatMs);
  }
}

/** Watches typed bytes for the escape key: then `q` quits, `s` saves where that is possible, the escape key again sends itself, anything else goes on. */
export class EscapeKey {
  readonly #send: (data: Uint8Array) => void;
  readonly #quit: () => void;
  readonly #show: (text: string) => void;
  readonly #save: (() => void) | undefined;
  #escaped = false;

  constructor(send: (data: Uint8Array) => void, quit: () => void, show: (text: string) => void, save?: () => void) {
    this.#send = send;
    this.#quit = quit;
    this.#show = show;
    this.#save = save;
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
        else if (byte === 0x73 || byte === 0x53) this.#save?.();
      } else if (byte === ESCAPE) {
        if (at > from) this.#send(data.subarray(from, at));
        this.#escaped = true;
        from = at + 1;
        const save = this.#save ? 's saves and quits, ' : '';
        this.#show(`\r\n[daybreak: q quits, ${save}Ctrl-] sends Ctrl-], any other key goes on]\r\n`);
      }
    }
    if (!this.#escaped && from < data.length) this.#send(data.subarray(from));
  }
}
