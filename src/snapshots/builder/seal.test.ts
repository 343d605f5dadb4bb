import { expect, test } from 'vitest';
import { S_IFDIR, S_IFSOCK } from '../../machine/posix.ts';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import { TreeFileSystem } from '../../storage/tree-fs/tree-file-system.ts';
import type { Tree } from '../../storage/tree.ts';
import { writeFile } from '../testing/fake-build-machine.ts';
import { sealTree } from './seal.ts';

const TIME = 1_000_000;
const own = { mode: 0o644, uid: 0, gid: 0, mtime: 5 };

async function before(store: MemoryChunkStore): Promise<Tree> {
  const builder = new TreeBuilder(5);
  const put = async (path: string, content: string, mode = 0o644) => {
    const data = new TextEncoder().encode(content);
    builder.add(path, { type: 'file', ...own, mode, digest: await store.put(data), sizeBytes: data.length }, 'test');
  };
  await put('usr/bin/a', 'a', 0o755);
  builder.link('usr/bin/b', 'usr/bin/a', 'test');
  await put('etc/changed', 'old');
  await put('etc/rewritten', 'same');
  await put('etc/removed', 'x');
  builder.update('usr/bin/a', (node) => ({ ...node, xattrs: new Map([['security.capability', Uint8Array.of(1)]]) }), 'test');
  for (const path of ['dev', 'var/log', 'var/cache/ldconfig', 'var/lib/dpkg', 'usr/sbin'])
    builder.add(path, { type: 'directory', ...own, mode: 0o755 }, 'test');
  builder.add('tmp', { type: 'directory', ...own, mode: 0o1777 }, 'test');
  return builder.build();
}

const VOLATILE = [
  'var/log/dpkg.log',
  'var/lib/dpkg/status-old',
  'etc/passwd-',
  'var/cache/ldconfig/aux-cache',
  'tmp/x',
  'usr/sbin/policy-rc.d',
];

/** A build at `seconds` that leaves `marks` where it depends on itself. */
async function build(seconds: number, marks: string) {
  const store = new MemoryChunkStore();
  const old = await before(store);
  const fs = new TreeFileSystem(old, store);
  fs.connect(() => seconds * 1e9);
  const etc = fs.lookup(fs.root, 'etc');
  await writeFile(fs, 'etc/changed', 'new');
  await writeFile(fs, 'etc/rewritten', 'same');
  await writeFile(fs, 'etc/machine-id', marks);
  for (const path of VOLATILE) await writeFile(fs, path, marks);
  fs.unlink(etc, 'removed');
  fs.create(etc, 'socket', { mode: S_IFSOCK | 0o666, uid: 0, gid: 0 });
  fs.link(fs.lookup(etc, 'changed'), etc, 'twin');
  fs.create(fs.lookup(fs.lookup(fs.root, 'var'), 'log'), 'apt', { mode: S_IFDIR | 0o755, uid: 0, gid: 4 });
  return { old, store, tree: await sealTree(await fs.seal(store), old, store, TIME) };
}

test('what the machine left as it was, or wrote again as it was, is what it was, with its time, attributes and links', async () => {
  const { old, tree } = await build(2e9, 'x');
  expect(tree.get('usr/bin/a')).toBe(old.get('usr/bin/a'));
  expect(tree.get('usr/bin/b')).toBe(tree.get('usr/bin/a'));
  expect(tree.get('etc/rewritten')).toBe(old.get('etc/rewritten'));
  expect(tree.get('etc')).toBe(old.get('etc'));
});

test('what it changed is there with the suite’s time, and what it removed is not', async () => {
  const { tree, store } = await build(2e9, 'x');
  const changed = tree.get('etc/changed');
  expect(changed).toMatchObject({ mtime: TIME, sizeBytes: 3 });
  expect(tree.get('etc/twin')).toBe(changed);
  expect(changed?.type === 'file' && new TextDecoder().decode(await store.get(changed.digest))).toBe('new');
  expect(tree.get('var/log/apt')).toMatchObject({ type: 'directory', gid: 4, mtime: TIME });
  expect(['etc/removed', 'etc/socket'].filter((path) => tree.get(path))).toEqual([]);
});

test('what depends on when it was built is not in it, but for an identity that is empty', async () => {
  const { tree } = await build(2e9, 'x');
  expect(VOLATILE.filter((path) => tree.get(path))).toEqual([]);
  expect(['dev', 'tmp', 'var/log'].filter((path) => !tree.get(path))).toEqual([]);
  expect(tree.get('etc/machine-id')).toMatchObject({ sizeBytes: 0 });
});

test('another time and other marks give the same tree', async () => {
  const [a, b] = [await build(2e9, 'x'), await build(3e9, 'other')];
  expect(await b.tree.digest()).toBe(await a.tree.digest());
});
