/** `Terminal` on this process's standard input and output. */
import { spawnSync } from 'node:child_process';
import type { ReadStream, WriteStream } from 'node:tty';
import type { Disposable } from '../base/disposable.ts';
import type { Terminal, TerminalInput, TerminalSize } from '../platform/terminal.ts';

type Input = NodeJS.ReadableStream & Partial<Pick<ReadStream, 'isTTY' | 'setRawMode' | 'unref'>>;
type Output = NodeJS.WritableStream & Partial<Pick<WriteStream, 'isTTY' | 'columns' | 'rows'>> & { readonly writableLength?: number };

/**
 * Undoes what a guest's programs may have done to the screen: alternative screen, hidden cursor, mouse reports,
 * bracketed paste, colours, application keys. xterm control sequences;
 * 1047 and not 1049, which would move the cursor when the alternative screen was not in use.
 */
const RESTORE_SCREEN = '\x1b[?1047l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[0m';

/** Output that does not wait for more. */
const BATCH_BYTES = 16384;

export class NodeTerminal implements Terminal {
  readonly inputIsTerminal: boolean;
  readonly outputIsTerminal: boolean;
  readonly #input: Input;
  readonly #output: Output;
  readonly #closedListeners = new Set<() => void>();
  #closed = false;
  readonly #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #scheduled: NodeJS.Immediate | undefined;

  constructor(input: Input = process.stdin, output: Output = process.stdout) {
    this.#input = input;
    this.#output = output;
    this.inputIsTerminal = input.isTTY === true;
    this.outputIsTerminal = output.isTTY === true;
    // EPIPE, or EIO of a terminal that has gone: whoever reads has left.
    output.on('error', () => {
      this.#closed = true;
      for (const listener of this.#closedListeners) listener();
    });
  }

  size(): TerminalSize | undefined {
    const { columns, rows } = this.#output;
    return this.outputIsTerminal && columns && rows ? { columns, rows } : undefined;
  }

  onResize(listener: (size: TerminalSize) => void): Disposable {
    const tell = () => {
      const size = this.size();
      if (size) listener(size);
    };
    this.#output.on('resize', tell);
    return { dispose: () => this.#output.removeListener('resize', tell) };
  }

  raw(): Disposable {
    if (!this.inputIsTerminal) return { dispose: () => {} };
    this.#input.setRawMode?.(true);
    // Node's raw mode leaves output processing on, which would turn a guest's LF (cursor down) into CR LF. Without
    // stty(1) full-screen programs look wrong, no more. setRawMode(false) puts everything back.
    if (this.outputIsTerminal) spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
    let raw = true;
    const restore = () => {
      if (!raw) return;
      raw = false;
      process.removeListener('exit', restore);
      try {
        this.#input.setRawMode?.(false);
      } catch {
        // The terminal has gone; there is nothing to restore.
      }
      if (this.outputIsTerminal) this.write(new TextEncoder().encode(RESTORE_SCREEN));
      this.#flush();
    };
    process.on('exit', restore);
    return { dispose: restore };
  }

  onInput(listener: (data: Uint8Array) => void, end: () => void): TerminalInput {
    const input = this.#input;
    const onData = (data: Buffer | string) => listener(typeof data === 'string' ? new TextEncoder().encode(data) : new Uint8Array(data));
    let over = false;
    const onEnd = () => {
      if (over) return;
      over = true;
      end();
    };
    input.on('data', onData);
    input.on('end', onEnd);
    // A terminal that hung up gives EIO; a closed descriptor may give EAGAIN or EBADF.
    input.on('error', onEnd);
    return {
      pause: () => void input.pause(),
      resume: () => void input.resume(),
      dispose: () => {
        input.removeListener('data', onData);
        input.removeListener('end', onEnd);
        input.pause();
        input.unref?.();
      },
    };
  }

  /** In batches: a guest that prints byte by byte would cost a system call for each. */
  write(data: Uint8Array): void {
    if (this.#closed) return;
    if (this.#batch.length === 0) {
      this.#scheduled = setImmediate(this.#flush);
      process.once('exit', this.#flush);
    }
    this.#batch.push(data.slice());
    this.#batchBytes += data.length;
    if (this.#batchBytes >= BATCH_BYTES) this.#flush();
  }

  readonly #flush = (): void => {
    if (this.#batch.length === 0) return;
    clearImmediate(this.#scheduled);
    process.removeListener('exit', this.#flush);
    const data = Buffer.concat(this.#batch);
    this.#batch.length = 0;
    this.#batchBytes = 0;
    if (!this.#closed) this.#output.write(data);
  };

  drained(): Promise<void> {
    this.#flush();
    if (this.#closed || !this.#output.writableLength) return Promise.resolve();
    return new Promise((resolve) => {
      this.#output.write('', () => resolve());
      this.onClosed(resolve);
    });
  }

  onClosed(listener: () => void): Disposable {
    this.#closedListeners.add(listener);
    if (this.#closed) queueMicrotask(listener);
    return { dispose: () => this.#closedListeners.delete(listener) };
  }
}
