import { beforeEach, describe, expect, test } from 'vitest';
import { resetDevice } from '../../../machine/device.ts';
import { deviceSuite } from '../../../machine/testing/device-suite.ts';
import { seededRandom } from '../../../machine/testing/random.ts';
import { RecordingChar } from '../../../machine/testing/recorders.ts';
import { MEMORY_SIZE, TestDriver } from '../testing/driver.ts';
import { Memory } from '../../../machine/memory.ts';
import { F_VERSION_1, STATUS_NEEDS_RESET, featureSet } from '../virtio-device.ts';
import { F_MULTIPORT } from './protocol.ts';
import { PORT_BACKLOG, VirtioConsole } from './virtio-console.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

class TestPort extends RecordingChar {
  readonly name?: string;
  readonly events: string[] = [];

  constructor(name?: string) {
    super();
    if (name !== undefined) this.name = name;
  }

  opened(open: boolean): void {
    this.events.push(open ? 'open' : 'closed');
  }

  room(): void {
    this.events.push('room');
  }
}

describe('a plain console', () => {
  let port: TestPort;
  let device: VirtioConsole;
  let driver: TestDriver;
  beforeEach(() => {
    port = new TestPort();
    device = new VirtioConsole([port], { cols: 100, rows: 40 });
    driver = new TestDriver(device).start();
  });

  test('does not offer ports', () => {
    expect(driver.offered & featureSet(F_MULTIPORT)).toBe(0n);
    expect(driver.queues).toHaveLength(2);
  });

  test('prints what the guest transmits', () => {
    driver.queues[1]!.add(text('hel'), text('lo'));
    driver.queues[1]!.add(text(' world'));
    driver.queues[1]!.notify();
    expect(port.text).toBe('hello world');
    expect(driver.queues[1]!.takeUsed()).toHaveLength(2);
  });

  test('types into the buffers that the guest offers, and keeps the rest', () => {
    expect(device.receive(0, text('abcdef'))).toBe(6);
    const first = driver.queues[0]!.add(4);
    driver.queues[0]!.notify();
    expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 4 }]);
    expect(driver.bytes(first.addresses[0]!, 4)).toEqual(text('abcd'));
    const second = driver.queues[0]!.add(100);
    driver.queues[0]!.notify();
    device.receive(0, text('g'));
    expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 1, length: 2 }]);
    expect(driver.bytes(second.addresses[0]!, 2)).toEqual(text('ef'));
  });

  test('refuses what finds no room, and tells when there is some', () => {
    const data = Uint8Array.from({ length: PORT_BACKLOG + 10 }, (_, i) => i);
    expect(device.receive(0, data)).toBe(PORT_BACKLOG);
    expect(port.events).toEqual([]);
    const { addresses } = driver.queues[0]!.add(PORT_BACKLOG);
    driver.queues[0]!.notify();
    expect(port.events).toEqual(['room']);
    expect(driver.bytes(addresses[0]!, PORT_BACKLOG)).toEqual(data.subarray(0, PORT_BACKLOG));
    expect(device.receive(0, data.subarray(PORT_BACKLOG))).toBe(10);
  });

  test('keeps the order over the end of its ring', () => {
    const data = Uint8Array.from({ length: 3 * PORT_BACKLOG }, (_, i) => (i * 7) >> 3);
    const got: number[] = [];
    let sent = 0;
    while (got.length < data.length) {
      sent += device.receive(0, data.subarray(sent, sent + 20_000));
      const { addresses } = driver.queues[0]!.add(7777);
      driver.queues[0]!.notify();
      for (const { length } of driver.queues[0]!.takeUsed()) got.push(...driver.bytes(addresses[0]!, length));
    }
    expect(Uint8Array.from(got)).toEqual(data);
  });

  test('what is typed before there is a driver reaches it', () => {
    const early = new VirtioConsole([port]);
    const guest = new TestDriver(early);
    early.receive(0, text('x'));
    guest.start();
    guest.queues[0]!.add(8);
    guest.queues[0]!.notify();
    expect(guest.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 1 }]);
  });

  test('tells its size, and every change of it by an interrupt', () => {
    expect([driver.config(0, 2), driver.config(2, 2)]).toEqual([100, 40]);
    device.resize(132, 50);
    expect(driver.isr).toBe(2);
    expect(driver.config(0, 4)).toBe(132 | (50 << 16));
    device.resize(132, 50);
    expect(driver.isr).toBe(0);
    driver.start();
    expect(driver.config(0, 2)).toBe(132);
  });

  test('prints emergency writes without any queue', () => {
    driver.status = 0;
    driver.write(0x2008, 4, 0x21);
    expect(port.text).toBe('!');
  });

  test('an absurd transmission breaks the device instead of the host', () => {
    driver.queues[1]!.describe(0, 0x40_0000, 0x18_0000, 0);
    driver.queues[1]!.offer(0);
    driver.queues[1]!.notify();
    expect(driver.status & STATUS_NEEDS_RESET).toBe(STATUS_NEEDS_RESET);
  });
});

describe('ports', () => {
  let hvc: TestPort;
  let control: TestPort;
  let device: VirtioConsole;
  let driver: TestDriver;

  function tell(id: number, event: number, value: number): void {
    const view = new DataView(new ArrayBuffer(8));
    view.setUint32(0, id, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    driver.queues[3]!.add(new Uint8Array(view.buffer));
    driver.queues[3]!.notify();
  }

  let rooms: number[] = [];
  function offerMessages(count: number): void {
    for (let i = 0; i < count; i++) rooms.push(driver.queues[2]!.add(64).addresses[0]!);
    driver.queues[2]!.notify();
  }

  /** Control messages since the last call, as [port, event, value, rest]. */
  const messages = (): [number, number, number, string][] =>
    driver.queues[2]!.takeUsed().map(({ length }) => {
      const view = new DataView(driver.bytes(rooms.shift()!, length).buffer);
      const rest = String.fromCharCode(...new Uint8Array(view.buffer, 8));
      return [view.getUint32(0, true), view.getUint16(4, true), view.getUint16(6, true), rest];
    });

  beforeEach(() => {
    rooms = [];
    hvc = new TestPort();
    control = new TestPort('org.daybreak.control');
    device = new VirtioConsole([hvc, control], { cols: 80, rows: 25 });
    driver = new TestDriver(device).start();
  });

  function bringUp(): void {
    offerMessages(16);
    tell(0xffff_ffff, 0, 1);
    tell(0, 3, 1);
    tell(1, 3, 1);
    tell(0, 6, 1);
    messages();
  }

  test('are announced, named and opened in the order that drivers expect', () => {
    offerMessages(16);
    tell(0xffff_ffff, 0, 1);
    expect(messages()).toEqual([
      [0, 1, 0, ''],
      [1, 1, 0, ''],
    ]);
    tell(0, 3, 1);
    expect(messages()).toEqual([
      [0, 4, 1, ''],
      [0, 5, 0, 'P\0\x19\0'],
      [0, 6, 1, ''],
    ]);
    tell(1, 3, 1);
    expect(messages()).toEqual([
      [1, 7, 1, 'org.daybreak.control'],
      [1, 6, 1, ''],
    ]);
  });

  test('messages wait for the guest to offer room', () => {
    tell(0xffff_ffff, 0, 1);
    expect(messages()).toEqual([]);
    offerMessages(1);
    expect(messages()).toHaveLength(1);
    offerMessages(1);
    expect(messages()).toEqual([[1, 1, 0, '']]);
  });

  test('carry bytes apart from each other once the guest has opened them', () => {
    bringUp();
    const room = driver.queues[4]!.add(16);
    driver.queues[4]!.notify();
    device.receive(1, text('ping'));
    expect(driver.queues[4]!.takeUsed()).toEqual([]);
    tell(1, 6, 1);
    expect(control.events).toEqual(['open']);
    expect(driver.queues[4]!.takeUsed()).toEqual([{ head: 0, length: 4 }]);
    expect(driver.bytes(room.addresses[0]!, 4)).toEqual(text('ping'));
    driver.queues[5]!.add(text('pong'));
    driver.queues[5]!.notify();
    expect([hvc.text, control.text]).toEqual(['', 'pong']);
  });

  test('close when the guest closes them, resets the device or the machine is reset', () => {
    bringUp();
    tell(1, 6, 1);
    tell(1, 6, 0);
    tell(1, 6, 1);
    driver.start();
    expect(control.events).toEqual(['open', 'closed', 'open', 'closed']);
    bringUp();
    tell(1, 6, 1);
    resetDevice(driver.transport);
    expect(control.events.slice(4)).toEqual(['open', 'closed']);
  });

  test('a new terminal size is one message, however often it changed meanwhile', () => {
    bringUp();
    offerMessages(14 - rooms.length);
    device.resize(90, 30);
    expect(messages()).toEqual([[0, 5, 0, 'Z\0\x1e\0']]);
    while (rooms.length > 0) {
      device.setHostOpen(1, false);
      messages();
    }
    device.resize(91, 30);
    device.resize(92, 30);
    offerMessages(4);
    expect(messages()).toEqual([[0, 5, 0, '\\\0\x1e\0']]);
  });

  test('the first one still is a console for a driver without ports', () => {
    driver.start({ features: featureSet(F_VERSION_1) });
    driver.queues[0]!.add(8);
    driver.queues[0]!.notify();
    device.receive(0, text('k'));
    expect(driver.queues[0]!.takeUsed()).toEqual([{ head: 0, length: 1 }]);
    expect(driver.queues[2]!.takeUsed()).toEqual([]);
  });

  test('random messages, sizes and bytes change nothing but the device', () => {
    const random = seededRandom(3);
    for (let i = 0; i < 3000; i++) {
      const action = random(6);
      if (action === 0) offerMessages(1);
      else if (action === 1) tell(random(4), random(10), random(3));
      else if (action === 2) device.resize(random(300), random(100));
      else if (action === 3) device.receive(random(2), new Uint8Array(random(5000)));
      else {
        const queue = driver.queues[[0, 1, 4, 5][random(4)]!]!;
        queue.add(random(2) ? random(300) : new Uint8Array(random(300)));
        queue.notify();
      }
      if (random(200) === 0 || driver.status & STATUS_NEEDS_RESET) driver.start();
    }
    driver.start();
    rooms = [];
    bringUp();
    driver.queues[1]!.add(text('alive'));
    driver.queues[1]!.notify();
    expect(hvc.text.endsWith('alive')).toBe(true);
  });
});

const memory = new Memory(MEMORY_SIZE, 0);

deviceSuite('virtio-console', () => {
  const device = new VirtioConsole([new TestPort(), new TestPort('control')]);
  const guest = new TestDriver(device, false, memory);
  return {
    device: guest.transport,
    disturb() {
      guest.assign().start();
      device.receive(1, text('waiting'));
      device.resize(10, 10);
    },
    faces: [{ face: guest.transport, size: 0x4000 }],
    lines: [guest.line],
  };
});
