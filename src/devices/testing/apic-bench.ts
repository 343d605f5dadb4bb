/** Local APICs on a bus, with what they do to their processors recorded. */
import { expect } from 'vitest';
import { DELIVERY_FIXED } from '../../machine/apic.ts';
import { TestClock } from '../../machine/testing/clock.ts';
import { RecordingLine } from '../../machine/testing/recorders.ts';
import { SystemApicBus } from '../apic-bus.ts';
import { LocalApic } from '../local-apic.ts';

export const TSC_HZ = 2_000_000_000;
export const EOI = 0xb0;
export const SVR = 0xf0;
export const ICR = 0x300;
export const LVT_TIMER = 0x320;
export const LINT0 = 0x350;
export const LINT1 = 0x360;

export function bench(count = 1) {
  const clock = new TestClock();
  const bus = new SystemApicBus();
  const events: string[] = [];
  const finished: number[] = [];
  bus.attachListener({ endOfInterrupt: (vector) => void finished.push(vector) });
  const cpus = Array.from({ length: count }, (_, id) => {
    const intr = new RecordingLine();
    const apic = new LocalApic({
      id,
      clock,
      tscHz: TSC_HZ,
      bus,
      outputs: {
        interrupt: (level) => intr.set(level),
        nmi: () => void events.push(`nmi ${id}`),
        init: () => void events.push(`init ${id}`),
        startup: (vector) => void events.push(`startup ${id} ${vector}`),
        acknowledgeExternal: () => 0x30,
      },
    });
    bus.attachProcessor(apic);
    return {
      apic,
      intr,
      in: (offset: number) => apic.read(offset, 4),
      out: (offset: number, value: number) => apic.write(offset, 4, value),
      fixed: (vector: number, level = false) => apic.deliver({ mode: DELIVERY_FIXED, vector, level }),
    };
  });
  return { clock, bus, events, finished, cpus, ...cpus[0]! };
}

export function enabled(count = 1) {
  const all = bench(count);
  for (const cpu of all.cpus) cpu.out(SVR, 0x1ff);
  return all;
}

export function x2(count = 1) {
  const all = enabled(count);
  for (const { apic } of all.cpus) expect(apic.writeMsr(0x1b, apic.readMsr(0x1b)! | 0x400n)).toBe(true);
  return all;
}
