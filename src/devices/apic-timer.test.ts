import { describe, expect, test } from 'vitest';
import { EOI, LVT_TIMER, enabled } from './testing/apic-bench.ts';

describe('timer', () => {
  test('counts down once and stops', () => {
    const { apic, clock, intr, out, in: read } = enabled();
    out(0x3e0, 0x0b); // divide by 1
    out(LVT_TIMER, 0x40);
    out(0x380, 1000);
    clock.advance(400);
    expect(read(0x390)).toBe(600);
    clock.advance(599);
    expect(intr.level).toBe(false);
    clock.advance(1);
    expect(apic.acknowledge()).toBe(0x40);
    out(EOI, 0);
    clock.advance(1_000_000);
    expect(intr.level).toBe(false);
    expect(read(0x390)).toBe(0);
  });

  test.each([
    [0x0, 2],
    [0x1, 4],
    [0x2, 8],
    [0x3, 16],
    [0x8, 32],
    [0x9, 64],
    [0xa, 128],
    [0xb, 1],
  ])('divide configuration %i divides by %i', (code, divisor) => {
    const { clock, out, in: read } = enabled();
    out(0x3e0, code);
    out(0x380, 1_000_000);
    clock.advance(divisor * 1000);
    expect(read(0x390)).toBe(999_000);
  });

  test('a periodic timer keeps its rate', () => {
    const { apic, clock, intr, out } = enabled();
    out(0x3e0, 0x0b);
    out(LVT_TIMER, 0x2_0040);
    out(0x380, 1_000_000);
    for (let i = 0; i < 10; i++) {
      clock.advance(1_000_000);
      expect(apic.acknowledge()).toBe(0x40);
      out(EOI, 0);
    }
    expect(intr.rises).toBe(10);
  });

  test('an absurdly short period does not cost more than a callback every 10 microseconds', () => {
    const { clock, out } = enabled();
    out(0x3e0, 0x0b);
    out(LVT_TIMER, 0x2_0040);
    out(0x380, 1);
    clock.advance(10_000_000);
    expect(clock.callbacks).toBeGreaterThan(500);
    expect(clock.callbacks).toBeLessThan(1100);
  });

  test('a masked timer counts but does not interrupt, nor make up for it later', () => {
    const { clock, intr, out, in: read } = enabled();
    out(0x3e0, 0x0b);
    out(LVT_TIMER, 0x3_0040);
    out(0x380, 1000);
    clock.advance(1_000_250);
    expect(read(0x390)).toBe(750);
    out(LVT_TIMER, 0x2_0040);
    expect(intr.level).toBe(false);
    clock.advance(20_000);
    expect(intr.level).toBe(true);
  });

  test('a TSC deadline fires when the counter reaches it, and clears itself', () => {
    const { apic, clock, intr, out } = enabled();
    apic.writeMsr(0x6e0, 5000n);
    expect(apic.readMsr(0x6e0)).toBe(0n);
    out(LVT_TIMER, 0x4_0041);
    expect(apic.writeMsr(0x6e0, 2001n)).toBe(true);
    expect(apic.readMsr(0x6e0)).toBe(2001n);
    clock.advance(1000);
    expect(intr.level).toBe(false);
    clock.advance(1);
    expect(apic.acknowledge()).toBe(0x41);
    expect(apic.readMsr(0x6e0)).toBe(0n);
  });

  test('a TSC deadline in the past fires at once, an impossible one never', () => {
    const { apic, clock, intr, out } = enabled();
    clock.advance(1000);
    out(LVT_TIMER, 0x4_0041);
    apic.writeMsr(0x6e0, 2n ** 64n - 1n);
    clock.advance(1e12);
    expect(intr.level).toBe(false);
    apic.writeMsr(0x6e0, 1n);
    expect(intr.level).toBe(true);
  });

  test('a TSC deadline counts on the TSC, also where that is ahead of guest time or is moved', () => {
    const { apic, clock, intr, out } = enabled();
    out(LVT_TIMER, 0x4_0041);
    apic.tscMoved(1_000_000n);
    // The TSC runs at 2 GHz.
    apic.writeMsr(0x6e0, 1_003_000n);
    clock.advance(1499);
    expect(intr.level).toBe(false);
    clock.advance(1);
    expect(intr.level).toBe(true);
    apic.writeMsr(0x6e0, 1_100_000n);
    apic.acknowledge();
    out(EOI, 0);
    apic.tscMoved(2_000_000n);
    clock.advance(1);
    expect(intr.level).toBe(true);
  });

  test('leaving TSC-deadline mode disarms the timer', () => {
    const { apic, clock, intr, out } = enabled();
    out(LVT_TIMER, 0x4_0041);
    apic.writeMsr(0x6e0, 10_000n);
    out(LVT_TIMER, 0x0_0041);
    clock.advance(100_000);
    expect(intr.level).toBe(false);
  });
});
