/** Conversions alone: what needs no KVM. */
import { expect, test } from 'vitest';
import { i8259State, ioapicState, localApicState, type LocalApicState } from '../../machine/interrupt-state.ts';
import { seededRandom } from '../../machine/testing/random.ts';
import * as K from './abi.ts';
import { ioApicFromKvm, ioApicToKvm, picAsKept, picFromKvm, picToKvm } from './irqchip-state.ts';
import { localApicFromKvm, localApicToKvm } from './lapic-state.ts';

const page = (): DataView => new DataView(new ArrayBuffer(K.KVM_LAPIC_BYTES));
const NOW = 7_000_000_123;

test('an 8259A comes back as it was, in all that a PC can see of it', () => {
  const random = seededRandom(1);
  for (let round = 0; round < 200; round++) {
    const master = random(2) === 1;
    const bytes = Object.fromEntries(['irr', 'imr', 'isr', 'inputs', 'elcr', 'icw1', 'icw4'].map((name) => [name, random(256)]));
    const state = {
      ...i8259State.create(),
      ...bytes,
      highest: random(8),
      step: random(4),
      readIsr: random(2) === 1,
      poll: random(2) === 1,
    };
    const data = new DataView(new ArrayBuffer(16));
    picToKvm(data, state, master);
    expect(picFromKvm(data, master)).toEqual(picAsKept(state, master));
    expect(picAsKept(picAsKept(state, master), master)).toEqual(picAsKept(state, master));
  }
});

test('the reset state of each chip comes back as the reset state', () => {
  const pic = new DataView(new ArrayBuffer(16));
  picToKvm(pic, i8259State.create(), true);
  expect(picFromKvm(pic, true)).toEqual(i8259State.create());
  const ioApic = new DataView(new ArrayBuffer(216));
  ioApicToKvm(ioApic, ioapicState.create());
  expect(ioApicFromKvm(ioApic, [])).toEqual(ioapicState.create());
  for (const id of [0, 1]) {
    const kept = localApicToKvm(page(), localApicState.create(), id, NOW);
    expect(localApicFromKvm(kept, localApicState.create(), NOW)).toEqual(localApicState.create());
    expect(kept.base).toBe(id === 0 ? 0xfee0_0900n : 0xfee0_0800n);
  }
});

test('a counting timer of a local APIC comes back to less than one count, in every division', () => {
  const random = seededRandom(2);
  for (let round = 0; round < 500; round++) {
    const divideConfiguration = random(4) | (random(2) << 3);
    const divisor = [2, 4, 8, 16, 32, 64, 128, 1][(divideConfiguration & 3) | ((divideConfiguration & 8) >> 1)]!;
    const initialCount = 1000 + random(0x8000_0000);
    const periodStart = NOW - random(1000 * divisor);
    const state: LocalApicState = {
      ...localApicState.create(),
      lvtTimer: 0x31 | (random(2) << 17),
      divideConfiguration,
      initialCount,
      periodStart,
      expiryNs: periodStart + initialCount * divisor,
    };
    const back = localApicFromKvm(localApicToKvm(page(), state, 0, NOW), localApicState.create(), NOW);
    expect(back.expiryNs - back.periodStart).toBe(initialCount * divisor);
    expect(back.periodStart).toBeGreaterThanOrEqual(periodStart);
    expect(back.periodStart - periodStart).toBeLessThan(divisor);
    expect({ ...back, periodStart: 0, expiryNs: 0 }).toEqual({ ...state, periodStart: 0, expiryNs: 0 });
  }
});

test('a one-shot timer that has run out stays so', () => {
  const state: LocalApicState = { ...localApicState.create(), initialCount: 500, periodStart: 5, expiryNs: Infinity };
  const back = localApicFromKvm(localApicToKvm(page(), state, 0, NOW), localApicState.create(), NOW);
  expect(back.expiryNs).toBe(Infinity);
});
