/** A vCPU's thread that ends when it should not ends its machine, with the reason. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openKvm, type Kvm } from './guest.ts';
import { KernelGuest } from './kernel-guest.ts';

let kvm: Kvm | undefined;
beforeAll(async () => {
  kvm = await openKvm();
});
afterAll(() => kvm?.accelerator.dispose());

test.for([
  ['throws', 'throw new Error("broken")', /the thread of a virtual processor has ended: Error: broken/],
  ['exits', 'process.exit(3)', /the thread of a virtual processor has ended: it exited with status 3/],
  [
    'runs out of memory',
    'const all = []; for (;;) all.push(new Array(1e5).fill({}))',
    /the thread of a virtual processor has ended: .*memory/,
  ],
] as const)('one that %s', async ([, code, reason], context) => {
  if (!kvm) return context.skip('no KVM here');
  const guest = new KernelGuest(kvm, { code });
  guest.startReal([0xeb, 0xfe]);
  await expect(guest.until(() => false)).rejects.toThrow(reason);
  guest.dispose();
});
