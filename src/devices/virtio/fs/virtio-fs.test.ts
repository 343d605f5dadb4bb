import { beforeEach, describe, expect, test } from 'vitest';
import { VmError } from '../../../base/errors.ts';
import { restoreDevice, saveDevice } from '../../../machine/device.ts';
import { Memory } from '../../../machine/memory.ts';
import * as posix from '../../../machine/posix.ts';
import { deviceSuite } from '../../../machine/testing/device-suite.ts';
import { seededRandom } from '../../../machine/testing/random.ts';
import { MEMORY_SIZE, TestDoor, TestDriver, type DriverQueue, type Part } from '../testing/driver.ts';
import { STATUS_NEEDS_RESET } from '../virtio-device.ts';
import { decodeName } from '../../../base/name-bytes.ts';
import { TestFileSystem } from './testing/test-file-system.ts';
import { VirtioFs } from './virtio-fs.ts';
import * as wire from './wire.ts';

let fs: TestFileSystem;
let door: TestDoor;
let driver: TestDriver;
let queue: DriverQueue;

const options = { tag: 'test', nowNs: () => 1.5e18 };

beforeEach(() => {
  fs = new TestFileSystem();
  door = new TestDoor();
  driver = new TestDriver(new VirtioFs(fs, door, options)).start();
  queue = driver.queues[1]!;
});

type Word = readonly [number, 4 | 8];
const u32 = (value: number): Word => [value, 4];
const u64 = (value: number): Word => [value, 8];

function pack(...words: (Word | string | Uint8Array)[]): Uint8Array {
  const parts = words.map((word) => {
    if (typeof word === 'string') return new TextEncoder().encode(`${word}\0`);
    if (word instanceof Uint8Array) return word;
    const view = new DataView(new ArrayBuffer(word[1]));
    if (word[1] === 4) view.setUint32(0, word[0], true);
    else wire.putI64(view, 0, word[0]);
    return new Uint8Array(view.buffer);
  });
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function request(opcode: number, nodeid: number, ...args: (Word | string | Uint8Array)[]): Uint8Array {
  const body = pack(...args);
  return pack(u32(40 + body.length), u32(opcode), u64(77), u64(nodeid), u32(5), u32(6), u32(0), u32(0), body);
}

interface Answer {
  readonly error: number;
  readonly view: DataView;
  readonly bytes: Uint8Array;
}

function take(room: number, address: number): Answer | undefined {
  const [used] = queue.takeUsed();
  if (!used) return undefined;
  const bytes = driver.bytes(address, room);
  const header = new DataView(bytes.buffer);
  expect(header.getUint32(0, true)).toBe(used.length);
  expect(header.getUint32(8, true)).toBe(77);
  const body = bytes.slice(16, used.length);
  return { error: header.getInt32(4, true), view: new DataView(body.buffer), bytes: body };
}

function ask(message: Uint8Array, room = 4096): Answer {
  const { addresses } = queue.add(message, room);
  queue.notify();
  return take(room, addresses[1]!) ?? expect.fail('not answered at once');
}

const initialize = (major = 7, minor = 38): Answer => ask(request(wire.INIT, 0, u32(major), u32(minor), u32(131_072), u32(0xffff_ffff)));

test('tells its tag and one queue for requests', () => {
  expect(new TextDecoder().decode(Uint8Array.from({ length: 6 }, (_, i) => driver.config(i, 1)))).toBe('test\0\0');
  expect(driver.config(36, 4)).toBe(1);
  expect(() => new VirtioFs(fs, door, { ...options, tag: 'x'.repeat(37) })).toThrow(VmError);
});

describe('INIT', () => {
  test('agrees on a version, and on features that both have', () => {
    const { error, view } = initialize(7, 45);
    expect(error).toBe(0);
    expect([view.getUint32(0, true), view.getUint32(4, true)]).toEqual([7, 38]);
    const flags = view.getUint32(12, true);
    expect(flags & wire.WRITEBACK_CACHE).toBe(wire.WRITEBACK_CACHE);
    expect(flags & (1 << 3), 'no truncation by OPEN: there is none').toBe(0);
    expect(view.getUint32(20, true)).toBe(2 ** 20);
  });

  test('refuses what is too old, and tells a newer major ours', () => {
    expect(initialize(7, 20).error).toBe(-posix.EPROTO);
    expect(initialize(8, 0).view.getUint32(0, true)).toBe(7);
  });

  test('forgets what an earlier kernel knew', () => {
    initialize();
    expect(fs.log).toEqual(['forgetAll']);
  });
});

describe('requests', () => {
  test('LOOKUP gives an entry, and the guest then knows the inode', () => {
    const { error, view } = ask(request(wire.LOOKUP, 1, 'file'));
    expect(error).toBe(0);
    expect(view.byteLength).toBe(128);
    expect([wire.u64At(view, 0), wire.u64At(view, 40), wire.u64At(view, 48)]).toEqual([2, 2, 10]);
    expect(view.getUint32(40 + 60, true)).toBe(posix.S_IFREG | 0o644);
    expect(fs.log).toEqual(['retain 2']);
  });

  test('a name that is not there is an answer that the guest may keep', () => {
    const { error, view } = ask(request(wire.LOOKUP, 1, 'nothing'));
    expect(error).toBe(0);
    expect(wire.u64At(view, 0)).toBe(0);
    expect(wire.u64At(view, 16)).toBeGreaterThan(1e6);
  });

  test('READ puts bytes behind the header, into all buffers', () => {
    const { addresses } = queue.add(request(wire.READ, 2, u64(0), u64(2), u32(100), u32(0), u64(0), u64(0)), 16, 3, 97);
    queue.notify();
    expect(queue.takeUsed()).toEqual([{ head: 0, length: 24 }]);
    expect(driver.memory.read32(addresses[1]!)).toBe(24);
    expect(new TextDecoder().decode(driver.bytes(addresses[2]!, 3))).toBe('234');
    expect(new TextDecoder().decode(driver.bytes(addresses[3]!, 5))).toBe('56789');
  });

  test('WRITE takes bytes from all buffers', () => {
    const { addresses } = queue.add(
      request(wire.WRITE, 2, u64(0), u64(4), u32(5), u32(wire.WRITE_KILL_SUIDGID), u64(0), u64(0)),
      new TextEncoder().encode('ab'),
      new TextEncoder().encode('cde'),
      24,
    );
    queue.notify();
    expect(take(24, addresses[3]!)!.view.getUint32(0, true)).toBe(5);
    expect(new TextDecoder().decode(fs.bytes)).toBe('0123abcde9');
    expect(fs.log).toEqual(['change 2 {"dropPrivileges":true}']);
  });

  test('WRITE of more than was sent is refused', () => {
    expect(ask(request(wire.WRITE, 2, u64(0), u64(0), u32(2 ** 31), u32(0), u64(0), u64(0))).error).toBe(-posix.EINVAL);
  });

  test('SETATTR changes what its mask names, and nothing else', () => {
    const times = [u64(-3), u64(4), u64(5), u32(6), u32(7), u32(8)];
    const args = (valid: number) => [
      u32(valid),
      u32(0),
      u64(0),
      u64(99),
      u64(0),
      ...times,
      u32(0o100600),
      u32(0),
      u32(10),
      u32(11),
      u32(0),
    ];
    ask(request(wire.SETATTR, 2, ...args(wire.FATTR_MODE | wire.FATTR_ATIME | wire.FATTR_MTIME | wire.FATTR_MTIME_NOW)));
    ask(request(wire.SETATTR, 2, ...args(wire.FATTR_SIZE | wire.FATTR_UID | wire.FATTR_GID | wire.FATTR_CTIME | wire.FATTR_KILL_SUIDGID)));
    expect(fs.log).toEqual([
      'change 2 {"mode":33152,"atime":{"seconds":-3,"nanoseconds":6},"mtime":"now"}',
      'change 2 {"uid":10,"gid":11,"sizeBytes":99,"ctime":{"seconds":5,"nanoseconds":8},"dropPrivileges":true}',
    ]);
  });

  test('MKNOD makes a file of the caller with the kernel’s mode', () => {
    ask(request(wire.MKNOD, 1, u32(posix.S_IFCHR | 0o600), u32(0x103), u32(0o22), u32(0), 'null'));
    expect(fs.log[0]).toBe('create 1 null {"mode":8576,"uid":5,"gid":6,"rdev":259}');
  });

  test('SYMLINK has the new name first', () => {
    ask(request(wire.SYMLINK, 1, 'name', 'target'));
    expect(fs.log[0]).toBe('create 1 name {"mode":41471,"uid":5,"gid":6,"rdev":0,"target":"target"}');
  });

  test('RENAME2 has flags, and both names', () => {
    ask(request(wire.RENAME2, 1, u64(3), u32(2), u32(0), 'from', 'to'));
    ask(request(wire.RENAME, 1, u64(3), 'from', 'to'));
    expect(fs.log).toEqual(['rename 1 from 3 to 2', 'rename 1 from 3 to 0']);
  });

  test('READDIRPLUS gives attributes, makes entries known except . and .., and stops where room ends', () => {
    const { bytes, view } = ask(request(wire.READDIRPLUS, 1, u64(0), u64(0), u32(4096), u32(0), u64(0), u64(0)), 16 + 500);
    // Two names of up to 8 bytes: 160 bytes each; the fourth does not fit.
    expect(bytes.length).toBe(480);
    expect([0, 160, 320].map((at) => wire.u64At(view, at))).toEqual([0, 0, 2]);
    expect([0, 160, 320].map((at) => wire.u64At(view, at + 136))).toEqual([1, 2, 3]);
    expect(decodeName(bytes.subarray(320 + 152, 320 + 156))).toBe('file');
    expect(fs.log).toEqual(['retain 2']);
  });

  test('READDIR goes on behind a cookie', () => {
    const { bytes, view } = ask(request(wire.READDIR, 1, u64(0), u64(2), u32(4096), u32(0), u64(0), u64(0)));
    expect(wire.u64At(view, 8)).toBe(3);
    expect(view.getUint32(20, true)).toBe(posix.S_IFREG >>> 12);
    expect(bytes.length).toBe(32 + 32);
  });

  test('GETXATTR and LISTXATTR give a size, the value, or ERANGE', () => {
    const get = (size: number) => ask(request(wire.GETXATTR, 2, u32(size), u32(0), 'user.a'));
    expect(wire.u64At(get(0).view, 0)).toBe(3);
    expect([...get(3).bytes]).toEqual([1, 2, 3]);
    expect(get(2).error).toBe(-posix.ERANGE);
    expect(new TextDecoder().decode(ask(request(wire.LISTXATTR, 2, u32(100), u32(0))).bytes)).toBe('user.a\0user.b\0');
  });

  test('FORGET and BATCH_FORGET have no answer', () => {
    const hiprio = driver.queues[0]!;
    hiprio.add(request(wire.FORGET, 2, u64(3)));
    hiprio.add(request(wire.BATCH_FORGET, 0, u32(2), u32(0), u64(2), u64(1), u64(3), u64(4)));
    hiprio.add(request(wire.BATCH_FORGET, 0, u32(0xffff_ffff), u32(0), u64(9), u64(1)));
    hiprio.notify();
    expect(hiprio.takeUsed().map(({ length }) => length)).toEqual([0, 0, 0]);
    expect(fs.log).toEqual(['forget 2 3', 'forget 2 1', 'forget 3 4', 'forget 9 1']);
  });

  test('what Linux does without is not known', () => {
    for (const opcode of [14, 25, 27, 30, 34, 35, 39, 40, 46, 52, 4096, 999]) {
      expect(ask(request(opcode, 1, new Uint8Array(64))).error).toBe(-posix.ENOSYS);
    }
  });
});

describe('contents that are not here yet', () => {
  let arrive: () => void;
  let fail: (error: Error) => void;
  const read = request(wire.READ, 2, u64(0), u64(0), u32(100), u32(0), u64(0), u64(0));

  beforeEach(() => {
    fs.missing = new Promise((resolve, reject) => {
      arrive = () => {
        fs.missing = undefined;
        resolve();
      };
      fail = reject;
    });
  });

  test('are waited for, while other requests are answered', async () => {
    const { addresses } = queue.add(read, 200);
    queue.notify();
    expect(queue.takeUsed()).toEqual([]);
    expect(ask(request(wire.GETATTR, 2, u64(0), u64(0))).error).toBe(0);
    arrive();
    await door.serve();
    expect(new TextDecoder().decode(take(200, addresses[1]!)!.bytes)).toBe('0123456789');
  });

  test('reach the guest by the door only', async () => {
    queue.add(read, 200);
    queue.notify();
    arrive();
    while (door.waiting.length === 0) await Promise.resolve();
    expect(queue.takeUsed()).toEqual([]);
    door.open();
    expect(queue.takeUsed()).toHaveLength(1);
  });

  test('are an I/O error when they cannot be had', async () => {
    const { addresses } = queue.add(read, 200);
    queue.notify();
    fail(new VmError('bad-digest', 'a damaged content'));
    await door.serve();
    expect(take(200, addresses[1]!)!.error).toBe(-posix.EIO);
  });

  test('are waited for by quiesce', async () => {
    queue.add(read, 200);
    queue.notify();
    const done = driver.transport.device.quiesce!();
    arrive();
    await door.serve();
    await done;
    expect(saveDevice(driver.transport)).toMatchObject({ device: { inFlight: [[], []] } });
  });

  test('are asked for again by a restored machine', async () => {
    const { addresses } = queue.add(read, 200);
    queue.notify();
    const saved = saveDevice(driver.transport);
    const toFs = new TestFileSystem();
    const to = new TestDriver(new VirtioFs(toFs, new TestDoor(), options));
    to.memory.bytes.set(driver.memory.bytes);
    restoreDevice(to.transport, saved);
    expect(new TextDecoder().decode(to.bytes(addresses[1]! + 16, 10))).toBe('0123456789');
    expect(saveDevice(to.transport)).toMatchObject({ device: { inFlight: [[], []] } });
  });

  test('of an earlier life touch nothing', async () => {
    const { addresses } = queue.add(read, 200);
    queue.notify();
    driver.start();
    arrive();
    await door.serve();
    expect(driver.queues[1]!.takeUsed()).toEqual([]);
    expect(driver.bytes(addresses[1]!, 200).every((byte) => byte === 0)).toBe(true);
  });
});

describe('what is wrong', () => {
  test('gets no answer when it has no header or leaves no room for one', () => {
    queue.add(new Uint8Array(39), 100);
    queue.add(request(wire.GETATTR, 1, u64(0), u64(0)), 15);
    queue.add(request(wire.GETATTR, 1, u64(0), u64(0)));
    queue.notify();
    expect(queue.takeUsed().map(({ length }) => length)).toEqual([0, 0, 0]);
    expect(driver.status & STATUS_NEEDS_RESET).toBe(0);
  });

  test('is an error when arguments are cut short, a name has no end or a number is absurd', () => {
    const withoutArguments = [wire.GETATTR, wire.READLINK, wire.STATFS, wire.RELEASE, wire.RELEASEDIR, wire.DESTROY, wire.SYNCFS];
    for (let opcode = 1; opcode < 60; opcode++) {
      if (opcode === wire.FORGET || opcode === wire.BATCH_FORGET || withoutArguments.includes(opcode)) continue;
      expect(ask(request(opcode, 1)).error, `opcode ${opcode}`).toBeLessThan(0);
    }
    expect(ask(request(wire.LOOKUP, 1, new Uint8Array(300).fill(65))).error).toBe(-posix.EINVAL);
    expect(ask(request(wire.READ, 2, u64(0), u64(-1), u32(1), u32(0), u64(0), u64(0))).error).toBe(-posix.EINVAL);
    expect(ask(request(wire.GETATTR, 2 ** 60, u64(0), u64(0))).error).toBe(-posix.ESTALE);
  });

  test('and random never breaks the device, and every request comes back', () => {
    const random = seededRandom(11);
    for (let i = 0; i < 3000; i++) {
      const args = Uint8Array.from({ length: random(200) }, () => (random(3) ? random(4) : random(256)));
      const message = request(random(60), random(5), args);
      const parts: Part[] = random(8) ? [message] : [message.subarray(0, random(message.length))];
      const rooms = Array.from({ length: random(4) }, () => random(random(2) ? 30 : 5000));
      queue.add(...parts, ...rooms);
      queue.notify();
      const [used] = queue.takeUsed();
      expect(used!.length).toBeLessThanOrEqual(rooms.reduce((sum, room) => sum + room, 0));
    }
    expect(driver.status & STATUS_NEEDS_RESET).toBe(0);
  });
});

const memory = new Memory(MEMORY_SIZE, 0);

deviceSuite('virtio-fs', () => {
  const guest = new TestDriver(new VirtioFs(new TestFileSystem(), new TestDoor(), options), false, memory);
  return {
    device: guest.transport,
    disturb() {
      guest.assign().start();
      guest.queues[1]!.add(request(wire.LOOKUP, 1, 'file'), 200);
      guest.queues[1]!.notify();
    },
    faces: [{ face: guest.transport, size: 0x4000 }],
    lines: [guest.line],
  };
});
