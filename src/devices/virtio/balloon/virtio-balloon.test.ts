import { beforeEach, expect, test } from 'vitest';
import { Memory } from '../../../machine/memory.ts';
import { deviceSuite } from '../../../machine/testing/device-suite.ts';
import { MEMORY_SIZE, TestDriver } from '../testing/driver.ts';
import { VirtioBalloon } from './virtio-balloon.ts';

let released: [number, number][];
let device: VirtioBalloon;
let driver: TestDriver;

const makeDevice = (): VirtioBalloon => new VirtioBalloon({ release: (gpa, length) => released.push([gpa, length]) });

beforeEach(() => {
  released = [];
  device = makeDevice();
  driver = new TestDriver(device).start();
});

test('releases the pages that the driver lists, and passes over what is not RAM', () => {
  const list = new Uint8Array(Uint32Array.of(0x500, 0x501, 0xffff_ffff, 0x800).buffer);
  driver.queues[0]!.add(list.subarray(0, 6), list.subarray(6));
  driver.queues[0]!.notify();
  expect(released).toEqual([
    [0x50_0000, 4096],
    [0x50_1000, 4096],
  ]);
  expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 0 }]);
});

test('releases reported ranges, in whole pages only', () => {
  const queue = driver.queues[4]!;
  queue.describe(0, 0x50_0000, 0x2_0000, 3, 1);
  queue.describe(1, 0x60_0800, 0x1800, 3, 2);
  queue.describe(2, 0x70_0800, 0x400, 2);
  queue.offer(0);
  queue.notify();
  expect(released).toEqual([
    [0x50_0000, 0x2_0000],
    [0x60_1000, 0x1000],
  ]);
});

test('keeps the buffer for statistics, and gives deflated pages without ado', () => {
  driver.queues[2]!.add(new Uint8Array(100));
  driver.queues[2]!.notify();
  driver.queues[1]!.add(new Uint8Array(4));
  driver.queues[1]!.notify();
  expect(driver.queues[2]!.takeUsed()).toEqual([]);
  expect(driver.queues[1]!.takeUsed()).toHaveLength(1);
  expect(released).toEqual([]);
});

test('asks for memory in pages, and shows what the driver says it gave', () => {
  device.setTarget(2 ** 20);
  expect(driver.isr).toBe(2);
  expect(driver.config(0, 4)).toBe(256);
  driver.write(0x2004, 4, 100);
  expect(driver.config(4, 4)).toBe(100);
  expect(device.state.actual).toBe(100);
});

const memory = new Memory(MEMORY_SIZE, 0);

deviceSuite('virtio-balloon', () => {
  const balloon = makeDevice();
  const guest = new TestDriver(balloon, false, memory);
  return {
    device: guest.transport,
    disturb() {
      guest.assign().start();
      balloon.setTarget(2 ** 20);
    },
    faces: [{ face: guest.transport, size: 0x4000 }],
    lines: [guest.line],
  };
});
