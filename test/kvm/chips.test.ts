/** KVM's interrupt controllers: they behave as ours, and state moves between the two without loss. */
import { afterAll, beforeAll, beforeEach, describe, expect, test, type TestContext } from 'vitest';
import { I8259 } from '../../src/devices/i8259.ts';
import { restoreDevice, resetDevice, saveDevice } from '../../src/machine/device.ts';
import { ioapicState, localApicState, timerCount } from '../../src/machine/interrupt-state.ts';
import type { IoApicState, LocalApicState } from '../../src/machine/interrupt-state.ts';
import { seededRandom } from '../../src/machine/testing/random.ts';
import type { KernelChips } from '../../src/node/kvm/chips.ts';
import { KernelLocalApic } from '../../src/node/kvm/local-apic.ts';
import { picAsKept } from '../../src/node/kvm/irqchip-state.ts';
import type { ThreadProgram } from '../../src/node/kvm/threaded-vcpu.ts';
import { access, type Access } from './accesses.ts';
import { openKvm, type Kvm } from './guest.ts';
import { KernelGuest, threadProgram } from './kernel-guest.ts';

const IO_APIC = 0xfec0_0000;
const LOCAL_APIC = 0xfee0_0000;
const ROUNDS = 60;
const SEEDS = 6;

let kvm: Kvm | undefined;
let program: ThreadProgram;

beforeAll(async () => {
  kvm = await openKvm();
  program = await threadProgram();
});
afterAll(() => kvm?.accelerator.dispose());

let guest: KernelGuest | undefined;
beforeEach(() => () => {
  guest?.dispose();
  guest = undefined;
});

function start(context: TestContext, processors = 1): KernelGuest {
  if (!kvm) context.skip('no KVM here');
  return (guest = new KernelGuest(kvm!, program, processors));
}

/** A pair of our own 8259As, wired as on the board. */
function ourPair() {
  let master!: I8259;
  const slave = new I8259({ int: { set: (level) => master.lines[2]!.set(level) } });
  master = new I8259({ int: { set() {} }, slave });
  const line = (irq: number) => (irq < 8 ? master.lines[irq]! : slave.lines[irq - 8]!);
  return { master, slave, line };
}

const INPUTS = [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/** OCW3 without poll: read IRR, read ISR, special mask off, on. */
const OCW3 = [0x0a, 0x0b, 0x48, 0x68];

type Pair = ReturnType<typeof ourPair>;

/** Traffic on our pair, and the same as a guest's: with what each `in` has to give. */
class Traffic {
  readonly accesses: Access[] = [];
  readonly expected: number[] = [];
  readonly #levels = Array.from({ length: 16 }, () => false);
  readonly #pair: Pair;
  readonly #chips: KernelChips | undefined;

  constructor(pair: Pair, chips?: KernelChips) {
    this.#pair = pair;
    this.#chips = chips;
    for (const [base, vector, icw3] of [
      [0x20, 0x20, 4],
      [0xa0, 0x28, 2],
    ] as const) {
      this.out(base, 0x11);
      for (const value of [vector, icw3, 1]) this.out(base + 1, value);
    }
  }

  #chip(address: number): I8259 {
    return [0xa0, 0xa1, 0x4d1].includes(address) ? this.#pair.slave : this.#pair.master;
  }

  out(address: number, value: number): void {
    const chip = this.#chip(address);
    if (address >= 0x4d0) chip.elcr.write(0, 1, value);
    else chip.write(address & 1, 1, value);
    this.accesses.push({ kind: 'out', address, value });
  }

  toggle(irq: number): void {
    const level = (this.#levels[irq] = !this.#levels[irq]);
    this.#pair.line(irq).set(level);
    this.accesses.push({ kind: 'host', act: () => this.#chips?.lines[irq]!.set(level) });
  }

  more(random: (bound: number) => number, count: number): void {
    for (let n = 0; n < count; n++) {
      const what = random(8);
      const base = [0x20, 0xa0][random(2)]!;
      if (what < 3) this.toggle(INPUTS[random(INPUTS.length)]!);
      else if (what < 5) {
        const face = random(2);
        this.expected.push(this.#chip(base).read(face, 1));
        this.accesses.push({ kind: 'in', address: base + face });
      } else if (what === 5) this.out(base + 1, random(256));
      else if (what === 6) this.out(0x4d0 + random(2), random(256));
      else this.out(base, random(2) ? random(256) & 0xe7 : OCW3[random(4)]!);
    }
  }
}

describe('the 8259As', () => {
  test('in the kernel read as ours in the same traffic, even when their state moves to ours and back amid it', async (context) => {
    const { chips } = start(context);
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = seededRandom(seed);
      const pair = ourPair();
      for (const line of chips.lines) line.set(false);
      for (const device of [chips.pic, chips.slavePic]) resetDevice(device);
      const traffic = new Traffic(pair, chips);
      traffic.more(random, 200);
      traffic.accesses.push({
        kind: 'host',
        act: () => {
          const there = ourPair();
          restoreDevice(there.slave, saveDevice(chips.slavePic));
          restoreDevice(there.master, saveDevice(chips.pic));
          for (const device of [chips.pic, chips.slavePic]) resetDevice(device);
          restoreDevice(chips.slavePic, saveDevice(there.slave));
          restoreDevice(chips.pic, saveDevice(there.master));
        },
      });
      traffic.more(random, 200);
      expect(await access(guest!, traffic.accesses)).toEqual(traffic.expected);
      expect(picAsKept(chips.pic.state, true)).toEqual(picAsKept(pair.master.state, true));
      expect(picAsKept(chips.slavePic.state, false)).toEqual(picAsKept(pair.slave.state, false));
    }
  });

  test('take the states that ours come to, in the middle of service, too, and give them back', (context) => {
    const { chips } = start(context);
    const random = seededRandom(7);
    const pair = ourPair();
    const traffic = new Traffic(pair);
    for (let round = 0; round < ROUNDS; round++) {
      traffic.more(random, 20);
      if (random(2)) pair.master.acknowledge();
      // Between two words of an initialization.
      if (random(4) === 0) for (const value of [0x11, 0x28].slice(0, 1 + random(2))) traffic.out(0xa0 + Number(value !== 0x11), value);
      restoreDevice(chips.slavePic, saveDevice(pair.slave));
      restoreDevice(chips.pic, saveDevice(pair.master));
      expect(chips.slavePic.state).toEqual(picAsKept(pair.slave.state, false));
      expect(chips.pic.state).toEqual(picAsKept(pair.master.state, true));
    }
  });
});

describe('the I/O APIC', () => {
  const randomState = (random: (bound: number) => number): IoApicState => ({
    select: random(64),
    id: random(16) * 2 ** 24,
    pins: Array.from({ length: 24 }, (_, pin) => {
      const level = random(2) === 1;
      const trigger = random(2) << 15;
      // Masked, or in service: what a message went out for already.
      const busy = random(2) && trigger ? 1 << 14 : 1 << 16;
      return {
        low: (16 + random(240)) | (random(2) << 11) | (random(2) << 13) | trigger | busy,
        high: random(4) * 2 ** 24,
        level: pin === 0 ? false : level,
      };
    }),
  });

  test('takes any state of ours, and gives it back, and shows it to the guest', async (context) => {
    const { chips } = start(context);
    const random = seededRandom(3);
    for (let round = 0; round < ROUNDS; round++) {
      const state = randomState(random);
      restoreDevice(chips.ioApic, ioapicState.save(state));
      expect(saveDevice(chips.ioApic)).toEqual(ioapicState.save(state));
    }
    const state = randomState(random);
    restoreDevice(chips.ioApic, ioapicState.save(state));
    const reads = state.pins.flatMap((_, pin): Access[] =>
      [0, 1].flatMap((half): Access[] => [
        { kind: 'store', address: IO_APIC, value: 0x10 + 2 * pin + half },
        { kind: 'load', address: IO_APIC + 0x10 },
      ]),
    );
    expect(await access(guest!, reads)).toEqual(state.pins.flatMap(({ low, high }) => [low >>> 0, high]));
  });
});

describe('a local APIC', () => {
  const at = (n: number): number => LOCAL_APIC + n;

  test('takes any state of ours, and gives it back', (context) => {
    start(context);
    const { vcpus } = guest!.machine;
    const now = { ns: 5e9 };
    const apic = new KernelLocalApic(kvm!.native, vcpus[0]!.fd, 0, () => now.ns);
    const random = seededRandom(11);
    for (let round = 0; round < ROUNDS; round++) {
      const vectors = (): number[] => Array.from({ length: 8 }, (_, n) => (n === 0 ? random(0x1_0000) * 0x1_0000 : random(2 ** 32)));
      const base: LocalApicState = {
        ...localApicState.create(),
        svr: 0x1ff,
        tpr: random(256),
        ldr: random(256) * 2 ** 24,
        dfr: random(2) ? 0xffff_ffff : 0x0fff_ffff,
        isr: vectors(),
        irr: vectors(),
        tmr: vectors(),
        esr: random(256),
        icrLow: random(256) | (random(4) << 18),
        icrHigh: random(256) * 2 ** 24,
        lvt: [0x1_0000, 0x1_0400, 0x700, 0x400, 0xfe],
        lvtTimer: 0x1_0030,
        divideConfiguration: [0, 1, 2, 3, 8, 9, 10, 11][random(8)]!,
      };
      restoreDevice(apic, localApicState.save(base));
      expect(saveDevice(apic)).toEqual(localApicState.save(base));
    }
  });

  test('goes on counting from where it was, to within one count and the time that the move took', (context) => {
    start(context);
    const { vcpus } = guest!.machine;
    const origin = process.hrtime.bigint();
    const now = (): number => Number(process.hrtime.bigint() - origin);
    const apic = new KernelLocalApic(kvm!.native, vcpus[0]!.fd, 0, now);
    const began = now();
    const counting: LocalApicState = {
      ...localApicState.create(),
      svr: 0x1ff,
      lvtTimer: 0x2_0031,
      divideConfiguration: 3,
      initialCount: 0x4000_0000,
      periodStart: began,
      expiryNs: began + 0x4000_0000 * 16,
    };
    restoreDevice(apic, localApicState.save(counting));
    for (let round = 0; round < 5; round++) {
      const before = now();
      const state = apic.state;
      const after = now();
      // What it says of its period must be what it was told, late by no more than this computer is.
      expect(state.periodStart).toBeGreaterThanOrEqual(began - 16);
      expect(timerCount(state, before)).toBeGreaterThanOrEqual(timerCount(counting, after));
      restoreDevice(apic, saveDevice(apic));
    }
  });

  test('shows the guest what was put there, in xAPIC mode', async (context) => {
    start(context);
    const { vcpus } = guest!.machine;
    const apic = new KernelLocalApic(kvm!.native, vcpus[0]!.fd, 0, () => 0);
    const state: LocalApicState = {
      ...localApicState.create(),
      svr: 0x1ff,
      tpr: 0x35,
      ldr: 0x0400_0000,
      isr: [0, 4, 0, 0, 0, 0, 0, 0],
      lvt: [0x1_0000, 0x1_0400, 0x700, 0x400, 0x1_00fe],
    };
    restoreDevice(apic, localApicState.save(state));
    const loads = [0x80, 0xd0, 0xf0, 0x110, 0x350, 0x370].map((n): Access => ({ kind: 'load', address: at(n) }));
    expect(await access(guest!, loads)).toEqual([0x35, 0x0400_0000, 0x1ff, 4, 0x700, 0x1_00fe]);
  });
});
