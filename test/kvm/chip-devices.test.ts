/** KVM's interrupt controllers are devices like all others: the shared suite. */
import { afterAll, test } from 'vitest';
import { resetDevice, type Device } from '../../src/machine/device.ts';
import { Memory } from '../../src/machine/memory.ts';
import { deviceSuite } from '../../src/machine/testing/device-suite.ts';
import { KernelChips } from '../../src/node/kvm/chips.ts';
import { KernelLocalApic } from '../../src/node/kvm/local-apic.ts';
import { KvmSystem, KvmVm } from '../../src/node/kvm/system.ts';
import { openKvm } from './guest.ts';

const kvm = await openKvm();
const system = kvm && new KvmSystem(kvm.native);
const machines: KvmVm[] = [];
afterAll(() => {
  for (const vm of machines) vm.dispose();
  system?.dispose();
  kvm?.accelerator.dispose();
});

/** One chip of a new machine, in its reset state, and a change of it that a guest could have made. */
function subject<S extends object>(chip: (chips: KernelChips, vm: KvmVm) => Device<S>, change: (state: S) => void) {
  return () => {
    const vm = new KvmVm(system!, new Memory(1 << 20, 0));
    machines.push(vm);
    const device = chip(new KernelChips(vm), vm);
    resetDevice(device as Device);
    const disturb = (): void => {
      change(device.state);
      device.sync();
    };
    return { device: device as Device, disturb };
  };
}

if (!system) test('KVM’s chips as devices', (context) => context.skip('no KVM here'));
else {
  deviceSuite(
    'KVM’s 8259A',
    subject(
      ({ slavePic }) => slavePic,
      (state) =>
        Object.assign(state, {
          irr: 0x12,
          imr: 0xe5,
          isr: 8,
          inputs: 0x12,
          highest: 3,
          vectorBase: 0x28,
          icw1: 0x11,
          icw4: 1,
          readIsr: true,
        }),
    ),
  );
  deviceSuite(
    'KVM’s I/O APIC',
    subject(
      ({ ioApic }) => ioApic,
      (state) => {
        state.select = 0x12;
        state.id = 0x0500_0000;
        Object.assign(state.pins[9]!, { low: 0x1_a031, high: 0x0100_0000, level: true });
        Object.assign(state.pins[20]!, { low: 0xc042, level: true });
      },
    ),
  );
  deviceSuite(
    'KVM’s local APIC',
    subject(
      (_, vm) => new KernelLocalApic(kvm.native, vm.createVCpu(0), 0, () => 5e9),
      (state) => {
        Object.assign(state, { tpr: 0x20, ldr: 0x0100_0000, svr: 0x1ff, icrLow: 0x4500, lvtTimer: 0x2_0031, divideConfiguration: 3 });
        state.isr[1] = 4;
        state.irr[2] = 0x10;
        state.lvt[2] = 0x700;
      },
    ),
  );
}
