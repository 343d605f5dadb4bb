import { describe, expect, test } from 'vitest';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { RecordingLine } from '../machine/testing/recorders.ts';
import { I8042 } from './i8042.ts';

function bench() {
  const irq1 = new RecordingLine();
  const irq12 = new RecordingLine();
  const a20 = new RecordingLine();
  const leds: number[] = [];
  let resets = 0;
  const kbc = new I8042({ keyboardIrq: irq1, mouseIrq: irq12, a20, reset: () => void resets++, leds: (bits) => void leds.push(bits) });
  const command = (value: number, data?: number) => {
    kbc.command.write(0, 1, value);
    if (data !== undefined) kbc.data.write(0, 1, data);
  };
  const status = () => kbc.command.read(0, 1);
  /** Everything that waits, as a polling driver reads it. */
  const drain = () => {
    const got: number[] = [];
    while (status() & 1 && got.length < 1000) got.push(kbc.data.read(0, 1));
    return got;
  };
  const keyboard = (...bytes: number[]) => {
    const got: number[] = [];
    for (const byte of bytes) {
      kbc.data.write(0, 1, byte);
      got.push(...drain());
    }
    return got;
  };
  const mouse = (...bytes: number[]) => {
    const got: number[] = [];
    for (const byte of bytes) {
      command(0xd4, byte);
      got.push(...drain());
    }
    return got;
  };
  return { kbc, irq1, irq12, a20, leds, command, status, drain, keyboard, mouse, resets: () => resets };
}

/** With the mouse on and its interrupt enabled. */
function withMouse(...setup: number[]) {
  const all = bench();
  all.command(0x60, 0x47);
  all.mouse(...setup, 0xf4);
  return all;
}

deviceSuite('i8042', () => {
  const { kbc, irq1, irq12, a20, command, drain } = bench();
  return {
    device: kbc,
    lines: [irq1, irq12, a20],
    faces: [
      { face: kbc.data, size: 1 },
      { face: kbc.command, size: 1 },
    ],
    disturb() {
      command(0x60, 0x47);
      command(0xd4, 0xf4);
      drain();
      command(0x62, 0x99);
      kbc.key([0xe0, 0xf0, 0x75]);
      kbc.mouse(-300, 20, 1, 5);
      command(0xdd);
      command(0xd4);
    },
  };
});

describe('controller', () => {
  test('passes its self tests, and answers with its RAM', () => {
    const { command, drain, status } = bench();
    for (const [value, answer] of [
      [0xaa, 0x55],
      [0xa9, 0x00],
      [0xab, 0x00],
      [0x20, 0x45],
      [0xa4, 0xf1],
    ] as const) {
      command(value);
      expect(status() & 0x21).toBe(0x01);
      expect(drain()).toEqual([answer]);
    }
    command(0x7f, 0x42);
    command(0x3f);
    expect(drain()).toEqual([0x42]);
  });

  test('disabling an interface shows in the command byte', () => {
    const { command, drain } = bench();
    const control = (value: number) => {
      command(value);
      command(0x20);
      return drain()[0]! & 0x30;
    };
    expect([0xa7, 0xad, 0xa8, 0xae].map(control)).toEqual([0x20, 0x30, 0x10, 0x00]);
  });

  test('loops bytes back as if from the keyboard or the mouse, with their interrupts', () => {
    const { command, drain, irq1, irq12, status } = bench();
    command(0x60, 0x03);
    command(0xd2, 0xf0);
    expect(irq1.level).toBe(true);
    expect(drain()).toEqual([0xf0]);
    command(0xd3, 0x5a);
    expect(status() & 0x21).toBe(0x21);
    expect([irq1.level, irq12.level]).toEqual([false, true]);
    expect(drain()).toEqual([0x5a]);
    expect(irq12.level).toBe(false);
  });

  test('tells whether the last write was a command', () => {
    const { command, status, kbc } = bench();
    command(0xae);
    expect(status() & 8).toBe(8);
    kbc.data.write(0, 1, 0xee);
    expect(status() & 8).toBe(0);
  });

  test('resets the processor and switches A20', () => {
    const { command, drain, a20, resets } = bench();
    command(0xfe);
    command(0xff);
    expect(resets()).toBe(1);
    command(0xdd);
    expect(a20.level).toBe(false);
    command(0xd0);
    expect(drain()).toEqual([0x01]);
    command(0xd1, 0x03);
    expect(a20.level).toBe(true);
    command(0xd1, 0x02);
    expect(resets()).toBe(2);
  });

  test('a byte that waits is not lost to a command', () => {
    const { kbc, command, drain } = bench();
    kbc.key([0x1c]);
    command(0x20);
    expect(drain()).toEqual([0x1e, 0x45]);
  });
});

describe('keyboard', () => {
  test('identifies itself, resets and echoes', () => {
    const { command, keyboard } = bench();
    command(0x60, 0x05); // no translation
    expect(keyboard(0xf2)).toEqual([0xfa, 0xab, 0x83]);
    expect(keyboard(0xff)).toEqual([0xfa, 0xaa]);
    expect(keyboard(0xee)).toEqual([0xee]);
    expect(keyboard(0x01)).toEqual([0xfe]);
  });

  test('its identity is translated too', () => {
    expect(bench().keyboard(0xf2)).toEqual([0xfa, 0xab, 0x41]);
  });

  test('sets LEDs, rate and scan code set', () => {
    const { keyboard, leds } = bench();
    expect(keyboard(0xed, 0x02)).toEqual([0xfa, 0xfa]);
    expect(leds).toEqual([2]);
    expect(keyboard(0xf3, 0x00)).toEqual([0xfa, 0xfa]);
    expect(keyboard(0xf0, 0x00)).toEqual([0xfa, 0xfa, 0x41]); // 2, translated
    expect(keyboard(0xf0, 0x03)).toEqual([0xfa, 0xfe]);
  });

  test('a key reaches the guest translated to set 1, with an edge for each byte', () => {
    const { kbc, drain, irq1 } = bench();
    kbc.key([0x1c]);
    kbc.key([0xf0, 0x1c]);
    kbc.key([0xe0, 0x75]);
    kbc.key([0xe0, 0xf0, 0x75]);
    expect(drain()).toEqual([0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8]);
    expect(irq1.rises).toBe(6);
  });

  test('or in set 2 without translation, or in set 1 by itself', () => {
    const { kbc, command, drain, keyboard } = bench();
    command(0x60, 0x05);
    kbc.key([0xe0, 0xf0, 0x75]);
    expect(drain()).toEqual([0xe0, 0xf0, 0x75]);
    keyboard(0xf0, 0x01);
    kbc.key([0xe0, 0xf0, 0x75]);
    expect(drain()).toEqual([0xe0, 0xc8]);
  });

  test('keys wait while the interface is disabled, and are dropped while scanning is', () => {
    const { kbc, command, drain, keyboard } = bench();
    command(0xad);
    kbc.key([0x1c]);
    expect(drain()).toEqual([]);
    command(0xae);
    expect(drain()).toEqual([0x1e]);
    keyboard(0xf5);
    kbc.key([0x1c]);
    expect(drain()).toEqual([]);
    keyboard(0xf4);
    kbc.key([0x1c]);
    expect(drain()).toEqual([0x1e]);
  });

  test('a full buffer drops whole keys, never parts', () => {
    const { kbc, command, drain } = bench();
    command(0x60, 0x05);
    for (let i = 0; i < 1000; i++) kbc.key([0xe0, 0xf0, 0x75]);
    const got = drain();
    expect(got.length % 3).toBe(0);
    expect(got.length).toBeGreaterThan(200);
    expect(got.length).toBeLessThan(300);
  });

  test('answers come before keys that wait', () => {
    const { kbc, drain, keyboard } = bench();
    kbc.key([0x1c]);
    kbc.key([0x32]);
    expect(keyboard(0xee)).toEqual([0x1e, 0xee, 0x30]);
    expect(drain()).toEqual([]);
  });

  test('resend gives the last byte again', () => {
    const { kbc, drain, keyboard } = bench();
    kbc.key([0x1c]);
    drain();
    expect(keyboard(0xfe)).toEqual([0x1e]);
  });
});

describe('mouse', () => {
  test('resets, identifies itself and tells its status', () => {
    const { mouse } = bench();
    expect(mouse(0xff)).toEqual([0xfa, 0xaa, 0x00]);
    expect(mouse(0xf2)).toEqual([0xfa, 0x00]);
    expect(mouse(0xe8, 0x03, 0xf3, 0x50, 0xe7, 0xf4)).toEqual([0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa]);
    expect(mouse(0xe9)).toEqual([0xfa, 0x30, 0x03, 0x50]);
  });

  test('streams movement with y up, on its own interrupt', () => {
    const { kbc, drain, irq1, irq12 } = withMouse();
    kbc.mouse(5, 3, 0, 1);
    expect([irq1.level, irq12.level]).toEqual([false, true]);
    expect(drain()).toEqual([0x29, 5, 0xfd]);
  });

  test('says nothing until it is enabled', () => {
    const { kbc, drain, mouse } = bench();
    kbc.mouse(5, 3, 0, 1);
    expect(drain()).toEqual([]);
    expect(mouse(0xeb)).toEqual([0xfa, 0x29, 5, 0xfd]);
  });

  test('long movements take several packets and lose nothing', () => {
    const { kbc, drain } = withMouse();
    kbc.mouse(600, -10, 0, 0);
    expect(drain()).toEqual([0x08, 255, 10, 0x08, 255, 0, 0x08, 90, 0]);
  });

  test('the knock of sample rates turns on the wheel, then five buttons', () => {
    const imps = [0xf3, 200, 0xf3, 100, 0xf3, 80];
    const wheel = withMouse(...imps);
    expect(wheel.mouse(0xf2)).toEqual([0xfa, 3]);
    wheel.kbc.mouse(0, 0, -1, 0);
    expect(wheel.drain()).toEqual([0x08, 0, 0, 0xff]);
    const five = withMouse(...imps, 0xf3, 200, 0xf3, 200, 0xf3, 80);
    expect(five.mouse(0xf2)).toEqual([0xfa, 4]);
    five.kbc.mouse(1, 0, -2, 0x18 | 4);
    expect(five.drain()).toEqual([0x0c, 1, 0, 0x3e]);
  });

  test('a quick click is not lost', () => {
    const { kbc, drain } = withMouse();
    kbc.mouse(0, 0, 0, 1);
    kbc.mouse(0, 0, 0, 0);
    expect(drain()).toEqual([0x09, 0, 0, 0x08, 0, 0]);
  });

  test('a guest that does not read costs no memory, and gets the sum of movements', () => {
    const { kbc, drain } = withMouse();
    for (let i = 0; i < 10_000; i++) kbc.mouse(i % 2, 0, 0, i & 1);
    const got = drain();
    expect(got.length).toBeLessThan(1000);
    expect(got.length % 3).toBe(0);
    expect(got.filter((_, i) => i % 3 === 1).reduce((sum, x) => sum + x, 0)).toBe(5000);
  });

  test('wrap mode echoes everything but its end', () => {
    const { mouse } = bench();
    expect(mouse(0xee, 0x12, 0xf2, 0xec, 0xf2)).toEqual([0xfa, 0x12, 0xf2, 0xfa, 0xfa, 0x00]);
  });
});
