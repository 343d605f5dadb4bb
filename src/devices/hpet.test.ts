import { describe, expect, test } from 'vitest';
import { TestClock } from '../machine/testing/clock.ts';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { RecordingLine } from '../machine/testing/recorders.ts';
import { Hpet } from './hpet.ts';

const ENABLE = 1;
const LEGACY = 2;
const LEVEL = 1 << 1;
const INT = 1 << 2;
const PERIODIC = 1 << 3;
const SET = 1 << 6;
const MODE32 = 1 << 8;
const route = (pin: number) => pin << 9;

function bench() {
  const clock = new TestClock();
  const irq0 = new RecordingLine();
  const irq8 = new RecordingLine();
  const pin20 = new RecordingLine();
  const pin21 = new RecordingLine();
  const hpet = new Hpet({
    clock,
    legacy: [irq0, irq8],
    routes: new Map([
      [20, pin20],
      [21, pin21],
    ]),
  });
  const out = (offset: number, value: number) => hpet.write(offset, 4, value);
  const read = (offset: number) => hpet.read(offset, 4);
  const config = (n: number, value: number) => out(0x100 + 0x20 * n, value);
  const compare = (n: number, value: number) => out(0x108 + 0x20 * n, value);
  return { clock, hpet, irq0, irq8, pin20, pin21, out, in: read, config, compare };
}

deviceSuite('hpet', () => {
  const { clock, hpet, irq0, irq8, pin20, pin21, out, config, compare } = bench();
  return {
    device: hpet,
    clock,
    lines: [irq0, irq8, pin20, pin21],
    faces: [{ face: hpet, size: 0x400 }],
    disturb() {
      out(0x0f0, 5);
      config(0, INT | LEVEL | PERIODIC | SET | MODE32 | route(20));
      compare(0, 1000);
      compare(0, 500);
      out(0x010, ENABLE);
      clock.advance(123_456);
      hpet.pit.set(true);
    },
  };
});

test('tells three 64-bit timers of 10 ns and where they can be routed', () => {
  const { in: read } = bench();
  expect(read(0)).toBe(0x8086_a201);
  expect(read(4)).toBe(10_000_000);
  expect(read(0x104)).toBe(0x0030_0000);
  expect(read(0x100)).toBe(0x30);
});

describe('the main counter', () => {
  test('runs while enabled, and can be set while halted', () => {
    const { clock, out, in: read } = bench();
    clock.advance(1000);
    expect(read(0xf0)).toBe(0);
    out(0xf0, 0xffff_fff0);
    out(0xf4, 0x1);
    out(0x10, ENABLE);
    clock.advance(170);
    expect([read(0xf0), read(0xf4)]).toEqual([1, 2]);
    out(0xf0, 77);
    expect(read(0xf0)).toBe(1);
    out(0x10, 0);
    clock.advance(1000);
    expect(read(0xf0)).toBe(1);
  });
});

describe('timers', () => {
  test('a one-shot timer interrupts once, when the counter equals its comparator', () => {
    const { clock, pin20, out, config, compare } = bench();
    out(0x10, ENABLE);
    config(0, INT | route(20));
    compare(0, 100);
    out(0x10c, 0);
    clock.advance(999);
    expect(pin20.rises).toBe(0);
    clock.advance(1);
    expect(pin20.rises).toBe(1);
    clock.advance(1e12);
    expect(pin20.rises).toBe(1);
  });

  test('a comparator that is already passed matches only after the counter wraps', () => {
    const { clock, pin20, out, config, compare } = bench();
    out(0x10, ENABLE);
    clock.advance(10_000);
    config(0, INT | MODE32 | route(20));
    compare(0, 100);
    clock.advance(40e9);
    expect(pin20.rises).toBe(0);
    clock.advance(3e9);
    expect(pin20.rises).toBe(1);
  });

  test('a periodic timer starts at the value set and goes on by its period', () => {
    const { clock, pin21, out, in: read, config, compare } = bench();
    out(0x10, ENABLE);
    config(1, INT | PERIODIC | SET | MODE32 | route(21));
    compare(1, 5000);
    compare(1, 10_000);
    clock.advance(50_000);
    expect(pin21.rises).toBe(1);
    expect(read(0x128)).toBe(15_000);
    clock.advance(1_000_000);
    expect(pin21.rises).toBe(11);
  });

  test('a level-triggered interrupt stays until its status is cleared', () => {
    const { clock, pin20, out, in: read, config, compare } = bench();
    out(0x10, ENABLE);
    config(2, INT | LEVEL | MODE32 | route(20));
    compare(2, 100);
    clock.advance(2000);
    expect(pin20.level).toBe(true);
    expect(read(0x20)).toBe(4);
    out(0x20, 4);
    expect(pin20.level).toBe(false);
  });

  test('an absurdly short period does not cost more than a callback every 20 microseconds', () => {
    const { clock, out, config, compare } = bench();
    out(0x10, ENABLE);
    config(0, INT | PERIODIC | SET | MODE32 | route(20));
    compare(0, 10);
    compare(0, 1);
    clock.advance(10_000_000);
    expect(clock.callbacks).toBeGreaterThan(300);
    expect(clock.callbacks).toBeLessThan(520);
  });
});

describe('legacy replacement', () => {
  test('takes interrupts 0 and 8 from the PIT and the RTC', () => {
    const { clock, hpet, irq0, irq8, out, config, compare } = bench();
    hpet.pit.set(true);
    hpet.rtc.set(true);
    expect([irq0.level, irq8.level]).toEqual([true, true]);
    out(0x10, ENABLE | LEGACY);
    expect([irq0.level, irq8.level]).toEqual([false, false]);
    hpet.pit.set(false);
    hpet.pit.set(true);
    expect(irq0.rises).toBe(1);
    config(0, INT | MODE32 | route(20));
    config(1, INT | MODE32 | route(20));
    compare(0, 1000);
    compare(1, 1000);
    clock.advance(10_000);
    expect([irq0.rises, irq8.rises]).toEqual([2, 2]);
  });
});
