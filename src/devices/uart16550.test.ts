import { describe, expect, test } from 'vitest';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { RecordingChar, RecordingLine } from '../machine/testing/recorders.ts';
import { Uart16550 } from './uart16550.ts';

function bench() {
  const output = new RecordingChar();
  const irq = new RecordingLine();
  const uart = new Uart16550(output, irq);
  return {
    uart,
    output,
    irq,
    in: (offset: number) => uart.read(offset, 1),
    out: (offset: number, value: number) => uart.write(offset, 1, value),
    type: (text: string) => uart.receive(new TextEncoder().encode(text)),
  };
}

deviceSuite('uart16550', () => {
  const { uart, irq, out, type } = bench();
  return {
    device: uart,
    faces: [{ face: uart, size: 8 }],
    lines: [irq],
    disturb() {
      out(2, 0xc1);
      out(1, 0x0f);
      out(0, 0x41);
      out(7, 0x5a);
      type('more than sixteen characters');
      uart.receiveBreak();
    },
  };
});

describe('transmitter', () => {
  test('sends what is written', () => {
    const { out, output } = bench();
    for (const c of 'hello') out(0, c.charCodeAt(0));
    expect(output.text).toBe('hello');
  });

  test('raises THRE when its interrupt is enabled, and again each time it is enabled', () => {
    const { in: inb, out, irq } = bench();
    out(1, 2);
    expect(irq.level).toBe(true);
    expect(inb(2)).toBe(0x02);
    expect(irq.level).toBe(false);
    expect(inb(2)).toBe(0x01);
    out(1, 0);
    out(1, 2);
    expect(inb(2)).toBe(0x02);
  });

  test('raises THRE after a write, with an edge', () => {
    const { in: inb, out, irq } = bench();
    out(1, 2);
    inb(2);
    out(0, 65);
    expect(irq.rises).toBe(2);
    expect(inb(5)).toBe(0x60);
  });

  test('reading the IIR of a higher interrupt leaves THRE pending', () => {
    const { in: inb, out, type } = bench();
    out(1, 3);
    type('x');
    expect(inb(2)).toBe(0x04);
    inb(0);
    expect(inb(2)).toBe(0x02);
  });
});

describe('receiver', () => {
  test('gives the bytes of a long input in order, FIFO by FIFO', () => {
    const { in: inb, out, type } = bench();
    out(2, 0x01);
    const text = 'The quick brown fox jumps over the lazy dog';
    expect(type(text)).toBe(text.length);
    let got = '';
    while (inb(5) & 1) got += String.fromCharCode(inb(0));
    expect(got).toBe(text);
  });

  test('tells a FIFO at its trigger level from one with a time-out', () => {
    const { in: inb, out, type } = bench();
    out(2, 0xc1);
    out(1, 1);
    type('0123456789abc');
    expect(inb(2)).toBe(0xcc);
    type('d');
    expect(inb(2)).toBe(0xc4);
    inb(0);
    expect(inb(2)).toBe(0xcc);
  });

  test('drops the interrupt when the last byte is read', () => {
    const { in: inb, out, type, irq } = bench();
    out(1, 1);
    type('ab');
    inb(0);
    expect(irq.level).toBe(true);
    inb(0);
    expect(irq.level).toBe(false);
  });

  test('takes a bounded amount and says how much', () => {
    const { uart } = bench();
    const taken = uart.receive(new Uint8Array(100_000));
    expect(taken).toBe(4096);
    expect(uart.receive(new Uint8Array(10))).toBe(1); // one went into the holding register
  });

  test('tells when half of what it can hold has been read after it refused bytes, and after a reset', () => {
    let rooms = 0;
    const uart = new Uart16550({ write() {}, room: () => rooms++ }, { set() {} });
    const read = (bytes: number): void => {
      for (let n = 0; n < bytes; n++) uart.read(0, 1);
    };
    uart.receive(new Uint8Array(4096));
    read(3000);
    expect(rooms).toBe(0); // nothing had been refused
    uart.receive(new Uint8Array(100_000));
    read(2047);
    expect(rooms).toBe(0);
    read(1);
    expect(rooms).toBe(1);
    uart.receive(new Uint8Array(100_000));
    Object.assign(uart.state, uart.schema.create());
    uart.sync();
    expect(rooms).toBe(2);
  });

  test('input that was waiting survives a reset of the FIFO', () => {
    const { in: inb, out, type } = bench();
    out(2, 0x01);
    type('abc');
    inb(0);
    out(2, 0x07);
    expect(String.fromCharCode(inb(0), inb(0))).toBe('bc');
  });

  test('reports a break with its NUL, once', () => {
    const { uart, in: inb, out } = bench();
    out(2, 0x01);
    out(1, 4);
    uart.receiveBreak();
    expect(inb(2)).toBe(0xc6);
    expect(inb(5)).toBe(0x60 | 0x80 | 0x10 | 0x01);
    expect(inb(5)).toBe(0x61);
    expect(inb(2)).toBe(0xc1);
    expect(inb(0)).toBe(0);
  });
});

describe('what a driver probes', () => {
  test('the interrupt enable register has four bits', () => {
    const { in: inb, out } = bench();
    out(1, 0xff);
    expect(inb(1)).toBe(0x0f);
  });

  test('loopback shows the modem outputs at the inputs', () => {
    const { in: inb, out } = bench();
    expect(inb(6) & 0xf0).toBe(0xb0);
    out(4, 0x10 | 0x08 | 0x02);
    expect(inb(6) & 0xf0).toBe(0x90);
  });

  test('loopback tells of changed inputs, of RI only when it ends', () => {
    const { in: inb, out, irq } = bench();
    out(4, 0x10);
    inb(6);
    out(1, 8);
    out(4, 0x14);
    expect(irq.level).toBe(false);
    out(4, 0x11);
    expect(inb(2)).toBe(0);
    expect(inb(6) & 0x0f).toBe(0x02 | 0x04);
    expect(irq.level).toBe(false);
  });

  test('loopback returns what is sent, and overruns at 17 characters', () => {
    const { in: inb, out, output } = bench();
    out(2, 1);
    out(4, 0x10);
    for (let i = 0; i < 17; i++) out(0, i);
    expect(output.bytes).toEqual([]);
    expect(inb(5)).toBe(0x63);
    expect(inb(5)).toBe(0x61);
    expect(Array.from({ length: 16 }, () => inb(0))).toEqual(Array.from({ length: 16 }, (_, i) => i));
  });

  test('FIFOs show in the IIR only when enabled, and there are no 64 bytes of them', () => {
    const { in: inb, out } = bench();
    expect(inb(2) & 0xf0).toBe(0);
    out(3, 0x80);
    out(2, 0x21);
    expect(inb(2) & 0xf0).toBe(0xc0);
  });

  test('the divisor hides behind DLAB, and the scratch register keeps what it is given', () => {
    const { in: inb, out } = bench();
    out(7, 0xa5);
    out(3, 0x83);
    out(0, 0x34);
    out(1, 0x12);
    expect([inb(0), inb(1)]).toEqual([0x34, 0x12]);
    out(3, 0x03);
    expect(inb(1)).toBe(0);
    expect([inb(3), inb(7)]).toEqual([0x03, 0xa5]);
  });
});
