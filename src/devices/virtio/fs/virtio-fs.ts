/**
 * A file system. VIRTIO 1.2, 5.11: a queue of high priority, where the guest's kernel forgets inodes, and one for requests.
 * Most requests are answered while the driver notifies, at an exact instruction; one that waits for the host is made again when
 * what it waits for has come through the door.
 */
import { VmError } from '../../../base/errors.ts';
import { silent } from '../../../base/log.ts';
import type { Log } from '../../../base/log.ts';
import type { FileSystemBackend, NotYet } from '../../../machine/backends.ts';
import type { Door } from '../../../machine/door.ts';
import { EIO } from '../../../machine/posix.ts';
import { array, defineState, list, u16 } from '../../../machine/state.ts';
import type { StateOf } from '../../../machine/state.ts';
import type { Chain } from '../chain.ts';
import type { VirtioDevice, VirtioTransport } from '../virtio-device.ts';
import { FuseServer } from './fuse-server.ts';

const HIPRIO_SIZE = 128;
const REQUEST_SIZE = 1024;
const TAG_BYTES = 36;

export const virtioFsState = defineState('virtio-fs', 1, {
  /** For each queue, heads of the requests that wait for the host: a restored machine makes them again. */
  inFlight: array(2, list(REQUEST_SIZE, u16())),
});

export interface VirtioFsOptions {
  /** By which the guest mounts it: 1 to 36 bytes. */
  readonly tag: string;
  /** The guest's wall clock, in nanoseconds since 1970. */
  readonly nowNs: () => number;
  readonly log?: Log;
}

export class VirtioFs implements VirtioDevice<StateOf<typeof virtioFsState>> {
  readonly name = 'virtio-fs';
  readonly deviceId = 26;
  readonly classCode = 0x018000;
  readonly features = 0n;
  readonly queueSizes = [HIPRIO_SIZE, REQUEST_SIZE];
  readonly config = new Uint8Array(TAG_BYTES + 4);
  readonly schema = virtioFsState;
  readonly state = virtioFsState.create();
  readonly #backend: FileSystemBackend;
  readonly #server: FuseServer;
  readonly #door: Door;
  readonly #log: Log;
  #transport: VirtioTransport | undefined;
  /** Requests of an earlier life are not made again. */
  #generation = 0;
  #waiting = 0;
  #idle: (() => void)[] = [];

  constructor(backend: FileSystemBackend, door: Door, options: VirtioFsOptions) {
    const tag = new TextEncoder().encode(options.tag);
    if (tag.length === 0 || tag.length > TAG_BYTES) {
      throw new VmError('usage', `a file system's tag has 1 to ${TAG_BYTES} bytes, but ${JSON.stringify(options.tag)} has ${tag.length}`);
    }
    this.config.set(tag);
    this.config[TAG_BYTES] = 1; // queues for requests
    this.#backend = backend;
    this.#server = new FuseServer(backend);
    this.#door = door;
    this.#log = options.log ?? silent;
    backend.connect(options.nowNs);
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
  }

  notify(index: number): void {
    const queue = this.#transport!.queues[index]!;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const heads = this.state.inFlight[index]!;
      if (heads.length >= queue.maximum) {
        this.#transport!.fail('more requests in flight than the queue has descriptors');
        return;
      }
      this.#serve(index, chain);
    }
    queue.signal();
  }

  #serve(index: number, chain: Chain): void {
    const result = this.#server.serve(chain);
    if (typeof result === 'number') this.#transport!.queues[index]!.push(chain, result);
    else this.#wait(index, chain, result);
  }

  #wait(index: number, chain: Chain, ready: NotYet): void {
    const heads = this.state.inFlight[index]!;
    const generation = this.#generation;
    heads.push(chain.head);
    this.#waiting++;
    const settle = (finish: () => void): void =>
      this.#door.post(() => {
        this.#waiting--;
        if (generation === this.#generation) {
          heads.splice(heads.indexOf(chain.head), 1);
          finish();
          this.#transport!.queues[index]!.signal();
        }
        if (this.#waiting === 0) for (const wake of this.#idle.splice(0)) wake();
      });
    ready.then(
      () => settle(() => this.#serve(index, chain)),
      (error: unknown) => {
        this.#log('warn', this.name, `a request failed: ${error instanceof Error ? error.message : String(error)}`);
        settle(() => this.#transport!.queues[index]!.push(chain, this.#server.fail(chain, EIO)));
      },
    );
  }

  /** The kernel that knew inodes is gone. */
  reset(): void {
    this.#generation++;
    this.state.inFlight = [[], []];
    this.#backend.forgetAll();
  }

  /** Makes the requests again that were in flight. */
  sync(): void {
    const pending = this.state.inFlight;
    if (pending.every((heads) => heads.length === 0)) return;
    this.#generation++;
    this.state.inFlight = [[], []];
    for (const [index, heads] of pending.entries()) {
      for (const head of heads) {
        const chain = this.#transport!.queues[index]!.reopen(head);
        if (chain) this.#serve(index, chain);
      }
      this.#transport!.queues[index]!.signal();
    }
  }

  quiesce(): Promise<void> {
    if (this.#waiting === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}
