import { beforeEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../../machine/testing/random.ts';
import { REGISTER_BAR_SIZE } from './registers.ts';
import { TestDriver } from './testing/driver.ts';
import type { DriverQueue } from './testing/driver.ts';
import { Echo } from './testing/echo.ts';
import { F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, STATUS_NEEDS_RESET, featureSet } from './virtio-device.ts';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
let echo: Echo;
let driver: TestDriver;
let queue: DriverQueue;

beforeEach(() => {
  echo = new Echo();
  driver = new TestDriver(echo).start({ features: featureSet(F_VERSION_1, F_INDIRECT_DESC) });
  queue = driver.queues[0]!;
});

const broken = (): boolean => (driver.status & STATUS_NEEDS_RESET) !== 0;

/** Offers a chain that starts at descriptor 0 and tells the device. */
function send(): void {
  queue.offer(0);
  queue.notify();
}

describe('a broken queue needs a reset', () => {
  test('after a chain that is a loop', () => {
    queue.describe(0, 0x40_0000, 16, NEXT, 1);
    queue.describe(1, 0x40_0000, 16, NEXT, 0);
    send();
    expect(broken()).toBe(true);
    expect(echo.state.requests).toBe(0);
  });

  test('after a head or a next descriptor outside the table', () => {
    queue.offer(8);
    queue.notify();
    expect(broken()).toBe(true);
    driver.start();
    driver.queues[0]!.describe(0, 0x40_0000, 16, NEXT, 0xffff);
    driver.queues[0]!.offer(0);
    driver.queues[0]!.notify();
    expect(broken()).toBe(true);
  });

  test('after a buffer that is not RAM, wholly or at its end', () => {
    for (const [gpa, length] of [
      [0x1_0000_0000, 16],
      [0x7f_fff8, 16],
      [2 ** 53, 16],
      [0x40_0000, 0xffff_ffff],
    ] as const) {
      driver.start();
      driver.queues[0]!.describe(0, gpa, length, 0);
      driver.queues[0]!.offer(0);
      driver.queues[0]!.notify();
      expect(broken(), `0x${gpa.toString(16)}`).toBe(true);
    }
  });

  test('after a readable buffer behind a writable one', () => {
    queue.describe(0, 0x40_0000, 16, NEXT | WRITE, 1);
    queue.describe(1, 0x40_0000, 16, 0);
    send();
    expect(broken()).toBe(true);
  });

  test('after more available requests than the queue has room for', () => {
    driver.memory.write16(queue.avail + 2, 9);
    queue.notify();
    expect(broken()).toBe(true);
  });

  test('and tells the driver with a configuration interrupt, then does nothing', () => {
    queue.offer(8);
    queue.notify();
    expect(driver.isr & 2).toBe(2);
    driver.queues[1]!.add(1);
    driver.queues[1]!.notify();
    expect(driver.queues[1]!.takeUsed()).toEqual([]);
    driver.status = 0;
    expect(driver.status).toBe(0);
  });
});

/** Three buffers, described in an indirect table at `table`. */
function build(table: number): void {
  const { memory } = driver;
  memory.view(0x40_1000, 4)!.set([1, 2, 3, 4]);
  const rows = [
    [0x40_1000, 2, NEXT, 2],
    [0x40_2000, 4, WRITE, 0],
    [0x40_1002, 2, NEXT, 1],
  ] as const;
  rows.forEach(([gpa, length, flags, next], i) => {
    memory.write64(table + 16 * i, gpa);
    memory.write32(table + 16 * i + 8, length);
    memory.write16(table + 16 * i + 12, flags);
    memory.write16(table + 16 * i + 14, next);
  });
}

describe('an indirect table', () => {
  test('holds a chain, aligned or not', () => {
    for (const table of [0x40_0000, 0x40_0001]) {
      build(table);
      queue.describe(0, table, 48, INDIRECT);
      send();
      expect(queue.takeUsed()).toEqual([{ head: 0, length: 4 }]);
      expect([...driver.bytes(0x40_2000, 4)]).toEqual([1, 2, 3, 4]);
    }
  });

  test('may follow direct descriptors', () => {
    build(0x40_0000);
    queue.describe(0, 0x40_1000, 1, NEXT, 5);
    queue.describe(5, 0x40_0000, 48, INDIRECT);
    send();
    expect([...driver.bytes(0x40_2000, 4)]).toEqual([1, 1, 2, 3]);
  });

  test('may not be empty, odd, nested, followed, outside RAM or a loop', () => {
    const cases: (() => void)[] = [
      () => queue.describe(0, 0x40_0000, 0, INDIRECT),
      () => queue.describe(0, 0x40_0000, 47, INDIRECT),
      () => queue.describe(0, 0x40_0000, 0xffff_fff0, INDIRECT),
      () => queue.describe(0, 0x8000_0000, 48, INDIRECT),
      () => queue.describe(0, 0x40_0000, 48, INDIRECT | NEXT, 1),
      () => {
        driver.memory.write16(0x40_0000 + 12, INDIRECT);
        queue.describe(0, 0x40_0000, 48, INDIRECT);
      },
      () => {
        driver.memory.write16(0x40_0000 + 14, 0);
        queue.describe(0, 0x40_0000, 48, INDIRECT);
      },
    ];
    for (const [i, prepare] of cases.entries()) {
      driver.start({ features: featureSet(F_VERSION_1, F_INDIRECT_DESC) });
      queue = driver.queues[0]!;
      build(0x40_0000);
      prepare();
      send();
      expect(broken(), `case ${i}`).toBe(true);
    }
  });

  test('is refused when it was not negotiated', () => {
    driver.start({ features: featureSet(F_VERSION_1) });
    queue = driver.queues[0]!;
    build(0x40_0000);
    queue.describe(0, 0x40_0000, 48, INDIRECT);
    send();
    expect(broken()).toBe(true);
  });
});

test('empty buffers are skipped', () => {
  queue.add(new Uint8Array(0), Uint8Array.of(7), 0, 1);
  queue.notify();
  expect(queue.takeUsed()).toEqual([{ head: 0, length: 1 }]);
  expect(broken()).toBe(false);
});

test('what the device wrote is told to the memory, for its dirty log', () => {
  driver.memory.dirty.fill(0);
  const { addresses } = queue.add(Uint8Array.of(7), 1);
  driver.memory.dirty.fill(0);
  queue.notify();
  expect(driver.memory.dirty[addresses[1]! >> 12]).toBe(1);
  expect(driver.memory.dirty[queue.used >> 12]).toBe(1);
});

test('random descriptors and register traffic never break more than the device', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seededRandom(seed);
    driver.start({ features: featureSet(F_VERSION_1, F_INDIRECT_DESC, F_EVENT_IDX) });
    queue = driver.queues[random(2)]!;
    for (let i = 0; i < 50; i++) {
      const gpa = [0x40_0000 + random(0x1000), queue.desc, random(2 ** 32), 0x7f_fff0][random(4)]!;
      queue.describe(random(queue.size), gpa, [random(256), random(65536), random(2 ** 32)][random(3)]!, random(8), random(queue.size + 1));
      driver.memory.write16(queue.avail + 2 * random(queue.size + 3), [random(queue.size), random(65536)][random(2)]!);
      queue.offer(random(queue.size));
      queue.notify();
      if (random(20) === 0) driver.transport.write(random(REGISTER_BAR_SIZE), ([1, 2, 4] as const)[random(3)]!, random(256));
      if (broken() && random(2)) driver.start();
    }
  }
  driver.start();
  driver.queues[0]!.add(Uint8Array.of(7), 1);
  driver.queues[0]!.notify();
  expect(driver.queues[0]!.takeUsed()).toHaveLength(1);
});
