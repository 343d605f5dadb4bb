/** What takes too long for every run of the tests: `npm run test:boot`. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { boot, buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { initramfs, Scratch } from './initramfs.ts';
import { bootsToUserland, fetched } from './linux.ts';

const scratch = new Scratch();
beforeAll(buildDaybreak);
afterAll(() => scratch.remove());

const TIMEOUT_MS = 3_600_000;

test.for([
  ['bookworm', 'amd64', 'linux-image-amd64'],
  ['bookworm', 'amd64', 'linux-image-rt-amd64'],
  ['bookworm', 'i386', 'linux-image-686-pae'],
  ['trixie', 'amd64', 'linux-image-cloud-amd64'],
  ['trixie', 'amd64', 'linux-image-amd64'],
  ['trixie', 'amd64', 'linux-image-rt-amd64'],
  ['sid', 'amd64', 'linux-image-amd64'],
  ['sid', 'amd64', 'linux-image-rt-amd64'],
] as const)('%s, %s: %s boots to userland and powers off', { timeout: TIMEOUT_MS }, async ([suite, architecture, metaPackage], context) => {
  const { instructions } = await bootsToUserland(context, scratch, { suite, architecture, metaPackage });
  console.log(`${suite} ${architecture} ${metaPackage}: ${instructions} instructions`);
});

test.for([
  ['the keyboard controller', 'k'],
  ['a triple fault', 't'],
  ['port 0xcf9', 'p'],
] as const)('Linux resets the machine by %s', { timeout: TIMEOUT_MS }, async ([, way], context) => {
  const { kernel, busybox } = await fetched(context, async () => {
    const suite = await openSuite('sid');
    return { kernel: await suite.kernel('linux-image-cloud-amd64'), busybox: (await suite.busybox()).data };
  });
  const initrd = scratch.write(`reset-${way}.cpio`, await initramfs(busybox, 'echo USERLAND\nreboot -f\n'));
  const append = `console=ttyS0 panic=-1 quiet reboot=${way}`;
  const ended = await boot(['--kernel', kernel.vmlinuz.path, '--initrd', initrd, '--append', append, '--no-reboot']);
  expect(ended.output).toContain('USERLAND');
  expect(ended.status).toBe(1);
});

test('Memtest86+ finds no error in 64 MiB in a full pass', { timeout: TIMEOUT_MS }, async (context) => {
  const kernel = await fetched(context, async () => (await openSuite('sid')).file('memtest86+', /^boot\/mt86\+x64$/));
  const args = ['--kernel', kernel.path, '--append', 'console=ttyS0,115200', '--memory', '64'];
  const ended = await boot(args, { seen: /Pass: +1 |Errors: +[1-9]/, action: 'SIGTERM' });
  expect(ended.output).toMatch(/Pass: +1 +Errors: +0 /);
  expect(ended.output).not.toMatch(/Errors: +[1-9]/);
});
