/** SeaBIOS, from the reset vector to its banner: 16-bit and unpaged 32-bit code, with KVM's interrupt controllers. */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openKvm, type Kvm } from './guest.ts';
import { KernelGuest, threadProgram } from './kernel-guest.ts';

/** Where distributions' packages of that name put it. */
const IMAGE = '/usr/share/seabios/bios.bin';
const TOP = 0x10_0000;
const DEBUG_PORT = 0x402;
/** What SeaBIOS looks for before it writes there. */
const DEBUG_PORT_THERE = 0xe9;

let kvm: Kvm | undefined;
beforeAll(async () => {
  kvm = await openKvm();
});
afterAll(() => kvm?.accelerator.dispose());

test('SeaBIOS comes to its banner', async (context) => {
  if (!kvm) return context.skip('no KVM here');
  if (!existsSync(IMAGE)) {
    console.warn(`skipped: no ${IMAGE}: install the package seabios`);
    return context.skip('no SeaBIOS here');
  }
  const guest = new KernelGuest(kvm, await threadProgram());
  const image = readFileSync(IMAGE);
  guest.place(TOP - image.length, image);
  const printed: number[] = [];
  guest.pio.map(DEBUG_PORT, 1, 'debug port', { read: () => DEBUG_PORT_THERE, write: (_offset, _width, value) => void printed.push(value) });
  const { processors } = guest.machine;
  const { segments } = processors.registers();
  // The reset vector, in the copy below 1 MiB.
  processors.setRegisters({ segments: { ...segments, cs: { ...segments.cs, base: 0xf_0000n } } });
  const text = (): string => String.fromCharCode(...printed);
  await guest.until(() => /SeaBIOS \(version [^)]+\)/.test(text()), 60_000);
  expect(text()).toMatch(/^SeaBIOS \(version /);
  guest.dispose();
});
