/**
 * A split virtqueue, seen from the device. VIRTIO 1.2, 2.7. Everything in it is the guest's and untrusted: a queue
 * that breaks the rules gives the device up until it is reset.
 *
 * The rings are 16-bit and 32-bit little-endian words; like WebAssembly itself on every host we run on, typed arrays are too.
 * Indices are read and published with atomics, because a vCPU may run on another thread of the host.
 */
import type { GuestMemory } from '../../machine/memory.ts';
import { bool, struct, u16, u32 } from '../../machine/state.ts';
import type { Field } from '../../machine/state.ts';
import { Chain } from './chain.ts';

const DESCRIPTOR_SIZE = 16;
const DESC_F_NEXT = 1;
const DESC_F_WRITE = 2;
const DESC_F_INDIRECT = 4;
const AVAIL_F_NO_INTERRUPT = 1;
const FOUR_GIB = 0x1_0000_0000;
/** Longest chain that is taken through an indirect table: Linux makes them as long as the device's limits allow. */
const MAX_INDIRECT_CHAIN = 1024;
export const NO_VECTOR = 0xffff;

export interface QueueState {
  size: number;
  enabled: boolean;
  vector: number;
  descLow: number;
  descHigh: number;
  driverLow: number;
  driverHigh: number;
  deviceLow: number;
  deviceHigh: number;
  /** Next entry of the available ring that the device takes. */
  nextAvail: number;
  /** Index of the used ring as published. */
  nextUsed: number;
  /** `nextUsed` when the driver was last told, or would have been. */
  signalled: number;
}

export const queueField = (maximum: number): Field<QueueState> =>
  struct({
    size: u16(maximum),
    enabled: bool(),
    vector: u16(NO_VECTOR),
    descLow: u32(),
    descHigh: u32(),
    driverLow: u32(),
    driverHigh: u32(),
    deviceLow: u32(),
    deviceHigh: u32(),
    nextAvail: u16(),
    nextUsed: u16(),
    signalled: u16(),
  });

/** What a queue asks of its transport. */
export interface QueueHost {
  /** DRIVER_OK, and nothing is broken. */
  readonly running: boolean;
  fail(reason: string): void;
  interrupt(queue: number): void;
}

interface Rings {
  readonly size: number;
  readonly desc: Uint32Array;
  readonly avail: Uint16Array;
  readonly used: Uint16Array;
  readonly usedElements: Uint32Array;
  readonly usedGpa: number;
}

export class Virtqueue {
  readonly index: number;
  readonly maximum: number;
  state: QueueState;
  #rings: Rings | undefined;
  #eventIdx = false;
  #indirect = false;
  #epoch = 0;
  readonly #free: Chain[] = [];
  readonly #memory: GuestMemory;
  readonly #host: QueueHost;

  constructor(index: number, maximum: number, memory: GuestMemory, host: QueueHost) {
    this.index = index;
    this.maximum = maximum;
    this.state = queueField(maximum).create();
    this.#memory = memory;
    this.#host = host;
  }

  get enabled(): boolean {
    return this.#rings !== undefined;
  }

  /** Takes over a state after a restore, a reset or enabling. False when the addresses or the size cannot be. */
  link(state: QueueState, eventIdx: boolean, indirect: boolean): boolean {
    this.state = state;
    this.#eventIdx = eventIdx;
    this.#indirect = indirect;
    this.#epoch++;
    this.#rings = state.enabled ? this.#findRings(eventIdx ? 2 : 0) : undefined;
    return !state.enabled || this.#rings !== undefined;
  }

  #findRings(eventBytes: number): Rings | undefined {
    const { size, descLow, descHigh, driverLow, driverHigh, deviceLow, deviceHigh } = this.state;
    if (size === 0 || size > this.maximum || (size & (size - 1)) !== 0) return undefined;
    if (descLow % 16 !== 0 || driverLow % 2 !== 0 || deviceLow % 4 !== 0) return undefined;
    const usedGpa = deviceHigh * FOUR_GIB + deviceLow;
    const desc = this.#memory.view(descHigh * FOUR_GIB + descLow, DESCRIPTOR_SIZE * size);
    const avail = this.#memory.view(driverHigh * FOUR_GIB + driverLow, 4 + 2 * size + eventBytes);
    const used = this.#memory.view(usedGpa, 4 + 8 * size + eventBytes);
    if (!desc || !avail || !used) return undefined;
    return {
      size,
      desc: new Uint32Array(desc.buffer, desc.byteOffset, 4 * size),
      avail: new Uint16Array(avail.buffer, avail.byteOffset, avail.length >> 1),
      used: new Uint16Array(used.buffer, used.byteOffset, used.length >> 1),
      usedElements: new Uint32Array(used.buffer, used.byteOffset + 4, 2 * size),
      usedGpa,
    };
  }

  /** The next request, or undefined when there is none, or none that can be trusted. Give it back with `push`. */
  pop(): Chain | undefined {
    const rings = this.#rings;
    if (!rings || !this.#host.running) return undefined;
    const { state } = this;
    const { size, avail } = rings;
    let published = Atomics.load(avail, 1);
    if (published === state.nextAvail) {
      if (!this.#eventIdx || !this.#askForNotification(rings)) return undefined;
      published = Atomics.load(avail, 1);
      if (published === state.nextAvail) return undefined;
    }
    if (((published - state.nextAvail) & 0xffff) > size) {
      return this.#fail(`available index ${published} is more than ${size} ahead of ${state.nextAvail}`);
    }
    const head = avail[2 + (state.nextAvail & (size - 1))]!;
    state.nextAvail = (state.nextAvail + 1) & 0xffff;
    return this.#open(rings, head);
  }

  /** Wants a notification for the next buffer (2.7.10); false when it was wanted already. */
  #askForNotification({ size, used, usedGpa }: Rings): boolean {
    const at = 2 + 4 * size;
    if (used[at] === this.state.nextAvail) return false;
    Atomics.store(used, at, this.state.nextAvail);
    this.#memory.written(usedGpa + 2 * at, 2);
    return true;
  }

  /** A request taken before a save, again after the restore. */
  reopen(head: number): Chain | undefined {
    return this.#rings && this.#host.running ? this.#open(this.#rings, head) : undefined;
  }

  #open({ desc, size }: Rings, head: number): Chain | undefined {
    const chain = this.#free.pop() ?? new Chain(this.#memory);
    chain.clear(head, this.#epoch);
    let table = desc;
    let entries = size;
    let index = head;
    let left = size;
    let inIndirect = false;
    for (;;) {
      if (index >= entries) return this.#fail(`descriptor ${index} of a table of ${entries}`);
      if (left-- === 0) return this.#fail(`a chain from descriptor ${head} that is too long or a loop`);
      const at = 4 * index;
      const gpa = table[at]! + table[at + 1]! * FOUR_GIB;
      const length = table[at + 2]!;
      const word = table[at + 3]!;
      if (word & DESC_F_INDIRECT) {
        const indirect = !inIndirect && this.#indirect && !(word & DESC_F_NEXT) ? this.#indirectTable(gpa, length) : undefined;
        if (!indirect) return this.#fail(`a bad indirect descriptor at 0x${gpa.toString(16)}, ${length} bytes`);
        table = indirect;
        entries = length / DESCRIPTOR_SIZE;
        index = 0;
        left = MAX_INDIRECT_CHAIN;
        inIndirect = true;
        continue;
      }
      if (!chain.add(gpa, length, (word & DESC_F_WRITE) !== 0)) {
        return this.#fail(`a buffer at 0x${gpa.toString(16)} of ${length} bytes is not RAM or out of order`);
      }
      if (!(word & DESC_F_NEXT)) break;
      index = word >>> 16;
    }
    if (chain.readableBytes + chain.writableBytes >= FOUR_GIB) return this.#fail('a chain of more than 4 GiB');
    return chain;
  }

  #indirectTable(gpa: number, length: number): Uint32Array | undefined {
    if (length === 0 || length % DESCRIPTOR_SIZE !== 0 || length > DESCRIPTOR_SIZE * 0x1_0000) return undefined;
    const view = this.#memory.view(gpa, length);
    if (!view) return undefined;
    const aligned = view.byteOffset % 4 === 0 ? view : Uint8Array.from(view);
    return new Uint32Array(aligned.buffer, aligned.byteOffset, length >> 2);
  }

  /** Gives a request back with the number of bytes written into it. One of an earlier life of the queue is dropped. */
  push(chain: Chain, written: number): void {
    const rings = this.#rings;
    if (!rings || chain.epoch !== this.#epoch) return;
    const { state } = this;
    const slot = state.nextUsed & (rings.size - 1);
    rings.usedElements[2 * slot] = chain.head;
    rings.usedElements[2 * slot + 1] = written;
    state.nextUsed = (state.nextUsed + 1) & 0xffff;
    Atomics.store(rings.used, 1, state.nextUsed);
    this.#memory.written(rings.usedGpa + 4 + 8 * slot, 8);
    this.#memory.written(rings.usedGpa + 2, 2);
    this.#free.push(chain);
  }

  /** Interrupts the driver for what was pushed since the last call, if it wants that. Once after a batch. */
  signal(): void {
    const rings = this.#rings;
    const { nextUsed, signalled } = this.state;
    if (!rings || nextUsed === signalled) return;
    this.state.signalled = nextUsed;
    const wanted = this.#eventIdx
      ? ((nextUsed - Atomics.load(rings.avail, 2 + rings.size) - 1) & 0xffff) < ((nextUsed - signalled) & 0xffff)
      : (Atomics.load(rings.avail, 0) & AVAIL_F_NO_INTERRUPT) === 0;
    if (wanted) this.#host.interrupt(this.index);
  }

  #fail(reason: string): undefined {
    this.#host.fail(`queue ${this.index}: ${reason}`);
    return undefined;
  }
}
