/** A machine in a worker of its own, as a page sees it. */
import type { FromWorker, StartMessage, ToWorker } from './protocol.ts';

export class WorkerMachine {
  readonly #worker: Worker;
  readonly #listener: (message: FromWorker) => void;
  #ended = false;

  /** Starts it. `listener` is told everything; `ended` comes once and last, whatever happens. */
  constructor(start: StartMessage, listener: (message: FromWorker) => void) {
    this.#listener = listener;
    this.#worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module', name: 'daybreak' });
    this.#worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#tell(data);
    this.#worker.onerror = ({ message }) => {
      this.#tell({
        type: 'ended',
        kind: 'failed',
        message: message || 'the worker could not be loaded: worker.js is missing beside the page',
      });
    };
    this.#post(
      start,
      [start.kernel, ...start.initrds].map(({ buffer }) => buffer),
    );
  }

  input(data: Uint8Array<ArrayBuffer>): void {
    this.#post({ type: 'input', data });
  }

  resize(columns: number, rows: number): void {
    this.#post({ type: 'resize', columns, rows });
  }

  /** Ends the machine as pulling the plug would, and its worker. Idempotent. */
  stop(): void {
    this.#tell({ type: 'ended', kind: 'stopped' });
  }

  #tell(message: FromWorker): void {
    if (this.#ended) return;
    if (message.type === 'ended') {
      this.#ended = true;
      this.#worker.terminate();
    }
    this.#listener(message);
  }

  #post(message: ToWorker, transfer: Transferable[] = []): void {
    if (!this.#ended) this.#worker.postMessage(message, transfer);
  }
}
