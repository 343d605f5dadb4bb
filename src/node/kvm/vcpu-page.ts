/**
 * What a vCPU's thread shares with KVM and with other threads: `kvm_run`, mapped over the start of a WebAssembly memory.
 * Such a memory is page-aligned, can be posted to workers and serves Atomics, and the mapping lives as long as any
 * thread refers to it.
 */
import type { Disposable } from '../../base/disposable.ts';
import { VmError } from '../../base/errors.ts';
import type { Native } from './native.ts';
import { signalThread, type ThreadId } from './run-signal.ts';

const SYS_MMAP = 9;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const NO_FILE = 0xffff_ffff_ffff_ffffn;

const WASM_PAGE = 65536;
/** Non-zero: somebody wants the vCPU's thread to leave `run`. Above all that KVM maps. */
const REQUEST = 0xf000 / 4;

/** What another thread needs to call a vCPU out of `run`; can be posted to a worker. */
export interface Kick {
  readonly memory: WebAssembly.Memory;
  readonly thread: ThreadId;
}

/** Makes `run` of that vCPU return soon, or the next one at once when none is going on. Callable from any thread. */
export function kickVCpu(native: Native, { memory, thread }: Kick): void {
  Atomics.store(new Int32Array(memory.buffer), REQUEST, 1);
  signalThread(native, thread);
}

export class VCpuPage implements Disposable {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  readonly data = new DataView(this.memory.buffer);
  readonly bytes = new Uint8Array(this.memory.buffer);
  readonly #words = new Int32Array(this.memory.buffer);
  readonly #native: Native;
  readonly #size: number;

  /** @param size what KVM_GET_VCPU_MMAP_SIZE says */
  constructor(native: Native, fd: number, size: number) {
    if (size > REQUEST * 4) throw new VmError('unsupported', `KVM wants to share ${size} bytes with a vCPU (at most ${REQUEST * 4})`);
    this.#native = native;
    this.#size = size;
    this.#map(MAP_SHARED, fd);
  }

  #map(flags: number, fd: number | bigint): void {
    const address = this.#native.address(this.bytes);
    const mapped = this.#native.syscall(SYS_MMAP, address, Math.min(this.#size, WASM_PAGE), PROT_READ_WRITE, flags | MAP_FIXED, fd, 0);
    if (mapped < 0) throw new VmError('host-io', `cannot map a vCPU's shared page: error ${-mapped}`);
  }

  /** Whether somebody has asked since the last look. */
  takeRequest(): boolean {
    return Atomics.exchange(this.#words, REQUEST, 0) !== 0;
  }

  /** Lets go of KVM's page; what is there then is nobody's. */
  dispose(): void {
    this.#map(MAP_PRIVATE | MAP_ANONYMOUS, NO_FILE);
  }
}
