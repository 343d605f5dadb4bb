/** An exported disk boots by itself in QEMU. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { NodeFiles } from '../../src/node/files.ts';
import { bootableDisk } from '../../src/snapshots/export/bootable-disk.ts';
import { qcow2Disk } from '../../src/storage/disk-writer.ts';
import { openSuite } from './debian.ts';
import { expectedOutput, qemuOutput, smallSystem } from './exported.ts';
import { Scratch } from './initramfs.ts';
import { fetched } from './linux.ts';

const scratch = new Scratch();
afterAll(() => scratch.remove());

const missing = spawnSync('qemu-system-x86_64', ['--version']).status === 0 ? undefined : 'qemu-system-x86_64 is not installed (Debian package qemu-system-x86)'; // prettier-ignore
if (missing !== undefined) process.stderr.write(`exported.test.ts: skipped: ${missing}\n`);

test.skipIf(missing !== undefined)(
  'a small system boots by BIOS from a virtio disk to its login',
  { timeout: 300_000 },
  async (context) => {
    const path = join(scratch.directory, 'disk.qcow2');
    await fetched(context, async () => {
      const disk = await bootableDisk(await smallSystem(await openSuite('sid')), { sizeBytes: 1 << 30 });
      expect(disk).toMatchObject({ modules: ['virtio_blk'], bootsByUefi: true });
      await new NodeFiles().write(path, qcow2Disk(disk.sizeBytes, disk.extents));
    });
    const output = await qemuOutput(['-drive', `file=${path},format=qcow2,if=virtio`], /login: /, 240_000);
    for (const expected of await expectedOutput()) expect(output).toMatch(expected);
  },
);
