/**
 * A vCPU with a thread of its own, for interrupt controllers in the host's kernel: HLT, timers and interrupts between
 * processors do not leave it. The thread only enters KVM_RUN. Everything else is done here, on the machine's own
 * thread, while the vCPU's thread waits.
 */
import { Worker } from 'node:worker_threads';
import { VmError } from '../../base/errors.ts';
import { type ProcessorState, STARTED } from '../../machine/processor-state.ts';
import type { Exit, Registers } from '../../machine/vcpu.ts';
import * as K from './abi.ts';
import type { Native } from './native.ts';
import { signalThread } from './run-signal.ts';
import { BELL, END, MAIN, NOT_ENTERED, OVER, OWNER, REQUEST, RESULT, THREAD, TID, type ThreadData } from './thread-words.ts';
import { checked } from './system.ts';
import { VCpuBase, type VCpuParts } from './vcpu-base.ts';
import { getPart, setPart } from './vcpu-state.ts';

const { RUN } = K;
/** In the page of a local APIC's registers. */
const TPR = 0x80;
/** A thread that does not come out of KVM_RUN that long after a kick gets another. */
const PATIENCE_MS = 100;

/** By `ProcessorState.startup`: KVM's MP state of a processor that does not sleep. */
const STARTUPS: readonly number[] = [K.KVM_MP_STATE_RUNNABLE, K.KVM_MP_STATE_UNINITIALIZED, K.KVM_MP_STATE_INIT_RECEIVED];

/** The program of `vcpu-thread.ts`, as a Worker takes it. */
export type ThreadProgram = { readonly url: URL } | { readonly code: string };

export interface ThreadedParts extends VCpuParts {
  readonly program: ThreadProgram;
  /** Words that all vCPUs of the machine share: thread-words.ts. */
  readonly shared: Int32Array<SharedArrayBuffer>;
  /** Called from the event loop when a vCPU has come out while the machine's thread was asleep. */
  readonly wake: () => void;
}

export class ThreadedVCpu extends VCpuBase {
  readonly #words: Int32Array<ArrayBufferLike>;
  #failure: unknown;
  /** An exit that has not been served yet. */
  #entered = false;
  /** What an exit asked for that was served while the machine was coming to a stop. */
  #left: Exit | undefined;

  constructor(parts: ThreadedParts) {
    super(parts);
    this.#words = new Int32Array(this.page.memory.buffer);
    const { program, shared, wake } = parts;
    const workerData: ThreadData = { fd: this.fd, pid: process.pid, memory: this.page.memory, shared };
    // Its heap holds koffi and nothing else.
    const resourceLimits = { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 2 };
    const worker =
      'url' in program
        ? new Worker(program.url, { workerData, resourceLimits })
        : new Worker(program.code, { eval: true, workerData, resourceLimits });
    worker.on('message', wake);
    // However it ended: it may not have come to say so itself.
    const over = (cause: unknown): void => {
      this.#failure ??= cause;
      Atomics.store(this.#words, OWNER, OVER);
      Atomics.add(shared, BELL, 1);
      wake();
    };
    worker.on('error', over);
    worker.on('exit', (status) => {
      const owner = Atomics.load(this.#words, OWNER);
      if (owner === MAIN || owner === THREAD) over(`it exited with status ${status}`);
    });
    worker.unref();
  }

  /** Whether its thread is out, with an exit to serve. */
  get isOut(): boolean {
    return this.#left !== undefined || this.#out;
  }

  get #out(): boolean {
    return this.#entered && Atomics.load(this.#words, OWNER) === MAIN;
  }

  get isRunning(): boolean {
    return Atomics.load(this.#words, OWNER) === THREAD;
  }

  /** Lets the guest go on. Only when the vCPU is out. Throws VmError `host-io` when its thread is no more. */
  enter(): void {
    if (Atomics.load(this.#words, OWNER) === OVER || this.#failure !== undefined) {
      throw new VmError(
        'host-io',
        `the thread of a virtual processor has ended: ${String(this.#failure ?? 'it does not say why')}`,
        this.#failure,
      );
    }
    this.#entered = true;
    Atomics.store(this.#words, OWNER, THREAD);
    Atomics.notify(this.#words, OWNER);
  }

  /** Serves the exit of a vCPU that is out; answers what the machine's loop has to be told. */
  serveExit(): Exit | undefined {
    const left = this.#left;
    this.#left = undefined;
    return this.#out ? (this.#serveOut() ?? left) : left;
  }

  #serveOut(): Exit | undefined {
    this.#entered = false;
    return this.#serveResult(Atomics.load(this.#words, RESULT));
  }

  #serveResult(result: number): Exit | undefined {
    if (result === NOT_ENTERED) return undefined;
    if (result < 0) {
      this.count(K.KVM_EXIT_INTR);
      this.unfinished = false;
      if (result === -K.EINTR || result === -K.EAGAIN) return undefined;
      throw new VmError('host-io', `KVM_RUN failed with error ${-result}`);
    }
    return this.serve(this.data.getUint32(RUN.exitReason, true));
  }

  /** Whether its thread has begun. */
  get hasThread(): boolean {
    return Atomics.load(this.#words, TID) !== 0;
  }

  get kernel(): Native {
    return this.native;
  }

  /** The guest goes on, on the calling thread. Only when the vCPU is out and what it left has been served. */
  runHere(): Exit | 'interrupted' | undefined {
    const result = this.native.ioctl(this.fd, K.KVM_RUN, 0);
    const exit = this.#serveResult(result);
    return result === -K.EINTR ? 'interrupted' : exit;
  }

  /** Makes the calling thread the one that KVM expects, and tells what that took in milliseconds. The guest executes nothing. */
  changeThread(): number {
    this.data.setUint8(RUN.immediateExit, 1);
    const before = performance.now();
    this.native.ioctl(this.fd, K.KVM_RUN, 0);
    const spent = performance.now() - before;
    this.unfinished = false;
    this.data.setUint8(RUN.immediateExit, 0);
    return spent;
  }

  /** Calls its thread out of KVM_RUN. */
  kickOut(): void {
    Atomics.store(this.#words, REQUEST, 1);
    const tid = Atomics.load(this.#words, TID);
    if (tid !== 0) signalThread(this.native, { pid: process.pid, tid });
  }

  /** Returns when its thread is out of KVM_RUN; an exit that it comes with waits to be served. */
  halt(): void {
    while (this.isRunning) {
      this.kickOut();
      Atomics.wait(this.#words, OWNER, THREAD, PATIENCE_MS);
    }
    Atomics.store(this.#words, REQUEST, 0);
  }

  /** Out of KVM_RUN, and its time stands still. */
  override standStill(): void {
    this.settle();
    super.standStill();
  }

  /** Has KVM take in what its timers have brought. */
  flush(): void {
    this.settle();
    const tid = Atomics.load(this.#words, TID);
    // Its thread has not begun: nor has the guest.
    if (tid === 0) return;
    signalThread(this.native, { pid: process.pid, tid });
    this.enter();
    this.settle();
  }

  protected settle(): void {
    this.halt();
    this.data.setUint8(RUN.immediateExit, 1);
    for (;;) {
      if (this.#out) this.#left = this.#serveOut() ?? this.#left;
      if (!this.unfinished) break;
      this.enter();
      while (this.isRunning) Atomics.wait(this.#words, OWNER, THREAD, PATIENCE_MS);
    }
    this.data.setUint8(RUN.immediateExit, 0);
  }

  nmi(): void {
    checked(this.native.ioctl(this.fd, K.KVM_NMI, 0), 'KVM_NMI');
  }

  get mpState(): number {
    return getPart(this.native, this.fd, 'mpState').getUint32(0, true);
  }

  set mpState(value: number) {
    const data = new DataView(new ArrayBuffer(4));
    data.setUint32(0, value, true);
    setPart(this.native, this.fd, 'mpState', data);
  }

  protected get waiting(): Pick<ProcessorState, 'startup' | 'halted'> {
    const { mpState } = this;
    return { startup: Math.max(STARTED, STARTUPS.indexOf(mpState)), halted: mpState === K.KVM_MP_STATE_HALTED };
  }

  /** Has KVM do what INIT and SIPI that have come do: its registers and its local APIC are those from before, until it is asked. */
  takeStartup(): void {
    void this.mpState;
  }

  /** KVM_SET_SREGS takes the task priority from CR8, which has its upper half only. */
  #keepingPriority(work: () => void): void {
    const page = getPart(this.native, this.fd, 'lapic');
    work();
    if (page.getUint32(TPR, true) & 0xf) setPart(this.native, this.fd, 'lapic', page);
  }

  override setRegisters(registers: Partial<Registers>): void {
    this.settle();
    this.#keepingPriority(() => super.setRegisters(registers));
  }

  override reset(): void {
    super.reset();
    this.#left = undefined;
  }

  protected override adopt(state: ProcessorState): void {
    this.#keepingPriority(() => super.adopt(state));
    const startup = STARTUPS[state.startup];
    if (startup === undefined) throw new VmError('bad-state', `processor.startup: ${state.startup} (known: 0 to ${STARTUPS.length - 1})`);
    this.mpState = state.halted ? K.KVM_MP_STATE_HALTED : startup;
  }

  protected release(): void {
    this.halt();
    const tid = Atomics.load(this.#words, TID);
    if (Atomics.compareExchange(this.#words, OWNER, MAIN, END) !== MAIN) return;
    Atomics.notify(this.#words, OWNER);
    // One that has not begun finds the word when it does.
    if (tid !== 0) while (Atomics.load(this.#words, OWNER) !== OVER) Atomics.wait(this.#words, OWNER, END, PATIENCE_MS);
  }
}
