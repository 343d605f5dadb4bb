/** A network card. VIRTIO 1.2, 5.1. */
import { assert } from '../../../base/errors.ts';
import type { NetBackend } from '../../../machine/backends.ts';
import { bool, defineState } from '../../../machine/state.ts';
import type { StateOf } from '../../../machine/state.ts';
import type { Chain } from '../chain.ts';
import { featureSet } from '../virtio-device.ts';
import type { VirtioDevice, VirtioTransport } from '../virtio-device.ts';
import { completeChecksum } from './checksum.ts';

const F_CSUM = 0;
const F_GUEST_CSUM = 1;
const F_MTU = 3;
const F_MAC = 5;
const F_STATUS = 16;

const RECEIVE = 0;
const TRANSMIT = 1;
const QUEUE_SIZE = 256;

/** `struct virtio_net_hdr`. */
const HEADER_SIZE = 12;
const HDR_F_NEEDS_CSUM = 1;
const HDR_F_DATA_VALID = 2;
const HDR_FLAGS = 0;
const HDR_CSUM_START = 6;
const HDR_CSUM_OFFSET = 8;
const HDR_NUM_BUFFERS = 10;

const CONFIG_STATUS = 6;
const CONFIG_MTU = 10;
const STATUS_LINK_UP = 1;

const MIN_FRAME = 14;
/** Ethernet header with a VLAN tag. */
const LINK_HEADER = 18;

export const virtioNetState = defineState('virtio-net', 1, { linkUp: bool(true) });

export interface VirtioNetOptions {
  readonly mac: Uint8Array;
  /** Largest IP packet; 1500 when absent. */
  readonly mtu?: number;
}

/**
 * The guest need not sum what it sends, nor check what it gets: both cost it more than us. It keeps no frames: the
 * backend does, with a bound of its own, while the guest has no buffers.
 */
export class VirtioNet implements VirtioDevice<StateOf<typeof virtioNetState>> {
  readonly name = 'virtio-net';
  readonly deviceId = 1;
  readonly classCode = 0x020000;
  readonly features = featureSet(F_CSUM, F_GUEST_CSUM, F_MTU, F_MAC, F_STATUS);
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE];
  readonly config = new Uint8Array(12);
  readonly schema = virtioNetState;
  readonly state = virtioNetState.create();
  readonly #backend: NetBackend;
  readonly #maxFrame: number;
  readonly #header = new DataView(new ArrayBuffer(HEADER_SIZE));
  readonly #headerBytes = new Uint8Array(this.#header.buffer);
  #transport: VirtioTransport | undefined;
  #refused = false;

  constructor(backend: NetBackend, { mac, mtu = 1500 }: VirtioNetOptions) {
    assert(mac.length === 6 && mtu >= 68 && mtu <= 0xffff, 'a MAC address has 6 bytes, an MTU is from 68 to 65535');
    this.#backend = backend;
    this.#maxFrame = mtu + LINK_HEADER;
    this.config.set(mac);
    new DataView(this.config.buffer).setUint16(CONFIG_MTU, mtu, true);
    this.#showLink();
  }

  connect(transport: VirtioTransport): void {
    this.#transport = transport;
  }

  notify(queue: number): void {
    if (queue === TRANSMIT) this.#transmit();
    else if (this.#refused) {
      this.#refused = false;
      this.#backend.room?.();
    }
  }

  #transmit(): void {
    const queue = this.#transport!.queues[TRANSMIT]!;
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const frame = this.state.linkUp ? this.#frame(chain) : undefined;
      queue.push(chain, 0);
      if (frame) this.#backend.send(frame);
    }
    queue.signal();
  }

  /** The frame in a chain; undefined when it is none, which the cable loses. */
  #frame(chain: Chain): Uint8Array | undefined {
    const length = chain.readableBytes - HEADER_SIZE;
    if (length < MIN_FRAME || length > this.#maxFrame) return undefined;
    const frame = new Uint8Array(length);
    chain.read(0, this.#headerBytes);
    chain.read(HEADER_SIZE, frame);
    const header = this.#header;
    if ((header.getUint8(HDR_FLAGS) & HDR_F_NEEDS_CSUM) === 0) return frame;
    const [start, offset] = [header.getUint16(HDR_CSUM_START, true), header.getUint16(HDR_CSUM_OFFSET, true)];
    return completeChecksum(frame, start, offset) ? frame : undefined;
  }

  /**
   * A frame for the guest, as an input of the machine; its checksums are believed. Answers false when the guest has no buffer
   * for it now: try again when the backend's `room` is called. A frame that cannot be delivered at all is lost.
   */
  receive(frame: Uint8Array): boolean {
    const transport = this.#transport!;
    if (!this.state.linkUp || frame.length < MIN_FRAME || frame.length > this.#maxFrame) return true;
    const queue = transport.queues[RECEIVE]!;
    const chain = queue.pop();
    if (!chain) {
      this.#refused = true;
      return false;
    }
    this.#headerBytes.fill(0);
    if (transport.has(F_GUEST_CSUM)) this.#header.setUint8(HDR_FLAGS, HDR_F_DATA_VALID);
    this.#header.setUint16(HDR_NUM_BUFFERS, 1, true);
    const fits = chain.writableBytes >= HEADER_SIZE + frame.length;
    if (fits) {
      chain.write(0, this.#headerBytes);
      chain.write(HEADER_SIZE, frame);
    }
    queue.push(chain, fits ? HEADER_SIZE + frame.length : 0);
    queue.signal();
    return true;
  }

  /** Plugs the cable in or out, as an input of the machine. */
  setLink(up: boolean): void {
    if (this.state.linkUp === up) return;
    this.state.linkUp = up;
    this.#showLink();
    this.#transport!.configChanged();
  }

  #showLink(): void {
    new DataView(this.config.buffer).setUint16(CONFIG_STATUS, this.state.linkUp ? STATUS_LINK_UP : 0, true);
  }

  /** The cable is not the driver's: the link outlives its reset. */
  reset(): void {}

  sync(): void {
    this.#showLink();
  }
}
