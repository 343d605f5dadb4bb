/** How a thread that waits and one that gets pieces speak: by memory that they share, since who waits cannot take messages. */
import { VmError, type ErrorCode } from '../base/errors.ts';
import type { Piece } from '../storage/packs/pack-index.ts';

export interface PieceThreadData {
  /** Where the state is published. */
  readonly place: string;
  /** Of contents that were fetched. */
  readonly directory: string;
}

export interface PieceRequest {
  readonly piece: Piece;
  readonly answer: SharedArrayBuffer;
}

const [WAITING, DONE, FAILED] = [0, 1, 2];
/** State, length of what follows, bytes that were fetched: i32 each. */
const HEAD_BYTES = 12;
const MESSAGE_MAX = 4096;

export function newRequest(piece: Piece): PieceRequest {
  return { piece, answer: new SharedArrayBuffer(HEAD_BYTES + Math.max(piece.sizeBytes, MESSAGE_MAX)) };
}

export function answerPiece(answer: SharedArrayBuffer, data: Uint8Array, fetchedBytes: number): void {
  finish(answer, DONE, data, fetchedBytes);
}

export function answerFailed(answer: SharedArrayBuffer, error: unknown): void {
  const [code, message] = error instanceof VmError ? [error.code, error.message] : ['host-io', String(error)];
  // A message is cut rather than lost.
  const text = JSON.stringify([code, message.slice(0, MESSAGE_MAX / 8)]);
  finish(answer, FAILED, new TextEncoder().encode(text), 0);
}

function finish(answer: SharedArrayBuffer, state: number, data: Uint8Array, fetchedBytes: number): void {
  new Uint8Array(answer, HEAD_BYTES).set(data);
  const head = new Int32Array(answer, 0, 3);
  head[1] = data.length;
  head[2] = fetchedBytes;
  Atomics.store(head, 0, state);
  Atomics.notify(head, 0);
}

/** Waits for the answer. Throws what the other thread failed with, or `network` when it takes longer than `limitMs`. */
export function awaitAnswer(answer: SharedArrayBuffer, limitMs: number): { data: Uint8Array; fetchedBytes: number } {
  const head = new Int32Array(answer, 0, 3);
  Atomics.wait(head, 0, WAITING, limitMs);
  const state = Atomics.load(head, 0);
  const data = new Uint8Array(answer, HEAD_BYTES, head[1]).slice();
  if (state === DONE) return { data, fetchedBytes: head[2]! };
  if (state === WAITING)
    throw new VmError(
      'network',
      `a page of the machine's memory did not come within ${limitMs / 1000} s: check the network, or pull the snapshot first`,
    );
  const [code, message] = JSON.parse(new TextDecoder().decode(data)) as [ErrorCode, string];
  throw new VmError(code, `the machine cannot go on without a page of its memory: ${message}`);
}
