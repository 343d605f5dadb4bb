/** A disk. VIRTIO 1.2, 5.2. */
import { silent } from '../../../base/log.ts';
import type { Log } from '../../../base/log.ts';
import type { BlockBackend } from '../../../machine/backends.ts';
import type { Door } from '../../../machine/door.ts';
import { defineState, list, u16 } from '../../../machine/state.ts';
import type { StateOf } from '../../../machine/state.ts';
import type { Chain } from '../chain.ts';
import { featureSet } from '../virtio-device.ts';
import type { VirtioDevice, VirtioTransport } from '../virtio-device.ts';
import type { Virtqueue } from '../virtqueue.ts';
import { BufferPool } from './buffer-pool.ts';
import {
  F_BLK_SIZE,
  F_DISCARD,
  F_FLUSH,
  F_RO,
  F_SEG_MAX,
  F_TOPOLOGY,
  F_WRITE_ZEROES,
  HEADER_SIZE,
  ID_SIZE,
  MAX_DISCARD_SECTORS,
  MAX_RANGES,
  MAX_ZERO_SECTORS,
  RANGE_SIZE,
  RANGE_UNMAP,
  SECTOR,
  S_IOERR,
  S_OK,
  S_UNSUPP,
  T_DISCARD,
  T_FLUSH,
  T_GET_ID,
  T_IN,
  T_OUT,
  T_WRITE_ZEROES,
  blockConfig,
} from './protocol.ts';

const QUEUE_SIZE = 256;
/** More than Linux asks for at once; a request beyond it fails. */
const MAX_REQUEST_BYTES = 32 * 2 ** 20;
/** New requests wait while this much of the host's memory is used by those in flight. */
const MAX_BYTES_IN_FLIGHT = 16 * 2 ** 20;
const ZEROS = 256 * 1024;

export const virtioBlkState = defineState('virtio-blk', 1, {
  /** Heads of the requests that are with the backend: a restored machine asks for them again. */
  inFlight: list(QUEUE_SIZE, u16()),
});

export interface VirtioBlkOptions {
  /** At most 20 ASCII characters; the guest finds it under /dev/disk/by-id. */
  readonly serial?: string;
  readonly log?: Log;
}

interface Request {
  readonly chain: Chain;
  readonly generation: number;
  /** Read data on its way to the guest, or written data on its way to the disk. */
  readonly data: Uint8Array | undefined;
  readonly isRead: boolean;
}

export class VirtioBlk implements VirtioDevice<StateOf<typeof virtioBlkState>> {
  readonly name = 'virtio-blk';
  readonly deviceId = 2;
  readonly classCode = 0x018000;
  readonly queueSizes = [QUEUE_SIZE];
  readonly features: bigint;
  readonly config: Uint8Array;
  readonly schema = virtioBlkState;
  readonly state = virtioBlkState.create();
  readonly #backend: BlockBackend;
  readonly #door: Door;
  readonly #log: Log;
  readonly #id = new Uint8Array(ID_SIZE);
  readonly #header = new DataView(new ArrayBuffer(HEADER_SIZE));
  readonly #headerBytes = new Uint8Array(this.#header.buffer);
  readonly #status = new Uint8Array(1);
  readonly #buffers = new BufferPool();
  #transport: VirtioTransport | undefined;
  #queue: Virtqueue | undefined;
  /** Requests with the backend that the guest still waits for, and those that a reset made it forget. */
  #active = 0;
  #orphans = 0;
  #bytesInFlight = 0;
  #generation = 0;
  #idle: (() => void)[] = [];

  constructor(backend: BlockBackend, door: Door, options: VirtioBlkOptions = {}) {
    this.#backend = backend;
    this.#door = door;
    this.#log = options.log ?? silent;
    const always = featureSet(F_SEG_MAX, F_BLK_SIZE, F_FLUSH, F_TOPOLOGY);
    this.features = always | (backend.readOnly ? featureSet(F_RO) : featureSet(F_DISCARD, F_WRITE_ZEROES));
    this.config = blockConfig({ sectors: backend.sectors, maxSegments: QUEUE_SIZE - 2 });
    [...(options.serial ?? 'daybreak')].slice(0, ID_SIZE).forEach((char, i) => (this.#id[i] = char.charCodeAt(0)));
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
    this.#queue = transport.queues[0]!;
  }

  notify(_queue: number): void {
    this.#pump();
  }

  /** Starts what the driver made available. After a reset, only once the forgotten requests no longer touch the disk. */
  #pump(): void {
    const queue = this.#queue!;
    const { inFlight } = this.state;
    while (this.#orphans === 0 && this.#bytesInFlight < MAX_BYTES_IN_FLIGHT) {
      const chain = queue.pop();
      if (!chain) break;
      if (inFlight.length >= QUEUE_SIZE) {
        this.#transport!.fail('more requests in flight than the queue has descriptors');
        break;
      }
      inFlight.push(chain.head);
      this.#begin(chain);
    }
    queue.signal();
  }

  #begin(chain: Chain): void {
    if (chain.read(0, this.#headerBytes) < HEADER_SIZE || chain.writableBytes === 0) {
      this.#transport!.fail('a request without a whole header or a status byte');
      return;
    }
    const type = this.#header.getUint32(0, true);
    const sector = this.#header.getUint32(8, true) + this.#header.getUint32(12, true) * 0x1_0000_0000;
    const backend = this.#backend;
    switch (type) {
      case T_IN:
        return this.#transfer(chain, sector, chain.writableBytes - 1, true);
      case T_OUT:
        return this.#transfer(chain, sector, chain.readableBytes - HEADER_SIZE, false);
      case T_FLUSH:
        return this.#await({ chain, generation: this.#generation, data: undefined, isRead: false }, () => backend.flush());
      case T_DISCARD:
      case T_WRITE_ZEROES:
        return this.#ranges(chain, type);
      case T_GET_ID:
        if (chain.writableBytes > ID_SIZE) chain.write(0, this.#id);
        return this.#complete(chain, chain.writableBytes > ID_SIZE ? S_OK : S_IOERR, ID_SIZE);
      default:
        return this.#complete(chain, S_UNSUPP, 0);
    }
  }

  #transfer(chain: Chain, sector: number, length: number, isRead: boolean): void {
    const fits = length % SECTOR === 0 && length <= MAX_REQUEST_BYTES && sector + length / SECTOR <= this.#backend.sectors;
    if (!fits || (!isRead && this.#backend.readOnly)) return this.#complete(chain, S_IOERR, 0);
    const data = this.#buffers.take(length);
    if (!isRead) chain.read(HEADER_SIZE, data);
    const request: Request = { chain, generation: this.#generation, data, isRead };
    this.#bytesInFlight += length;
    return this.#await(request, isRead ? () => this.#backend.read(sector, data) : () => this.#write(sector, data));
  }

  /** Without FLUSH a driver believes that what is written is on the disk. */
  async #write(sector: number, data: Uint8Array): Promise<void> {
    await this.#backend.write(sector, data);
    if (!this.#transport!.has(F_FLUSH)) await this.#backend.flush();
  }

  #ranges(chain: Chain, type: number): void {
    const length = chain.readableBytes - HEADER_SIZE;
    if (this.#backend.readOnly || length % RANGE_SIZE !== 0 || length > RANGE_SIZE * MAX_RANGES) {
      return this.#complete(chain, S_IOERR, 0);
    }
    const view = new DataView(new ArrayBuffer(length));
    chain.read(HEADER_SIZE, new Uint8Array(view.buffer));
    const maximum = type === T_DISCARD ? MAX_DISCARD_SECTORS : MAX_ZERO_SECTORS;
    const ranges: { sector: number; count: number; unmap: boolean }[] = [];
    for (let at = 0; at < length; at += RANGE_SIZE) {
      const sector = view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
      const count = view.getUint32(at + 8, true);
      const flags = view.getUint32(at + 12, true);
      if (flags & ~(type === T_WRITE_ZEROES ? RANGE_UNMAP : 0)) return this.#complete(chain, S_UNSUPP, 0);
      if (count > maximum || sector + count > this.#backend.sectors) return this.#complete(chain, S_IOERR, 0);
      ranges.push({ sector, count, unmap: flags !== 0 });
    }
    const request: Request = { chain, generation: this.#generation, data: undefined, isRead: false };
    return this.#await(request, async () => {
      for (const { sector, count } of ranges) {
        if (type === T_DISCARD) await this.#backend.discard(sector, count);
        else await this.#writeZeros(sector, count);
      }
    });
  }

  async #writeZeros(sector: number, count: number): Promise<void> {
    const zeros = new Uint8Array(Math.min(ZEROS, count * SECTOR));
    for (let done = 0; done < count; done += zeros.length / SECTOR) {
      await this.#write(sector + done, zeros.subarray(0, Math.min(zeros.length, (count - done) * SECTOR)));
    }
  }

  #await(request: Request, operation: () => Promise<void>): void {
    this.#active++;
    const settle = (status: number): void => this.#door.post(() => this.#settle(request, status));
    operation().then(
      () => settle(S_OK),
      (error: unknown) => {
        this.#log('warn', this.name, `a request failed: ${error instanceof Error ? error.message : String(error)}`);
        settle(S_IOERR);
      },
    );
  }

  #settle(request: Request, status: number): void {
    const { chain, data, isRead } = request;
    if (request.generation !== this.#generation) {
      if (--this.#orphans === 0) this.#resume();
    } else {
      this.#active--;
      this.#bytesInFlight -= data?.length ?? 0;
      if (isRead && data && status === S_OK) chain.write(0, data);
      this.#complete(chain, status, isRead ? (data?.length ?? 0) : 0);
      this.#pump();
    }
    if (data) this.#buffers.give(data);
    if (this.#active + this.#orphans > 0) return;
    for (const wake of this.#idle.splice(0)) wake();
  }

  /** Writes the status byte, the last writable one, and gives the request back. */
  #complete(chain: Chain, status: number, written: number): void {
    const { inFlight } = this.state;
    const index = inFlight.indexOf(chain.head);
    if (index >= 0) inFlight.splice(index, 1);
    this.#status[0] = status;
    chain.write(chain.writableBytes - 1, this.#status);
    this.#queue!.push(chain, status === S_OK ? written + 1 : 1);
  }

  #forget(): void {
    this.#generation++;
    this.#orphans += this.#active;
    this.#active = 0;
    this.#bytesInFlight = 0;
  }

  #resume(): void {
    for (const head of this.state.inFlight.slice()) {
      const chain = this.#queue!.reopen(head);
      if (chain) this.#begin(chain);
    }
    if (this.#transport!.running) this.#pump();
  }

  reset(): void {
    this.#forget();
    this.state.inFlight = [];
  }

  /** Asks the backend again for the requests in flight, once what it still does for an earlier life is done. */
  sync(): void {
    this.#forget();
    if (this.#orphans === 0 && this.state.inFlight.length > 0) this.#resume();
  }

  quiesce(): Promise<void> {
    if (this.#active + this.#orphans === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}
