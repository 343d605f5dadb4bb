import { chmodSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silent } from '../base/log.ts';
import { TreeFileSystem } from '../storage/tree-fs/tree-file-system.ts';
import { openHostDirectory } from './host-directory.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-directory-'));
  mkdirSync(join(directory, 'sub'));
  writeFileSync(join(directory, 'sub/file'), 'content');
  chmodSync(join(directory, 'sub/file'), 0o640);
  linkSync(join(directory, 'sub/file'), join(directory, 'other'));
  symlinkSync('sub/file', join(directory, 'link'));
});

afterEach(() => rmSync(directory, { recursive: true }));

test('a directory is a tree with its modes, links and contents', async () => {
  const { tree, store } = await openHostDirectory(directory, silent);
  expect([...tree.entries()].map(([path, { type }]) => `${path} ${type}`)).toEqual([
    ' directory',
    'link symlink',
    'other file',
    'sub directory',
    'sub/file file',
  ]);
  const file = tree.get('sub/file')!;
  expect(tree.get('other')).toBe(file);
  expect(file).toMatchObject({ mode: 0o640, uid: 0, gid: 0, sizeBytes: 7 });
  expect(new TextDecoder().decode(await store.get((file as { digest: string }).digest))).toBe('content');
});

test('a guest that writes does not change it', async () => {
  const { tree, store } = await openHostDirectory(directory, silent);
  const fs = new TreeFileSystem(tree, store);
  const file = fs.lookup(fs.root, 'other');
  expect(fs.write(file, 0, 3, (_, into) => into.fill(65))).toBe(3);
  expect(fs.unlink(fs.lookup(fs.root, 'sub'), 'file')).toBe(0);
  expect(readFileSync(join(directory, 'sub/file'), 'utf8')).toBe('content');
});

test('a file that changed since is refused', async () => {
  const { tree, store } = await openHostDirectory(directory, silent);
  writeFileSync(join(directory, 'sub/file'), 'CONTENT');
  const { digest } = tree.get('sub/file') as { digest: string };
  await expect(store.get(digest)).rejects.toMatchObject({ code: 'bad-digest' });
});

test('what is no directory is refused by name', async () => {
  await expect(openHostDirectory(join(directory, 'nothing'), silent)).rejects.toThrow(/nothing/);
  await expect(openHostDirectory(join(directory, 'other'), silent)).rejects.toThrow(/other/);
});
