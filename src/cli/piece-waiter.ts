/** Gets pieces of a published state while the thread that needs them waits: a machine cannot go on without a page of its memory. */
import { Worker } from 'node:worker_threads';
import type { Piece } from '../storage/packs/pack-index.ts';
import { awaitAnswer, newRequest, type PieceThreadData } from './piece-protocol.ts';

/** Meanwhile nobody can stop the machine. */
const LIMIT_MS = 60_000;
const THREAD = new URL('piece-thread.js', import.meta.url);

export class PieceWaiter {
  readonly #data: PieceThreadData;
  readonly #thread: URL;
  #worker: Worker | undefined;
  fetchedBytes = 0;

  constructor(data: PieceThreadData, thread = THREAD) {
    this.#data = data;
    this.#thread = thread;
  }

  /** As `TakePiece`. */
  take(piece: Piece): Uint8Array {
    // Most machines have what they need until their prompt, and need no thread.
    this.#worker ??= new Worker(this.#thread, { workerData: this.#data });
    this.#worker.unref();
    const request = newRequest(piece);
    this.#worker.postMessage(request, []);
    const { data, fetchedBytes } = awaitAnswer(request.answer, LIMIT_MS);
    this.fetchedBytes += fetchedBytes;
    return data;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }
}
