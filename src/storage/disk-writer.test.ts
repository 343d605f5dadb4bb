import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NodeFiles } from '../node/files.ts';
import { bytesAt, movedBy, type DiskExtent } from './disk-extent.ts';
import { qcow2Disk, rawDisk } from './disk-writer.ts';

const KIB = 1024;
const missing = spawnSync('qemu-img', ['--version']).status === 0 ? undefined : 'qemu-img is not installed (Debian package qemu-utils)';
if (missing !== undefined) process.stderr.write(`disk-writer.test.ts: in part skipped: ${missing}\n`);

let directory: string;
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), 'daybreak-disk-'))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const filled = (offset: number, length: number, value: number) => bytesAt(offset, new Uint8Array(length).fill(value));

/** Within one cluster, across its end, over several, and in the last, which is cut short. */
const DISK_BYTES = 1.25 * 2 ** 30 + 3 * 512;
const EXTENTS: readonly DiskExtent[] = [
  filled(512, 512, 1),
  filled(2 * KIB, 4 * KIB, 2),
  filled(127 * KIB, 2 * KIB, 3),
  ...movedBy(2 ** 30, [filled(5, 300 * KIB, 4)]),
  filled(DISK_BYTES - 512, 512, 5),
];

async function write(name: string, disk: AsyncIterable<Uint8Array>): Promise<string> {
  const path = join(directory, name);
  await new NodeFiles().write(path, disk);
  return path;
}

test('a raw disk has what was asked for where it was asked for, and holes between', async () => {
  const path = join(directory, 'raw');
  await new NodeFiles().write(path, rawDisk(DISK_BYTES, EXTENTS));
  const { size, blocks } = statSync(path);
  expect(size).toBe(DISK_BYTES);
  expect(blocks * 512).toBeLessThan(1024 * KIB);
  const handle = openSync(path, 'r');
  for (const extent of EXTENTS) {
    const data = Buffer.alloc(extent.sizeBytes + 1);
    readSync(handle, data, 0, data.length, extent.offset - 1);
    expect(data.subarray(1).equals(await extent.read())).toBe(true);
    expect(data[0]).toBe(0);
  }
  closeSync(handle);
});

test.skipIf(missing !== undefined)('a qcow2 disk is sound to qemu-img, small, and the same as the raw one', async () => {
  await new NodeFiles().write(join(directory, 'raw'), rawDisk(DISK_BYTES, EXTENTS));
  const path = await write('disk.qcow2', qcow2Disk(DISK_BYTES, EXTENTS));
  expect(statSync(path).size).toBe(960 * KIB);
  const run = (...args: string[]) => spawnSync('qemu-img', args, { encoding: 'utf8' });
  expect(run('check', path)).toMatchObject({ status: 0, stdout: expect.stringContaining('No errors were found') });
  expect(run('compare', '-f', 'qcow2', '-F', 'raw', path, join(directory, 'raw'))).toMatchObject({ status: 0 });
  expect(JSON.parse(run('info', '--output=json', path).stdout)).toMatchObject({ 'virtual-size': DISK_BYTES, format: 'qcow2' });
});

test.skipIf(missing !== undefined)('a qcow2 disk with more clusters than a block of reference counts has room for is sound', async () => {
  const data = new Uint8Array(64 * KIB).fill(7);
  const extents = Array.from({ length: 33_000 }, (_, i) => bytesAt(i * data.length, data));
  const disk = qcow2Disk(extents.length * data.length, extents);
  const path = join(directory, 'large.qcow2');
  // A hole in place of the content, which comes last, so that the test needs no 2 GB.
  await new NodeFiles().write(
    path,
    (async function* () {
      let holeBytes = 0;
      for await (const part of disk) {
        if (part[0] === 7) holeBytes += part.length;
        else yield part;
      }
      yield { holeBytes };
    })(),
  );
  expect(spawnSync('qemu-img', ['check', path], { encoding: 'utf8' })).toMatchObject({ status: 0 });
});

test('a disk that cannot be written leaves nothing', async () => {
  const broken: DiskExtent = { offset: 2 ** 20, sizeBytes: 10, read: () => Promise.reject(new Error('gone')) };
  const before = spawnSync('ls', [directory], { encoding: 'utf8' }).stdout;
  await expect(write('broken', qcow2Disk(2 ** 30, [filled(0, 10, 1), broken]))).rejects.toThrow('gone');
  expect(spawnSync('ls', [directory], { encoding: 'utf8' }).stdout).toBe(before);
  writeFileSync(join(directory, 'old'), 'old');
  await expect(write('old', qcow2Disk(2 ** 30, [broken]))).rejects.toThrow('gone');
  expect(readFileSync(join(directory, 'old'), 'utf8')).toBe('old');
});
