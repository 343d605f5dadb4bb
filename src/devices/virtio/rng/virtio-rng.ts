/** A source of entropy. VIRTIO 1.2, 5.4. */
import type { EntropyBackend } from '../../../machine/backends.ts';
import { defineState } from '../../../machine/state.ts';
import type { StateOf } from '../../../machine/state.ts';
import type { VirtioDevice, VirtioTransport } from '../virtio-device.ts';
import type { Virtqueue } from '../virtqueue.ts';

const QUEUE_SIZE = 8;
/** A request is answered with at most this much, so that a guest cannot make the host generate gigabytes. */
const MAX_BYTES = 4096;

export const virtioRngState = defineState('virtio-rng', 1, {});

/** The backend is asked while the driver notifies: at an exact instruction, so it needs no way through the door. */
export class VirtioRng implements VirtioDevice<StateOf<typeof virtioRngState>> {
  readonly name = 'virtio-rng';
  readonly deviceId = 4;
  readonly classCode = 0xff0000;
  readonly features = 0n;
  readonly queueSizes = [QUEUE_SIZE];
  readonly config = new Uint8Array(0);
  readonly schema = virtioRngState;
  readonly state = virtioRngState.create();
  readonly #entropy: EntropyBackend;
  readonly #bytes = new Uint8Array(MAX_BYTES);
  #queue: Virtqueue | undefined;

  constructor(entropy: EntropyBackend) {
    this.#entropy = entropy;
  }

  connect(transport: VirtioTransport): void {
    this.#queue = transport.queues[0]!;
  }

  notify(_queue: number): void {
    const queue = this.#queue!;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const bytes = this.#bytes.subarray(0, Math.min(MAX_BYTES, chain.writableBytes));
      this.#entropy.fill(bytes);
      queue.push(chain, chain.write(0, bytes));
    }
    this.#bytes.fill(0);
    queue.signal();
  }

  reset(): void {}

  sync(): void {}
}
