import { expect, test } from 'vitest';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import { makeTar, type TestEntry } from '../../storage/testing/archives.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import type { Tree } from '../../storage/tree.ts';
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
  builder.update('usr/bin/a', (node) => ({ ...node, xattrs: new Map([['security.capability', Uint8Array.of(1)]]) }), 'test');
  builder.add('dev/null', { type: 'char', ...own, major: 1, minor: 3 }, 'test');
  builder.add('tmp', { type: 'directory', ...own, mode: 0o1777 }, 'test');
  return builder.build();
}

const SENT: readonly TestEntry[] = [
  { path: './usr/', flag: '5' },
  { path: './usr/bin/', flag: '5' },
  { path: './usr/bin/a', content: 'a', mode: 0o755 },
  { path: './usr/bin/b', flag: '1', target: './usr/bin/a' },
  { path: './etc/', flag: '5' },
  { path: './etc/changed', content: 'new' },
  { path: './etc/machine-id', content: 'random' },
  { path: './var/log/dpkg.log', content: 'at ten' },
  { path: './var/log/apt/', flag: '5' },
  { path: './var/lib/dpkg/status-old', content: 'x' },
  { path: './etc/passwd-', content: 'x' },
  { path: './var/cache/ldconfig/aux-cache', content: 'inodes' },
  { path: './tmp/x', content: 'x' },
  { path: './usr/sbin/policy-rc.d', content: 'x' },
];

async function seal(entries: readonly TestEntry[] = SENT) {
  const store = new MemoryChunkStore();
  const old = await before(store);
  return { old, tree: await sealTree(makeTar(entries), old, store, TIME), store };
}

test('what the machine left as it was is what it was, with its time, attributes and links', async () => {
  const { old, tree } = await seal();
  expect(tree.get('usr/bin/a')).toBe(old.get('usr/bin/a'));
  expect(tree.get('usr/bin/b')).toBe(tree.get('usr/bin/a'));
  expect(tree.get('etc/changed')).toMatchObject({ mtime: TIME, sizeBytes: 3 });
});

test('what depends on when it was built is not in it', async () => {
  const { tree } = await seal();
  const gone = [
    'var/log/dpkg.log',
    'var/lib/dpkg/status-old',
    'etc/passwd-',
    'var/cache/ldconfig/aux-cache',
    'tmp/x',
    'usr/sbin/policy-rc.d',
  ];
  expect(gone.filter((path) => tree.get(path))).toEqual([]);
  const kept = ['dev/null', 'tmp', 'var/log/apt', 'usr/bin/b'];
  expect(kept.filter((path) => !tree.get(path))).toEqual([]);
  expect(tree.get('etc/machine-id')).toMatchObject({ sizeBytes: 0 });
});

test('other times, logs and identities give the same tree', async () => {
  const other = SENT.map((entry) => ({
    ...entry,
    mtime: 1_234_567_890,
    ...(/log|machine-id|old|cache/.test(entry.path) && { content: 'other' }),
  }));
  const [a, b] = [await seal(), await seal([...other].filter(({ path }) => path !== './tmp/x'))];
  expect(await a.tree.digest()).toBe(await b.tree.digest());
});

test('refuses an archive that leads out of the tree', async () => {
  await expect(seal([...SENT, { path: './../../etc/shadow', content: 'x' }])).rejects.toMatchObject({ code: 'bad-image' });
});

test('refuses an archive that is empty, cut short or none', async () => {
  const store = new MemoryChunkStore();
  const old = await before(store);
  const whole = makeTar(SENT);
  for (const archive of [new Uint8Array(), new Uint8Array(1024), whole.subarray(0, 3000), new Uint8Array(2048).fill(7)]) {
    await expect(sealTree(archive, old, store, TIME)).rejects.toMatchObject({ code: 'bad-image' });
  }
});
