/** A piece of memory on its way to a thread that stands still until it comes: by memory that both share, since who waits cannot take messages. */
import { VmError, type ErrorCode } from '../../base/errors.ts';

const [WAITING, DONE, FAILED] = [0, 1, 2];
/** State, length of what follows: i32 each. */
const HEAD_BYTES = 8;
const MESSAGE_MAX = 4096;

/** With room for so many bytes. */
export function newAnswer(sizeBytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(HEAD_BYTES + Math.max(sizeBytes, MESSAGE_MAX));
}

export function answerPage(answer: SharedArrayBuffer, data: Uint8Array): void {
  finish(answer, DONE, data);
}

export function answerFailed(answer: SharedArrayBuffer, error: unknown): void {
  const [code, message] = error instanceof VmError ? [error.code, error.message] : ['host-io', String(error)];
  // A message is cut rather than lost.
  finish(answer, FAILED, new TextEncoder().encode(JSON.stringify([code, message.slice(0, MESSAGE_MAX / 8)])));
}

/** The first answer counts. */
function finish(answer: SharedArrayBuffer, state: number, data: Uint8Array): void {
  const head = new Int32Array(answer, 0, 2);
  if (Atomics.load(head, 0) !== WAITING) return;
  new Uint8Array(answer, HEAD_BYTES).set(data);
  head[1] = data.length;
  Atomics.store(head, 0, state);
  Atomics.notify(head, 0);
}

/** Waits for the answer, however long. Throws what the other thread failed with. */
export function awaitAnswer(answer: SharedArrayBuffer): Uint8Array {
  const head = new Int32Array(answer, 0, 2);
  Atomics.wait(head, 0, WAITING);
  const data = new Uint8Array(answer, HEAD_BYTES, head[1]).slice();
  if (Atomics.load(head, 0) === DONE) return data;
  const [code, message] = JSON.parse(new TextDecoder().decode(data)) as [ErrorCode, string];
  throw new VmError(code, `the machine cannot go on without a page of its memory: ${message}`);
}
