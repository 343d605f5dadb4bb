import { afterAll, beforeAll, expect, test } from 'vitest';
import { boot, buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { Scratch } from './initramfs.ts';
import { bootsToUserland, fetched } from './linux.ts';

const scratch = new Scratch();
beforeAll(buildDaybreak);
afterAll(() => scratch.remove());

const TIMEOUT_MS = 600_000;

test('Linux of Debian 12 for clouds boots to userland and powers off', { timeout: TIMEOUT_MS }, async (context) => {
  await bootsToUserland(context, scratch, { suite: 'bookworm', architecture: 'amd64', metaPackage: 'linux-image-cloud-amd64' });
});

test('Linux of Debian unstable for clouds boots to userland and powers off', { timeout: TIMEOUT_MS }, async (context) => {
  await bootsToUserland(context, scratch, { suite: 'sid', architecture: 'amd64', metaPackage: 'linux-image-cloud-amd64' });
});

test('a 32-bit Linux without PAE boots to userland and powers off', { timeout: TIMEOUT_MS }, async (context) => {
  await bootsToUserland(context, scratch, { suite: 'bookworm', architecture: 'i386', metaPackage: 'linux-image-686' });
});

test('GNU Mach boots by multiboot and complains that it has no root', { timeout: TIMEOUT_MS }, async (context) => {
  const kernel = await fetched(context, async () => {
    const suite = await openSuite('bookworm', 'i386');
    return suite.file('gnumach-image-1.8-486', /^boot\/gnumach-.*\.gz$/);
  });
  const end = /bootstrap_create: .*!/;
  const ended = await boot(['--kernel', kernel.path, '--append', 'console=com0', '--memory', '128'], { seen: end, action: 'SIGTERM' });
  expect(ended.output).toMatch(/^GNU Mach 1\.8/m);
  expect(ended.output).toMatch(/physical memory map:/);
  expect(ended.output).toMatch(/No bootstrap code loaded with the kernel!/);
  expect(ended.status).toBe(128 + 15);
});
