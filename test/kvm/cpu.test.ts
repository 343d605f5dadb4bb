/** Which processor guests under KVM get. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cpuid, cpuModel, type CpuModel, modelOf } from '../../src/machine/cpu-model.ts';
import { KvmAccelerator } from '../../src/node/kvm/accelerator.ts';
import { guestCpuid } from '../../src/node/kvm/cpuid.ts';
import { featuresOf } from '../../src/node/kvm/features.ts';
import { KvmSystem } from '../../src/node/kvm/system.ts';
import { interpreter } from '../../src/x86/accelerator.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { openKvm, type Kvm } from './guest.ts';

let kvm: Kvm | undefined;
beforeAll(async () => void (kvm = await openKvm()));
afterAll(() => kvm?.accelerator.dispose());

test('by default it is one that our own processor can be, too', async (context) => {
  if (!kvm) return context.skip('no KVM here');
  const { native } = kvm;
  const accelerator = new KvmAccelerator(native, { makeshift: true });
  const ours = interpreter(await compileRuntime(), accelerator.cpu);
  expect(ours.cpu).toEqual(accelerator.cpu);
  accelerator.dispose();
}, 300_000);

test('a model that KVM does not offer whole is refused with what is missing, and so is what a machine has seen', (context) => {
  if (!kvm) return context.skip('no KVM here');
  const { native } = kvm;
  const { cpu } = kvm.accelerator;
  const seen = { ...cpu, features: [...cpu.features, 'telepathy'] };
  expect(() => new KvmAccelerator(native, { cpu: seen })).toThrow(/needs telepathy, which this computer’s KVM does not offer/);
  expect(() => new KvmAccelerator(native, { cpu: { ...cpu, tscKhz: 123_456 } })).toThrow(/a TSC of 123456 kHz/);
  expect(() => new KvmAccelerator(native, { cpu: 'z80' })).toThrow(/unknown CPU model z80 \(known: .*portable.*host, under KVM/);
  new KvmAccelerator(native, { cpu }).dispose();
});

test('`host` is all that KVM offers', (context) => {
  if (!kvm) return context.skip('no KVM here');
  const accelerator = new KvmAccelerator(kvm.native, { cpu: 'host' });
  expect(accelerator.cpu.name).toBe('host');
  for (const feature of kvm.accelerator.cpu.features)
    if (!['x2apic', 'tsc_deadline'].includes(feature)) expect(accelerator.cpu.features).toContain(feature);
  new KvmAccelerator(kvm.native, { cpu: accelerator.cpu }).dispose();
  accelerator.dispose();
});

test('KVM is told what our own processor would tell, and of several processors which is which', (context) => {
  if (!kvm) return context.skip('no KVM here');
  const system = new KvmSystem(kvm.native);
  const model: CpuModel = cpuModel('max');
  const wishes = { kernelChips: true, id: 0, processors: 1 };
  const one = guestCpuid(system, wishes, model);
  const entry = (data: Uint8Array, leaf: number, subleaf: number): number[] => {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const at = Array.from({ length: view.getUint32(0, true) }, (_, n) => 8 + 40 * n).find(
      (offset) => view.getUint32(offset, true) === leaf && view.getUint32(offset + 4, true) === subleaf,
    );
    return at === undefined ? [] : [12, 16, 20, 24].map((register) => view.getUint32(at + register, true));
  };
  for (const [leaf, subleaf] of [[0, 0], [1, 0], [7, 0], [0xd, 1], [0x15, 0], [0x8000_0001, 0]] as const) {
    expect(entry(one, leaf, subleaf)).toEqual(cpuid(model, leaf, subleaf, { osxsave: false, xcr0: 1, apicId: 0 }));
  } // prettier-ignore
  expect(featuresOf(one).toSorted()).toEqual([...model.features, 'cpuid 7.0 ebx bit 13', 'xcr0_x87', 'xcr0_sse', 'xcr0_avx'].toSorted());
  const third = guestCpuid(system, { ...wishes, id: 2, processors: 4 }, modelOf(kvm.accelerator.cpu));
  expect(entry(third, 1, 0)[1]! >>> 16).toBe(0x0204);
  expect(entry(third, 0xb, 1)).toEqual([2, 4, 0x201, 2]);
  system.dispose();
});
