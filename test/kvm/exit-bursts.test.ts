/** A guest with exit after exit is run by the machine's own thread, one that computes or sleeps by its own: nobody notices. */
import { afterAll, beforeAll, beforeEach, expect, test, type TestContext } from 'vitest';
import { seededRandom } from '../../src/machine/testing/random.ts';
import type { ThreadProgram } from '../../src/node/kvm/threaded-vcpu.ts';
import { openKvm, type Kvm } from './guest.ts';
import { KernelGuest, threadProgram } from './kernel-guest.ts';

const SLICE_NS = 8e6;
const DOORBELL = 0xd000_0000;

let kvm: Kvm | undefined;
let program: ThreadProgram;
let guest: KernelGuest | undefined;
beforeAll(async () => {
  kvm = await openKvm();
  program = await threadProgram();
});
afterAll(() => kvm?.accelerator.dispose());
beforeEach(() => () => {
  guest?.dispose();
  guest = undefined;
});

function start(context: TestContext): KernelGuest {
  if (!kvm) context.skip('no KVM here');
  return (guest = new KernelGuest(kvm!, program));
}

/** Real mode: in eax, 0x10; out 0x14, eax; jmp */
const ECHO = [0x66, 0xe5, 0x10, 0x66, 0xe7, 0x14, 0xeb, 0xf8];

/** Gives numbers one after the other, and takes them back. */
function echo({ pio }: Pick<KernelGuest, 'pio'>, base = 0x10): { given: number; wrong: number } {
  const seen = { given: 0, wrong: 0 };
  pio.map(base, 8, 'echo', {
    read: () => ++seen.given,
    write: (_offset, _width, value) => {
      if (value !== seen.given) seen.wrong++;
    },
  });
  return seen;
}

test('no access is lost or made twice, however often the machine stops and its state is taken and given back', async (context) => {
  const { machine } = start(context);
  const seen = echo(guest!);
  guest!.startReal(ECHO);
  await guest!.until(() => seen.given > 500);
  const random = seededRandom(3);
  const { processors } = machine;
  for (let round = 0; round < 60; round++) {
    const until = seen.given + random(100);
    while (seen.given <= until) processors.run(random(2) ? SLICE_NS : 1 + random(1_000_000));
    if (random(2)) processors.pause();
    if (random(2)) processors.setArchitecture(processors.architecture());
  }
  expect(seen.wrong).toBe(0);
  expect(machine.vcpus[0]!.isRunning || seen.given > 500).toBe(true);
});

test('the host’s events have their turn, and a guest that falls silent goes back to its own thread', async (context) => {
  const { machine, pio } = start(context);
  const seen = { count: 0 };
  pio.map(0x10, 1, 'counter', { read: () => 0, write: () => void seen.count++ });
  // mov cx, 300; again: out 0x10, al; loop again; forever: jmp forever
  guest!.startReal([0xb9, 0x2c, 0x01, 0xe6, 0x10, 0xe2, 0xfc, 0xeb, 0xfe]);
  await guest!.until(() => seen.count === 300);
  const { processors, vcpus } = machine;
  let exit = processors.run(SLICE_NS);
  for (let turn = 0; exit.kind !== 'halt' && turn < 100; turn++) exit = processors.run(SLICE_NS);
  // The machine's thread has nothing to do, and the guest goes on.
  expect(exit.kind).toBe('halt');
  expect(vcpus[0]!.isRunning).toBe(true);
});

test('a doorbell is heard amid a burst', async (context) => {
  const { machine, mmio, pio } = start(context);
  const seen = { exits: 0, rings: 0 };
  pio.map(0x10, 1, 'counter', { read: () => 0, write: () => void seen.exits++ });
  mmio.map(DOORBELL, 0x1000, 'bell', {
    read: () => 0,
    write: () => void seen.rings++,
    doorbells: { offset: 0, stride: 4, count: 1, width: 4 },
  });
  // mov edi, DOORBELL; mov ecx, 2000; again: out 0x10, al; dec ecx; jnz; mov [rdi], eax; forever: out 0x10, al; jmp forever
  const bell = [0, 8, 16, 24].map((shift) => (DOORBELL >>> shift) & 0xff);
  guest!.startLong([0xbf, ...bell, 0xb9, 0xd0, 7, 0, 0, 0xe6, 0x10, 0xff, 0xc9, 0x75, 0xfa, 0x89, 0x07, 0xe6, 0x10, 0xeb, 0xfc]);
  await guest!.until(() => seen.exits > 1000);
  // The event loop, which would hear of it, has no turn here.
  for (let slice = 0; seen.rings === 0 && slice < 1000; slice++) machine.processors.run(SLICE_NS);
  expect(seen.rings).toBe(1);
});

test('two processors that both talk to a device without end are both heard, and neither loses an access', async (context) => {
  if (!kvm) return context.skip('no KVM here');
  guest = new KernelGuest(kvm, program, 2);
  const { machine, pio } = guest;
  const ports = [0x10, 0x20];
  const seen = ports.map((base) => echo({ pio }, base));
  const talk = (base: number): number[] => [0xe5, base, 0xe7, base + 4, 0xeb, 0xfa]; // in eax, base; out base + 4, eax; jmp
  guest.place(0x2000, [0x66, 0xe5, 0x20, 0x66, 0xe7, 0x24, 0xeb, 0xf8]);
  const le = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  const command = (register: number, value: number): number[] => [0xbf, ...le(0xfee0_0000 + register), 0xc7, 0x07, ...le(value)];
  // The local APIC on; INIT, and SIPI to 0x2000.
  const wake = [...command(0xf0, 0x1ff), ...command(0x310, 1 << 24), ...command(0x300, 0x4500), ...command(0x300, 0x4602)];
  guest.startLong([...wake, ...talk(0x10)]);
  await guest.until(() => seen.every(({ given }) => given > 2000));
  machine.processors.pause();
  const before = seen.map(({ given }) => given);
  await guest.until(() => seen.every(({ given }, n) => given > before[n]! + 500));
  expect(seen.map(({ wrong }) => wrong)).toEqual([0, 0]);
});

test.for([1, 2])('what a device has served, the guest has executed when it stands still: %i processors', async (processors, context) => {
  if (!kvm) return context.skip('no KVM here');
  guest = new KernelGuest(kvm, program, processors);
  const { machine, pio, memory } = guest;
  const seen = { served: 0 };
  pio.map(0x10, 1, 'counter', { read: () => ++seen.served & 0xff, write() {} });
  const [IN, INC, JMP] = [0x1000, 0x1002, 0x1006];
  guest.startReal([0xe4, 0x10, 0xff, 0x06, 0x00, 0x30, 0xeb, 0xf8]); // in al, 0x10; inc word [0x3000]; jmp
  await guest.until(() => seen.served > 20);
  const random = seededRandom(5);
  for (let round = 0; round < 120; round++) {
    machine.processors.run(1 + random(100_000));
    machine.processors.pause();
    const rip = Number(machine.processors.registers().rip);
    expect([IN, INC, JMP]).toContain(rip);
    expect(memory.read16(0x3000), `round ${round}, at 0x${rip.toString(16)}`).toBe((seen.served - (rip === INC ? 1 : 0)) & 0xffff);
  }
});
