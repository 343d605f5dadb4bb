import { beforeEach, expect, test } from 'vitest';
import { Memory } from '../../../machine/memory.ts';
import { deviceSuite } from '../../../machine/testing/device-suite.ts';
import { seededRandom } from '../../../machine/testing/random.ts';
import { MEMORY_SIZE, TestDriver } from '../testing/driver.ts';
import { F_VERSION_1, STATUS_NEEDS_RESET, featureSet } from '../virtio-device.ts';
import { completeChecksum } from './checksum.ts';
import { VirtioNet } from './virtio-net.ts';

const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
const plainHeader = new Uint8Array(12);
let sent: Uint8Array[];
let rooms: number;
let device: VirtioNet;
let driver: TestDriver;

const makeDevice = (): VirtioNet => new VirtioNet({ send: (frame) => sent.push(frame), room: () => rooms++ }, { mac: MAC });

beforeEach(() => {
  sent = [];
  rooms = 0;
  device = makeDevice();
  driver = new TestDriver(device).start();
});

/** A header that asks for the checksum from `start` on, stored at `start + offset`. */
const headerFor = (start: number, offset: number): Uint8Array => Uint8Array.of(1, 0, 0, 0, 0, 0, start, 0, offset, 0, 0, 0);
const frameOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 3);

test('tells address, link and MTU', () => {
  expect([0, 1, 2, 3, 4, 5].map((i) => driver.config(i, 1))).toEqual([...MAC]);
  expect(driver.config(6, 2)).toBe(1);
  expect(driver.config(10, 2)).toBe(1500);
});

test('sends the frame behind the header, wherever the buffers are cut', () => {
  const frame = frameOf(600);
  driver.queues[1]!.add(plainHeader, frame);
  driver.queues[1]!.add(Uint8Array.of(...plainHeader, ...frame.subarray(0, 5)), frame.subarray(5, 100), frame.subarray(100));
  driver.queues[1]!.notify();
  expect(sent).toEqual([frame, frame]);
  expect(driver.queues[1]!.takeUsed()).toHaveLength(2);
});

test('loses what is no frame', () => {
  for (const length of [0, 13, 1519, 60_000]) driver.queues[1]!.add(plainHeader, frameOf(length));
  driver.queues[1]!.add(new Uint8Array(5));
  driver.queues[1]!.notify();
  expect(sent).toEqual([]);
  expect(driver.queues[1]!.takeUsed()).toHaveLength(5);
});

test('completes a checksum for the guest, and loses a frame that names none of its bytes', () => {
  const frame = new Uint8Array(41);
  frame.set([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 20); // the example of RFC 1071
  driver.queues[1]!.add(headerFor(20, 16), frame);
  driver.queues[1]!.add(headerFor(40, 0), frame);
  driver.queues[1]!.notify();
  expect(sent).toHaveLength(1);
  expect([sent[0]![36], sent[0]![37]]).toEqual([0x22, 0x0d]);
});

test('a checksum of an odd length counts a zero byte after it, and is never stored as 0', () => {
  const odd = Uint8Array.of(0, 0, 0x12);
  expect(completeChecksum(odd, 0, 0)).toBe(true);
  expect([...odd]).toEqual([0xed, 0xff, 0x12]);
  const ones = Uint8Array.of(0, 0, 0xff, 0xff);
  completeChecksum(ones, 0, 0);
  expect([...ones]).toEqual([0xff, 0xff, 0xff, 0xff]);
});

test('receives into one buffer, with checksums marked as good when the driver wants that', () => {
  const { addresses } = driver.queues[0]!.add(12, 1514);
  expect(device.receive(frameOf(100))).toBe(true);
  expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 112 }]);
  expect([...driver.bytes(addresses[0]!, 12)]).toEqual([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
  expect(driver.bytes(addresses[1]!, 100)).toEqual(frameOf(100));
  driver.start({ features: featureSet(F_VERSION_1) });
  const plain = driver.queues[0]!.add(1526);
  device.receive(frameOf(100));
  expect(driver.bytes(plain.addresses[0]!, 1)[0]).toBe(0);
});

test('refuses a frame while there is no buffer, and tells when there is one', () => {
  expect(device.receive(frameOf(100))).toBe(false);
  driver.queues[0]!.add(1526);
  driver.queues[0]!.notify();
  expect(rooms).toBe(1);
  expect(device.receive(frameOf(100))).toBe(true);
});

test('a buffer too small comes back empty', () => {
  driver.queues[0]!.add(50);
  expect(device.receive(frameOf(100))).toBe(true);
  expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 0 }]);
});

test('an unplugged cable carries nothing, and its driver is told', () => {
  device.setLink(false);
  expect(driver.isr).toBe(2);
  expect(driver.config(6, 2)).toBe(0);
  driver.queues[0]!.add(1526);
  driver.queues[1]!.add(plainHeader, frameOf(100));
  driver.queues[1]!.notify();
  device.receive(frameOf(100));
  expect(sent).toEqual([]);
  expect(driver.queues[0]!.takeUsed()).toEqual([]);
});

test('random traffic keeps it working', () => {
  const random = seededRandom(5);
  for (let i = 0; i < 2000; i++) {
    const header = Uint8Array.from({ length: random(14) }, () => random(256));
    driver.queues[1]!.add(header, frameOf(random(2000)));
    driver.queues[0]!.add(random(2000));
    driver.queues[random(2)]!.notify();
    device.receive(frameOf(random(1600)));
    if (driver.status & STATUS_NEEDS_RESET) driver.start();
  }
  driver.start();
  sent = [];
  driver.queues[1]!.add(plainHeader, frameOf(60));
  driver.queues[1]!.notify();
  expect(sent).toEqual([frameOf(60)]);
});

const memory = new Memory(MEMORY_SIZE, 0);

deviceSuite('virtio-net', () => {
  const card = makeDevice();
  const guest = new TestDriver(card, false, memory);
  return {
    device: guest.transport,
    disturb() {
      guest.assign().start();
      card.setLink(false);
    },
    faces: [{ face: guest.transport, size: 0x4000 }],
    lines: [guest.line],
  };
});
