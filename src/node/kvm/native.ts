import type { Disposable } from '../../base/disposable.ts';

/**
 * What KVM needs of the operating system and Node does not have. Another way to call C (an addon, `node:ffi`) has to
 * provide this and nothing else. Nothing throws: results are the kernel's, a negative one is minus the error number.
 */
export interface Native {
  ioctl(fd: number, request: number, value: number): number;
  /** For requests that read or write a structure. The kernel has it by address: no copy. */
  ioctlData(fd: number, request: number, data: Uint8Array): number;
  /** A system call by number, <asm/unistd_64.h>; addresses come from `address`. */
  syscall(number: number, ...args: (number | bigint)[]): number;
  /** Where a view's bytes are. The caller keeps the view for as long as the address is used. */
  address(view: ArrayBufferView): bigint;
  /** Calls back from the event loop while the descriptor has something to read, until disposed of. Keeps no process alive. */
  watch(fd: number, callback: () => void): Disposable;
}
