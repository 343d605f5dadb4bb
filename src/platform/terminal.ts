/** The person's terminal, or what stands in for it. */
import type { Disposable } from '../base/disposable.ts';

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Somebody's listening to the input, until disposed. */
export interface TerminalInput extends Disposable {
  /** No more bytes come until `resume`, but for what is on its way: whoever writes has to wait. */
  pause(): void;
  resume(): void;
}

export interface Terminal {
  /** Keys come from a person: the input can be made raw. */
  readonly inputIsTerminal: boolean;
  /** Output is seen by a person: it has a size and understands control sequences. */
  readonly outputIsTerminal: boolean;
  /** Undefined when output is not a terminal. */
  size(): TerminalSize | undefined;
  onResize(listener: (size: TerminalSize) => void): Disposable;
  /** Raw: every key arrives as it is, none is acted on. Disposing gives the mode before; so does the end of the process, however it comes. */
  raw(): Disposable;
  /** Bytes typed or piped in, until disposed; `end` when there are no more. */
  onInput(listener: (data: Uint8Array) => void, end: () => void): TerminalInput;
  /** Never blocks. Bytes that nobody reads any more (a closed pipe) are dropped, and `onClosed` is told. */
  write(data: Uint8Array): void;
  /** Resolves when everything written has left the process. */
  drained(): Promise<void>;
  onClosed(listener: () => void): Disposable;
}
