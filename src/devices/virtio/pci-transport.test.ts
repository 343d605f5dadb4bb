import { beforeEach, describe, expect, test } from 'vitest';
import { deviceSuite } from '../../machine/testing/device-suite.ts';
import { restoreDevice, saveDevice } from '../../machine/device.ts';
import { DEVICE_PAGE, ISR_PAGE, NOTIFY_PAGE, REGISTER_BAR_SIZE } from './registers.ts';
import { MEMORY_SIZE, TestDriver } from './testing/driver.ts';
import { Memory } from '../../machine/memory.ts';
import { Echo } from './testing/echo.ts';
import {
  F_EVENT_IDX,
  F_INDIRECT_DESC,
  F_VERSION_1,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
  STATUS_NEEDS_RESET,
  featureSet,
} from './virtio-device.ts';

const BDF = 4 << 3;
const PLAIN = featureSet(F_VERSION_1);
const hello = new TextEncoder().encode('hello');
let echo: Echo;
let driver: TestDriver;

beforeEach(() => {
  echo = new Echo();
  driver = new TestDriver(echo);
});

describe('PCI face', () => {
  test('identifies a modern virtio device', () => {
    expect(driver.pci.configRead(BDF, 0, 4)).toBe(0x106a_1af4);
    expect(driver.pci.configRead(BDF, 8, 1)).toBe(1);
  });

  test('lists every structure in vendor capabilities', () => {
    const found = new Map<number, { bar: number; offset: number; length: number }>();
    for (let at = driver.pci.configRead(BDF, 0x34, 1); at !== 0; at = driver.pci.configRead(BDF, at + 1, 1)) {
      if (driver.pci.configRead(BDF, at, 1) !== 9) continue;
      const read = (offset: number): number => driver.pci.configRead(BDF, at + offset, 4);
      found.set(read(0) >>> 24, { bar: read(4) & 0xff, offset: read(8), length: read(12) });
      if (read(0) >>> 24 === 2) expect(read(16)).toBe(4);
    }
    expect([...found.keys()]).toEqual([1, 2, 3, 4, 5]);
    expect(found.get(1)).toEqual({ bar: 0, offset: 0, length: 56 });
    expect(found.get(2)).toEqual({ bar: 0, offset: NOTIFY_PAGE, length: 0x1000 });
    expect(found.get(3)).toEqual({ bar: 0, offset: ISR_PAGE, length: 1 });
    expect(found.get(4)).toEqual({ bar: 0, offset: DEVICE_PAGE, length: 5 });
  });

  test('reaches registers through the configuration window', () => {
    let window = driver.pci.configRead(BDF, 0x34, 1);
    while (driver.pci.configRead(BDF, window, 4) >>> 24 !== 5) window = driver.pci.configRead(BDF, window + 1, 1);
    driver.pci.configWrite(BDF, window + 4, 1, 0);
    driver.pci.configWrite(BDF, window + 8, 4, 20);
    driver.pci.configWrite(BDF, window + 12, 4, 1);
    driver.pci.configWrite(BDF, window + 16, 1, 3);
    expect(driver.status).toBe(3);
    driver.status = 0;
    expect(driver.pci.configRead(BDF, window + 16, 4) & 0xff).toBe(0);
    driver.pci.configWrite(BDF, window + 8, 4, 0xffff_fffc);
    driver.pci.configWrite(BDF, window + 12, 4, 4);
    expect(() => driver.pci.configRead(BDF, window + 16, 4)).not.toThrow();
  });

  test('device configuration is read in any width, zero past its end, and written within it', () => {
    expect(driver.config(0, 4)).toBe(0x0403_0201);
    expect(driver.config(4, 4)).toBe(5);
    driver.write(DEVICE_PAGE + 1, 1, 9);
    expect(driver.config(0, 2)).toBe(0x0901);
    driver.write(DEVICE_PAGE + 4, 2, 7);
    expect(driver.config(4, 1)).toBe(5);
  });
});

describe('negotiation', () => {
  test('offers version 1, event index and indirect descriptors beside the device features', () => {
    expect(driver.offered).toBe(1n | featureSet(F_VERSION_1, F_EVENT_IDX, F_INDIRECT_DESC));
  });

  test('refuses features that were not offered, and drivers without version 1', () => {
    driver.negotiate(PLAIN | 2n);
    expect(driver.status & STATUS_FEATURES_OK).toBe(0);
    driver.negotiate(1n);
    expect(driver.status & STATUS_FEATURES_OK).toBe(0);
    driver.negotiate(PLAIN);
    expect(driver.status & STATUS_FEATURES_OK).toBe(STATUS_FEATURES_OK);
  });

  test('features are fixed once accepted', () => {
    driver.negotiate(PLAIN);
    driver.write(8, 4, 0);
    driver.write(12, 4, 1);
    expect(driver.read(12, 4)).toBe(0);
  });

  test('a device is not running before its features are', () => {
    driver.status = STATUS_DRIVER_OK;
    expect(driver.status).toBe(0);
  });

  test('writing 0 to the status resets everything that the driver set', () => {
    driver.start();
    driver.queues[0]!.add(hello, 8);
    driver.queues[0]!.notify();
    expect(echo.state.requests).toBe(1);
    driver.status = 0;
    expect(echo.state.requests).toBe(0);
    driver.write(22, 2, 0);
    expect([driver.read(28, 2), driver.read(32, 4), driver.read(26, 2), driver.isr]).toEqual([0, 0, 0xffff, 0]);
    driver.start();
    driver.queues[0]!.add(hello, 8);
    driver.queues[0]!.notify();
    expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 5 }]);
  });
});

describe('queues', () => {
  test('answer a request', () => {
    driver.start({ features: PLAIN });
    const { addresses } = driver.queues[0]!.add(hello.subarray(0, 2), hello.subarray(2), 3, 100);
    driver.queues[0]!.notify();
    expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 5 }]);
    expect(driver.bytes(addresses[2]!, 3)).toEqual(hello.subarray(0, 3));
    expect(driver.bytes(addresses[3]!, 2)).toEqual(hello.subarray(3));
  });

  test('take what was offered before DRIVER_OK', () => {
    driver.negotiate(PLAIN);
    const queue = driver.setUpQueue(1);
    queue.add(hello, 8);
    queue.notify();
    expect(queue.takeUsed()).toEqual([]);
    driver.status = 15;
    expect(queue.takeUsed()).toHaveLength(1);
  });

  test('tell their size and accept a smaller power of two only', () => {
    driver.write(22, 2, 1);
    expect(driver.read(24, 2)).toBe(16);
    for (const size of [12, 32, 0]) driver.write(24, 2, size);
    expect(driver.read(24, 2)).toBe(16);
    driver.write(24, 2, 4);
    expect(driver.read(24, 2)).toBe(4);
    driver.write(22, 2, 2);
    expect(driver.read(24, 2)).toBe(0);
  });

  test('outside RAM or misaligned break the device, not the machine', () => {
    for (const [offset, value] of [
      [36, 1],
      [44, 0x8000],
      [52, 0xffff_ffff],
      [32, 8],
    ] as const) {
      driver.negotiate(PLAIN);
      driver.write(22, 2, 0);
      driver.write(offset, 4, value);
      driver.write(28, 2, 1);
      expect(driver.status & STATUS_NEEDS_RESET).toBe(STATUS_NEEDS_RESET);
    }
  });

  test('work for more requests than an index can count', () => {
    driver.start();
    const queue = driver.queues[0]!;
    for (let i = 0; i < 70_000; i++) {
      queue.add(hello, 8);
      queue.notify();
      if (queue.takeUsed().length !== 1) expect.fail(`request ${i} was not answered`);
    }
    expect(echo.state.requests).toBe(70_000);
  });
});

describe('interrupts', () => {
  test('without MSI-X set the ISR and the line, until the ISR is read', () => {
    driver.start({ features: PLAIN });
    driver.queues[0]!.add(hello, 8);
    driver.queues[0]!.notify();
    expect(driver.line.level).toBe(true);
    expect(driver.isr).toBe(1);
    expect(driver.line.level).toBe(false);
    echo.transport.configChanged();
    expect(driver.isr).toBe(2);
  });

  test('with MSI-X go to the vector of the queue or of the configuration', () => {
    driver.start({ features: PLAIN, msix: true });
    driver.queues[1]!.add(hello, 8);
    driver.queues[1]!.notify();
    echo.transport.configChanged();
    expect(driver.msi.sent.map(({ data }) => data)).toEqual([0x102, 0x100]);
    expect(driver.line.level).toBe(false);
    expect(driver.read(21, 1)).toBe(1);
  });

  test('a vector that does not exist reads back as none', () => {
    driver.write(16, 2, 3);
    expect(driver.read(16, 2)).toBe(0xffff);
    driver.write(16, 2, 2);
    expect(driver.read(16, 2)).toBe(2);
  });

  test('are suppressed by the flag in the available ring', () => {
    driver.start({ features: PLAIN });
    driver.memory.write16(driver.queues[0]!.avail, 1);
    driver.queues[0]!.add(hello, 8);
    driver.queues[0]!.notify();
    expect(driver.queues[0]!.takeUsed()).toHaveLength(1);
    expect(driver.line.level).toBe(false);
  });

  test('with the event index come when that index is passed, and notifications are asked for', () => {
    driver.start();
    const queue = driver.queues[0]!;
    driver.memory.write16(queue.avail + 4 + 2 * queue.size, 2);
    for (let i = 0; i < 3; i++) {
      expect(driver.isr).toBe(0);
      queue.add(hello, 8);
      queue.notify();
      expect(driver.memory.read16(queue.used + 4 + 8 * queue.size)).toBe(i + 1);
    }
    expect(driver.isr).toBe(1);
  });
});

describe('a saved state', () => {
  test('carries queues on in another machine', () => {
    driver.start({ features: PLAIN, msix: true });
    driver.queues[0]!.add(hello, 8);
    driver.queues[0]!.notify();
    const to = new TestDriver(new Echo());
    to.memory.bytes.set(driver.memory.bytes);
    restoreDevice(to.transport, saveDevice(driver.transport));
    const queue = driver.queues[0]!;
    const { head } = queue.add(hello, 8);
    to.memory.bytes.set(driver.memory.bytes);
    to.write(NOTIFY_PAGE, 2, 0);
    expect(to.memory.read16(queue.used + 2)).toBe(2);
    expect(to.memory.read32(queue.used + 4 + 8)).toBe(head);
    expect(to.msi.sent.map(({ data }) => data)).toEqual([0x101]);
  });

  test('drops answers to requests of an earlier life', () => {
    echo.hold = true;
    driver.start();
    driver.queues[0]!.add(hello, 8);
    driver.queues[0]!.notify();
    driver.start();
    echo.answer(0, echo.held[0]!);
    expect(driver.queues[0]!.takeUsed()).toEqual([]);
  });
});

const memory = new Memory(MEMORY_SIZE, 0);

deviceSuite('a virtio device on PCI', () => {
  const subject = new Echo();
  const guest = new TestDriver(subject, false, memory);
  return {
    device: guest.transport,
    disturb() {
      guest.assign().start({ features: PLAIN });
      guest.queues[0]!.add(hello, 8);
      guest.queues[0]!.notify();
    },
    faces: [
      { face: guest.transport, size: REGISTER_BAR_SIZE },
      { face: guest.transport, size: 64 },
      { face: guest.transport.msix, size: 0x1000 },
    ],
    lines: [guest.line],
  };
});
