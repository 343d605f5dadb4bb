import { describe, expect, test } from 'vitest';
import { TestClock } from '../machine/testing/clock.ts';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { RecordingLine } from '../machine/testing/recorders.ts';
import { cmosMemory, Mc146818 } from './mc146818.ts';

const SECOND = 1e9;

function bench(epochMs = Date.UTC(2026, 10, 22, 23, 59, 57)) {
  const clock = new TestClock(epochMs);
  const irq = new RecordingLine();
  const rtc = new Mc146818(clock, irq, cmosMemory(0x2000_0000, 0));
  const out = (index: number, value: number) => {
    rtc.write(0, 1, index);
    rtc.write(1, 1, value);
  };
  const read = (index: number) => {
    rtc.write(0, 1, index);
    return rtc.read(1, 1);
  };
  return { clock, irq, rtc, out, in: read, time: () => [0x32, 9, 8, 7, 4, 2, 0].map(read) };
}

deviceSuite('mc146818', () => {
  const { clock, irq, rtc, out } = bench();
  return {
    device: rtc,
    clock,
    lines: [irq],
    faces: [{ face: rtc, size: 2 }],
    disturb() {
      out(0x0b, 0x82);
      out(0, 0x10);
      out(0x0b, 0x72);
      out(0x40, 0x77);
      clock.advance(2.5 * SECOND);
    },
  };
});

describe('time', () => {
  test('shows the wall clock in BCD, and lets it run', () => {
    const { clock, time, in: read } = bench();
    expect(time()).toEqual([0x20, 0x26, 0x11, 0x22, 0x23, 0x59, 0x57]);
    expect(read(6)).toBe(1);
    clock.advance(3 * SECOND);
    expect(time()).toEqual([0x20, 0x26, 0x11, 0x23, 0x00, 0x00, 0x00]);
    expect(read(6)).toBe(2);
  });

  test('shows binary and 12 hours when asked', () => {
    const { clock, out, time } = bench();
    out(0x0b, 0x04);
    expect(time()).toEqual([20, 26, 11, 22, 0x80 | 11, 59, 57]);
    clock.advance(3 * SECOND);
    expect(time()[4]).toBe(12);
  });

  test('that the guest has set goes on by what passed while the machine was saved', () => {
    const { rtc, out, time } = bench();
    out(7, 0x10);
    rtc.letPass(3_600_000);
    expect(time()).toEqual([0x20, 0x26, 0x11, 0x11, 0x00, 0x59, 0x57]);
  });

  test('stands while SET is on, and goes on from what was written', () => {
    const { clock, out, time } = bench();
    out(0x0b, 0x82);
    clock.advance(10 * SECOND);
    expect(time()[6]).toBe(0x57);
    for (const [index, value] of [
      [0x32, 0x20],
      [9, 0x00],
      [8, 0x02],
      [7, 0x29],
      [4, 0x12],
      [2, 0x30],
      [0, 0x00],
    ] as const) {
      out(index, value);
    }
    out(0x0b, 0x02);
    clock.advance(5 * SECOND);
    expect(time()).toEqual([0x20, 0x00, 0x02, 0x29, 0x12, 0x30, 0x05]);
  });

  test('one register can be written while the clock runs', () => {
    const { out, time } = bench();
    out(2, 0x15);
    expect(time()).toEqual([0x20, 0x26, 0x11, 0x22, 0x23, 0x15, 0x57]);
  });

  test('starts half a second into a second after a reset of the divider', () => {
    const { clock, out, in: read } = bench();
    out(0x0a, 0x76);
    out(0, 0x10);
    clock.advance(7 * SECOND);
    out(0x0a, 0x26);
    clock.advance(0.49 * SECOND);
    expect(read(0)).toBe(0x10);
    clock.advance(0.02 * SECOND);
    expect(read(0)).toBe(0x11);
  });

  test('announces an update shortly before it, but not while being set', () => {
    const { clock, out, in: read } = bench();
    expect(read(0x0a)).toBe(0x26);
    clock.advance(0.998 * SECOND);
    expect(read(0x0a)).toBe(0xa6);
    clock.advance(0.003 * SECOND);
    expect(read(0x0a)).toBe(0x26);
    clock.advance(0.998 * SECOND);
    out(0x0b, 0x82);
    expect(read(0x0a)).toBe(0x26);
  });

  test('nonsense in the registers does no harm', () => {
    const { out, time } = bench();
    out(0x0b, 0x86);
    for (const index of [0, 2, 4, 7, 8, 9, 0x32]) out(index, 0xff);
    out(0x0b, 0x06);
    expect(time()).toHaveLength(7);
  });
});

describe('interrupts', () => {
  test('update-ended comes each second, and register C clears it', () => {
    const { clock, irq, out, in: read } = bench();
    out(0x0b, 0x12);
    for (let i = 1; i <= 3; i++) {
      clock.advance(SECOND);
      expect(irq.rises).toBe(i);
      expect(read(0x0c) & 0x90).toBe(0x90);
      expect(irq.level).toBe(false);
    }
  });

  test('flags are set without interrupts too, and can be polled', () => {
    const { clock, irq, in: read } = bench();
    read(0x0c);
    clock.advance(SECOND);
    expect(read(0x0c) & 0x90).toBe(0x10);
    expect(irq.rises).toBe(0);
  });

  test('the alarm comes at its time, once a day', () => {
    const { clock, irq, out, in: read } = bench();
    out(5, 0x00);
    out(3, 0x00);
    out(1, 0x02);
    out(0x0b, 0x22);
    clock.advance(4.9 * SECOND);
    expect(irq.level).toBe(false);
    clock.advance(0.2 * SECOND);
    expect(irq.level).toBe(true);
    expect(read(0x0c) & 0xa0).toBe(0xa0);
    clock.advance(86_300 * SECOND);
    expect(irq.rises).toBe(1);
    clock.advance(100 * SECOND);
    expect(irq.rises).toBe(2);
  });

  test('an alarm byte from 0xc0 on matches every value', () => {
    const { clock, irq, out, in: read } = bench();
    out(5, 0xff);
    out(3, 0xff);
    out(1, 0x05);
    out(0x0b, 0x22);
    for (let i = 0; i < 3; i++) {
      clock.advance(60 * SECOND);
      read(0x0c);
    }
    expect(irq.rises).toBe(3);
  });

  test('the periodic interrupt has the selected rate', () => {
    const { clock, irq, out, in: read } = bench();
    out(0x0a, 0x26); // 1024 Hz
    out(0x0b, 0x42);
    for (let i = 0; i < 1000; i++) {
      clock.advance(SECOND / 1000);
      read(0x0c);
    }
    expect(irq.rises).toBeGreaterThan(970);
    expect(irq.rises).toBeLessThan(1025);
  });

  test('nothing more happens until register C is read', () => {
    const { clock, irq, out } = bench();
    out(0x0a, 0x23); // 8192 Hz
    out(0x0b, 0x42);
    clock.advance(10 * SECOND);
    expect(irq.rises).toBe(1);
    expect(clock.callbacks).toBe(1);
  });
});

describe('memory', () => {
  test('keeps bytes, and its memory size cannot be changed', () => {
    const { rtc, out, in: read } = bench();
    out(0x50, 0xa5);
    expect(read(0x50)).toBe(0xa5);
    expect([read(0x15), read(0x16), read(0x34), read(0x35)]).toEqual([0x80, 0x02, 0x00, 0x1f]);
    out(0x35, 0);
    expect(read(0x35)).toBe(0x1f);
    expect(read(0x0d)).toBe(0x80);
    expect(rtc.read(0, 1)).toBe(0xff);
  });

  test('bit 7 of the index masks NMI', () => {
    const { rtc } = bench();
    rtc.write(0, 1, 0x8f);
    expect(rtc.nmiMasked).toBe(true);
    rtc.write(0, 1, 0x0f);
    expect(rtc.nmiMasked).toBe(false);
  });

  test('the reset pin disables interrupts and keeps the rest', () => {
    const { rtc, clock, irq, out, in: read } = bench();
    out(0x0f, 0x05);
    out(0x0b, 0x72);
    clock.advance(SECOND);
    rtc.resetPin();
    expect(irq.level).toBe(false);
    expect([read(0x0b), read(0x0f)]).toEqual([0x02, 0x05]);
  });
});
