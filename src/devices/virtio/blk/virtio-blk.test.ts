import { beforeEach, describe, expect, test } from 'vitest';
import { VmError } from '../../../base/errors.ts';
import type { BlockBackend } from '../../../machine/backends.ts';
import { restoreDevice, saveDevice } from '../../../machine/device.ts';
import { deviceSuite } from '../../../machine/testing/device-suite.ts';
import { seededRandom } from '../../../machine/testing/random.ts';
import { MEMORY_SIZE, TestDoor, TestDriver } from '../testing/driver.ts';
import { Memory } from '../../../machine/memory.ts';
import type { DriverQueue, Part } from '../testing/driver.ts';
import { F_VERSION_1, STATUS_NEEDS_RESET, featureSet } from '../virtio-device.ts';
import {
  F_DISCARD,
  F_FLUSH,
  F_RO,
  S_IOERR,
  S_OK,
  S_UNSUPP,
  T_DISCARD,
  T_FLUSH,
  T_GET_ID,
  T_IN,
  T_OUT,
  T_WRITE_ZEROES,
} from './protocol.ts';
import { VirtioBlk } from './virtio-blk.ts';

const SECTORS = 64;

/** A disk whose operations can be held back, or made to fail. */
class TestDisk implements BlockBackend {
  readonly sectors = SECTORS;
  readonly readOnly: boolean;
  readonly bytes = new Uint8Array(SECTORS * 512);
  readonly log: string[] = [];
  failing = false;
  /** When set, operations wait here. */
  gate: Promise<void> | undefined;

  constructor(readOnly = false) {
    this.readOnly = readOnly;
    this.bytes.forEach((_, i) => (this.bytes[i] = i >> 9));
  }

  async #act(what: string, action: () => void): Promise<void> {
    this.log.push(what);
    await this.gate;
    if (this.failing) throw new VmError('host-io', 'disk.img: cannot be read');
    action();
  }

  read(sector: number, into: Uint8Array): Promise<void> {
    return this.#act(`read ${sector} ${into.length}`, () => into.set(this.bytes.subarray(sector * 512, sector * 512 + into.length)));
  }

  write(sector: number, data: Uint8Array): Promise<void> {
    return this.#act(`write ${sector} ${data.length}`, () => this.bytes.set(data, sector * 512));
  }

  flush(): Promise<void> {
    return this.#act('flush', () => {});
  }

  discard(sector: number, count: number): Promise<void> {
    return this.#act(`discard ${sector} ${count}`, () => this.bytes.fill(0, sector * 512, (sector + count) * 512));
  }
}

function header(type: number, sector = 0): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return new Uint8Array(view.buffer);
}

function range(sector: number, count: number, flags = 0): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setBigUint64(0, BigInt(sector), true);
  view.setUint32(8, count, true);
  view.setUint32(12, flags, true);
  return new Uint8Array(view.buffer);
}

let disk: TestDisk;
let door: TestDoor;
let driver: TestDriver;
let queue: DriverQueue;

function bench(readOnly = false, features?: bigint): void {
  disk = new TestDisk(readOnly);
  door = new TestDoor();
  driver = new TestDriver(new VirtioBlk(disk, door, { serial: 'disk0' })).start(features === undefined ? {} : { features });
  queue = driver.queues[0]!;
}

beforeEach(() => bench());

interface Answer {
  readonly status: number;
  readonly data: Uint8Array;
  readonly length: number;
}

/** Sends one request and waits for its answer; the last part is where data comes back. */
async function request(...parts: Part[]): Promise<Answer> {
  const { addresses } = queue.add(...parts, 1);
  queue.notify();
  for (let turn = 0; turn < 20; turn++) {
    const [used] = queue.takeUsed();
    if (used) {
      const last = parts.at(-1);
      const data = driver.bytes(addresses.at(-2)!, typeof last === 'number' ? last : 0);
      return { status: driver.bytes(addresses.at(-1)!, 1)[0]!, data, length: used.length };
    }
    await door.serve();
  }
  return expect.fail('the request was not answered');
}

test('tells capacity, block size, segments and topology', () => {
  expect(driver.config(0, 4)).toBe(SECTORS);
  expect(driver.config(12, 4)).toBe(254);
  expect(driver.config(20, 4)).toBe(512);
  expect(driver.config(24, 1)).toBe(3);
});

test('reads sectors into scattered buffers', async () => {
  const answer = await request(header(T_IN, 3), 100, 924);
  expect(answer.status).toBe(S_OK);
  expect(answer.length).toBe(1025);
  expect(answer.data[411]).toBe(3);
  expect(answer.data[412]).toBe(4);
});

test('writes sectors, and flushes when asked', async () => {
  expect((await request(header(T_OUT, 7), new Uint8Array(500).fill(0xaa), new Uint8Array(12).fill(0xbb))).status).toBe(S_OK);
  expect(disk.bytes[7 * 512 + 499]).toBe(0xaa);
  expect(disk.bytes[7 * 512 + 511]).toBe(0xbb);
  expect(disk.log).toEqual(['write 7 512']);
  expect((await request(header(T_FLUSH))).status).toBe(S_OK);
  expect(disk.log.at(-1)).toBe('flush');
});

test('a driver that cannot flush gets its writes through to the disk', async () => {
  bench(false, featureSet(F_VERSION_1));
  await request(header(T_OUT, 7), new Uint8Array(512));
  expect(disk.log).toEqual(['write 7 512', 'flush']);
});

test('answers its serial number, padded with zeros', async () => {
  const { status, data } = await request(header(T_GET_ID), 20);
  expect(status).toBe(S_OK);
  expect(new TextDecoder().decode(data)).toBe(`disk0${'\0'.repeat(15)}`);
});

test('discards and writes zeros in several ranges', async () => {
  expect((await request(header(T_DISCARD), range(8, 8), range(32, 1))).status).toBe(S_OK);
  expect(disk.log).toEqual(['discard 8 8', 'discard 32 1']);
  expect((await request(header(T_WRITE_ZEROES), range(40, 2, 1))).status).toBe(S_OK);
  expect(disk.bytes.subarray(40 * 512, 42 * 512).every((byte) => byte === 0)).toBe(true);
  expect(disk.bytes[42 * 512]).toBe(42);
});

describe('refuses with an I/O error', () => {
  test('what lies beyond the end', async () => {
    expect((await request(header(T_IN, SECTORS), 512)).status).toBe(S_IOERR);
    expect((await request(header(T_IN, SECTORS - 1), 1024)).status).toBe(S_IOERR);
    expect((await request(header(T_OUT, Number.MAX_SAFE_INTEGER), new Uint8Array(512))).status).toBe(S_IOERR);
    expect((await request(header(T_DISCARD), range(SECTORS - 1, 2))).status).toBe(S_IOERR);
    expect((await request(header(T_WRITE_ZEROES), range(2 ** 52, 1))).status).toBe(S_IOERR);
    expect(disk.log).toEqual([]);
  });

  test('parts of sectors', async () => {
    expect((await request(header(T_IN), 100)).status).toBe(S_IOERR);
    expect((await request(header(T_OUT), new Uint8Array(513))).status).toBe(S_IOERR);
  });

  test('writes of any kind to a read-only disk', async () => {
    bench(true);
    expect(driver.offered & featureSet(F_RO, F_DISCARD, F_FLUSH)).toBe(featureSet(F_RO, F_FLUSH));
    expect((await request(header(T_OUT), new Uint8Array(512))).status).toBe(S_IOERR);
    expect((await request(header(T_DISCARD), range(0, 1))).status).toBe(S_IOERR);
    expect((await request(header(T_WRITE_ZEROES), range(0, 1))).status).toBe(S_IOERR);
    expect(disk.log).toEqual([]);
  });

  test('what the host could not do', async () => {
    disk.failing = true;
    expect((await request(header(T_IN), 512)).status).toBe(S_IOERR);
    expect((await request(header(T_FLUSH))).status).toBe(S_IOERR);
    disk.failing = false;
    expect((await request(header(T_IN), 512)).status).toBe(S_OK);
  });
});

test('unknown requests and flags are unsupported', async () => {
  expect((await request(header(99), 512)).status).toBe(S_UNSUPP);
  expect((await request(header(T_DISCARD), range(0, 1, 1))).status).toBe(S_UNSUPP);
  expect((await request(header(T_WRITE_ZEROES), range(0, 1, 2))).status).toBe(S_UNSUPP);
});

test('a request without header or status breaks the device', () => {
  queue.add(new Uint8Array(15), 1);
  queue.notify();
  expect(driver.status & STATUS_NEEDS_RESET).toBe(STATUS_NEEDS_RESET);
  driver.start();
  queue = driver.queues[0]!;
  queue.add(header(T_FLUSH));
  queue.notify();
  expect(driver.status & STATUS_NEEDS_RESET).toBe(STATUS_NEEDS_RESET);
});

test('nothing reaches the guest before its input comes through the door', async () => {
  const { addresses } = queue.add(header(T_IN, 5), 512, 1);
  queue.notify();
  while (door.waiting.length === 0) await Promise.resolve();
  expect(driver.bytes(addresses[1]!, 512).some((byte) => byte !== 0)).toBe(false);
  expect(queue.takeUsed()).toEqual([]);
  door.open();
  expect(driver.bytes(addresses[1]!, 1)).toEqual(Uint8Array.of(5));
});

test('keeps many requests in flight and answers each once', async () => {
  const sectors = Array.from({ length: 60 }, (_, i) => i);
  const sent = sectors.map((sector) => queue.add(header(T_IN, sector), 512, 1));
  queue.notify();
  expect(disk.log).toHaveLength(60);
  const used = [];
  while (used.length < 60) {
    await door.serve();
    used.push(...queue.takeUsed());
  }
  expect(new Set(used.map(({ head }) => head)).size).toBe(60);
  for (const [sector, { addresses }] of sent.entries()) expect(driver.bytes(addresses[1]!, 1)[0]).toBe(sector);
});

describe('requests in flight', () => {
  let release: () => void;
  beforeEach(() => {
    disk.gate = new Promise((resolve) => (release = resolve));
    queue.add(header(T_IN, 9), 512, 1);
    queue.notify();
  });

  test('are waited for by quiesce', async () => {
    let quiet = false;
    const done = driver.transport.device.quiesce!().then(() => (quiet = true));
    await Promise.resolve();
    expect(quiet).toBe(false);
    release();
    await door.serve();
    await done;
    expect(queue.takeUsed()).toHaveLength(1);
    expect(saveDevice(driver.transport)).toMatchObject({ device: { inFlight: [] } });
  });

  test('are asked for again by a restored machine', async () => {
    const [toDisk, toDoor] = [new TestDisk(), new TestDoor()];
    const to = new TestDriver(new VirtioBlk(toDisk, toDoor));
    to.memory.bytes.set(driver.memory.bytes);
    const saved = saveDevice(driver.transport);
    restoreDevice(to.transport, saved);
    expect(saveDevice(to.transport)).toEqual(saved);
    await toDoor.serve();
    expect(toDisk.log).toEqual(['read 9 512']);
    expect(to.memory.read16(queue.used + 2)).toBe(1);
    expect(saveDevice(to.transport)).toMatchObject({ device: { inFlight: [] } });
  });

  test('of an earlier life touch nothing, and new ones wait for them', async () => {
    driver.start();
    queue = driver.queues[0]!;
    const { addresses } = queue.add(header(T_IN, 2), 512, 1);
    queue.notify();
    expect(disk.log).toEqual(['read 9 512']);
    release();
    await door.serve();
    await door.serve();
    expect(disk.log).toEqual(['read 9 512', 'read 2 512']);
    expect(queue.takeUsed()).toHaveLength(1);
    expect(driver.bytes(addresses[1]!, 1)).toEqual(Uint8Array.of(2));
  });

  test('cannot be more than the queue has descriptors', () => {
    for (let i = 0; i < 300; i++) {
      queue.offer(0);
      queue.notify();
    }
    expect(driver.status & STATUS_NEEDS_RESET).toBe(STATUS_NEEDS_RESET);
  });
});

test('random requests are each answered with a status', async () => {
  const random = seededRandom(7);
  for (let i = 0; i < 300; i++) {
    const type = [T_IN, T_OUT, T_FLUSH, T_GET_ID, T_DISCARD, T_WRITE_ZEROES, random(2 ** 32)][random(7)]!;
    const payload = Uint8Array.from({ length: [0, 16, 512, 513][random(4)]! }, () => random(256));
    const answer = await request(header(type, random(SECTORS + 2)), payload, [0, 20, 512, 1024][random(4)]!);
    expect([S_OK, S_IOERR, S_UNSUPP]).toContain(answer.status);
  }
  expect(driver.status & STATUS_NEEDS_RESET).toBe(0);
});

const memory = new Memory(MEMORY_SIZE, 0);

deviceSuite('virtio-blk', () => {
  const guest = new TestDriver(new VirtioBlk(new TestDisk(), new TestDoor()), false, memory);
  return {
    device: guest.transport,
    disturb() {
      guest.assign().start();
      guest.queues[0]!.add(header(T_IN), 512, 1);
      guest.queues[0]!.notify();
    },
    faces: [{ face: guest.transport, size: 0x4000 }],
    lines: [guest.line],
  };
});
