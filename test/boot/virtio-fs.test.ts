/** A root file system over virtio-fs, mounted by the kernel itself: no initrd, no disk. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { boot, buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { Scratch } from './initramfs.ts';
import { COMPLAINTS, fetched } from './linux.ts';

const INIT = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
echo "ROOT $(awk '$2 == "/" { print $1, $3 }' /proc/mounts)"
dd if=/dev/urandom of=/written bs=64k count=40 2>/dev/null
echo -n tail >> /written
before=$(sha256sum < /written)
echo 3 > /proc/sys/vm/drop_caches
[ "$before" = "$(sha256sum < /written)" ] && echo "CONTENT SAME $(stat -c %s /written)"
ln /written /again && rm /written && [ "$before" = "$(sha256sum < /again)" ] && echo "LINKS $(stat -c %h /again)"
mkdir -p /many && cd /many && for i in $(seq 300); do : > file$i; done
echo "NAMES $(ls | wc -l)"
echo changed > /etc/kept && echo "CHANGED $(cat /etc/kept)"
poweroff -f
`;

const COMPARE = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mkdir /one /tmp/two
(cd /one && posix > /tmp/virtiofs); (cd /tmp/two && posix > /tmp/tmpfs)
diff /tmp/tmpfs /tmp/virtiofs && echo "THE SAME $(wc -l < /tmp/virtiofs)"
poweroff -f
`;

const scratch = new Scratch();

beforeAll(buildDaybreak);
afterAll(() => scratch.remove());

const TITLE = 'the kernel of %s has its root on a directory of the host, and changes nothing there';

test.for(['trixie', 'sid'])(TITLE, { timeout: 600_000 }, async (suite, context) => {
  const root = join(scratch.directory, suite);
  const ended = await fetched(context, async () => {
    const archive = await openSuite(suite);
    const { vmlinuz } = await archive.kernel('linux-image-cloud-amd64');
    for (const name of ['bin', 'sbin', 'proc', 'sys', 'dev', 'etc']) mkdirSync(join(root, name), { recursive: true });
    writeFileSync(join(root, 'bin/busybox'), (await archive.busybox()).data);
    writeFileSync(join(root, 'sbin/init'), INIT);
    writeFileSync(join(root, 'etc/kept'), 'kept');
    for (const name of ['bin/busybox', 'sbin/init']) chmodSync(join(root, name), 0o755);
    const append = 'console=ttyS0 panic=-1 root=fs rootfstype=virtiofs rw';
    return boot(['--kernel', vmlinuz.path, '--fs', `fs=${root}`, '--append', append, '--no-reboot']);
  });
  const lines = ended.output.split(/\r?\n/);
  for (const line of ['ROOT fs virtiofs', 'CONTENT SAME 2621444', 'LINKS 1', 'NAMES 300', 'CHANGED changed']) expect(lines).toContain(line);
  expect(lines.filter((line) => COMPLAINTS.test(line))).toEqual([]);
  expect(ended.status).toBe(0);
  expect(readdirSync(root).sort()).toEqual(['bin', 'dev', 'etc', 'proc', 'sbin', 'sys']);
  expect(readdirSync(join(root, 'bin'))).toEqual(['busybox']);
});

test('files behave as those of the same kernel’s tmpfs', { timeout: 600_000 }, async (context) => {
  const root = join(scratch.directory, 'posix');
  for (const name of ['bin', 'sbin', 'proc', 'dev', 'tmp']) mkdirSync(join(root, name), { recursive: true });
  const program = fileURLToPath(new URL('posix.c', import.meta.url));
  const { status, stderr } = spawnSync('gcc', ['-O1', '-static', '-w', '-o', join(root, 'bin/posix'), program], { encoding: 'utf8' });
  if (status === null) {
    console.warn('skipped: there is no gcc here');
    return context.skip('there is no gcc here');
  }
  expect(stderr).toBe('');
  const ended = await fetched(context, async () => {
    const archive = await openSuite('sid');
    const { vmlinuz } = await archive.kernel('linux-image-cloud-amd64');
    writeFileSync(join(root, 'bin/busybox'), (await archive.busybox()).data);
    writeFileSync(join(root, 'sbin/init'), COMPARE);
    for (const name of ['bin/busybox', 'sbin/init']) chmodSync(join(root, name), 0o755);
    return boot([
      '--kernel',
      vmlinuz.path,
      '--fs',
      `fs=${root}`,
      '--append',
      'console=ttyS0 panic=-1 root=fs rootfstype=virtiofs rw quiet',
      '--no-reboot',
    ]);
  });
  expect(ended.output.replaceAll('\r', '')).toMatch(/^THE SAME 205$/m);
});
