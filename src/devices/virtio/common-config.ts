/** The common configuration structure: VIRTIO 1.2, 4.1.4.3. Fields are accessed in their own width, 64-bit ones by halves. */
import type { Width } from '../../machine/bus.ts';
import { struct, u16, u32, u64, u8 } from '../../machine/state.ts';
import { STATUS_FEATURES_OK } from './virtio-device.ts';
import { NO_VECTOR } from './virtqueue.ts';
import type { Virtqueue } from './virtqueue.ts';

const DEVICE_FEATURE_SELECT = 0;
const DEVICE_FEATURE = 4;
const DRIVER_FEATURE_SELECT = 8;
const DRIVER_FEATURE = 12;
const CONFIG_MSIX_VECTOR = 16;
const NUM_QUEUES = 18;
const DEVICE_STATUS = 20;
const CONFIG_GENERATION = 21;
const QUEUE_SELECT = 22;
const QUEUE_SIZE = 24;
const QUEUE_MSIX_VECTOR = 26;
const QUEUE_ENABLE = 28;
const QUEUE_NOTIFY_OFF = 30;
const QUEUE_DESC = 32;
const QUEUE_DRIVER = 40;
const QUEUE_DEVICE = 48;
export const COMMON_CONFIG_SIZE = 56;

export interface CommonState {
  status: number;
  isr: number;
  configGeneration: number;
  configVector: number;
  deviceFeatureSelect: number;
  driverFeatureSelect: number;
  driverFeatures: bigint;
  queueSelect: number;
}

export const commonField = struct({
  status: u8(),
  isr: u8(),
  configGeneration: u8(),
  configVector: u16(NO_VECTOR),
  deviceFeatureSelect: u32(),
  driverFeatureSelect: u32(),
  driverFeatures: u64(),
  queueSelect: u16(),
});

/** The transport that the registers belong to. */
export interface CommonConfigOwner {
  readonly state: { readonly common: CommonState };
  /** Everything offered. */
  readonly features: bigint;
  readonly queues: readonly Virtqueue[];
  readonly msix: { readonly vectors: number };
  setStatus(value: number): void;
  enableQueue(queue: Virtqueue): void;
}

export class CommonConfig {
  readonly #transport: CommonConfigOwner;

  constructor(transport: CommonConfigOwner) {
    this.#transport = transport;
  }

  read(offset: number, width: Width): number {
    const value = offset >= QUEUE_SIZE ? this.#readQueue(offset) : this.#readDevice(offset);
    return width === 4 ? value : width === 2 ? value & 0xffff : value & 0xff;
  }

  #readDevice(offset: number): number {
    const { features, queues } = this.#transport;
    const { common } = this.#transport.state;
    switch (offset) {
      case DEVICE_FEATURE_SELECT:
        return common.deviceFeatureSelect;
      case DEVICE_FEATURE:
        return word(features, common.deviceFeatureSelect);
      case DRIVER_FEATURE_SELECT:
        return common.driverFeatureSelect;
      case DRIVER_FEATURE:
        return word(common.driverFeatures, common.driverFeatureSelect);
      case CONFIG_MSIX_VECTOR:
        return common.configVector;
      case NUM_QUEUES:
        return queues.length;
      case DEVICE_STATUS:
        return common.status;
      case CONFIG_GENERATION:
        return common.configGeneration;
      case QUEUE_SELECT:
        return common.queueSelect;
      default:
        return 0;
    }
  }

  /** A queue that does not exist reads as zeros: its size of 0 tells the driver. */
  #readQueue(offset: number): number {
    const queue = this.#transport.queues[this.#transport.state.common.queueSelect];
    if (!queue) return 0;
    const { state } = queue;
    switch (offset) {
      case QUEUE_SIZE:
        return state.size;
      case QUEUE_MSIX_VECTOR:
        return state.vector;
      case QUEUE_ENABLE:
        return state.enabled ? 1 : 0;
      case QUEUE_NOTIFY_OFF:
        return queue.index;
      case QUEUE_DESC:
        return state.descLow;
      case QUEUE_DESC + 4:
        return state.descHigh;
      case QUEUE_DRIVER:
        return state.driverLow;
      case QUEUE_DRIVER + 4:
        return state.driverHigh;
      case QUEUE_DEVICE:
        return state.deviceLow;
      case QUEUE_DEVICE + 4:
        return state.deviceHigh;
      default:
        return 0;
    }
  }

  write(offset: number, width: Width, value: number): void {
    if (offset >= QUEUE_SIZE) this.#writeQueue(offset, width, value);
    else this.#writeDevice(offset, width, value);
  }

  #writeDevice(offset: number, width: Width, value: number): void {
    const { common } = this.#transport.state;
    if (offset === DEVICE_STATUS && width === 1) this.#transport.setStatus(value);
    else if (offset === DEVICE_FEATURE_SELECT && width === 4) common.deviceFeatureSelect = value;
    else if (offset === DRIVER_FEATURE_SELECT && width === 4) common.driverFeatureSelect = value;
    else if (offset === DRIVER_FEATURE && width === 4) this.#setDriverFeatures(value);
    else if (offset === CONFIG_MSIX_VECTOR && width === 2) common.configVector = this.#vector(value);
    else if (offset === QUEUE_SELECT && width === 2) common.queueSelect = value;
  }

  #setDriverFeatures(value: number): void {
    const { common } = this.#transport.state;
    const select = common.driverFeatureSelect;
    if (common.status & STATUS_FEATURES_OK || select > 1) return;
    const shift = BigInt(32 * select);
    common.driverFeatures = (common.driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
  }

  #vector(value: number): number {
    return value < this.#transport.msix.vectors ? value : NO_VECTOR;
  }

  #writeQueue(offset: number, width: Width, value: number): void {
    const queue = this.#transport.queues[this.#transport.state.common.queueSelect];
    if (!queue) return;
    const { state } = queue;
    if (offset === QUEUE_MSIX_VECTOR && width === 2) state.vector = this.#vector(value);
    else if (state.enabled) return;
    else if (offset === QUEUE_ENABLE && width === 2 && value === 1) this.#transport.enableQueue(queue);
    else if (offset === QUEUE_SIZE && width === 2) {
      if (value > 0 && value <= queue.maximum && (value & (value - 1)) === 0) state.size = value;
    } else if (width === 4) {
      switch (offset) {
        case QUEUE_DESC:
          state.descLow = value;
          break;
        case QUEUE_DESC + 4:
          state.descHigh = value;
          break;
        case QUEUE_DRIVER:
          state.driverLow = value;
          break;
        case QUEUE_DRIVER + 4:
          state.driverHigh = value;
          break;
        case QUEUE_DEVICE:
          state.deviceLow = value;
          break;
        case QUEUE_DEVICE + 4:
          state.deviceHigh = value;
          break;
      }
    }
  }
}

const word = (features: bigint, select: number): number => (select > 1 ? 0 : Number((features >> BigInt(32 * select)) & 0xffff_ffffn));
