/**
 * Exits in a row, without the way between two threads. A vCPU's own thread is there for guests that compute and sleep; one that
 * talks to a device by port after port is better off on the machine's thread, where the devices are. So when exits of a vCPU come one
 * after the other, that thread enters KVM_RUN itself, until they no longer do. An exit of another vCPU calls it out.
 */
import type { Disposable } from '../../base/disposable.ts';
import type { Exit } from '../../machine/vcpu.ts';
import type { DoorbellWatch } from './doorbells.ts';
import { RunSignal } from './run-signal.ts';
import { BELL, HERE } from './thread-words.ts';
import type { ThreadedVCpu } from './threaded-vcpu.ts';

/** A guest without an exit for that long goes back to its own thread, and the host's events get their turn. */
const QUIET_NS = 400_000;
/** An exit that comes that soon after the one before is one of a row: by way of threads and the event loop it would cost a third of that. */
const SOON_MS = 0.3;
/** Exits in a row before it is worth it, where changing threads costs nothing. */
const FEWEST = 8;
/** Exits by way of its thread before a vCPU is tried here again that was not let alone. */
const CROWDED = 200;
/** What an exit costs less here. */
const GAIN_NS = 20_000;
const NS_PER_MS = 1e6;
const BUDGET: Exit = { kind: 'budget' };

/** The last exits of one vCPU. */
interface Row {
  length: number;
  lastMs: number;
}

export class ExitBursts implements Disposable {
  readonly #rows: ReadonlyMap<ThreadedVCpu, Row>;
  readonly #doorbells: DoorbellWatch;
  readonly #shared: Int32Array<SharedArrayBuffer>;
  #signal: RunSignal | undefined;
  /** So many exits in a row as would have paid for the way here and back: kernels before 6.13 take milliseconds to change a vCPU's thread. */
  #enough = FEWEST;
  #here: ThreadedVCpu | undefined;
  /** The vCPU was last on its own thread. */
  #came = false;

  /** @param shared words of all vCPUs: thread-words.ts */
  constructor(vcpus: readonly ThreadedVCpu[], doorbells: DoorbellWatch, shared: Int32Array<SharedArrayBuffer>) {
    this.#rows = new Map(vcpus.map((vcpu) => [vcpu, { length: 0, lastMs: 0 }]));
    this.#doorbells = doorbells;
    this.#shared = shared;
  }

  /** The vCPU that the machine's thread is to run. */
  get here(): ThreadedVCpu | undefined {
    return this.#here;
  }

  /** An exit of the vCPU has come by way of its thread. */
  note(vcpu: ThreadedVCpu, nowMs: number): void {
    const row = this.#rows.get(vcpu)!;
    row.length = nowMs - row.lastMs < SOON_MS ? row.length + 1 : 0;
    row.lastMs = nowMs;
    if (row.length < this.#enough || this.#here || !vcpu.hasThread) return;
    row.length = 0;
    this.#here = vcpu;
    this.#came = true;
  }

  /**
   * Runs the vCPU on this thread, which must be out.
   * @param untilMs as `performance.now` counts; looked at when the timer looks after it
   * @param bell what `BELL` was when nobody else was out; with another, somebody is
   * @returns what the machine is to be told; undefined: somebody is out, or the burst is over
   */
  run(vcpu: ThreadedVCpu, untilMs: number, bell: number, stopAsked: () => boolean): Exit | undefined {
    const signal = (this.#signal ??= new RunSignal(vcpu.kernel, process.pid));
    if (this.#came) {
      this.#came = false;
      this.#enough = Math.max(FEWEST, Math.ceil((2 * vcpu.changeThread() * NS_PER_MS) / GAIN_NS));
    }
    const shared = this.#shared;
    signal.every(QUIET_NS);
    // Before the look at the bell: whoever rings it later sees this, and calls this thread out.
    Atomics.store(shared, HERE, signal.thread.tid);
    try {
      for (let exits = 0; Atomics.load(shared, BELL) === bell;) {
        this.#doorbells.update();
        const exit = vcpu.runHere();
        if (exit === 'interrupted') {
          signal.drain();
          this.#doorbells.look();
          const called = Atomics.load(shared, BELL) !== bell;
          if (exits === 0) {
            this.#here = undefined;
            // Others have exits as fast: they would call this thread out again and again, before the guest has come anywhere.
            if (called) this.#rows.get(vcpu)!.length = -CROWDED;
          }
          if (called || exits === 0) break;
          exits = 0;
          if (performance.now() >= untilMs) return BUDGET;
        } else if (exit) return exit;
        else exits++;
        if (stopAsked()) return BUDGET;
      }
      return undefined;
    } finally {
      Atomics.store(shared, HERE, 0);
      signal.every(0);
      signal.drain();
    }
  }

  dispose(): void {
    this.#signal?.dispose();
  }
}
