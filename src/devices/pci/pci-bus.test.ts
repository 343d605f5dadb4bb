import { beforeEach, describe, expect, test } from 'vitest';
import { Bus } from '../../machine/bus.ts';
import type { BusDevice } from '../../machine/bus.ts';
import { resetDevice, restoreDevice, saveDevice } from '../../machine/device.ts';
import type { Device } from '../../machine/device.ts';
import { defineState } from '../../machine/state.ts';
import { deviceSuite } from '../../machine/testing/device-suite.ts';
import { seededRandom } from '../../machine/testing/random.ts';
import { RecordingLine } from '../../machine/testing/recorders.ts';
import { assignBars } from './assign-bars.ts';
import { CONFIG_PORTS, ConfigPorts } from './config-ports.ts';
import type { BarSpec } from './config-space.ts';
import { ECAM_BUS_SIZE, Ecam } from './ecam.ts';
import { HostBridge } from './host-bridge.ts';
import { PciBus } from './pci-bus.ts';
import { PciFunction } from './pci-function.ts';

const answering = (value: number): BusDevice => ({ read: () => value, write() {} });

class ResetControlStub implements BusDevice {
  readonly written: [number, number][] = [];

  read(): number {
    return 0x5a;
  }

  write(offset: number, _width: number, value: number): void {
    this.written.push([offset, value]);
  }
}

class Card implements Device<{ config: Uint8Array }> {
  readonly pci: PciFunction;
  readonly schema;
  readonly state: { config: Uint8Array };

  constructor(name: string, bars: readonly BarSpec[], interruptPin = 1) {
    this.pci = new PciFunction(name, { vendorId: 0x1234, deviceId: 0x5678, classCode: 0xff0000, interruptPin }, bars);
    this.schema = defineState('card', 1, { config: this.pci.config.field });
    this.state = this.schema.create();
    this.sync();
  }

  sync(): void {
    this.state.config = this.pci.sync(this.state.config);
  }
}

function bench() {
  const pio = new Bus('pio');
  const mmio = new Bus('mmio');
  const lines = [0, 1, 2, 3].map(() => new RecordingLine());
  const bus = new PciBus({ pio, mmio, intx: [lines[0]!, lines[1]!, lines[2]!, lines[3]!] });
  const resetControl = new ResetControlStub();
  const ports = new ConfigPorts(bus, resetControl);
  pio.map(0xcf8, CONFIG_PORTS, 'pci', ports);
  mmio.map(0xe000_0000, ECAM_BUS_SIZE, 'ecam', new Ecam(bus));
  const bridge = new HostBridge(0xe000_0000);
  bus.attach(0, bridge.pci);
  return { pio, mmio, lines, bus, resetControl, ports, bridge };
}

const space = {
  mmio: { base: 0xc000_0000, size: 0x2000_0000 },
  mmio64: { base: 0x1_4000_0000, size: 0x10_0000_0000 },
  io: { base: 0xc000, size: 0x4000 },
};

function sizeBar(bus: PciBus, bdf: number, bar: number): number {
  bus.configWrite(bdf, 0x10 + 4 * bar, 4, 0xffff_ffff);
  return bus.configRead(bdf, 0x10 + 4 * bar, 4);
}

const threeBars = (): BarSpec[] => [
  { index: 0, kind: 'mem32', size: 0x4000, device: answering(0x32) },
  { index: 1, kind: 'io', size: 0x20, device: answering(0x10) },
  { index: 2, kind: 'mem64', size: 2 ** 33, device: answering(0x64) },
];

describe('configuration access', () => {
  test('both mechanisms show the same functions, and nothing where there is none', () => {
    const { pio, mmio } = bench();
    pio.write(0xcf8, 4, 0x8000_0000);
    expect(pio.read(0xcfc, 4)).toBe(0x29c0_8086);
    expect(pio.read(0xcfe, 2)).toBe(0x29c0);
    expect(mmio.read(0xe000_0000, 4)).toBe(0x29c0_8086);
    expect(mmio.read(0xe000_0060, 4)).toBe(0xe000_0001);
    pio.write(0xcf8, 4, 0x8000_0800);
    expect(pio.read(0xcfc, 4)).toBe(0xffff_ffff);
    pio.write(0xcf8, 4, 0x8001_0000);
    expect(pio.read(0xcfc, 4)).toBe(0xffff_ffff);
    expect(mmio.read(0xe000_8000, 2)).toBe(0xffff);
  });

  test('mechanism #1 is off until its enable bit is set, and its address reads back', () => {
    const { pio } = bench();
    expect(pio.read(0xcfc, 4)).toBe(0xffff_ffff);
    pio.write(0xcf8, 4, 0xffff_ffff);
    expect(pio.read(0xcf8, 4)).toBe(0x80ff_fffc);
  });

  test('a byte at 0xCF9 goes to the reset control register and leaves the address alone', () => {
    const { pio, resetControl, ports } = bench();
    pio.write(0xcf8, 4, 0x8000_0010);
    pio.write(0xcf9, 1, 0x06);
    expect(resetControl.written).toEqual([[0, 6]]);
    expect(pio.read(0xcf9, 1)).toBe(0x5a);
    expect(ports.state.address).toBe(0x8000_0010);
  });

  test('the extended space of a conventional function reads as all ones', () => {
    expect(bench().mmio.read(0xe000_0100, 4)).toBe(0xffff_ffff);
  });

  test('a function above 0 marks its device as multifunction', () => {
    const { bus } = bench();
    const first = new Card('a', []);
    bus.attach(3, first.pci);
    expect(bus.configRead(3 << 3, 0x0e, 1)).toBe(0);
    bus.attach(3, new Card('b', []).pci, 1);
    expect(bus.configRead(3 << 3, 0x0e, 1)).toBe(0x80);
    expect(bus.configRead((3 << 3) | 1, 0, 4)).toBe(0x5678_1234);
    expect(() => restoreDevice(first, saveDevice(first))).not.toThrow();
  });
});

describe('base address registers', () => {
  let b: ReturnType<typeof bench>;
  let card: Card;
  const at = 5 << 3;
  beforeEach(() => {
    b = bench();
    card = new Card('card', threeBars());
    b.bus.attach(5, card.pci);
  });

  test('answer their size when written with all ones', () => {
    expect(sizeBar(b.bus, at, 0)).toBe(0xffff_c000);
    expect(sizeBar(b.bus, at, 1)).toBe(0xffff_ffe1);
    expect(sizeBar(b.bus, at, 2)).toBe(0x0000_0004);
    expect(sizeBar(b.bus, at, 3)).toBe(0xffff_fffe);
    expect(sizeBar(b.bus, at, 4)).toBe(0);
  });

  test('decode only while the command register says so', () => {
    b.bus.configWrite(at, 0x10, 4, 0xd000_0000);
    b.bus.configWrite(at, 0x14, 4, 0xc000);
    expect(b.mmio.read(0xd000_0000, 1)).toBe(0xff);
    b.bus.configWrite(at, 0x04, 2, 2);
    expect(b.mmio.read(0xd000_0000, 1)).toBe(0x32);
    expect(b.pio.read(0xc01f, 1)).toBe(0xff);
    b.bus.configWrite(at, 0x04, 2, 3);
    expect(b.pio.read(0xc01f, 1)).toBe(0x10);
    b.bus.configWrite(at, 0x04, 2, 1);
    expect(b.mmio.read(0xd000_0000, 1)).toBe(0xff);
  });

  test('follow the guest above 4 GiB', () => {
    b.bus.configWrite(at, 0x04, 2, 2);
    b.bus.configWrite(at, 0x18, 4, 0);
    b.bus.configWrite(at, 0x1c, 4, 0x42);
    expect(b.mmio.read(0x42_0000_0000, 1)).toBe(0x64);
    expect(b.mmio.read(0x43_ffff_ffff, 1)).toBe(0x64);
    b.bus.configWrite(at, 0x1c, 4, 0xffff_ffff);
    expect(b.mmio.read(0x42_0000_0000, 1)).toBe(0xff);
  });

  test('never displace a fixed device, and appear once they are moved away', () => {
    b.bus.configWrite(at, 0x04, 2, 2);
    b.bus.configWrite(at, 0x10, 4, 0xe000_0000);
    expect(b.mmio.read(0xe000_0000, 4)).toBe(0x29c0_8086);
    b.bus.configWrite(at, 0x10, 4, 0xd000_0000);
    expect(b.mmio.read(0xd000_0000, 1)).toBe(0x32);
  });

  test('that overlap give the lower slot the range, whatever the order of programming', () => {
    const other = new Card('other', [{ index: 0, kind: 'mem32', size: 0x1000, device: answering(0x77) }]);
    b.bus.attach(2, other.pci);
    for (const slot of [5, 2]) {
      b.bus.configWrite(slot << 3, 0x04, 2, 2);
      b.bus.configWrite(slot << 3, 0x10, 4, 0xd000_0000);
    }
    expect(b.mmio.read(0xd000_0000, 1)).toBe(0x77);
    b.bus.configWrite(2 << 3, 0x04, 2, 0);
    expect(b.mmio.read(0xd000_0000, 1)).toBe(0x32);
  });

  test('are assigned without overlap, enabled, and lost again at reset', () => {
    assignBars(b.bus, { ...space, irqs: [16, 17, 18, 19] });
    expect(card.pci.bars.map((bar) => bar.mapping?.base)).toEqual([0xc000_0000, 0xc000, 0x2_0000_0000]);
    expect(b.bus.configRead(at, 0x3c, 2)).toBe(0x0100 | 17);
    resetDevice(card);
    expect(card.pci.bars.map((bar) => bar.mapping)).toEqual([undefined, undefined, undefined]);
  });

  test('too many for the space are a clear error', () => {
    const io = { base: 0xc000, size: 0x10 };
    expect(() => assignBars(b.bus, { ...space, io })).toThrow(/no room for BAR 1 of card/);
  });

  test('survive random programming without overlap errors, and a restored machine maps alike', () => {
    const random = seededRandom(1);
    b.bus.attach(6, new Card('second', threeBars()).pci);
    for (let i = 0; i < 5000; i++) {
      const width = ([1, 2, 4] as const)[random(3)]!;
      const value = random(2) ? random(2 ** 32) : [0xd000_0000, 0xe000_0000, 0xc000, 7][random(4)]!;
      b.bus.configWrite((5 + random(2)) << 3, random(0x40), width, value % 2 ** (8 * width));
    }
    const to = bench();
    const copy = new Card('card', threeBars());
    to.bus.attach(5, copy.pci);
    const before = b.mmio.mappings.filter((m) => m.name.startsWith('card'));
    restoreDevice(copy, saveDevice(card));
    expect(to.mmio.mappings.filter((m) => m.name.startsWith('card')).map((m) => m.base)).toEqual(before.map((m) => m.base));
  });
});

describe('interrupt pins', () => {
  test('are swizzled by device number and share a line', () => {
    const { bus, lines } = bench();
    const cards = [1, 5, 2].map((device) => {
      const card = new Card(`card${device}`, []);
      bus.attach(device, card.pci);
      return card;
    });
    cards[0]!.pci.setInterrupt(true);
    cards[1]!.pci.setInterrupt(true);
    expect(lines.map((line) => line.level)).toEqual([false, true, false, false]);
    cards[0]!.pci.setInterrupt(false);
    expect(lines[1]!.level).toBe(true);
    cards[1]!.pci.setInterrupt(false);
    cards[2]!.pci.setInterrupt(true);
    expect(lines.map((line) => line.level)).toEqual([false, false, true, false]);
  });

  test('are held back by the command register, but seen in the status register', () => {
    const { bus, lines } = bench();
    const card = new Card('card', []);
    bus.attach(4, card.pci);
    card.pci.setInterrupt(true);
    bus.configWrite(4 << 3, 0x04, 2, 0x400);
    expect(lines[0]!.level).toBe(false);
    expect(bus.configRead(4 << 3, 0x06, 2) & 8).toBe(8);
    bus.configWrite(4 << 3, 0x04, 2, 0);
    expect(lines[0]!.level).toBe(true);
  });
});

test('a saved configuration space of another function is refused', () => {
  const card = new Card('card', threeBars());
  const other = new Card('other', []);
  expect(() => restoreDevice(other, saveDevice(card))).toThrow(/another PCI function/);
});

deviceSuite('the configuration ports', () => {
  const { ports } = bench();
  return {
    device: ports,
    disturb() {
      ports.write(0, 4, 0x8000_1234);
    },
    faces: [{ face: ports, size: CONFIG_PORTS }],
  };
});

deviceSuite('a PCI function', () => {
  const { bus, lines } = bench();
  const card = new Card('card', threeBars());
  bus.attach(1, card.pci);
  return {
    device: card,
    disturb() {
      assignBars(bus, space);
      card.pci.setInterrupt(true);
    },
    faces: [{ face: new Ecam(bus), size: ECAM_BUS_SIZE }],
    lines,
  };
});
