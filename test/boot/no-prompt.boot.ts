/** The same of a real Debian: it takes a boot of systemd each. */
import { beforeAll, expect, test } from 'vitest';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { fetched } from './linux.ts';
import { promptFailure } from './no-prompt.ts';
import { debianRoot } from './tree-root.ts';

const PACKAGES = ['systemd-sysv', 'dbus', 'udev', 'login', 'passwd', 'mount', 'bash'];

beforeAll(buildDaybreak, 300_000);

test.for([
  ['in which nobody is logged in', {}, /asks who wants to log in.*autologin\.conf.* login:/s],
  [
    'whose file system is missing',
    { 'etc/fstab': '/dev/missing /srv ext4 x-systemd.device-timeout=2s 0 2\n' },
    /it is in emergency mode; .*\/etc\/fstab/s,
  ],
] as const)('a Debian %s is told from one that comes to its prompt', { timeout: 1_800_000 }, async ([, files, told], context) => {
  const { vmlinuz, root } = await fetched(context, async () => {
    const suite = await openSuite('sid');
    const masked = { 'etc/systemd/system/systemd-hwdb-update.service': '' };
    const { vmlinuz } = await suite.kernel('linux-image-cloud-amd64');
    return { vmlinuz: vmlinuz.data, root: await debianRoot(suite, PACKAGES, { ...masked, ...files }) };
  });
  expect(await promptFailure(vmlinuz, root, 2)).toMatch(told);
});
