/**
 * How a thread is called out of KVM_RUN. The signal is blocked everywhere but inside KVM_RUN, where KVM swaps the mask
 * (KVM_SET_SIGNAL_MASK): one that comes too early stays pending, and KVM_RUN returns at once. So none is lost, there is
 * no handler, and SIGURG, which is ignored by default, harms nobody that it reaches by mistake.
 */
import { assert } from '../../base/errors.ts';
import type { Disposable } from '../../base/disposable.ts';
import type { Native } from './native.ts';

const SYS_RT_SIGPROCMASK = 14;
const SYS_GETTID = 186;
const SYS_RT_SIGTIMEDWAIT = 128;
const SYS_TIMER_CREATE = 222;
const SYS_TIMER_SETTIME = 223;
const SYS_TIMER_DELETE = 226;
const SYS_TGKILL = 234;

const SIGURG = 23;
const SIGURG_BIT = 1n << BigInt(SIGURG - 1);
const SIG_BLOCK = 0;
const CLOCK_MONOTONIC = 1;
const SIGEV_THREAD_ID = 4;
const SIGSET_BYTES = 8;
const NS_PER_S = 1_000_000_000;

/** A thread of this process, by the kernel's numbers. */
export interface ThreadId {
  readonly pid: number;
  readonly tid: number;
}

/** Calls a thread out of KVM_RUN, or out of its next one. Callable from any thread. */
export function signalThread(native: Native, { pid, tid }: ThreadId): void {
  native.syscall(SYS_TGKILL, pid, tid, SIGURG);
}

/** The signal of the thread that makes this, with a timer that sends it. */
export class RunSignal implements Disposable {
  readonly thread: ThreadId;
  /** What to hand to KVM_SET_SIGNAL_MASK: struct kvm_signal_mask. */
  readonly mask = new Uint8Array(4 + SIGSET_BYTES);
  readonly #native: Native;
  readonly #set = new BigUint64Array([SIGURG_BIT]);
  readonly #zero = new BigUint64Array(2);
  /** struct itimerspec: interval and value, each in seconds and nanoseconds. */
  readonly #time = new BigUint64Array(4);
  readonly #setAddress: bigint;
  readonly #zeroAddress: bigint;
  readonly #timeAddress: bigint;
  readonly #timer: number;
  #disposed = false;

  constructor(native: Native, pid: number) {
    this.#native = native;
    this.#setAddress = native.address(this.#set);
    this.#zeroAddress = native.address(this.#zero);
    this.#timeAddress = native.address(this.#time);
    this.thread = { pid, tid: native.syscall(SYS_GETTID) };

    const before = new BigUint64Array(1);
    const blocked = native.syscall(SYS_RT_SIGPROCMASK, SIG_BLOCK, this.#setAddress, native.address(before), SIGSET_BYTES);
    assert(blocked === 0, `rt_sigprocmask: error ${-blocked}`);
    const mask = new DataView(this.mask.buffer);
    mask.setUint32(0, SIGSET_BYTES, true);
    mask.setBigUint64(4, before[0]! & ~SIGURG_BIT, true);

    // struct sigevent: value, signal, how, thread.
    const event = new Int32Array(16);
    event.set([SIGURG, SIGEV_THREAD_ID, this.thread.tid], 2);
    const timer = new Int32Array(1);
    const created = native.syscall(SYS_TIMER_CREATE, CLOCK_MONOTONIC, native.address(event), native.address(timer));
    assert(created === 0, `timer_create: error ${-created}`);
    this.#timer = timer[0]!;
  }

  /** Sends the signal after that many nanoseconds; 0: never. Replaces an earlier time. */
  arm(ns: number): void {
    this.#setTimer(ns, 0);
  }

  /** Sends the signal again and again, after that many nanoseconds each; 0: no more. */
  every(ns: number): void {
    this.#setTimer(ns, ns);
  }

  #setTimer(ns: number, intervalNs: number): void {
    this.#time[0] = BigInt(Math.floor(intervalNs / NS_PER_S));
    this.#time[1] = BigInt(Math.floor(intervalNs % NS_PER_S));
    this.#time[2] = BigInt(Math.floor(ns / NS_PER_S));
    this.#time[3] = BigInt(Math.floor(ns % NS_PER_S));
    this.#native.syscall(SYS_TIMER_SETTIME, this.#timer, 0, this.#timeAddress, 0);
  }

  /** Forgets a signal that is pending. Whoever kicks sets what is to be seen before it sends: look after this. */
  drain(): void {
    this.#native.syscall(SYS_RT_SIGTIMEDWAIT, this.#setAddress, 0, this.#zeroAddress, SIGSET_BYTES);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#native.syscall(SYS_TIMER_DELETE, this.#timer);
    this.drain();
  }
}
