import { describe, expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { TreeBuilder } from './tree-builder.ts';
import { normalizePath, type TreeNode } from './tree.ts';

const meta = { mode: 0o755, uid: 0, gid: 0, mtime: 1 };
const directory = (mode = 0o755): TreeNode => ({ type: 'directory', ...meta, mode });
const file = (digest = 'a'.repeat(64)): TreeNode => ({ type: 'file', ...meta, digest, sizeBytes: 1 });
const symlink = (target: string): TreeNode => ({ type: 'symlink', ...meta, target });

function usrMerged(): TreeBuilder {
  const builder = new TreeBuilder(1);
  builder.add('usr/bin', directory(), 't');
  builder.add('bin', symlink('usr/bin'), 't');
  return builder;
}

const paths = (builder: TreeBuilder) => [...builder.build().entries()].map(([path]) => path);

describe('merging as dpkg does', () => {
  test('a path goes through a symlink to a directory', () => {
    const builder = usrMerged();
    builder.add('./bin/sh', file(), 't');
    expect(paths(builder)).toEqual(['', 'bin', 'usr', 'usr/bin', 'usr/bin/sh']);
  });

  test('a directory does not replace a symlink to a directory', () => {
    const builder = usrMerged();
    builder.add('bin/', directory(0o700), 't');
    expect(builder.get('bin', 't')?.type).toBe('symlink');
    expect(builder.get('usr/bin', 't')?.mode).toBe(0o755);
  });

  test('a symlink does not replace a directory', () => {
    const builder = usrMerged();
    builder.add('usr/bin', symlink('elsewhere'), 't');
    expect(builder.get('usr/bin', 't')?.type).toBe('directory');
  });

  test('a directory keeps the metadata it had first', () => {
    const builder = usrMerged();
    builder.add('usr', directory(0o700), 't');
    builder.add('usr', directory(0o711), 't');
    expect(builder.get('usr', 't')?.mode).toBe(0o755);
  });

  test('a file replaces a file, and a symlink to a file is replaced, not followed', () => {
    const builder = usrMerged();
    builder.add('bin/awk', symlink('mawk'), 't');
    builder.add('bin/mawk', file('b'.repeat(64)), 't');
    builder.add('bin/awk', file('c'.repeat(64)), 't');
    expect(builder.get('bin/awk', 't')).toMatchObject({ digest: 'c'.repeat(64) });
    expect(builder.get('bin/mawk', 't')).toMatchObject({ digest: 'b'.repeat(64) });
  });

  test('a hard link shares its inode, also through symlinked directories', () => {
    const builder = usrMerged();
    builder.add('usr/bin/perl', file(), 't');
    builder.link('bin/perl5', 'bin/perl', 't');
    const tree = builder.build();
    expect(tree.get('usr/bin/perl5')).toBe(tree.get('usr/bin/perl'));
  });

  test('changing one name of an inode changes all of them', () => {
    const builder = usrMerged();
    builder.add('a', file(), 't');
    builder.link('b', 'a', 't');
    builder.update('a', (node) => ({ ...node, mode: 0o4711 }), 't');
    expect(builder.get('b', 't')?.mode).toBe(0o4711);
    expect(builder.get('b', 't')).toBe(builder.get('a', 't'));
  });
});

describe('hostile input', () => {
  test.each(['../etc/passwd', 'a/../../b', 'a/..', 'x\0y', 'n'.repeat(256), 'd/'.repeat(2100) + 'f'])('the path %j is refused', (path) => {
    const builder = usrMerged();
    expect(() => builder.add(path, file(), 'evil.deb')).toThrow(/^evil\.deb: refusing the path/);
    expect(paths(builder)).toEqual(['', 'bin', 'usr', 'usr/bin']);
  });

  test('an absolute path means a path from the tree’s root', () => {
    expect(normalizePath('//etc/./x/', 't')).toBe('etc/x');
  });

  test('a symlink that leads out of the tree leads to its root', () => {
    const builder = new TreeBuilder(1);
    builder.add('out', symlink('../../../..'), 't');
    builder.add('out/file', file(), 't');
    expect(paths(builder)).toEqual(['', 'file', 'out']);
  });

  test('a loop of symlinks is an error, not a hang', () => {
    const builder = new TreeBuilder(1);
    builder.add('a', symlink('b'), 't');
    builder.add('b', symlink('a'), 't');
    expect(() => builder.add('a/x', file(), 'evil')).toThrow(VmError);
    expect(() => builder.add('a', directory(), 'evil')).toThrow(/too many symlinks/);
  });

  test('symlinks that multiply each other’s length end in an error', () => {
    const builder = new TreeBuilder(1);
    builder.add('a', symlink('a/a'), 't');
    expect(() => builder.add('a/x', file(), 'evil')).toThrow(/too many symlinks/);
  });

  test('nothing is put below a file, and no directory is replaced by a file', () => {
    const builder = usrMerged();
    builder.add('etc', file(), 't');
    expect(() => builder.add('etc/passwd', file(), 'evil')).toThrow(/^evil: \/etc is a file/);
    expect(() => builder.add('usr', file(), 'evil')).toThrow(/^evil: refusing to replace the directory/);
    expect(() => builder.add('', file(), 'evil')).toThrow(VmError);
  });

  test('a hard link to a directory or to nothing is refused', () => {
    const builder = usrMerged();
    expect(() => builder.link('x', 'usr', 'evil')).toThrow(VmError);
    expect(() => builder.link('x', 'nowhere', 'evil')).toThrow(/which is no file/);
    expect(() => builder.link('x', '../../etc/shadow', 'evil')).toThrow(VmError);
  });
});

/** Digest of a tree with one file and a change. */
function build(change: (builder: TreeBuilder) => void): Promise<string> {
  const builder = new TreeBuilder(1);
  builder.add('a', file(), 't');
  change(builder);
  return builder.build().digest();
}

describe('digest', () => {
  test('does not depend on the order of building', async () => {
    const one = new TreeBuilder(1);
    one.add('a', file(), 't');
    one.add('b/c', file(), 't');
    const two = new TreeBuilder(1);
    two.add('b/c', file(), 't');
    two.add('a', file(), 't');
    expect(await one.build().digest()).toBe(await two.build().digest());
  });

  test('tells a hard link from a copy, and any change of metadata', async () => {
    const digests = await Promise.all([
      build((builder) => builder.link('b', 'a', 't')),
      build((builder) => builder.add('b', file(), 't')),
      build((builder) => builder.add('b', { ...file(), uid: 1 }, 't')),
      build((builder) => builder.add('b', { ...file(), xattrs: new Map([['user.x', Uint8Array.of(1)]]) }, 't')),
      build((builder) => builder.add('b', { ...file(), mode: 0o700 }, 't')),
    ]);
    expect(new Set(digests).size).toBe(digests.length);
  });
});
