import { describe, expect, test } from 'vitest';
import { pulse } from '../machine/irq.ts';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { RecordingLine } from '../machine/testing/recorders.ts';
import { I8259 } from './i8259.ts';

function bench({ icw4 = 0x01 } = {}) {
  const int = new RecordingLine();
  const cascade = { set: (level: boolean) => master.lines[2]!.set(level) };
  const slave = new I8259({ int: cascade });
  const master: I8259 = new I8259({ int, slave });
  for (const [chip, base, icw3] of [
    [master, 0x20, 4],
    [slave, 0x28, 2],
  ] as const) {
    chip.write(0, 1, 0x11);
    chip.write(1, 1, base);
    chip.write(1, 1, icw3);
    chip.write(1, 1, icw4);
  }
  const line = (irq: number) => (irq < 8 ? master : slave).lines[irq & 7]!;
  return { master, slave, int, line };
}

const EOI = 0x20;

deviceSuite('i8259', () => {
  const int = new RecordingLine();
  const chip = new I8259({ int });
  return {
    device: chip,
    lines: [int],
    faces: [
      { face: chip, size: 2 },
      { face: chip.elcr, size: 1 },
    ],
    disturb() {
      chip.write(0, 1, 0x11);
      for (const word of [0x40, 2, 1, 0x02]) chip.write(1, 1, word);
      chip.elcr.write(0, 1, 0x20);
      chip.lines[4]!.set(true);
      chip.acknowledge();
      chip.lines[3]!.set(true);
      chip.write(0, 1, 0x0b);
    },
  };
});

describe('one chip', () => {
  test('gives the vector of the highest request, and nests by priority', () => {
    const { master, int, line } = bench();
    line(4).set(true);
    line(3).set(true);
    expect(master.acknowledge()).toBe(0x23);
    expect(int.level).toBe(false);
    line(1).set(true);
    expect(int.level).toBe(true);
    expect(master.acknowledge()).toBe(0x21);
    master.write(0, 1, EOI);
    expect(int.level).toBe(false);
    master.write(0, 1, EOI);
    expect(master.acknowledge()).toBe(0x24);
  });

  test('masks hold requests back without losing them', () => {
    const { master, int, line } = bench();
    master.write(1, 1, 0xff);
    pulse(line(5));
    expect(int.level).toBe(false);
    expect(master.read(0, 1)).toBe(0x20);
    master.write(1, 1, 0);
    expect(master.acknowledge()).toBe(0x25);
    expect(master.read(0, 1)).toBe(0);
    master.write(0, 1, 0x0b);
    expect(master.read(0, 1)).toBe(0x20);
  });

  test('a level that goes away before it is acknowledged gives the spurious vector, not in service', () => {
    const { master, int, line } = bench();
    master.elcr.write(0, 1, 0xff);
    expect(master.elcr.read(0, 1)).toBe(0xf8);
    line(5).set(true);
    line(5).set(false);
    expect(int.level).toBe(false);
    expect(master.acknowledge()).toBe(0x27);
    master.write(0, 1, 0x0b);
    expect(master.read(0, 1)).toBe(0);
  });

  test('a level interrupts again after its end', () => {
    const { master, int, line } = bench();
    master.elcr.write(0, 1, 0x20);
    line(5).set(true);
    expect(master.acknowledge()).toBe(0x25);
    expect(int.level).toBe(false);
    master.write(0, 1, EOI);
    expect(int.level).toBe(true);
  });

  test('automatic EOI serves nothing for long, and can rotate', () => {
    const { master, line } = bench({ icw4: 0x03 });
    master.write(0, 1, 0x80);
    pulse(line(3));
    expect(master.acknowledge()).toBe(0x23);
    pulse(line(3));
    pulse(line(5));
    expect(master.acknowledge()).toBe(0x25);
    expect(master.acknowledge()).toBe(0x23);
  });

  test('a specific EOI ends that one only; set priority makes it lowest', () => {
    const { master, line } = bench();
    pulse(line(4));
    master.acknowledge();
    pulse(line(3));
    master.acknowledge();
    master.write(0, 1, 0x64);
    master.write(0, 1, 0x0b);
    expect(master.read(0, 1)).toBe(0x08);
    master.write(0, 1, EOI);
    master.write(0, 1, 0xc3);
    pulse(line(3));
    pulse(line(4));
    expect(master.acknowledge()).toBe(0x24);
  });

  test('rotate on non-specific EOI', () => {
    const { master, line } = bench();
    pulse(line(0));
    master.acknowledge();
    master.write(0, 1, 0xa0);
    pulse(line(0));
    pulse(line(7));
    expect(master.acknowledge()).toBe(0x27);
  });

  test('special mask mode lets lower priorities in while a masked one is in service', () => {
    const { master, int, line } = bench();
    pulse(line(3));
    master.acknowledge();
    pulse(line(6));
    expect(int.level).toBe(false);
    master.write(1, 1, 0x08);
    master.write(0, 1, 0x68);
    expect(int.level).toBe(true);
    expect(master.acknowledge()).toBe(0x26);
    master.write(0, 1, EOI); // ends 6: the masked one is left alone
    master.write(0, 1, 0x0b);
    expect(master.read(0, 1)).toBe(0x08);
  });

  test('a poll acknowledges by a read', () => {
    const { master, int, line } = bench();
    pulse(line(6));
    master.write(0, 1, 0x0c);
    expect(master.read(0, 1)).toBe(0x86);
    expect(int.level).toBe(false);
    master.write(0, 1, 0x0c);
    expect(master.read(0, 1)).toBe(0);
    expect(master.read(1, 1)).toBe(0);
  });

  test('initialization clears masks and edges, but not levels', () => {
    const { master, line } = bench();
    master.elcr.write(0, 1, 0x40);
    line(4).set(true);
    line(6).set(true);
    master.write(1, 1, 0xff);
    master.write(0, 1, 0x13);
    expect(master.read(0, 1)).toBe(0x40);
    master.write(1, 1, 0x40);
    master.write(1, 1, 0x01);
    expect(master.read(1, 1)).toBe(0);
    expect(master.acknowledge()).toBe(0x46);
  });
});

describe('a pair', () => {
  test('gives the vectors of the slave', () => {
    const { master, slave, int, line } = bench();
    pulse(line(12));
    expect(int.level).toBe(true);
    expect(master.acknowledge()).toBe(0x2c);
    pulse(line(9));
    expect(int.level).toBe(false);
    slave.write(0, 1, EOI);
    master.write(0, 1, EOI);
    expect(master.acknowledge()).toBe(0x29);
  });

  test('a request of the slave that has gone gives its spurious vector', () => {
    const { master, slave, line } = bench();
    pulse(line(12));
    slave.write(1, 1, 0xff);
    expect(master.acknowledge()).toBe(0x2f);
  });

  test('in the special fully nested mode a slave interrupts its own service', () => {
    const { master, int, line } = bench({ icw4: 0x11 });
    pulse(line(12));
    master.acknowledge();
    pulse(line(9));
    expect(int.level).toBe(true);
    expect(master.acknowledge()).toBe(0x29);
  });

  test('a slave with automatic EOI is heard again while more of its requests wait', () => {
    const { master, slave, int, line } = bench();
    slave.write(0, 1, 0x11);
    for (const word of [0x28, 2, 0x03]) slave.write(1, 1, word);
    pulse(line(9));
    pulse(line(12));
    expect(master.acknowledge()).toBe(0x29);
    expect(int.level).toBe(false);
    master.write(0, 1, EOI);
    expect(int.level).toBe(true);
    expect(master.acknowledge()).toBe(0x2c);
    master.write(0, 1, EOI);
    expect(int.level).toBe(false);
  });

  test('a slave whose mask lets lower requests past its service is heard again', () => {
    const { master, slave, int, line } = bench();
    pulse(line(8));
    master.acknowledge();
    master.write(0, 1, EOI);
    slave.write(1, 1, 0x01);
    slave.write(0, 1, 0x68);
    pulse(line(10));
    slave.write(1, 1, 0x05); // masked before it is acknowledged, and 13 comes behind it
    pulse(line(13));
    expect(master.acknowledge()).toBe(0x2d);
    slave.write(1, 1, 0x21); // 13 masked in its service: now 10 may pass
    master.write(0, 1, EOI);
    expect(int.level).toBe(true);
    expect(master.acknowledge()).toBe(0x2a);
  });

  test('in the special fully nested mode, what a special mask lets past interrupts the slave’s service at once', () => {
    const { master, slave, int, line } = bench({ icw4: 0x11 });
    slave.write(0, 1, 0x68);
    pulse(line(9));
    pulse(line(12));
    master.acknowledge();
    expect(int.level).toBe(false);
    slave.write(1, 1, 0x02);
    expect(int.level).toBe(true);
    expect(master.acknowledge()).toBe(0x2c);
  });

  test('a master that is initialized waits for the slave’s next edge', () => {
    const { master, slave, int, line } = bench();
    line(12).set(true);
    master.write(0, 1, 0x11);
    for (const word of [0x20, 4, 1]) master.write(1, 1, word);
    expect(int.level).toBe(false);
    slave.write(1, 1, 0x10);
    slave.write(1, 1, 0);
    expect(int.level).toBe(true);
    expect(master.acknowledge()).toBe(0x2c);
  });
});
