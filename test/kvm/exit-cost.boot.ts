/** What an exit to a port costs, against a loop in C that does the same. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import type { Bus } from '../../src/machine/bus.ts';
import type { VCpu } from '../../src/machine/vcpu.ts';
import { EventFd, onDoorbell } from '../../src/node/kvm/event-fd.ts';
import { Guest, openKvm } from './guest.ts';
import { KernelGuest, threadProgram } from './kernel-guest.ts';

/** Bursts short enough that some are not disturbed by other work on this computer, which only adds: the best one counts. */
const EXITS = 100;
const BURSTS = 300;
const ROUNDS = 6;
const RATIO_MAX = 1.3;
const SECOND = 1e9;
const TIMEOUT_MS = 600_000;

interface Loop {
  readonly exits: number;
  readonly bursts: number;
  /** How often the guest executes LOOP between two exits: 0.7 us each where KVM emulates the guest's kernel. */
  readonly pause: number;
}
const TIGHT: Loop = { exits: EXITS, bursts: BURSTS, pause: 0 };

const directory = mkdtempSync(join(tmpdir(), 'daybreak-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** Nanoseconds of one exit in the same loop in C, best of bursts. Undefined where there is no compiler. */
function loopInC(chips: 'ours' | 'the kernel’s', { exits, bursts, pause }: Loop = TIGHT): (() => number) | undefined {
  const program = join(directory, 'exit-loop');
  try {
    execFileSync('gcc', ['-O2', '-o', program, fileURLToPath(new URL('exit-loop.c', import.meta.url))]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
  const options = chips === 'ours' ? [] : ['irqchip', ...(pause > 0 ? [pause] : [])];
  return () => Number(execFileSync(program, [exits, bursts, ...options].map(String), { encoding: 'utf8' })) / exits;
}

interface Looping {
  readonly pio: Bus;
  startReal(code: readonly number[]): void;
}

/** The same in a guest of ours that writes to a port for ever. */
function loopIn(guest: Looping, vcpu: Pick<VCpu, 'run' | 'stop'>): () => number {
  const exits = { left: 0 };
  const write = (): void => {
    if (--exits.left === 0) vcpu.stop();
  };
  guest.pio.map(0x10, 1, 'counter', { read: () => 0, write });
  guest.startReal([0xe6, 0x10, 0xeb, 0xfc]);
  return () => {
    let best = Infinity;
    for (let burst = 0; burst < BURSTS; burst++) {
      exits.left = EXITS;
      const before = process.hrtime.bigint();
      while (exits.left > 0) vcpu.run(10 * SECOND);
      best = Math.min(best, Number(process.hrtime.bigint() - before));
    }
    return best / EXITS;
  };
}

/** In turns, so that both meet the same weather. */
function compare(ours: () => number, c: () => number): { readonly ours: number; readonly c: number; readonly ratio: number } {
  const best = { ours: Infinity, c: Infinity };
  for (let round = 0; round < ROUNDS; round++) {
    best.ours = Math.min(best.ours, ours());
    best.c = Math.min(best.c, c());
  }
  return { ...best, ratio: best.ours / best.c };
}

test('an exit to a port costs at most 1.3 times what it costs in C', { timeout: TIMEOUT_MS }, async (context) => {
  const kvm = await openKvm();
  if (!kvm) return context.skip('no KVM here');
  const [c, withChips] = [loopInC('ours'), loopInC('the kernel’s')];
  if (!c || !withChips) return context.skip('no gcc here to compare with');
  const guest = new Guest(kvm);
  const alone = compare(loopIn(guest, guest.vcpu), c);
  guest.vcpu.dispose();
  // As machines of one processor are: a thread of its own, and the interrupt controllers of the kernel.
  const machine = new KernelGuest(kvm, await threadProgram());
  const whole = compare(loopIn(machine, machine.machine.processors), withChips);
  machine.dispose();
  kvm.accelerator.dispose();
  const told = ({ ours, c: inC, ratio }: typeof alone): string => `${ours.toFixed(0)} ns, in C ${inC.toFixed(0)} ns: ${ratio.toFixed(2)}`;
  console.log(`an exit with our interrupt controllers: ${told(alone)}\nan exit with the kernel's: ${told(whole)}`);
  expect(alone.ratio).toBeLessThan(RATIO_MAX);
  expect(whole.ratio).toBeLessThan(RATIO_MAX);
});

test.for([
  [1, 40],
  [1, 150],
  [1, 250],
  [1, 600],
  [1, 2000],
  [2, 0],
  [2, 40],
  [2, 150],
  [2, 600],
] as const)(
  'a guest of %i processors with LOOP %i times between exits takes at most 1.3 times as long as in C',
  { timeout: TIMEOUT_MS },
  async ([processors, pause], context) => {
    const kvm = await openKvm();
    if (!kvm) return context.skip('no KVM here');
    const exits = pause === 0 ? EXITS : Math.max(4, Math.floor(2000 / pause));
    const c = loopInC('the kernel’s', { exits, bursts: BURSTS / 3, pause });
    if (!c) return context.skip('no gcc here to compare with');
    const guest = new KernelGuest(kvm, await threadProgram(), processors);
    const seen = { exits: 0 };
    guest.pio.map(0x10, 1, 'counter', { read: () => 0, write: () => void seen.exits++ });
    guest.startReal(pause === 0 ? [0xe6, 0x10, 0xeb, 0xfc] : [0xb9, pause & 0xff, pause >> 8, 0xe2, 0xfe, 0xe6, 0x10, 0xeb, 0xf7]);
    const best = { ours: Infinity, c: Infinity };
    for (let round = 0; round < ROUNDS; round++) {
      // As a machine runs: with the event loop, which has its turn when nothing comes out of the guest.
      await guest.until(() => seen.exits > 50);
      for (let burst = 0; burst < BURSTS / 3; burst++) {
        const from = seen.exits;
        const before = process.hrtime.bigint();
        await guest.until(() => seen.exits >= from + exits);
        best.ours = Math.min(best.ours, Number(process.hrtime.bigint() - before) / (seen.exits - from));
      }
      guest.machine.processors.pause();
      best.c = Math.min(best.c, c());
    }
    guest.dispose();
    kvm.accelerator.dispose();
    const ratio = best.ours / best.c;
    const [ours, inC] = [best.ours, best.c].map((ns) => (ns / 1000).toFixed(1));
    console.log(`${processors} processors, ${pause} LOOPs: ${ours} us an exit, in C ${inC} us: ${ratio.toFixed(2)}`);
    expect(ratio).toBeLessThan(RATIO_MAX);
  },
);

test('what a doorbell costs, which is no exit, beside an exit of one of two processors', { timeout: TIMEOUT_MS }, async (context) => {
  const kvm = await openKvm();
  if (!kvm) return context.skip('no KVM here');
  const guest = new KernelGuest(kvm, await threadProgram(), 2);
  const { vm, processors } = guest.machine;
  const best = loopIn(guest, processors)();
  processors.pause();
  const event = new EventFd(kvm.native);
  const bell = onDoorbell(vm, event, { address: 0xd000_0000, width: 4 });
  // again: mov dword [rdi], eax; inc dword [0x30000]; jmp again
  guest.startLong([0xbf, 0, 0, 0, 0xd0, 0x89, 0x07, 0xff, 0x04, 0x25, 0, 0, 3, 0, 0xeb, 0xf5]);
  const rung = (): number => guest.memory.read32(0x3_0000);
  let bestRing = Infinity;
  await guest.until(() => rung() > 0);
  for (let burst = 0; burst < BURSTS; burst++) {
    const from = rung();
    const before = process.hrtime.bigint();
    while (rung() < from + EXITS);
    bestRing = Math.min(bestRing, Number(process.hrtime.bigint() - before) / (rung() - from));
  }
  processors.pause();
  expect(event.take()).toBeGreaterThan(0);
  bell.dispose();
  event.dispose();
  guest.dispose();
  kvm.accelerator.dispose();
  console.log(`an exit of one of two processors: ${best.toFixed(0)} ns; a doorbell, to the guest: ${bestRing.toFixed(0)} ns`);
  expect(bestRing).toBeLessThan(best);
});
