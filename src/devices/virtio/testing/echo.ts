import { defineState, u32 } from '../../../machine/state.ts';
import type { Chain } from '../chain.ts';
import type { VirtioDevice, VirtioTransport } from '../virtio-device.ts';

const schema = defineState('echo', 1, { requests: u32() });

/** Copies what it is given back, at once, or when told to. */
export class Echo implements VirtioDevice<{ requests: number }> {
  readonly name = 'echo';
  readonly deviceId = 42;
  readonly classCode = 0xff0000;
  readonly features = 1n;
  readonly queueSizes = [8, 16];
  readonly config = new Uint8Array([1, 2, 3, 4, 5]);
  readonly schema = schema;
  readonly state = schema.create();
  readonly held: Chain[] = [];
  transport!: VirtioTransport;
  hold = false;

  connect(transport: VirtioTransport): void {
    this.transport = transport;
  }

  writeConfig(offset: number, _width: number, value: number): void {
    this.config[offset] = value;
  }

  notify(index: number): void {
    const queue = this.transport.queues[index]!;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      this.state.requests++;
      if (this.hold) this.held.push(chain);
      else this.answer(index, chain);
    }
    queue.signal();
  }

  answer(index: number, chain: Chain): void {
    const data = new Uint8Array(chain.readableBytes);
    chain.read(0, data);
    this.transport.queues[index]!.push(chain, chain.write(0, data));
  }

  reset(): void {
    this.state.requests = 0;
  }

  sync(): void {}
}
