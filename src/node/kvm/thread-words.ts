/**
 * What the main thread and a vCPU's thread say to each other: words of the memory that `kvm_run` lies in, above all that
 * KVM maps. One of the two owns the vCPU at any time; the other only kicks.
 */

/** Non-zero: somebody wants the vCPU's thread to leave KVM_RUN, or not to enter it. */
export const REQUEST = 0xf000 / 4;
/** A `MAIN` … `OVER`. */
export const OWNER = 0xf004 / 4;
/** What KVM_RUN gave back: 0, or minus the error number; or `NOT_ENTERED`. */
export const RESULT = 0xf008 / 4;
/** The kernel's number of the vCPU's thread; 0 until it is there. */
export const TID = 0xf00c / 4;

/** The thread was called out before it entered KVM_RUN: what KVM has to finish there is still to do. */
export const NOT_ENTERED = -0x1_0000;

/** The main thread has the vCPU: its exit is being served, or it stands still. */
export const MAIN = 0;
/** The vCPU's thread has it and enters KVM_RUN. */
export const THREAD = 1;
/** The thread shall end; it answers by `OVER`. */
export const END = 2;
export const OVER = 3;

/** Of the words that all vCPUs of a machine share: counts exits. */
export const BELL = 0;
/** Of the same: the main thread is in its event loop, and wants a message for the next exit. */
export const ASLEEP = 1;
/** Of the same: the main thread's number while it runs a vCPU itself, and wants to be called out for the next exit; else 0. */
export const HERE = 2;
export const SHARED_BYTES = 12;

/** What a vCPU's thread is given. */
export interface ThreadData {
  readonly fd: number;
  readonly pid: number;
  readonly memory: WebAssembly.Memory;
  readonly shared: Int32Array<SharedArrayBuffer>;
}
