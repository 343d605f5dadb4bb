/** What is the same for every virtio device, whatever carries it. Virtual I/O Device (VIRTIO) 1.2, chapter 2. */
import type { Width } from '../../machine/bus.ts';
import type { Device } from '../../machine/device.ts';
import type { Virtqueue } from './virtqueue.ts';

/** Feature bits of the transport and the queues: chapter 6. */
export const F_INDIRECT_DESC = 28;
export const F_EVENT_IDX = 29;
export const F_VERSION_1 = 32;

/** Bits of the device status field: 2.1. */
export const STATUS_ACKNOWLEDGE = 1;
export const STATUS_DRIVER = 2;
export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;
export const STATUS_NEEDS_RESET = 64;
export const STATUS_FAILED = 128;

/** A set of feature bits from their numbers. */
export const featureSet = (...bits: number[]): bigint => bits.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);

/** What a device may ask of the transport that carries it. */
export interface VirtioTransport {
  readonly queues: readonly Virtqueue[];
  /** The driver runs and nothing is broken: queues may be used. */
  readonly running: boolean;
  /** Whether the driver accepted a feature bit. */
  has(feature: number): boolean;
  /** Whether a range that the driver named is all RAM. */
  isRam(gpa: number, length: number): boolean;
  /** Tells the driver that `config` changed. */
  configChanged(): void;
  /** Gives the device up until the driver resets it (DEVICE_NEEDS_RESET): for what no driver may do. */
  fail(reason: string): void;
}

/**
 * A virtio device without its transport. The transport saves and restores `state` as part of its own, so a board
 * lists the transport only. All of `state` is reset with the device, unless `reset` says otherwise.
 */
export interface VirtioDevice<S extends object = object> extends Device<S> {
  /** For logs and mappings, such as `virtio-blk`. */
  readonly name: string;
  /** Chapter 5. */
  readonly deviceId: number;
  /** PCI class code: 0xBBSSPP. */
  readonly classCode: number;
  /** Feature bits that the device offers, without the transport's and the queues'. */
  readonly features: bigint;
  /** Largest size of each virtqueue: powers of two. */
  readonly queueSizes: readonly number[];
  /** Device-specific configuration as the driver reads it now, little-endian. */
  readonly config: Uint8Array;
  writeConfig?(offset: number, width: Width, value: number): void;
  /** Called once, before anything else. */
  connect(transport: VirtioTransport): void;
  /** The driver is ready (DRIVER_OK), before any `notify`. */
  start?(): void;
  /** The driver made buffers available in a queue, while the transport is running. */
  notify(queue: number): void;
  /** The driver reset the device: forget requests in flight and go back to the state of power-on. */
  reset(): void;
  /**
   * Resolves once no request is in flight. Call it with the guest stopped and the door still served, before saving,
   * so that the disk and the saved state agree.
   */
  quiesce?(): Promise<void>;
}
