/**
 * A machine's life: it runs its vCPU in slices, lets guest time pass, takes input through the one door, and ends.
 *
 * Guest time follows the instructions executed, so that a slow host makes a slow guest rather than one whose
 * time-outs expire; it never runs ahead of real time, and catches up with it only while the guest is idle.
 */
import { VmError } from '../base/errors.ts';
import type { Pace } from '../platform/pace.ts';
import type { Door } from './door.ts';
import { VirtualClock } from './virtual-clock.ts';
import type { VCpu } from './vcpu.ts';

/** How a life ended. */
export type MachineEnd =
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'debug-exit'; readonly value: number }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'failed'; readonly error: unknown };

/** At most so much guest time passes in one instruction: the guest sees at least 200 MIPS. */
const SLOWEST_NS = 5;
/** At least so much: bounds how often timers can be due. */
const FASTEST_NS = 0.05;
/** So late timers may be, by time that accesses to devices take, before the slice that is too long for them is given up. */
const LATEST_NS = 20_000;
/** Real time between looks at the host's events. */
const SLICE_MS = 8;
/** The same where the host's processor runs the guest, which waits for nothing but those events. */
const NATIVE_SLICE_MS = 2;
/** Instructions in a slice whose speed is not known yet. */
const FIRST_SLICE = 100_000;
/** A host that gives us little time makes a machine look slow; slices that are all overhead would make it so. */
const SMALLEST_SLICE = 20_000;
const LARGEST_SLICE = 1 << 23;
/** A wait below this is spent looking at the host's events, with short rests: host timers are no finer. */
const SHORTEST_SLEEP_MS = 1;
/** From here on a wait may last up to two milliseconds longer, so that its end need not be spent looking. */
const COARSE_SLEEP_MS = 8;
/** Inputs are looked for so often while the guest stands still. */
const SERVE_MS = 1;

export class Machine implements Door {
  readonly clock: VirtualClock;
  readonly ended: Promise<MachineEnd>;
  readonly #pace: Pace;
  #vcpu: VCpu | undefined;
  #resolve!: (end: MachineEnd) => void;
  #end: MachineEnd | undefined;
  #inputs: (() => void)[] = [];
  #wake: (() => void) | undefined;
  #running = false;
  /** Real time at which guest time was 0. */
  #startMs = 0;
  /** Guest time at which the present slice ends. */
  #sliceEndNs = 0;
  /** Instructions per real millisecond, as lately measured. */
  #speed = FIRST_SLICE / SLICE_MS;
  #onReset: () => void = () => {};
  /** Work that waits for the guest to stand still, and what comes after that. */
  readonly #holds: (() => Promise<void>)[] = [];
  readonly #pauses: (() => Promise<void>)[] = [];

  constructor(pace: Pace, epochMs: number) {
    this.#pace = pace;
    this.ended = new Promise((resolve) => (this.#resolve = resolve));
    this.clock = new VirtualClock(epochMs, {
      executed: () => this.#vcpu?.executed ?? 0,
      sooner: (deadlineNs) => {
        if (deadlineNs < this.#sliceEndNs) this.#vcpu?.stop();
      },
      passed: (ns) => this.#pass(ns),
    });
  }

  /** The board's last step: what runs, and what a shutdown (triple fault) or reset request does. */
  attach(vcpu: VCpu, onReset: () => void): void {
    this.#vcpu = vcpu;
    this.#onReset = onReset;
  }

  /** Runs an input between two instructions; wakes the machine when it is idle. */
  post(input: () => void): void {
    this.#inputs.push(input);
    this.#vcpu?.stop();
    this.#wake?.();
  }

  /** Does `work` between two instructions, and runs none until it is done: a restart that has to load a kernel again. */
  hold(work: () => Promise<void>): void {
    this.#holds.push(work);
    this.#vcpu?.stop();
    this.#wake?.();
  }

  /**
   * Does `work` while the guest stands still, once `settled` (which is served inputs) has resolved and no input waits. Gives its
   * result. A machine that does not run stands still already. Rejects with `cancelled` when the machine ends before.
   */
  whilePaused<T>(settled: () => Promise<unknown>, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const attempt = async (): Promise<void> => {
        try {
          await this.#serve(settled());
          // A reset comes first: what it leaves is what the machine goes on from.
          if (this.#holds.length > 0) this.#pauses.unshift(attempt);
          else if (!this.#end) resolve(await work());
        } catch (error) {
          reject(error as Error);
        }
      };
      if (!this.#running && !this.#end) return void attempt();
      this.#pauses.push(attempt);
      this.#vcpu?.stop();
      this.#wake?.();
      void this.ended.then(() => reject(new VmError('cancelled', 'the machine ended before it could be paused')));
    });
  }

  /** Runs inputs as they come until `done`, and those that are there then. */
  async #serve(done: Promise<unknown>): Promise<void> {
    const wait = { over: false };
    const stop = (): void => {
      wait.over = true;
      this.#wake?.();
    };
    done.then(stop, stop);
    while (!wait.over) {
      this.#takeInputs();
      await this.#pace.sleep(SERVE_MS, (wake) => (this.#wake = wake));
      this.#wake = undefined;
    }
    await done;
    this.#takeInputs();
  }

  /** Whether its life has ended, or is about to. */
  get over(): boolean {
    return this.#end !== undefined;
  }

  /** Ends the life for a reason; the first one counts. Callable from anywhere, devices included. */
  end(end: MachineEnd): void {
    if (this.#end) return;
    this.#end = end;
    this.#vcpu?.stop();
    this.#wake?.();
    if (!this.#running) this.#resolve(end);
  }

  /** Runs until the end. Never rejects: what goes wrong in our own code ends the machine as `failed`. */
  async run(): Promise<MachineEnd> {
    this.#running = true;
    this.#startMs = this.#pace.nowMs() - this.clock.now() / 1e6;
    try {
      while (!this.#end) {
        const work = this.#holds.shift() ?? this.#pauses.shift();
        if (!work) {
          await this.#slice(this.#vcpu!);
          continue;
        }
        this.#vcpu?.pause?.();
        await work();
        // Where guest time is the host's, what passed meanwhile is not made up for.
        if (this.#vcpu?.unit === 'nanoseconds') this.#startMs = this.#pace.nowMs() - this.clock.now() / 1e6;
        // A guest that asks for a restart again and again must not keep the host's events out.
        await this.#pace.breathe();
      }
    } catch (error) {
      this.#end ??= { kind: 'failed', error };
    }
    this.#vcpu?.pause?.();
    this.#running = false;
    this.#resolve(this.#end!);
    return this.ended;
  }

  /** Guest time goes on in the middle of a slice. */
  #pass(ns: number): void {
    const vcpu = this.#vcpu;
    // Where the host's time is the guest's, it passes by itself.
    if (vcpu?.unit !== 'instructions') return;
    this.clock.baseNs += ns;
    vcpu.timeMoved?.();
    this.#sliceEndNs += ns;
    // The slice was to end at the next timer's deadline, most likely.
    if (this.clock.nextDeadlineNs < this.#sliceEndNs - LATEST_NS) vcpu.stop();
  }

  get #held(): boolean {
    return this.#holds.length + this.#pauses.length > 0;
  }

  get #realNs(): number {
    return (this.#pace.nowMs() - this.#startMs) * 1e6;
  }

  /** About SLICE_MS of work, or one wait. */
  async #slice(vcpu: VCpu): Promise<void> {
    const { clock } = this;
    const began = this.#pace.nowMs();
    const executedBefore = vcpu.executed;
    const sliceMs = vcpu.unit === 'nanoseconds' ? NATIVE_SLICE_MS : SLICE_MS;
    const budget = Math.min(Math.max(Math.floor(this.#speed * sliceMs), SMALLEST_SLICE), LARGEST_SLICE);
    if (vcpu.unit === 'instructions') {
      // The rate that would bring guest time to real time by the end of the slice, within bounds.
      const lag = this.#realNs + SLICE_MS * 1e6 - clock.now();
      clock.setRate(Math.min(Math.max(lag / budget, FASTEST_NS), SLOWEST_NS));
    }
    let left = budget;
    let halted = false;
    while (left > 0) {
      this.#takeInputs();
      if (this.#end || this.#held) return;
      clock.expire();
      const until = clock.instructionsUntil(clock.nextDeadlineNs);
      const grant = Math.max(1, Math.min(left, until));
      this.#sliceEndNs = clock.at(vcpu.executed + grant);
      const before = vcpu.executed;
      const exit = vcpu.run(grant);
      this.#sliceEndNs = 0;
      left -= vcpu.executed - before;
      if (exit.kind === 'shutdown') {
        this.#onReset();
        // A guest that crashes again and again must not keep the host's events out.
        await this.#pace.breathe();
        return;
      }
      if (exit.kind === 'halt') {
        if (!this.#skipIdle()) {
          halted = true;
          break;
        }
        // Catching up with real time costs no instructions, but must not starve the host.
        left -= 1000;
      }
    }
    const spent = this.#pace.nowMs() - began;
    const done = vcpu.executed - executedBefore;
    if (spent > 1 && done > 1000) this.#speed = this.#speed * 0.7 + (done / spent) * 0.3;
    if (this.#end || this.#held) return;
    if (halted && this.#inputs.length === 0) await this.#idle();
    else await this.#pace.breathe();
  }

  #takeInputs(): void {
    while (this.#inputs.length > 0) {
      const inputs = this.#inputs;
      this.#inputs = [];
      for (const input of inputs) input();
    }
  }

  /** The guest halts: guest time may go on at once as far as real time has come. Answers whether a timer is due then. */
  #skipIdle(): boolean {
    const { clock } = this;
    const real = this.#realNs;
    const next = clock.nextDeadlineNs;
    if (next > real) return false;
    clock.advanceTo(next);
    return true;
  }

  /** Waits for the next timer or input. */
  async #idle(): Promise<void> {
    const { clock } = this;
    const waitMs = (clock.nextDeadlineNs - this.#realNs) / 1e6;
    if (waitMs < SHORTEST_SLEEP_MS) await this.#pace.breathe(waitMs);
    else {
      // Host timers count whole milliseconds on a clock that may be up to one behind.
      const sleepMs = waitMs < COARSE_SLEEP_MS ? waitMs : Math.ceil(waitMs) + 1;
      await this.#pace.sleep(sleepMs, (wake) => (this.#wake = wake));
      this.#wake = undefined;
    }
    clock.advanceTo(Math.min(this.#realNs, clock.nextDeadlineNs));
  }
}
