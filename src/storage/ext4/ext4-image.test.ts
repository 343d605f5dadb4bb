/** Judged by e2fsprogs: e2fsck finds nothing wrong, and debugfs reads back what was put in. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MemoryChunkStore } from '../chunk-store.ts';
import { Tree, type TreeNode } from '../tree.ts';
import { ext4Image, leastBytes } from './ext4-image.ts';

const programs = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, DEBUGFS_PAGER: 'cat' };
const missing =
  spawnSync('e2fsck', ['-V'], { env: programs }).status === 0 ? undefined : 'e2fsck is not installed (Debian package e2fsprogs)';
if (missing !== undefined) process.stderr.write(`ext4-image.test.ts: skipped: ${missing}\n`);

const MIB = 2 ** 20;
const UUID = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 1_790_000_000 };
const store = new MemoryChunkStore();
let directory: string;
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), 'daybreak-ext4-'))));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function file(content: Uint8Array | string, more: object = {}): Promise<TreeNode> {
  const data = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  return { type: 'file', ...meta, digest: await store.put(data), sizeBytes: data.length, ...more };
}
const folder = (more: object = {}): TreeNode => ({ type: 'directory', ...meta, mode: 0o755, ...more });

/** What is larger than `unread` at one place stays zero. */
async function make(nodes: Record<string, TreeNode>, sizeBytes = 64 * MIB, unread = Infinity): Promise<string> {
  const tree = new Tree(new Map(Object.entries({ '': folder(), ...nodes })));
  const path = join(directory, 'image');
  rmSync(path, { force: true });
  const handle = openSync(path, 'wx');
  ftruncateSync(handle, sizeBytes);
  let end = 0;
  for (const extent of ext4Image(tree, store, { sizeBytes, uuid: UUID, label: 'test' })) {
    if (extent.sizeBytes > unread) continue;
    const data = await extent.read();
    expect([data.length, extent.offset >= end]).toEqual([extent.sizeBytes, true]);
    end = extent.offset + data.length;
    writeSync(handle, data, 0, data.length, extent.offset);
  }
  closeSync(handle);
  return path;
}

function check(image: string): void {
  const { status, stdout, stderr } = spawnSync('e2fsck', ['-fn', image], { encoding: 'utf8', env: programs });
  expect(`${stdout}${stderr.replace(/^e2fsck .*\n/, '')}`).not.toMatch(/\?|<|[Ww]arning|differ|wrong/);
  expect(status).toBe(0);
}

function debugfs(image: string, command: string): string {
  return spawnSync('debugfs', ['-R', command, image], { encoding: 'latin1', env: programs }).stdout;
}

describe.skipIf(missing !== undefined)('a file system', () => {
  test('of nothing is sound', async () => check(await make({})));

  test('has every kind of file with its owner, mode, time, links and attributes', async () => {
    const linked = await file('linked');
    const acl = Uint8Array.from([2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 100, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255]); // prettier-ignore
    const image = await make({
      etc: folder({ mode: 0o1777, uid: 70_000, gid: 70_001 }),
      'etc/one': linked,
      'etc/two': linked,
      'etc/late': await file('late', { mtime: 2 ** 32 + 5 }),
      'etc/capable': await file('x', { mode: 0o4755, xattrs: new Map([['security.capability', new Uint8Array(20).fill(1)]]) }),
      'etc/large': await file('y', { xattrs: new Map([['user.big', new Uint8Array(3000).fill(7)], ['user.a', new Uint8Array()]]) }), // prettier-ignore
      'etc/acl': await file('z', { xattrs: new Map([['system.posix_acl_access', acl]]) }),
      'etc/ümlaut': await file(''),
      short: { type: 'symlink', ...meta, mode: 0o777, target: 'etc/one' },
      long: { type: 'symlink', ...meta, mode: 0o777, target: `etc/${'x'.repeat(200)}` },
      null: { type: 'char', ...meta, mode: 0o666, major: 1, minor: 3 },
      disk: { type: 'block', ...meta, mode: 0o660, major: 259, minor: 300 },
      pipe: { type: 'fifo', ...meta },
    });
    check(image);
    expect(debugfs(image, 'stat /etc')).toMatch(/Mode: +01777[\s\S]*User: +70000 +Group: +70001/);
    expect(debugfs(image, 'stat /etc/two')).toMatch(/Links: 2/);
    expect(debugfs(image, 'cat /etc/two')).toBe('linked');
    expect(debugfs(image, 'stat /etc/late')).toMatch(/mtime: 0x00000005:00000001/);
    expect(debugfs(image, 'stat /etc/capable')).toMatch(/Mode: +04755/);
    expect(debugfs(image, 'ea_get /etc/capable security.capability')).toContain('01 '.repeat(20));
    expect(debugfs(image, 'ea_get /etc/large user.big')).toContain('07 '.repeat(3000));
    expect(debugfs(image, 'ea_list /etc/acl')).toMatch(/system.posix_acl_access \(28\)|system.posix_acl_access \(44\)/);
    expect(debugfs(image, 'stat /short')).toMatch(/Fast link dest: "etc\/one"/);
    expect(debugfs(image, 'stat /long')).toMatch(/Size: 204/);
    expect(debugfs(image, 'stat /null')).toMatch(/character special[\s\S]*major\/minor number: 01:03/);
    expect(debugfs(image, 'stat /disk')).toMatch(/block special[\s\S]*major\/minor number: 259:300/);
    expect(debugfs(image, 'stat /pipe')).toMatch(/FIFO/);
    expect(debugfs(image, 'ls -l /lost+found')).toContain('40700');
  });

  test('holds a directory of many names, and files across its groups', async () => {
    const nodes: Record<string, TreeNode> = { many: folder(), 'lost+found': folder({ mode: 0o700 }), 'lost+found/x': await file('found') };
    for (let i = 0; i < 3000; i++) nodes[`many/${'n'.repeat(i % 200)}${i}`] = await file(`${i}`);
    const data = new Uint8Array(140 * MIB + 1);
    for (let at = 0; at < data.length; at += 1000) data[at] = at;
    nodes['big'] = await file(data);
    const image = await make(nodes, 256 * MIB);
    check(image);
    expect(debugfs(image, 'cat /many/nn2802')).toBe('2802');
    expect(debugfs(image, 'cat /lost+found/x')).toBe('found');
    const out = join(directory, 'out');
    debugfs(image, `dump /big ${out}`);
    expect(readFileSync(out).equals(data)).toBe(true);
  });

  test('holds a file of so many stretches that they do not fit into its inode', async () => {
    const image = await make({ big: { type: 'file', ...meta, digest: 'not read', sizeBytes: 900 * MIB } }, 2048 * MIB, MIB);
    check(image);
    expect(debugfs(image, 'dump_extents /big')).toMatch(/1\/ 1 +\d+\/ +\d+/);
  });

  test.each([16, 129, 260, 2049, 20 * 1024])('of %i MiB is sound', async (size) => {
    const image = await make({ a: await file('a') }, size * MIB);
    check(image);
    expect(debugfs(image, 'cat /a')).toBe('a');
  });

  test('with more files than its size suggests has inodes for all', async () => {
    const nodes: Record<string, TreeNode> = {};
    for (let i = 0; i < 12_000; i++) nodes[`f${i}`] = { type: 'fifo', ...meta };
    check(await make(nodes, 48 * MIB));
  });

  test('is the same for the same tree', async () => {
    const image = async () => createHash('sha256').update(readFileSync(await make({ a: await file('a') }, 16 * MIB))).digest('hex'); // prettier-ignore
    expect(await image()).toBe(await image());
  });

  test.each<[string, () => Promise<Record<string, TreeNode>>, RegExp]>([
    ['more than fits', async () => ({ a: await file(new Uint8Array(60 * MIB)) }), /does not fit: give the disk a larger --size/],
    ['an attribute without a place', async () => ({ a: await file('', { xattrs: new Map([['system.other', new Uint8Array()]]) }) }), /ext4 cannot hold the extended attribute system.other/],
    ['attributes that are too large', async () => ({ a: await file('', { xattrs: new Map([['user.x', new Uint8Array(5000)]]) }) }), /larger than ext4 can hold/],
    ['a malformed access control list', async () => ({ a: await file('', { xattrs: new Map([['system.posix_acl_access', new Uint8Array(3)]]) }) }), /malformed/],
  ])('with %s is refused', async (_what, nodes, message) => {
    await expect(make(await nodes(), 32 * MIB)).rejects.toThrow(message);
  }); // prettier-ignore

  test('fits into what is said to be the least', async () => {
    const nodes: Record<string, TreeNode> = {};
    for (let i = 0; i < 2000; i++) nodes[`f${i}`] = await file(new Uint8Array(i % 9000).fill(i));
    check(await make(nodes, leastBytes(new Tree(new Map(Object.entries({ '': folder(), ...nodes }))))));
  });
});
