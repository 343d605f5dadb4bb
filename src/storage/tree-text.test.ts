import { expect, test } from 'vitest';
import { TreeBuilder } from './tree-builder.ts';
import { decodeTree } from './tree-text.ts';
import type { TreeNode } from './tree.ts';

const own = { mode: 0o644, uid: 0, gid: 0, mtime: 5 };
const DIGEST = 'a'.repeat(64);

function sample() {
  const builder = new TreeBuilder(1);
  const xattrs = new Map([['security.capability', Uint8Array.of(1, 255)]]);
  builder.add('usr/bin/a', { type: 'file', ...own, digest: DIGEST, sizeBytes: 3, xattrs }, 'test');
  builder.link('usr/bin/b', 'usr/bin/a', 'test');
  builder.add('bin', { type: 'symlink', ...own, target: 'usr/bin' }, 'test');
  builder.add('dev/null', { type: 'char', ...own, major: 1, minor: 3 }, 'test');
  builder.add('pipe', { type: 'fifo', ...own }, 'test');
  return builder.build();
}

test('reads back what a tree writes: the same digest, hard links and attributes', async () => {
  const tree = sample();
  const again = decodeTree('tree', tree.encode());
  expect(await again.digest()).toBe(await tree.digest());
  expect(again.get('usr/bin/b')).toBe(again.get('usr/bin/a'));
  expect(again.get('usr/bin/a')?.xattrs?.get('security.capability')).toEqual(Uint8Array.of(1, 255));
});

const root = JSON.stringify({ path: '', type: 'directory', ...own });
const line = (fields: Record<string, unknown>) => `${root}\n${JSON.stringify({ ...own, type: 'fifo', ...fields })}\n`;

test.each<[string, string]>([
  ['nothing at all', ''],
  ['no JSON', 'hello\n'],
  ['an array', '[]\n'],
  ['no end of line', root],
  ['no root', line({ path: 'a' }).split('\n').slice(1).join('\n')],
  ['a root that is a file', `${JSON.stringify({ path: '', type: 'fifo', ...own })}\n`],
  ['a path out of the tree', line({ path: '../a' })],
  ['an absolute path', line({ path: '/a' })],
  ['a parent that is not there', line({ path: 'a/b' })],
  ['a path twice', line({ path: 'a' }) + line({ path: 'a' }).slice(root.length + 1)],
  ['a link to nothing', `${root}\n{"path":"a","link":"b"}\n`],
  ['a link to a directory', `${root}\n{"path":"a","link":""}\n`],
  ['a mode too large', line({ path: 'a', mode: 0o10000 })],
  ['a negative owner', line({ path: 'a', uid: -1 })],
  ['a time that is no number', line({ path: 'a', mtime: '1' })],
  ['a file without a digest', line({ path: 'a', type: 'file', sizeBytes: 1 })],
  ['a digest that is a path', line({ path: 'a', type: 'file', sizeBytes: 1, digest: '../../etc' })],
  ['a symlink without a target', line({ path: 'a', type: 'symlink' })],
  ['an unknown type', line({ path: 'a', type: 'socket' })],
  ['bytes that are none', line({ path: 'a', xattrs: [['user.x', [256]]] })],
])('refuses %s', (_what, text) => {
  expect(() => decodeTree('tree', text)).toThrow(expect.objectContaining({ code: 'bad-image' }));
});

test('refuses every truncation of a tree with a message, never with a crash', () => {
  const text = sample().encode();
  for (let end = 0; end < text.length; end++) {
    if (text[end - 1] === '\n' && end > 0) continue;
    expect(() => decodeTree('tree', text.slice(0, end))).toThrow(expect.objectContaining({ code: 'bad-image' }));
  }
});

test('a tree decoded has nodes that the builder would have made', () => {
  const nodes = new Map<string, TreeNode>([...decodeTree('tree', sample().encode()).entries()]);
  expect([...nodes.keys()]).toEqual([...sample().entries()].map(([path]) => path));
});
