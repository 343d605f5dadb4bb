/**
 * Acceptance on a host with hardware virtualisation: `npm run test:kvm`. Debian's kernels boot on KVM to userland, which
 * computes something, and power off.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { diagnoseKvm } from '../../src/node/kvm/diagnose.ts';
import { buildDaybreak } from '../boot/daybreak.ts';
import { Scratch } from '../boot/initramfs.ts';
import { bootsToUserland } from '../boot/linux.ts';

const scratch = new Scratch();
beforeAll(buildDaybreak);
afterAll(() => scratch.remove());

const TIMEOUT_MS = 600_000;

test.for([
  ['bookworm', 'amd64', 'linux-image-cloud-amd64'],
  ['bookworm', 'i386', 'linux-image-686-pae'],
  ['trixie', 'amd64', 'linux-image-amd64'],
  ['sid', 'amd64', 'linux-image-cloud-amd64'],
  ['sid', 'amd64', 'linux-image-amd64'],
] as const)(
  '%s, %s: %s boots on KVM to userland and powers off',
  { timeout: TIMEOUT_MS },
  async ([suite, architecture, metaPackage], context) => {
    const { works, problem } = await diagnoseKvm();
    if (!works) {
      console.warn(`skipped: ${problem}`);
      return context.skip(problem);
    }
    const { status } = await bootsToUserland(context, scratch, { suite, architecture, metaPackage }, ['--accel', 'kvm']);
    expect(status).toBe(0);
  },
);
