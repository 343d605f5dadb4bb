/** The machine's console on the page: xterm.js, which is a terminal as good as a window's. */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';

export interface ConsoleListener {
  input(data: Uint8Array<ArrayBuffer>): void;
  resized(columns: number, rows: number): void;
  /** The person asks for the keyboard back. */
  leave(): void;
}

/** Leaves the guest F6, with which browsers go from part to part. */
const isLeaveKey = ({ key, ctrlKey }: KeyboardEvent): boolean => key === 'F6' && ctrlKey;

export class Console {
  /** The cursor does not blink: that would keep the browser drawing, at ten times what an idle machine costs. */
  readonly #terminal = new Terminal({
    scrollback: 10_000,
    fontFamily: 'ui-monospace, Menlo, Consolas, monospace',
    fontSize: 14,
  });
  readonly #fit = new FitAddon();

  constructor(element: HTMLElement, listener: ConsoleListener) {
    const encoder = new TextEncoder();
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.open(element);
    this.#terminal.onData((text) => listener.input(encoder.encode(text)));
    // What mouse reports send beyond UTF-8.
    this.#terminal.onBinary((text) => listener.input(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
    this.#terminal.onResize(({ cols, rows }) => listener.resized(cols, rows));
    this.#terminal.attachCustomKeyEventHandler((event) => {
      if (!isLeaveKey(event)) return true;
      if (event.type === 'keydown') listener.leave();
      event.preventDefault();
      return false;
    });
    new ResizeObserver(() => this.#fit.fit()).observe(element);
  }

  get size(): { columns: number; rows: number } {
    return { columns: this.#terminal.cols, rows: this.#terminal.rows };
  }

  /** Empty, fitted to its place, and with the keyboard. */
  begin(): void {
    this.#terminal.reset();
    this.#fit.fit();
    this.#terminal.focus();
  }

  focus(): void {
    this.#terminal.focus();
  }

  write(data: Uint8Array): void {
    this.#terminal.write(data);
  }
}
