import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { concatBytes } from '../base/bytes.ts';
import { MemoryChunkStore } from './chunk-store.ts';
import { readTar } from './tar.ts';
import { Tree, type TreeNode } from './tree.ts';
import { writeTar } from './tar-writer.ts';

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 1_790_000_000 };
const LONG = `${'d'.repeat(120)}`;

async function archive(): Promise<Uint8Array> {
  const store = new MemoryChunkStore();
  const file = async (content: string, more: object = {}): Promise<TreeNode> => {
    const data = new TextEncoder().encode(content);
    return { type: 'file', ...meta, digest: await store.put(data), sizeBytes: data.length, ...more };
  };
  const linked = await file('linked');
  const nodes: Record<string, TreeNode> = {
    '': { type: 'directory', ...meta, mode: 0o755 },
    a: linked,
    b: linked,
    capable: await file('x', { mode: 0o4755, xattrs: new Map([['security.capability', Uint8Array.from([1, 0, 10, 255])]]) }),
    [LONG]: { type: 'directory', ...meta, mode: 0o1777, uid: 3_000_000, gid: 44 },
    [`${LONG}/ümlaut`]: await file('y'.repeat(513)),
    late: await file('', { mtime: 9_000_000_000 }),
    link: { type: 'symlink', ...meta, mode: 0o777, target: 'z'.repeat(150) },
    null: { type: 'char', ...meta, major: 1, minor: 3 },
    disk: { type: 'block', ...meta, major: 259, minor: 300 },
    pipe: { type: 'fifo', ...meta },
  };
  const parts: Uint8Array[] = [];
  for await (const part of writeTar(new Tree(new Map(Object.entries(nodes))), store)) parts.push(part);
  return concatBytes(parts);
}

test('an archive has every entry as the tree has it', async () => {
  const entries = new Map([...readTar('test', await archive())].map((entry) => [entry.path, entry]));
  expect([...entries.keys()]).toEqual(['./', 'a', 'b', 'capable', `${LONG}/`, `${LONG}/ümlaut`, 'disk', 'late', 'link', 'null', 'pipe']);
  expect(entries.get('b')).toMatchObject({ type: 'link', target: 'a' });
  expect(entries.get('capable')).toMatchObject({
    mode: 0o4755,
    xattrs: new Map([['security.capability', Uint8Array.from([1, 0, 10, 255])]]),
  });
  expect(entries.get(`${LONG}/`)).toMatchObject({ type: 'directory', mode: 0o1777, uid: 3_000_000, gid: 44 });
  expect(new TextDecoder().decode(entries.get(`${LONG}/ümlaut`)!.data)).toBe('y'.repeat(513));
  expect(entries.get('late')).toMatchObject({ mtime: 9_000_000_000 });
  expect(entries.get('link')).toMatchObject({ type: 'symlink', target: 'z'.repeat(150) });
  expect(entries.get('null')).toMatchObject({ type: 'char', major: 1, minor: 3 });
  expect(entries.get('disk')).toMatchObject({ type: 'block', major: 259, minor: 300 });
  expect(entries.get('pipe')).toMatchObject({ type: 'fifo' });
});

test('tar lists it without a complaint', async () => {
  const { status, stdout, stderr } = spawnSync('tar', ['-tvf', '-', '--numeric-owner'], { input: await archive(), encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/^hrw-r--r-- 0\/0 .* b link to a$/m);
  expect(stdout).toMatch(/^drwxrwxrwt 3000000\/44 /m);
  expect(stdout).toMatch(/^brw-r--r-- 0\/0 +259,300 /m);
});
