/** One request of a driver: buffers that the device reads, then buffers that it writes. VIRTIO 1.2, 2.7.4.2. */
import type { GuestMemory } from '../../machine/memory.ts';

/** Made and checked by a `Virtqueue`, and used again after `push`: keep no reference to it then. */
export class Chain {
  /** Number of the first descriptor: what the driver knows the request by. */
  head = 0;
  /** Life of the queue that it belongs to; a reset begins a new one. */
  epoch = 0;
  readableBytes = 0;
  writableBytes = 0;
  readonly #memory: GuestMemory;
  readonly #views: Uint8Array[] = [];
  readonly #addresses: number[] = [];
  #readable = 0;
  #count = 0;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  clear(head: number, epoch: number): void {
    this.head = head;
    this.epoch = epoch;
    this.readableBytes = 0;
    this.writableBytes = 0;
    this.#readable = 0;
    this.#count = 0;
    this.#views.length = 0;
    this.#addresses.length = 0;
  }

  /** Appends a buffer; false when it is not RAM, or readable after a writable one. */
  add(gpa: number, length: number, writable: boolean): boolean {
    if (!writable && this.#readable < this.#count) return false;
    if (length === 0) return true;
    const view = this.#memory.view(gpa, length);
    if (!view) return false;
    this.#views.push(view);
    this.#addresses.push(gpa);
    this.#count++;
    if (writable) {
      this.writableBytes += length;
    } else {
      this.#readable++;
      this.readableBytes += length;
    }
    return true;
  }

  /** Copies from `offset` of the readable bytes into `target`; answers how many bytes there were. */
  read(offset: number, target: Uint8Array): number {
    let skip = offset;
    let done = 0;
    for (let i = 0; i < this.#readable && done < target.length; i++) {
      const view = this.#views[i]!;
      if (skip >= view.length) {
        skip -= view.length;
        continue;
      }
      const part = Math.min(view.length - skip, target.length - done);
      target.set(part === view.length ? view : view.subarray(skip, skip + part), done);
      done += part;
      skip = 0;
    }
    return done;
  }

  /** Copies `source` to `offset` of the writable bytes; answers how many bytes had room. */
  write(offset: number, source: Uint8Array): number {
    let skip = offset;
    let done = 0;
    for (let i = this.#readable; i < this.#count && done < source.length; i++) {
      const view = this.#views[i]!;
      if (skip >= view.length) {
        skip -= view.length;
        continue;
      }
      const part = Math.min(view.length - skip, source.length - done);
      view.set(part === source.length ? source : source.subarray(done, done + part), skip);
      this.#memory.written(this.#addresses[i]! + skip, part);
      done += part;
      skip = 0;
    }
    return done;
  }

  /** The buffers for the device's bytes themselves, for a device to which they are pages and not containers. */
  eachWritable(visit: (gpa: number, length: number) => void): void {
    for (let i = this.#readable; i < this.#count; i++) visit(this.#addresses[i]!, this.#views[i]!.length);
  }
}
