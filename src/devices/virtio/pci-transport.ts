/** Virtio over PCI, without legacy support. VIRTIO 1.2, 4.1. */
import { silent } from '../../base/log.ts';
import type { Log } from '../../base/log.ts';
import type { BusDevice, Doorbells, Width } from '../../machine/bus.ts';
import type { Device } from '../../machine/device.ts';
import type { MsiSink } from '../../machine/irq.ts';
import type { GuestMemory } from '../../machine/memory.ts';
import { defineState, struct } from '../../machine/state.ts';
import type { Field, Schema } from '../../machine/state.ts';
import { MSIX_BAR_SIZE, Msix } from '../pci/msix.ts';
import type { MsixState } from '../pci/msix.ts';
import { PciFunction } from '../pci/pci-function.ts';
import { CommonConfig, commonField } from './common-config.ts';
import type { CommonConfigOwner, CommonState } from './common-config.ts';
import { installCapabilities } from './pci-capabilities.ts';
import { DEVICE_PAGE, ISR_PAGE, NOTIFY_PAGE, NOTIFY_STRIDE, REGISTER_BAR_SIZE } from './registers.ts';
import {
  F_EVENT_IDX,
  F_INDIRECT_DESC,
  F_VERSION_1,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
  STATUS_NEEDS_RESET,
  featureSet,
} from './virtio-device.ts';
import type { VirtioDevice, VirtioTransport } from './virtio-device.ts';
import { Virtqueue, queueField } from './virtqueue.ts';
import type { QueueHost, QueueState } from './virtqueue.ts';

const VENDOR = 0x1af4;
const MODERN_DEVICE_ID = 0x1040;

const ISR_QUEUE = 1;
const ISR_CONFIG = 2;
const TRANSPORT_FEATURES = featureSet(F_VERSION_1, F_EVENT_IDX, F_INDIRECT_DESC);

export interface VirtioPciState {
  config: Uint8Array;
  msix: MsixState;
  common: CommonState;
  queues: QueueState[];
  device: object;
}

export interface VirtioPciResources {
  readonly memory: GuestMemory;
  readonly msi: MsiSink;
  readonly log?: Log;
}

/** A virtio device in a PCI slot: attach `pci` to the bus, and treat this as the one device to save and reset. */
export class VirtioPci implements Device<VirtioPciState>, BusDevice, VirtioTransport, QueueHost, CommonConfigOwner {
  readonly pci: PciFunction;
  readonly schema: Schema<VirtioPciState>;
  readonly state: VirtioPciState;
  readonly device: VirtioDevice;
  readonly queues: readonly Virtqueue[];
  readonly msix: Msix;
  readonly features: bigint;
  readonly doorbells: Doorbells;
  running = false;
  readonly #common: CommonConfig;
  readonly #memory: GuestMemory;
  readonly #log: Log;

  constructor(device: VirtioDevice, resources: VirtioPciResources) {
    this.device = device;
    this.#memory = resources.memory;
    this.#log = resources.log ?? silent;
    this.features = device.features | TRANSPORT_FEATURES;
    // Which queue is in the place; the value repeats it.
    this.doorbells = { offset: NOTIFY_PAGE, stride: NOTIFY_STRIDE, count: device.queueSizes.length, width: 2 };
    this.queues = device.queueSizes.map((size, index) => new Virtqueue(index, size, resources.memory, this));
    this.msix = new Msix(device.queueSizes.length + 1, resources.msi);
    this.pci = new PciFunction(
      device.name,
      {
        vendorId: VENDOR,
        deviceId: MODERN_DEVICE_ID + device.deviceId,
        classCode: device.classCode,
        revision: 1,
        subsystemVendorId: VENDOR,
        subsystemId: MODERN_DEVICE_ID + device.deviceId,
        interruptPin: 1,
      },
      [
        { index: 0, kind: 'mem32', size: REGISTER_BAR_SIZE, device: this },
        { index: 1, kind: 'mem32', size: MSIX_BAR_SIZE, device: this.msix },
      ],
    );
    this.msix.install(this.pci, 1);
    installCapabilities(this.pci, this.msix, device.config.length);
    this.#common = new CommonConfig(this);
    this.schema = defineState(device.name, 1, {
      config: this.pci.config.field,
      msix: this.msix.field,
      common: commonField,
      queues: queuesField(device.queueSizes),
      device: { ...device.schema, load: (data: unknown) => device.schema.load(data) },
    });
    this.state = this.schema.create();
    device.connect(this);
    this.sync();
  }

  has(feature: number): boolean {
    return ((this.state.common.driverFeatures >> BigInt(feature)) & 1n) !== 0n;
  }

  isRam(gpa: number, length: number): boolean {
    return this.#memory.contains(gpa, length);
  }

  read(offset: number, width: Width): number {
    if (offset < ISR_PAGE) return this.#common.read(offset, width);
    if (offset < DEVICE_PAGE) return offset === ISR_PAGE ? this.#takeIsr() : 0;
    if (offset >= NOTIFY_PAGE) return 0;
    const { config } = this.device;
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = (value << 8) | (config[offset - DEVICE_PAGE + i] ?? 0);
    return value >>> 0;
  }

  write(offset: number, width: Width, value: number): void {
    if (offset >= NOTIFY_PAGE) this.notify((offset - NOTIFY_PAGE) / NOTIFY_STRIDE);
    else if (offset < ISR_PAGE) this.#common.write(offset, width, value);
    else if (offset >= DEVICE_PAGE && offset - DEVICE_PAGE + width <= this.device.config.length) {
      this.device.writeConfig?.(offset - DEVICE_PAGE, width, value);
    }
  }

  notify(index: number): void {
    if (this.running && this.queues[index]?.enabled) this.device.notify(index);
  }

  /** Reading the ISR status acknowledges the interrupt: 4.1.4.5. */
  #takeIsr(): number {
    const { common } = this.state;
    const { isr } = common;
    common.isr = 0;
    this.pci.setInterrupt(false);
    return isr;
  }

  #raise(vector: number, isrBit: number): void {
    if (this.msix.enabled) {
      this.msix.raise(vector);
      return;
    }
    this.state.common.isr |= isrBit;
    this.pci.setInterrupt(true);
  }

  interrupt(queue: number): void {
    this.#raise(this.queues[queue]!.state.vector, ISR_QUEUE);
  }

  configChanged(): void {
    const { common } = this.state;
    common.configGeneration = (common.configGeneration + 1) & 0xff;
    if (common.status & STATUS_DRIVER_OK) this.#raise(common.configVector, ISR_CONFIG);
  }

  fail(reason: string): void {
    const { common } = this.state;
    if (common.status & STATUS_NEEDS_RESET) return;
    this.#log('debug', this.device.name, `needs a reset: ${reason}`);
    common.status |= STATUS_NEEDS_RESET;
    this.#updateRunning();
    if (common.status & STATUS_DRIVER_OK) this.#raise(common.configVector, ISR_CONFIG);
  }

  /** The driver's write to the device status: 2.1, 3.1. Bits can be added one by one, or all cleared. */
  setStatus(value: number): void {
    const { common } = this.state;
    if (value === 0) {
      this.#resetByDriver();
      return;
    }
    const before = common.status;
    let next = before | (value & ~STATUS_NEEDS_RESET & 0xff);
    if (!this.#featuresFit()) next &= ~STATUS_FEATURES_OK | before;
    if (!(next & STATUS_FEATURES_OK)) next &= ~STATUS_DRIVER_OK;
    common.status = next;
    this.#updateRunning();
    if (!this.running || before & STATUS_DRIVER_OK) return;
    this.device.start?.();
    for (const queue of this.queues) this.notify(queue.index);
  }

  #featuresFit(): boolean {
    const { driverFeatures } = this.state.common;
    return (driverFeatures & ~this.features) === 0n && this.has(F_VERSION_1);
  }

  #updateRunning(): void {
    this.running = (this.state.common.status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET | STATUS_FAILED)) === STATUS_DRIVER_OK;
  }

  #resetByDriver(): void {
    Object.assign(this.state.common, commonField.create());
    this.state.queues = queuesField(this.device.queueSizes).create();
    this.#linkQueues();
    this.#updateRunning();
    this.pci.setInterrupt(false);
    this.device.reset();
  }

  /** Starts a queue with the addresses that the driver has set; a queue that cannot be breaks the device. */
  enableQueue(queue: Virtqueue): void {
    queue.state.enabled = true;
    if (!queue.link(queue.state, this.has(F_EVENT_IDX), this.has(F_INDIRECT_DESC))) {
      this.fail(`queue ${queue.index}: its size or addresses are not possible`);
    }
  }

  #linkQueues(): void {
    const [eventIdx, indirect] = [this.has(F_EVENT_IDX), this.has(F_INDIRECT_DESC)];
    this.queues.forEach((queue, i) => queue.link(this.state.queues[i]!, eventIdx, indirect));
  }

  sync(): void {
    const { state, device } = this;
    this.msix.state = state.msix;
    this.#linkQueues();
    this.#updateRunning();
    if (state.device !== device.state) state.device = Object.assign(device.state, state.device);
    device.sync();
    state.config = this.pci.sync(state.config);
    this.pci.setInterrupt(state.common.isr !== 0);
  }
}

/** One field for queues of different sizes. */
function queuesField(sizes: readonly number[]): Field<QueueState[]> {
  const record = struct(Object.fromEntries(sizes.map((size, i) => [String(i), queueField(size)])));
  const toArray = (values: Record<string, QueueState>): QueueState[] => sizes.map((_, i) => values[String(i)]!);
  return {
    describe: record.describe,
    create: () => toArray(record.create()),
    save: (queues) => record.save(Object.fromEntries(queues.map((queue, i) => [String(i), queue]))),
    load: (data, path) => toArray(record.load(data, path)),
  };
}
