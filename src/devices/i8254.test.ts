import { describe, expect, test } from 'vitest';
import { TestClock } from '../machine/testing/clock.ts';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { RecordingLine } from '../machine/testing/recorders.ts';
import { timeOfTick } from '../machine/ticks.ts';
import { I8254, PIT_HZ } from './i8254.ts';
import { Port61 } from './port61.ts';

function bench() {
  const clock = new TestClock();
  const irq0 = new RecordingLine();
  const pit = new I8254(clock, irq0);
  const tones: number[] = [];
  const port61 = new Port61(clock, pit, (hz) => void tones.push(Math.round(hz)));
  let tick = 0;
  return {
    clock,
    irq0,
    pit,
    port61,
    tones,
    out: (port: number, value: number) => pit.write(port, 1, value),
    in: (port: number) => pit.read(port, 1),
    /** Lets the counter's clock tick. */
    ticks(n: number) {
      tick += n;
      clock.advance(timeOfTick(tick, PIT_HZ) - clock.now());
    },
    program(channel: number, mode: number, count: number, bcd = 0) {
      pit.write(3, 1, (channel << 6) | 0x30 | (mode << 1) | bcd);
      pit.write(channel, 1, count & 0xff);
      pit.write(channel, 1, count >> 8);
    },
    count(channel: number) {
      pit.write(3, 1, channel << 6);
      return pit.read(channel, 1) | (pit.read(channel, 1) << 8);
    },
  };
}

deviceSuite('i8254', () => {
  const { clock, irq0, pit, program, ticks, out } = bench();
  return {
    device: pit,
    clock,
    lines: [irq0],
    faces: [{ face: pit, size: 4 }],
    disturb() {
      program(0, 2, 1000);
      program(2, 0, 5000);
      pit.setGate2(true);
      ticks(1234);
      out(3, 0xc2);
      out(0, 0x55);
    },
  };
});

deviceSuite('port61', () => {
  const { clock, port61 } = bench();
  return { device: port61, clock, faces: [{ face: port61, size: 1 }], disturb: () => port61.write(0, 1, 3) };
});

describe('channel 0', () => {
  test.each([2, 3])('mode %i goes on with its line as it was, wherever in its period', (mode) => {
    const { irq0, pit, program, ticks } = bench();
    program(0, mode, 100);
    ticks(100);
    for (let tick = 0; tick < 100; tick++) {
      const { level, rises } = irq0;
      pit.sync();
      expect({ level: irq0.level, rises: irq0.rises }, `tick ${tick}`).toEqual({ level, rises });
      if (tick < 99) ticks(1);
    }
  });

  test('mode 2 gives an edge each period', () => {
    const { irq0, program, ticks } = bench();
    program(0, 2, 11932);
    const before = irq0.rises;
    for (let i = 1; i <= 10; i++) {
      ticks(11931);
      expect(irq0.rises - before).toBe(i - 1);
      ticks(1);
      expect(irq0.rises - before).toBe(i);
    }
  });

  test('mode 0 rises once when the count is over, and falls when a new one is begun', () => {
    const { irq0, program, out, ticks } = bench();
    program(0, 0, 100);
    ticks(99);
    expect(irq0.level).toBe(false);
    ticks(1);
    expect(irq0.level).toBe(true);
    ticks(100_000);
    expect(irq0.rises).toBe(1);
    out(0, 50);
    expect(irq0.level).toBe(false);
    out(0, 0);
    ticks(50);
    expect(irq0.rises).toBe(2);
  });

  test('mode 4 strobes once', () => {
    const { irq0, program, ticks } = bench();
    program(0, 4, 100);
    const before = irq0.rises;
    ticks(100);
    expect(irq0.rises).toBe(before);
    ticks(1);
    expect(irq0.rises).toBe(before + 1);
    ticks(100_000);
    expect(irq0.rises).toBe(before + 1);
  });

  test('a new count of a running rate generator takes effect after the period', () => {
    const { irq0, program, out, ticks } = bench();
    program(0, 2, 1000);
    const before = irq0.rises;
    ticks(500);
    out(0, 0xd0);
    out(0, 0x07); // 2000
    ticks(500);
    expect(irq0.rises - before).toBe(1);
    ticks(1999);
    expect(irq0.rises - before).toBe(1);
    ticks(1);
    expect(irq0.rises - before).toBe(2);
  });

  test('an absurdly short period does not cost more than a callback every 20 microseconds', () => {
    const { clock, program } = bench();
    program(0, 2, 1);
    clock.advance(10_000_000);
    expect(clock.callbacks).toBeGreaterThan(300);
    expect(clock.callbacks).toBeLessThan(520);
  });

  test('a control word stops it', () => {
    const { clock, irq0, out, program } = bench();
    program(0, 2, 1000);
    out(3, 0x34);
    const before = irq0.rises;
    clock.advance(1e9);
    expect(irq0.rises).toBe(before);
  });
});

describe('counters', () => {
  test('count down, wrap, and are latched at one moment', () => {
    const { count, program, out, in: read, ticks } = bench();
    program(1, 0, 0x1234);
    ticks(0x34);
    expect(count(1)).toBe(0x1200);
    out(3, 0x40);
    ticks(100);
    out(3, 0x40); // ignored: the first latch is not read yet
    expect(read(1) | (read(1) << 8)).toBe(0x1200);
    ticks(0x1200 - 100 + 1);
    expect(count(1)).toBe(0xffff);
  });

  test('count in decimal when told so', () => {
    const { count, program, ticks } = bench();
    program(1, 0, 0x1000, 1);
    ticks(1);
    expect(count(1)).toBe(0x0999);
    ticks(1000);
    expect(count(1)).toBe(0x9999);
  });

  test('a count of 0 means 65536', () => {
    const { count, program, ticks } = bench();
    program(1, 2, 0);
    expect(count(1)).toBe(0);
    ticks(1);
    expect(count(1)).toBe(0xffff);
    ticks(0xffff);
    expect(count(1)).toBe(0);
  });

  test('mode 3 counts by two', () => {
    const { count, program, ticks } = bench();
    program(1, 3, 1000);
    ticks(100);
    expect(count(1)).toBe(800);
    ticks(500);
    expect(count(1)).toBe(800);
  });

  test('can be read and written by single bytes', () => {
    const { out, in: read, ticks } = bench();
    out(3, 0x60); // channel 1, high byte, mode 0
    out(1, 0x12);
    ticks(0x100);
    expect(read(1)).toBe(0x11);
    out(3, 0x50);
    out(1, 0x40);
    ticks(0x10);
    expect(read(1)).toBe(0x30);
  });

  test('the read-back command gives status first, then the count', () => {
    const { out, in: read, program, ticks } = bench();
    program(1, 0, 0x0300);
    ticks(0x100);
    out(3, 0xc4);
    expect(read(1)).toBe(0x30);
    expect(read(1) | (read(1) << 8)).toBe(0x200);
    ticks(0x200);
    out(3, 0xe4);
    expect(read(1)).toBe(0xb0);
    out(3, 0x74);
    out(3, 0xe4);
    expect(read(1)).toBe(0x80 | 0x40 | 0x34);
  });
});

describe('channel 2 and port 0x61', () => {
  test('the output rises when the count is over, as TSC calibration waits for it', () => {
    const { port61, program, ticks } = bench();
    port61.write(0, 1, 1);
    program(2, 0, 11932);
    ticks(11931);
    expect(port61.read(0, 1) & 0x21).toBe(0x01);
    ticks(1);
    expect(port61.read(0, 1) & 0x21).toBe(0x21);
  });

  test('a low gate stops the count, and a high one goes on', () => {
    const { count, port61, program, ticks } = bench();
    port61.write(0, 1, 1);
    program(2, 0, 1000);
    ticks(100);
    port61.write(0, 1, 0);
    ticks(500);
    expect(count(2)).toBe(900);
    port61.write(0, 1, 1);
    ticks(100);
    expect(count(2)).toBe(800);
  });

  test('a rising gate starts a one-shot', () => {
    const { pit, port61, program, ticks } = bench();
    program(2, 1, 100);
    ticks(500);
    expect(pit.out2).toBe(true);
    port61.write(0, 1, 1);
    expect(pit.out2).toBe(false);
    ticks(99);
    expect(pit.out2).toBe(false);
    ticks(1);
    expect(pit.out2).toBe(true);
  });

  test('the speaker sounds the square wave while both bits are set', () => {
    const { port61, program, tones } = bench();
    program(2, 3, 1193);
    port61.write(0, 1, 3);
    port61.write(0, 1, 1);
    expect(tones).toEqual([1000, 0]);
  });

  test('the refresh bit toggles every 15 microseconds', () => {
    const { clock, port61 } = bench();
    let changes = 0;
    let last = port61.read(0, 1) & 0x10;
    for (let i = 0; i < 1000; i++) {
      clock.advance(1000);
      const bit = port61.read(0, 1) & 0x10;
      if (bit !== last) changes++;
      last = bit;
    }
    expect(changes).toBe(66);
  });
});
