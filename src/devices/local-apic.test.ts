import { describe, expect, test } from 'vitest';
import { DELIVERY_EXTINT, DELIVERY_FIXED, DELIVERY_INIT, DELIVERY_LOWEST, DELIVERY_NMI } from '../machine/apic.ts';
import { BROADCAST } from '../machine/apic.ts';
import { saveDevice } from '../machine/device.ts';
import { deviceSuite } from '../machine/testing/device-suite.ts';
import { seededRandom } from '../machine/testing/random.ts';
import { EOI, SVR, ICR, LVT_TIMER, LINT0, LINT1, bench, enabled, x2 } from './testing/apic-bench.ts';

deviceSuite('local-apic', () => {
  const { apic, clock, intr, out, fixed } = bench();
  return {
    device: apic,
    clock,
    lines: [intr],
    faces: [{ face: apic, size: 0x400 }],
    disturb() {
      out(SVR, 0x1ff);
      out(LVT_TIMER, 0x2_0040);
      out(0x380, 1000);
      clock.advance(10_000);
      fixed(0x51);
      fixed(0x52, true);
      apic.acknowledge();
      fixed(0x61);
      apic.lint0.set(true);
      apic.deliver({ mode: DELIVERY_FIXED, vector: 3, level: false });
    },
  };
});

describe('priorities', () => {
  test('the highest vector comes first, and waits for the ones in service', () => {
    const { apic, fixed, intr, out, in: read } = enabled();
    fixed(0x41);
    fixed(0x55);
    expect(intr.level).toBe(true);
    expect(apic.acknowledge()).toBe(0x55);
    expect(intr.level).toBe(false);
    expect(read(0xa0)).toBe(0x50);
    fixed(0x5f);
    expect(intr.level).toBe(false);
    fixed(0x60);
    expect(apic.acknowledge()).toBe(0x60);
    out(EOI, 0);
    out(EOI, 0);
    expect(apic.acknowledge()).toBe(0x5f);
    out(EOI, 0);
    expect(apic.acknowledge()).toBe(0x41);
    out(EOI, 0);
    expect(apic.acknowledge()).toBe(-1);
  });

  test('the task priority holds back its class and below', () => {
    const { apic, fixed, intr, out } = enabled();
    out(0x80, 0x4f);
    fixed(0x4f);
    expect(intr.level).toBe(false);
    expect(apic.cr8).toBe(4);
    apic.cr8 = 3;
    expect(intr.level).toBe(true);
    expect(apic.acknowledge()).toBe(0x4f);
  });

  test('shows what is requested, in service and level-triggered', () => {
    const { apic, fixed, in: read } = enabled();
    fixed(0x2f, true);
    fixed(0xf1);
    expect(read(0x210)).toBe(0x8000);
    expect(read(0x190)).toBe(0x8000);
    expect(read(0x270)).toBe(0x2_0000);
    apic.acknowledge();
    expect(read(0x170)).toBe(0x2_0000);
    expect(read(0x270)).toBe(0);
  });

  test('a software-disabled APIC accepts no fixed interrupts but NMI and INIT', () => {
    const { apic, bus, events, fixed, intr } = bench();
    fixed(0x80);
    expect(intr.level).toBe(false);
    bus.send({ destination: 0, logical: false, mode: DELIVERY_NMI, vector: 0, level: false });
    bus.send({ destination: 0, logical: false, mode: DELIVERY_INIT, vector: 0, level: false });
    expect(events).toEqual(['nmi 0', 'init 0']);
    expect(apic.interruptPending()).toBe(false);
  });

  test('the end of a level-triggered interrupt is told to the I/O APICs, unless that is suppressed', () => {
    const { apic, fixed, finished, out } = enabled();
    for (const [level, svr] of [
      [false, 0x1ff],
      [true, 0x1ff],
      [true, 0x11ff],
    ] as const) {
      out(SVR, svr);
      fixed(0x77, level);
      apic.acknowledge();
      out(EOI, 0);
    }
    expect(finished).toEqual([0x77]);
  });
});

describe('pins', () => {
  test('LINT0 as ExtINT passes the 8259A level on, and takes its vector', () => {
    const { apic, intr } = bench();
    apic.enableVirtualWire();
    apic.lint0.set(true);
    expect(intr.level).toBe(true);
    expect(apic.acknowledge()).toBe(0x30);
    apic.lint0.set(false);
    expect(intr.level).toBe(false);
  });

  test('a masked LINT0 keeps the 8259A away', () => {
    const { apic, intr, out } = bench();
    apic.enableVirtualWire();
    out(LINT0, 0x1_0700);
    apic.lint0.set(true);
    expect(intr.level).toBe(false);
    out(LINT0, 0x700);
    expect(intr.level).toBe(true);
  });

  test('LINT1 as NMI acts on edges', () => {
    const { apic, events } = bench();
    apic.enableVirtualWire();
    apic.lint1.set(true);
    apic.lint1.set(true);
    expect(events).toEqual(['nmi 0']);
  });

  test('a level-triggered LINT pin interrupts again after EOI while it is high', () => {
    const { apic, out, in: read } = enabled();
    out(LINT1, 0x8044);
    apic.lint1.set(true);
    expect(read(LINT1) & 0x4000).toBe(0x4000);
    expect(apic.acknowledge()).toBe(0x44);
    out(EOI, 0);
    expect(apic.acknowledge()).toBe(0x44);
    apic.lint1.set(false);
    out(EOI, 0);
    expect(apic.acknowledge()).toBe(-1);
  });

  test('a globally disabled APIC lets INTR through', () => {
    const { apic, intr } = bench();
    expect(apic.writeMsr(0x1b, 0xfee0_0100n)).toBe(true);
    apic.lint0.set(true);
    expect(intr.level).toBe(true);
    expect(apic.acknowledge()).toBe(0x30);
  });

  test('an ExtINT message is acknowledged at the 8259A once', () => {
    const { apic, bus } = enabled();
    bus.send({ destination: 0, logical: false, mode: DELIVERY_EXTINT, vector: 0, level: false });
    expect(apic.acknowledge()).toBe(0x30);
    expect(apic.acknowledge()).toBe(-1);
  });
});

describe('interprocessor interrupts', () => {
  test('reach the processor named by its id, or all but the sender', () => {
    const { cpus, out } = enabled(3);
    const pending = () => cpus.map(({ apic }) => apic.acknowledge());
    out(0x310, 2 << 24);
    out(ICR, 0x4050);
    expect(pending()).toEqual([-1, -1, 0x50]);
    out(ICR, 0xc_4061);
    expect(pending()).toEqual([-1, 0x61, 0x61]);
    out(ICR, 0x8_4072);
    expect(pending()).toEqual([0x72, 0x72, 0x72]);
    out(ICR, 0x4_4083);
    expect(pending()).toEqual([0x83, -1, -1]);
  });

  test('INIT resets the target APIC, and STARTUP gives its page', () => {
    const { cpus, events, out } = enabled(2);
    out(0x310, 1 << 24);
    out(ICR, 0xc500);
    out(ICR, 0x8500); // INIT level de-assert
    out(ICR, 0x0609);
    expect(events).toEqual(['init 1', 'startup 1 9']);
    expect(cpus[1]!.in(SVR)).toBe(0xff);
  });

  test('flat and cluster logical destinations select by the LDR', () => {
    const { cpus, bus } = enabled(2);
    const to = (destination: number) => {
      bus.send({ destination, logical: true, mode: DELIVERY_FIXED, vector: 0x90, level: false });
      return cpus.map(({ apic, out }) => {
        const vector = apic.acknowledge();
        out(EOI, 0);
        return vector > 0;
      });
    };
    cpus.forEach(({ out }, i) => out(0xd0, (1 << i) << 24));
    expect(to(0b10)).toEqual([false, true]);
    expect(to(0b11)).toEqual([true, true]);
    cpus.forEach(({ out }, i) => {
      out(0xe0, 0x0fff_ffff);
      out(0xd0, ((i << 4) | 1) << 24);
    });
    expect(to(0x11)).toEqual([false, true]);
    expect(to(0x01)).toEqual([true, false]);
  });

  test('lowest priority goes to exactly one, the least busy', () => {
    const { cpus, bus } = enabled(2);
    cpus[0]!.out(0x80, 0x80);
    bus.send({ destination: BROADCAST, logical: true, mode: DELIVERY_LOWEST, vector: 0x90, level: false });
    expect(cpus.map(({ apic }) => apic.acknowledge())).toEqual([-1, 0x90]);
  });

  test('a message-signalled interrupt is a write to 0xfee', () => {
    const { cpus, bus } = enabled(2);
    bus.msi.send(0xfee0_1000, 0x0055);
    bus.msi.send(0xfed0_1000, 0x0066);
    expect(cpus.map(({ apic }) => apic.acknowledge())).toEqual([-1, 0x55]);
  });
});

describe('errors', () => {
  test('an illegal vector shows in the ESR after a write to it, and raises the error interrupt', () => {
    const { apic, out, in: read, fixed } = enabled();
    out(0x370, 0x55);
    fixed(5);
    expect(read(0x280)).toBe(0);
    out(0x280, 0);
    expect(read(0x280)).toBe(0x40);
    expect(apic.acknowledge()).toBe(0x55);
    out(0x280, 0);
    expect(read(0x280)).toBe(0);
  });

  test('an error entry with an illegal vector does not loop', () => {
    const { out, in: read } = enabled();
    out(0x370, 0x02);
    out(ICR, 0x4_0005);
    out(0x280, 0);
    expect(read(0x280)).toBe(0x60);
  });

  test('entries stay masked while the APIC is software-disabled', () => {
    const { out, in: read } = bench();
    out(LVT_TIMER, 0x40);
    expect(read(LVT_TIMER)).toBe(0x1_0040);
    out(SVR, 0x1ff);
    out(LVT_TIMER, 0x40);
    expect(read(LVT_TIMER)).toBe(0x40);
    out(SVR, 0xff);
    expect(read(LVT_TIMER)).toBe(0x1_0040);
  });
});

describe('x2APIC', () => {
  test('any MSR traffic gives a value or a refusal, and a state that can be saved', () => {
    const random = seededRandom(7);
    const { apic, clock } = x2(2);
    const registers = [0x1b, 0x6e0, ...Array.from({ length: 0x40 }, (_, i) => 0x800 + i)];
    for (let i = 0; i < 20_000; i++) {
      const index = registers[random(registers.length)]!;
      const value = (BigInt(random(4) === 0 ? random(2 ** 32) : 0) << 32n) | BigInt(random(2 ** random(33)));
      apic.writeMsr(index, value);
      const read = apic.readMsr(index);
      if (read !== undefined) expect(BigInt.asUintN(64, read)).toBe(read);
      if (random(4) === 0) apic.acknowledge();
      if (random(8) === 0) clock.advance(random(100_000));
    }
    expect(apic.schema.save(apic.schema.load(saveDevice(apic)))).toEqual(saveDevice(apic));
  });

  test('is entered from xAPIC, and left only by disabling', () => {
    const { apic } = bench();
    expect(apic.readMsr(0x1b)).toBe(0xfee0_0900n);
    expect(apic.readMsr(0x802)).toBeUndefined();
    expect(apic.writeMsr(0x1b, 0xfee0_0500n)).toBe(false);
    expect(apic.writeMsr(0x1b, 0xfee0_0d00n)).toBe(true);
    expect(apic.writeMsr(0x1b, 0xfee0_0900n)).toBe(false);
    expect(apic.writeMsr(0x1b, 0xfee0_0100n)).toBe(true);
    expect(apic.writeMsr(0x1b, 0xfee0_0d00n)).toBe(false);
    expect(apic.writeMsr(0x1b, 0xfee0_0900n)).toBe(true);
  });

  test('hides the MMIO page', () => {
    const { apic } = x2();
    expect(apic.read(0x30, 4)).toBe(0xffff_ffff);
  });

  test('has wide ids and derived logical ids', () => {
    const { cpus } = x2(18);
    expect(cpus[17]!.apic.readMsr(0x802)).toBe(17n);
    expect(cpus[17]!.apic.readMsr(0x80d)).toBe(0x1_0002n);
  });

  test('sends interrupts with one 64-bit write', () => {
    const { cpus, apic } = x2(18);
    apic.writeMsr(0x830, (17n << 32n) | 0x4091n);
    expect(cpus[17]!.apic.acknowledge()).toBe(0x91);
    cpus[17]!.apic.writeMsr(0x80b, 0n);
    apic.writeMsr(0x830, (0x1_0003n << 32n) | 0x4892n);
    expect(cpus.filter((cpu) => cpu.apic.interruptPending()).map((cpu) => cpu.apic.id)).toEqual([16, 17]);
    apic.writeMsr(0x83f, 0x93n);
    expect(apic.acknowledge()).toBe(0x93);
  });

  test('refuses reserved bits, read-only registers and those that do not exist', () => {
    const { apic } = x2();
    for (const [index, value] of [
      [0x80b, 1n],
      [0x808, 0x100n],
      [0x803, 0n],
      [0x80d, 0n],
      [0x828, 1n],
      [0x831, 0n],
      [0x830, 1n << 12n],
      [0x80e, 0n],
      [0x82f, 0n],
      [0x838, 1n << 32n],
    ] as const) {
      expect(apic.writeMsr(index, value), index.toString(16)).toBe(false);
    }
    for (const index of [0x80b, 0x80e, 0x82f, 0x831, 0x83f, 0x800, 0x840, 0x1c])
      expect(apic.readMsr(index), index.toString(16)).toBeUndefined();
    expect(apic.writeMsr(0x80b, 0n)).toBe(true);
  });

  test('ignores what is written to read-only bits of the local vector table', () => {
    const { apic } = x2();
    // As Linux does when it puts the APIC back for a reset.
    expect(apic.writeMsr(0x835, 0x5700n)).toBe(true);
    expect(apic.readMsr(0x835)).toBe(0x700n);
    expect(apic.writeMsr(0x832, 0x1_1040n)).toBe(true);
    expect(apic.readMsr(0x832)).toBe(0x1_0040n);
    expect(apic.writeMsr(0x835, 0x800n)).toBe(false);
  });
});
