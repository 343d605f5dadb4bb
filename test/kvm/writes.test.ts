/** What KVM tells of a guest besides its exits: which pages it wrote, and what its clock shows. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PAGE_SIZE } from '../../src/machine/memory.ts';
import { seededRandom } from '../../src/machine/testing/random.ts';
import { openKvm, Guest, type Kvm } from './guest.ts';
import { KernelGuest, threadProgram } from './kernel-guest.ts';

let kvm: Kvm | undefined;
beforeAll(async () => {
  kvm = await openKvm();
});
afterAll(() => kvm?.accelerator.dispose());

const DONE = 0x3f_0000;

test('exactly the pages that the guest writes become dirty, whoever else wrote before', async (context) => {
  if (!kvm) return context.skip('no KVM here');
  const guest = new KernelGuest(kvm, await threadProgram());
  const { vm, processors } = guest.machine;
  const random = seededRandom(5);
  const pages = new Set(Array.from({ length: 100 }, () => 0x210 + random(0x1b0)));
  const store = (address: number): number[] => [0xc6, 0x04, 0x25, address & 0xff, (address >> 8) & 0xff, (address >> 16) & 0xff, 0, 1];
  guest.startLong([...[...pages].flatMap((page) => store(page * PAGE_SIZE + 7)), ...store(DONE), 0xf4]);
  guest.memory.dirty.fill(0);
  vm.logsWrites = true;
  await guest.until(() => guest.memory.bytes[guest.memory.hostOffset(DONE, 1)] === 1);
  processors.pause();
  vm.collectWrites();
  const dirty = [...guest.memory.dirty.entries()].filter(([page, value]) => value !== 0 && page >= 0x210).map(([page]) => page);
  expect(dirty).toEqual([...new Set([...pages, DONE / PAGE_SIZE])].toSorted((a, b) => a - b));
  // Asked again, there is nothing new; and without the log, nothing is remembered.
  guest.memory.dirty.fill(0);
  vm.collectWrites();
  vm.logsWrites = false;
  vm.collectWrites();
  expect(guest.memory.dirty.every((value) => value === 0)).toBe(true);
  guest.dispose();
});

test('kvmclock goes on from guest time when a state is taken over', async (context) => {
  if (!kvm) return context.skip('no KVM here');
  const guest = new KernelGuest(kvm, await threadProgram());
  const { vm, processors } = guest.machine;
  expect(vm.clockNs).toBeLessThan(3600e9);
  guest.time.baseNs = 5e12;
  processors.setArchitecture(processors.architecture());
  expect(vm.clockNs).toBeGreaterThanOrEqual(5e12);
  expect(vm.clockNs).toBeLessThan(5e12 + 3600e9);
  guest.dispose();
});

test('an NMI that waits is part of the state', (context) => {
  if (!kvm) return context.skip('no KVM here');
  const guest = new Guest(kvm);
  guest.startLong([0xf4]);
  const state = guest.vcpu.architecture();
  expect(state.nmiPending).toBe(false);
  guest.vcpu.setArchitecture({ ...state, nmiPending: true, nmiBlocked: true });
  expect(guest.vcpu.architecture()).toMatchObject({ nmiPending: true, nmiBlocked: true });
  guest.vcpu.dispose();
});
