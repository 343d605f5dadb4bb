/** An exported disk boots in the other ways that firmware and controllers offer; `exported.test.ts` is the short form. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NodeFiles } from '../../src/node/files.ts';
import { bootableDisk } from '../../src/snapshots/export/bootable-disk.ts';
import { rawDisk } from '../../src/storage/disk-writer.ts';
import { openSuite } from './debian.ts';
import { expectedOutput, qemuOutput, smallSystem } from './exported.ts';
import { Scratch } from './initramfs.ts';

const OVMF = '/usr/share/OVMF/OVMF_CODE_4M.fd';
const uefi = ['-drive', `if=pflash,format=raw,readonly=on,file=${OVMF}`];
const missing = existsSync(OVMF) ? undefined : `${OVMF} is not there (Debian package ovmf)`;
if (missing !== undefined) process.stderr.write(`exported.boot.ts: UEFI is skipped: ${missing}\n`);

const scratch = new Scratch();
const path = join(scratch.directory, 'disk.raw');
afterAll(() => scratch.remove());
beforeAll(async () => {
  const disk = await bootableDisk(await smallSystem(await openSuite('sid')), { sizeBytes: 1 << 30 });
  await new NodeFiles().write(path, rawDisk(disk.sizeBytes, disk.extents));
}, 300_000);

const drive = (more: string) => ['-drive', `file=${path},format=raw,${more}`];
const nvme = [...drive('if=none,id=disk'), '-device', 'nvme,drive=disk,serial=1'];

test.for<[string, string[]]>([
  ['BIOS from an NVMe disk', nvme],
  ['BIOS with little memory', [...drive('if=virtio'), '-m', '256']],
  ['UEFI from a virtio disk', [...uefi, ...drive('if=virtio')]],
  ['UEFI from an NVMe disk', [...uefi, ...nvme]],
])('it boots by %s', { timeout: 400_000 }, async ([name, args], { skip }) => {
  if (name.startsWith('UEFI')) skip(missing !== undefined, missing);
  const output = await qemuOutput(args, /login: /, 360_000);
  for (const expected of await expectedOutput()) expect(output).toMatch(expected);
}); // prettier-ignore
