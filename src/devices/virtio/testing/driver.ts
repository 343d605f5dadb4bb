import { Bus } from '../../../machine/bus.ts';
import type { Door } from '../../../machine/door.ts';
import { Memory } from '../../../machine/memory.ts';
import { RecordingLine, RecordingMsi } from '../../../machine/testing/recorders.ts';
import { assignBars } from '../../pci/assign-bars.ts';
import { PciBus } from '../../pci/pci-bus.ts';
import { VirtioPci } from '../pci-transport.ts';
import { DEVICE_PAGE, ISR_PAGE, NOTIFY_PAGE } from '../registers.ts';
import { F_VERSION_1, STATUS_ACKNOWLEDGE, STATUS_DRIVER, STATUS_DRIVER_OK, STATUS_FEATURES_OK, featureSet } from '../virtio-device.ts';
import type { VirtioDevice } from '../virtio-device.ts';

const RING_AREA = 0x10_0000;
const RING_STRIDE = 0x4000;
const BUFFER_AREA = 0x40_0000;
export const MEMORY_SIZE = 0x80_0000;

/** Inputs wait until the test lets them in, as the machine does between instructions. */
export class TestDoor implements Door {
  readonly waiting: (() => void)[] = [];
  #wake: (() => void) | undefined;

  post(input: () => void): void {
    this.waiting.push(input);
    this.#wake?.();
  }

  open(): void {
    for (const input of this.waiting.splice(0)) input();
  }

  /** Waits for at least one input, then runs all. */
  async serve(): Promise<void> {
    if (this.waiting.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#wake = undefined;
    this.open();
  }
}

export interface Used {
  readonly head: number;
  readonly length: number;
}

/** A part of a chain: bytes for the device, or room for the device's bytes. */
export type Part = Uint8Array | number;

/** The driver's end of one virtqueue. */
export class DriverQueue {
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  readonly #driver: TestDriver;
  readonly index: number;
  #nextDesc = 0;
  #nextAvail = 0;
  #nextUsed = 0;

  constructor(driver: TestDriver, index: number, size: number) {
    this.#driver = driver;
    this.index = index;
    this.size = size;
    this.desc = RING_AREA + index * RING_STRIDE;
    this.avail = this.desc + 16 * size;
    this.used = this.avail + 8 * size;
  }

  /** Writes one descriptor as it is. */
  describe(index: number, gpa: number, length: number, flags: number, next = 0): void {
    const { memory } = this.#driver;
    memory.write64(this.desc + 16 * index, gpa);
    memory.write32(this.desc + 16 * index + 8, length);
    memory.write16(this.desc + 16 * index + 12, flags);
    memory.write16(this.desc + 16 * index + 14, next);
  }

  /** Makes a chain available without telling the device. */
  offer(head: number): void {
    const { memory } = this.#driver;
    memory.write16(this.avail + 4 + 2 * (this.#nextAvail % this.size), head);
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
    memory.write16(this.avail + 2, this.#nextAvail);
  }

  /** Builds a chain from parts, offers it; answers its head and the addresses of the parts. */
  add(...parts: Part[]): { head: number; addresses: number[] } {
    const head = this.#nextDesc;
    const addresses = parts.map((part, i) => {
      const index = (head + i) % this.size;
      const length = typeof part === 'number' ? part : part.length;
      const gpa = this.#driver.allocate(length);
      if (typeof part !== 'number') this.#driver.memory.view(gpa, length)!.set(part);
      const more = i < parts.length - 1;
      this.describe(index, gpa, length, (more ? 1 : 0) | (typeof part === 'number' ? 2 : 0), (index + 1) % this.size);
      return gpa;
    });
    this.#nextDesc = (head + parts.length) % this.size;
    this.offer(head);
    return { head, addresses };
  }

  notify(): void {
    this.#driver.write(NOTIFY_PAGE + 4 * this.index, 2, this.index);
  }

  /** What the device gave back since the last call. */
  takeUsed(): Used[] {
    const { memory } = this.#driver;
    const result: Used[] = [];
    while (memory.read16(this.used + 2) !== this.#nextUsed) {
      const at = this.used + 4 + 8 * (this.#nextUsed % this.size);
      result.push({ head: memory.read32(at), length: memory.read32(at + 4) });
      this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    }
    return result;
  }
}

export interface DriverOptions {
  /** Features to accept besides VERSION_1; everything offered when absent. */
  readonly features?: bigint;
  readonly msix?: boolean;
}

/** A small guest driver: negotiates, sets queues up, and works through the registers as a guest does. */
export class TestDriver {
  readonly memory: Memory;
  readonly msi = new RecordingMsi();
  readonly line = new RecordingLine();
  readonly pci: PciBus;
  readonly mmio = new Bus('mmio');
  readonly transport: VirtioPci;
  queues: DriverQueue[] = [];
  #free = BUFFER_AREA;

  constructor(device: VirtioDevice, assigned = true, memory = new Memory(MEMORY_SIZE, 0)) {
    this.memory = memory;
    this.transport = new VirtioPci(device, { memory: this.memory, msi: this.msi });
    const quiet = [new RecordingLine(), new RecordingLine(), new RecordingLine()] as const;
    this.pci = new PciBus({ pio: new Bus('pio'), mmio: this.mmio, intx: [this.line, ...quiet] });
    this.pci.attach(4, this.transport.pci);
    if (assigned) this.assign();
  }

  /** What firmware does. */
  assign(): this {
    assignBars(this.pci, { mmio: { base: 0xd000_0000, size: 0x100_0000 }, io: { base: 0xc000, size: 0x1000 } });
    return this;
  }

  get base(): number {
    return this.transport.pci.bars[0]!.mapping!.base;
  }

  allocate(length: number): number {
    if (this.#free + length > MEMORY_SIZE) this.#free = BUFFER_AREA;
    const gpa = this.#free;
    this.#free += (length + 15) & ~15;
    return gpa;
  }

  read(offset: number, width: 1 | 2 | 4): number {
    return this.mmio.read(this.base + offset, width);
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    this.mmio.write(this.base + offset, width, value);
  }

  get status(): number {
    return this.read(20, 1);
  }

  set status(value: number) {
    this.write(20, 1, value);
  }

  get isr(): number {
    return this.read(ISR_PAGE, 1);
  }

  config(offset: number, width: 1 | 2 | 4): number {
    return this.read(DEVICE_PAGE + offset, width);
  }

  get offered(): bigint {
    let features = 0n;
    for (const select of [0, 1]) {
      this.write(0, 4, select);
      features |= BigInt(this.read(4, 4)) << BigInt(32 * select);
    }
    return features;
  }

  negotiate(features: bigint): void {
    this.status = 0;
    this.status = STATUS_ACKNOWLEDGE;
    this.status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    for (const select of [0, 1]) {
      this.write(8, 4, select);
      this.write(12, 4, Number((features >> BigInt(32 * select)) & 0xffff_ffffn));
    }
    this.status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;
  }

  /** Programs vector `n` to send `0x100 + n`, for the configuration (0) and each queue (1 and up). */
  enableMsix(): void {
    const { bars } = this.transport.pci;
    const table = bars[1]!.mapping!.base;
    for (let vector = 0; vector < this.transport.msix.vectors; vector++) {
      this.mmio.write(table + 16 * vector, 4, 0xfee0_0000);
      this.mmio.write(table + 16 * vector + 8, 4, 0x100 + vector);
      this.mmio.write(table + 16 * vector + 12, 4, 0);
    }
    this.pci.configWrite(4 << 3, 0x42, 2, 0x8000);
    this.write(16, 2, 0);
  }

  setUpQueue(index: number): DriverQueue {
    this.write(22, 2, index);
    const queue = new DriverQueue(this, index, this.read(24, 2));
    // A large queue goes beyond its stride: only the last one may be.
    this.memory.view(queue.desc, Math.max(RING_STRIDE, 33 * queue.size))!.fill(0);
    [queue.desc, queue.avail, queue.used].forEach((gpa, i) => {
      this.write(32 + 8 * i, 4, gpa);
      this.write(36 + 8 * i, 4, 0);
    });
    this.write(26, 2, index + 1);
    this.write(28, 2, 1);
    return queue;
  }

  /** The whole way to a running device. */
  start(options: DriverOptions = {}): this {
    this.negotiate((options.features ?? this.offered) | featureSet(F_VERSION_1));
    if (options.msix) this.enableMsix();
    this.queues = Array.from({ length: this.read(18, 2) }, (_, index) => this.setUpQueue(index));
    this.status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
    return this;
  }

  bytes(gpa: number, length: number): Uint8Array {
    return Uint8Array.from(this.memory.view(gpa, length)!);
  }
}
