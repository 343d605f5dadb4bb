/** Waits shorter than a host's timers can tell. */

/** A thread is held up to this long before what has to be in time: hosts wake it some 50 µs late. */
const LATE_MS = 0.06;
/** An event waits no longer than this for a thread that is held. */
const LONGEST_REST_MS = 0.2;

/** Holds a thread for a part of a time that it has nothing to do in: finer than a host's timers, and without using its processor. */
export class Rest {
  readonly #nobody = new Int32Array(new SharedArrayBuffer(4));

  hold(idleMs: number): void {
    if (idleMs > LATE_MS) Atomics.wait(this.#nobody, 0, 0, Math.min(idleMs - LATE_MS, LONGEST_REST_MS));
  }
}
