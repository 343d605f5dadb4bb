/** What needs no machine: the parts of a disk, and what is refused. That it boots is for `test/boot/exported.test.ts`. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeBzImage } from '../../firmware/testing/kernels.ts';
import { NodeFiles } from '../../node/files.ts';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import { rawDisk } from '../../storage/disk-writer.ts';
import { Tree, type TreeNode } from '../../storage/tree.ts';
import { bootableDisk, type BootableDiskOptions, type ExportedSystem } from './bootable-disk.ts';
import { makeInitramfs } from './initramfs.ts';

const programs = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
const missing =
  spawnSync('sfdisk', ['--version'], { env: programs }).status === 0 ? undefined : 'sfdisk is not installed (Debian package fdisk)';
if (missing !== undefined) process.stderr.write(`bootable-disk.test.ts: in part skipped: ${missing}\n`);

const fatMissing = spawnSync('fsck.fat', ['-h'], { env: programs }).error
  ? 'fsck.fat is not installed (Debian package dosfstools)'
  : undefined;
if (fatMissing !== undefined) process.stderr.write(`bootable-disk.test.ts: in part skipped: ${fatMissing}\n`);

const meta = { mode: 0o755, uid: 0, gid: 0, mtime: 1_790_000_000 };
const VERSION = '7.2-test';
const MODULES = `usr/lib/modules/${VERSION}`;
const store = new MemoryChunkStore();
let directory: string;
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), 'daybreak-export-'))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function treeOf(files: Readonly<Record<string, string>>): Promise<Tree> {
  const nodes = new Map<string, TreeNode>([['', { type: 'directory', ...meta }]]);
  for (const [path, content] of Object.entries(files)) {
    const parts = path.split('/');
    for (let depth = 1; depth < parts.length; depth++) nodes.set(parts.slice(0, depth).join('/'), { type: 'directory', ...meta });
    const data = new TextEncoder().encode(content);
    nodes.set(path, { type: 'file', ...meta, digest: await store.put(data), sizeBytes: data.length });
  }
  return new Tree(nodes);
}

async function system(files: Readonly<Record<string, string>>, kernel = makeBzImage({})): Promise<ExportedSystem> {
  const tree = await treeOf(files);
  return { tree, digest: await tree.digest(), store, kernel, kernelVersion: VERSION, label: 'a-2026-11-01' };
}

async function write(one: ExportedSystem, options: BootableDiskOptions = { sizeBytes: 2 ** 28 }): Promise<string> {
  const path = join(directory, 'disk');
  const { sizeBytes, extents } = await bootableDisk(one, options);
  await new NodeFiles().write(path, rawDisk(sizeBytes, extents));
  return path;
}

describe('a disk', () => {
  test.skipIf(missing !== undefined)('has a table of partitions that sfdisk finds right', async () => {
    const path = await write(await system({ a: 'a' }));
    const { status, stdout, stderr } = spawnSync('sfdisk', ['--verify', path], { encoding: 'utf8', env: programs });
    expect({ status, stderr, stdout }).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('No errors detected') });
    const { partitiontable } = JSON.parse(spawnSync('sfdisk', ['-J', path], { encoding: 'utf8', env: programs }).stdout) as { partitiontable: { label: string; partitions: { name: string; start: number; type: string }[] } }; // prettier-ignore
    expect(partitiontable.label).toBe('gpt');
    expect(partitiontable.partitions.map(({ name, start }) => [name, start % 2048])).toEqual([['BIOS boot', 34], ['EFI system', 0], ['a-2026-11-01', 0]]); // prettier-ignore
    expect(partitiontable.partitions[2]!.type).toBe('4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709');
  });

  test.skipIf(fatMissing !== undefined)('has an EFI system partition that fsck.fat finds right', async () => {
    const disk = readFileSync(await write(await system({ a: 'a' })));
    const volume = join(directory, 'efi');
    const sectors = disk.readUInt32LE(2048 * 512 + 32);
    writeFileSync(volume, disk.subarray(2048 * 512, (2048 + sectors) * 512));
    const { status, stdout } = spawnSync('fsck.fat', ['-nv', volume], { encoding: 'utf8', env: programs });
    expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringMatching(/32 bits? ?entries|FAT32|1 files|4 files/) });
  });

  test('is the same for the same snapshot, and another for another', async () => {
    const digest = async (content: string) => createHash('sha256').update(readFileSync(await write(await system({ a: content })))).digest('hex'); // prettier-ignore
    const first = await digest('a');
    expect(await digest('a')).toBe(first);
    expect(await digest('b')).not.toBe(first);
  });

  test('has room to write when nobody says how large it is', async () => {
    const { sizeBytes } = await bootableDisk(await system({ a: 'a' }), {});
    expect(sizeBytes % 2 ** 30).toBe(0);
    expect(sizeBytes).toBeGreaterThan(8 * 2 ** 30);
  });

  test('has the kernel with its command line where both kinds of firmware find it', async () => {
    const kernel = makeBzImage({ code: new TextEncoder().encode('here is the kernel') });
    const disk = readFileSync(await write(await system({ a: 'a' }, kernel), { sizeBytes: 2 ** 28, append: 'debug' }));
    const sector = disk.readUInt32LE(34 * 512 + 4);
    expect(disk.subarray(sector * 512, sector * 512 + kernel.length).equals(kernel)).toBe(true);
    const line = /^root=UUID=[0-9a-f-]{36} console=tty0 .* rw debug$/;
    expect(
      disk
        .subarray(34 * 512 + 2048, 42 * 512)
        .toString('latin1')
        .replace(/\0+$/, ''),
    ).toMatch(line);
    const program = disk.indexOf('MZ', 2048 * 512);
    expect(
      disk
        .subarray(program, program + 4096)
        .toString('latin1')
        .replaceAll('\0', ''),
    ).toMatch(/root=UUID=[0-9a-f-]{36} .* debug/);
  });

  test.each<[string, ExportedSystem['kernel'] | undefined, BootableDiskOptions, RegExp]>([
    ['a kernel that is none', new Uint8Array(2048), {}, /no bzImage/],
    ['a size that is too small', undefined, { sizeBytes: 2 ** 20 }, /too small: give it a larger --size/],
    ['a size that is too small for its files', undefined, { sizeBytes: 70 * 2 ** 20 }, /too small|does not fit/],
    ['a command line that is too long', undefined, { append: 'x'.repeat(2000) }, /at most 2047 characters/],
    ['a command line with other letters', undefined, { append: 'ü' }, /expected ASCII/],
  ])('with %s is refused', async (_what, kernel, options, message) => {
    await expect(bootableDisk(await system({ a: 'a'.repeat(2 ** 20) }, kernel), options)).rejects.toThrow(message);
  });
});

describe('an initramfs', () => {
  const make = async (files: Readonly<Record<string, string>>) =>
    makeInitramfs(await treeOf(files), store, VERSION, new Uint8Array(16).fill(7));

  test('has the drivers of disks, each behind what it needs', async () => {
    const { data, modules } = await make({
      [`${MODULES}/modules.dep`]:
        'k/ahci.ko: k/libahci.ko k/libata.ko\nk/libahci.ko: k/libata.ko\nk/libata.ko:\nk/other.ko:\nk/xen-blkfront.ko:\n',
      [`${MODULES}/k/ahci.ko`]: 'the driver',
      [`${MODULES}/k/libahci.ko`]: 'its library',
      [`${MODULES}/k/libata.ko`]: 'the library of that',
      [`${MODULES}/k/xen-blkfront.ko`]: 'another',
    });
    expect(modules).toEqual(['libata', 'libahci', 'ahci', 'xen_blkfront']);
    const text = new TextDecoder('latin1').decode(data);
    expect(text.indexOf('the library of that')).toBeGreaterThan(text.indexOf('m/000.ko'));
    expect(text.indexOf('the library of that')).toBeLessThan(text.indexOf('m/001.ko'));
    expect(text).toContain('\x07'.repeat(16));
  });

  test('finds them in /lib, too', async () => {
    const files = { [`lib/modules/${VERSION}/modules.dep`]: 'k/nvme.ko.zst:\n', [`lib/modules/${VERSION}/k/nvme.ko.zst`]: 'the driver' };
    expect((await make(files)).modules).toEqual(['nvme']);
  });

  test('of a tree without modules has none', async () => {
    expect((await make({})).modules).toEqual([]);
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ['that is not there', { [`${MODULES}/modules.dep`]: 'k/nvme.ko.xz:\n' }, /k\/nvme.ko.xz is missing in the tree/],
    ['that leads out of the tree', { [`${MODULES}/modules.dep`]: '/../../nvme.ko:\n' }, /nvme.ko is missing in the tree/],
    ['that is damaged', { [`${MODULES}/modules.dep`]: 'k/nvme.ko:\n', [`${MODULES}/k/nvme.ko`]: '\u001f' }, /./],
    ['that needs itself', { [`${MODULES}/modules.dep`]: 'k/nvme.ko: k/nvme.ko\n' }, /missing/],
  ])('with a module %s is refused, or takes it as it is', async (_what, files, message) => {
    const made = await make(files).then(({ modules }) => modules.join(), (error: Error) => error.message); // prettier-ignore
    expect(made).toMatch(message);
  });
});
