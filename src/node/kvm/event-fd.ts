/**
 * Signals between a guest and devices that pass the vCPU by: an `eventfd` that KVM raises when the guest writes to a
 * place (ioeventfd: a doorbell), and one that raises an interrupt when anybody writes to it (irqfd).
 */
import { closeSync, readSync, writeSync } from 'node:fs';
import type { Disposable } from '../../base/disposable.ts';
import * as K from './abi.ts';
import type { Native } from './native.ts';
import { checked, type KvmVm } from './system.ts';

const SYS_EVENTFD2 = 290;
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const COUNT_BYTES = 8;

const IOEVENTFD_DATAMATCH = 1;
const IOEVENTFD_DEASSIGN = 4;
const IRQFD_DEASSIGN = 1;

/** A counter in the kernel. Its file descriptor is the process's: any thread may write to it. */
export class EventFd implements Disposable {
  readonly fd: number;
  readonly #count = new BigUint64Array([1n]);
  readonly #read = new Uint8Array(COUNT_BYTES);
  #open = true;

  constructor(native: Native) {
    this.fd = checked(native.syscall(SYS_EVENTFD2, 0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd');
  }

  signal(): void {
    writeSync(this.fd, this.#count);
  }

  /** How often it was signalled since the last look, and forgets it. */
  take(): number {
    try {
      readSync(this.fd, this.#read, 0, COUNT_BYTES, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
      throw error;
    }
    return Number(new DataView(this.#read.buffer).getBigUint64(0, true));
  }

  dispose(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }
}

/** A place where a guest's write of `width` bytes signals an `EventFd`, and does not come to the bus. */
export interface Doorbell {
  readonly address: number;
  readonly width: 1 | 2 | 4 | 8;
  /** Only this value; absent: any. */
  readonly value?: number;
}

/** The guest rings: `event` is signalled. Disposing of the result ends that. */
export function onDoorbell(vm: KvmVm, event: EventFd, { address, width, value }: Doorbell): Disposable {
  const set = (flags: number): void => {
    // struct kvm_ioeventfd
    const data = new DataView(new ArrayBuffer(64));
    data.setBigUint64(0, BigInt(value ?? 0), true);
    data.setBigUint64(8, BigInt(address), true);
    data.setUint32(16, width, true);
    data.setInt32(20, event.fd, true);
    data.setUint32(24, flags | (value === undefined ? 0 : IOEVENTFD_DATAMATCH), true);
    checked(vm.system.native.ioctlData(vm.fd, K.KVM_IOEVENTFD, new Uint8Array(data.buffer)), 'KVM_IOEVENTFD');
  };
  set(0);
  return { dispose: () => set(IOEVENTFD_DEASSIGN) };
}

/** Signalling `event` raises a GSI, as an edge. Disposing of the result ends that. */
export function raisesInterrupt(vm: KvmVm, event: EventFd, gsi: number): Disposable {
  const set = (flags: number): void => {
    // struct kvm_irqfd
    const data = new Uint32Array(8);
    data.set([event.fd, gsi, flags]);
    checked(vm.system.native.ioctlData(vm.fd, K.KVM_IRQFD, new Uint8Array(data.buffer)), 'KVM_IRQFD');
  };
  set(0);
  return { dispose: () => set(IRQFD_DEASSIGN) };
}
