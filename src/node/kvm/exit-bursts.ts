/**
 * Exits in a row, without the way between two threads. A vCPU's own thread is there for guests that compute and sleep; one that
 * talks to a device by port after port is better off on the machine's thread, where the devices are. So when exits come one
 * after the other, that thread enters KVM_RUN itself, until they no longer do.
 */
import type { Disposable } from '../../base/disposable.ts';
import type { Exit } from '../../machine/vcpu.ts';
import type { DoorbellWatch } from './doorbells.ts';
import { RunSignal } from './run-signal.ts';
import type { ThreadedVCpu } from './threaded-vcpu.ts';

/** A guest without an exit for that long goes back to its own thread, and the host's events get their turn. */
const QUIET_NS = 400_000;
/** Exits in a row before it is worth it, where changing threads costs nothing. */
const FEWEST = 8;
/** What an exit costs less here. */
const GAIN_NS = 20_000;
const NS_PER_MS = 1e6;
const BUDGET: Exit = { kind: 'budget' };

export class ExitBursts implements Disposable {
  readonly #vcpu: ThreadedVCpu;
  readonly #doorbells: DoorbellWatch;
  #signal: RunSignal | undefined;
  #inARow = 0;
  /** So many exits in a row as would have paid for the way here and back: kernels before 6.13 take milliseconds to change a vCPU's thread. */
  #enough = FEWEST;
  #here = false;
  /** The vCPU was last on its own thread. */
  #came = false;

  constructor(vcpu: ThreadedVCpu, doorbells: DoorbellWatch) {
    this.#vcpu = vcpu;
    this.#doorbells = doorbells;
  }

  /** Whether the machine's thread is to run the vCPU. */
  get here(): boolean {
    return this.#here;
  }

  /** An exit came soon after the one before, or none did. */
  note(soon: boolean): void {
    this.#inARow = soon ? this.#inARow + 1 : 0;
    if (this.#inARow < this.#enough || !this.#vcpu.hasThread) return;
    this.#inARow = 0;
    this.#here = true;
    this.#came = true;
  }

  /**
   * Runs the vCPU on this thread, which must be out.
   * @param untilMs as `performance.now` counts
   * @returns what the machine is to be told; undefined: the burst is over
   */
  run(untilMs: number, stopAsked: () => boolean): Exit | undefined {
    const signal = (this.#signal ??= new RunSignal(this.#vcpu.kernel, process.pid));
    if (this.#came) {
      this.#came = false;
      this.#enough = Math.max(FEWEST, Math.ceil((2 * this.#vcpu.changeThread() * NS_PER_MS) / GAIN_NS));
    }
    signal.every(QUIET_NS);
    try {
      for (let exits = 0; ;) {
        this.#doorbells.update();
        const exit = this.#vcpu.runHere();
        if (exit === 'interrupted') {
          signal.drain();
          this.#doorbells.look();
          if (exits === 0) {
            this.#here = false;
            return undefined;
          }
          exits = 0;
        } else if (exit) return exit;
        else exits++;
        if (stopAsked() || performance.now() >= untilMs) return BUDGET;
      }
    } finally {
      signal.every(0);
      signal.drain();
    }
  }

  dispose(): void {
    this.#signal?.dispose();
  }
}
