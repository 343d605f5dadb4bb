/** /dev/kvm and the virtual machines that it makes. Documentation/virt/kvm/api.rst. */
import { closeSync, openSync } from 'node:fs';
import { VmError } from '../../base/errors.ts';
import type { Disposable } from '../../base/disposable.ts';
import { type Memory, PAGE_SIZE } from '../../machine/memory.ts';
import * as K from './abi.ts';
import type { Native } from './native.ts';

const DEVICE = '/dev/kvm';
/** Pages of its own that Intel's processors need in a guest's address space: below 4 GiB, where firmware would be. */
const IDENTITY_MAP = 0xfffb_c000;
const TSS = 0xfffb_d000;
const CLOCK_BYTES = 0x30;
const LOG_DIRTY_PAGES = 1;
/** Without these there is nothing to run on; all are older than Linux 5.0. */
const REQUIRED: Readonly<Record<string, number>> = {
  KVM_CAP_USER_MEMORY: K.KVM_CAP_USER_MEMORY,
  KVM_CAP_USER_NMI: K.KVM_CAP_USER_NMI,
  KVM_CAP_VCPU_EVENTS: K.KVM_CAP_VCPU_EVENTS,
  KVM_CAP_DEBUGREGS: K.KVM_CAP_DEBUGREGS,
  KVM_CAP_XSAVE: K.KVM_CAP_XSAVE,
  KVM_CAP_XCRS: K.KVM_CAP_XCRS,
  KVM_CAP_IMMEDIATE_EXIT: K.KVM_CAP_IMMEDIATE_EXIT,
  KVM_CAP_ADJUST_CLOCK: K.KVM_CAP_ADJUST_CLOCK,
};

/** The result of an ioctl. Throws `host-io` when it is an error. */
export function checked(result: number, what: string): number {
  if (result < 0) throw new VmError('host-io', `${DEVICE}: ${what} failed with error ${-result}`);
  return result;
}

export class KvmSystem implements Disposable {
  readonly native: Native;
  readonly fd: number;
  /** Bytes that a vCPU shares with its user. */
  readonly vcpuMapBytes: number;
  #open = true;

  /** Throws VmError `unsupported` when there is no KVM, or one that lacks something; errors of opening are its cause. */
  constructor(native: Native, path = DEVICE) {
    this.native = native;
    try {
      this.fd = openSync(path, 'r+');
    } catch (cause) {
      throw new VmError(
        'unsupported',
        `${path}: cannot be opened (${(cause as NodeJS.ErrnoException).code}); daybreak doctor says more`,
        cause,
      );
    }
    try {
      const version = native.ioctl(this.fd, K.KVM_GET_API_VERSION, 0);
      if (version !== K.KVM_API_VERSION) {
        throw new VmError('unsupported', `${path}: version ${version} of KVM's interface (supported: ${K.KVM_API_VERSION})`);
      }
      for (const [name, number] of Object.entries(REQUIRED)) {
        if (this.extension(number) <= 0) throw new VmError('unsupported', `${path}: this KVM lacks ${name}`);
      }
      this.vcpuMapBytes = checked(native.ioctl(this.fd, K.KVM_GET_VCPU_MMAP_SIZE, 0), 'KVM_GET_VCPU_MMAP_SIZE');
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  /** What KVM says of a KVM_CAP_; 0: does not have it. */
  extension(number: number): number {
    return this.native.ioctl(this.fd, K.KVM_CHECK_EXTENSION, number);
  }

  dispose(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }
}

/** A virtual machine over a machine's memory, which it keeps as long as it lives. */
export class KvmVm implements Disposable {
  readonly system: KvmSystem;
  readonly fd: number;
  readonly memory: Memory;
  #logsWrites = false;
  #open = true;

  constructor(system: KvmSystem, memory: Memory) {
    const { native } = system;
    this.system = system;
    this.memory = memory;
    this.fd = checked(native.ioctl(system.fd, K.KVM_CREATE_VM, 0), 'KVM_CREATE_VM');
    try {
      checked(native.ioctl(this.fd, K.KVM_SET_TSS_ADDR, TSS), 'KVM_SET_TSS_ADDR');
      const identity = new Uint8Array(new BigUint64Array([BigInt(IDENTITY_MAP)]).buffer);
      checked(native.ioctlData(this.fd, K.KVM_SET_IDENTITY_MAP_ADDR, identity), 'KVM_SET_IDENTITY_MAP_ADDR');
      // Also in the guest's kernel: what cannot be emulated comes here with its bytes.
      this.#enable(K.KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
      memory.ranges.forEach(({ base, size }, slot) => this.#mapRam(slot, base, size));
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  #mapRam(slot: number, base: number, size: number): void {
    const { native } = this.system;
    // struct kvm_userspace_memory_region
    const region = new DataView(new ArrayBuffer(32));
    region.setUint32(0, slot, true);
    region.setUint32(4, this.#logsWrites ? LOG_DIRTY_PAGES : 0, true);
    region.setBigUint64(8, BigInt(base), true);
    region.setBigUint64(16, BigInt(size), true);
    region.setBigUint64(24, native.address(this.memory.bytes) + BigInt(this.memory.hostOffset(base, size)), true);
    checked(native.ioctlData(this.fd, K.KVM_SET_USER_MEMORY_REGION, new Uint8Array(region.buffer)), 'KVM_SET_USER_MEMORY_REGION');
  }

  /** Turns a capability on, when KVM has it. */
  #enable(capability: number, argument: number): void {
    if (this.system.extension(capability) <= 0) return;
    // struct kvm_enable_cap
    const data = new DataView(new ArrayBuffer(0x68));
    data.setUint32(0, capability, true);
    data.setBigUint64(8, BigInt(argument), true);
    checked(this.system.native.ioctlData(this.fd, K.KVM_ENABLE_CAP, new Uint8Array(data.buffer)), `enabling capability ${capability}`);
  }

  /** What the guest's kvmclock shows, in nanoseconds: KVM's own counts from when the machine was made. */
  get clockNs(): number {
    const data = new DataView(new ArrayBuffer(CLOCK_BYTES));
    checked(this.system.native.ioctlData(this.fd, K.KVM_GET_CLOCK, new Uint8Array(data.buffer)), 'KVM_GET_CLOCK');
    return Number(data.getBigUint64(0, true));
  }

  set clockNs(ns: number) {
    // struct kvm_clock_data
    const data = new DataView(new ArrayBuffer(CLOCK_BYTES));
    data.setBigUint64(0, BigInt(Math.floor(ns)), true);
    checked(this.system.native.ioctlData(this.fd, K.KVM_SET_CLOCK, new Uint8Array(data.buffer)), 'KVM_SET_CLOCK');
  }

  /** Makes KVM remember which pages of RAM the guest writes from now on, or forget it. Costs the guest a fault for each page. */
  set logsWrites(on: boolean) {
    this.#logsWrites = on;
    this.memory.ranges.forEach(({ base, size }, slot) => this.#mapRam(slot, base, size));
  }

  /** Marks in `Memory.dirty` what the guest has written since the last time, or since `logsWrites` was set. */
  collectWrites(): void {
    if (!this.#logsWrites) return;
    const { native } = this.system;
    this.memory.ranges.forEach(({ base, size }, slot) => {
      const bits = new Uint32Array(2 * Math.ceil(size / PAGE_SIZE / 64));
      // struct kvm_dirty_log
      const log = new DataView(new ArrayBuffer(16));
      log.setUint32(0, slot, true);
      log.setBigUint64(8, native.address(bits), true);
      checked(native.ioctlData(this.fd, K.KVM_GET_DIRTY_LOG, new Uint8Array(log.buffer)), 'KVM_GET_DIRTY_LOG');
      const first = (this.memory.hostOffset(base, size) - this.memory.ramOffset) / PAGE_SIZE;
      bits.forEach((word, n) => {
        for (let rest = word; rest !== 0; rest &= rest - 1) this.memory.dirty[first + n * 32 + 31 - Math.clz32(rest & -rest)] = 1;
      });
    });
  }

  /** File descriptor of a new vCPU. */
  createVCpu(id: number): number {
    return checked(this.system.native.ioctl(this.fd, K.KVM_CREATE_VCPU, id), 'KVM_CREATE_VCPU');
  }

  dispose(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }
}
