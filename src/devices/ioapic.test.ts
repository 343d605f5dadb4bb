import { expect, test } from 'vitest';
import type { ApicMessage } from '../machine/apic.ts';
import { pulse } from '../machine/irq.ts';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { IoApic } from './ioapic.ts';

function bench() {
  const sent: ApicMessage[] = [];
  const ioapic = new IoApic({ send: (message) => void sent.push(message), endOfInterrupt() {} });
  const out = (register: number, value: number) => {
    ioapic.write(0, 4, register);
    ioapic.write(0x10, 4, value);
  };
  const read = (register: number) => {
    ioapic.write(0, 4, register);
    return ioapic.read(0x10, 4);
  };
  return { ioapic, sent, out, read, line: (pin: number) => ioapic.lines[pin]! };
}

deviceSuite('ioapic', () => {
  const { ioapic, out, line } = bench();
  return {
    device: ioapic,
    faces: [{ face: ioapic, size: 0x44 }],
    disturb() {
      out(0, 0x0500_0000);
      out(0x10 + 8, 0x8033);
      out(0x11 + 8, 0x0300_0000);
      line(4).set(true);
    },
  };
});

test('tells its version and number of pins', () => {
  expect(bench().read(1)).toBe(0x0017_0020);
});

test('an edge sends one message with the entry as programmed', () => {
  const { out, line, sent } = bench();
  out(0x13, 0x0300_0000);
  out(0x12, 0x0931);
  line(1).set(true);
  line(1).set(true);
  expect(sent).toEqual([{ destination: 3, logical: true, mode: 1, vector: 0x31, level: false }]);
});

test('an edge on a masked pin is lost', () => {
  const { out, line, sent } = bench();
  line(1).set(true);
  out(0x12, 0x31);
  expect(sent).toEqual([]);
  pulse(line(1));
  line(1).set(false);
  line(1).set(true);
  expect(sent).toHaveLength(1);
});

test('a level interrupts once until its end, then again while it is high', () => {
  const { ioapic, out, read, line, sent } = bench();
  out(0x1a, 0x8042);
  line(5).set(true);
  line(5).set(false);
  line(5).set(true);
  expect(sent).toHaveLength(1);
  expect(read(0x1a)).toBe(0xc042);
  ioapic.endOfInterrupt(0x41);
  expect(sent).toHaveLength(1);
  ioapic.endOfInterrupt(0x42);
  expect(sent).toHaveLength(2);
  line(5).set(false);
  ioapic.write(0x40, 4, 0x42);
  expect(sent).toHaveLength(2);
  expect(read(0x1a)).toBe(0x8042);
});

test('a level that came while masked interrupts when unmasked', () => {
  const { out, line, sent } = bench();
  out(0x1a, 0x1_8042);
  line(5).set(true);
  expect(sent).toEqual([]);
  out(0x1a, 0x8042);
  expect(sent).toHaveLength(1);
});

test('switching an entry to edge clears its remote IRR', () => {
  const { out, read, line } = bench();
  out(0x1a, 0x8042);
  line(5).set(true);
  line(5).set(false);
  out(0x1a, 0x1_0042);
  out(0x1a, 0x1_8042);
  expect(read(0x1a)).toBe(0x1_8042);
});
