import { beforeEach, describe, expect, test } from 'vitest';
import * as posix from '../../machine/posix.ts';
import { MemoryChunkStore, type ChunkStore } from '../chunk-store.ts';
import { TreeBuilder } from '../tree-builder.ts';
import type { Tree } from '../tree.ts';
import { TreeFileSystem } from './tree-file-system.ts';

const { S_IFDIR, S_IFREG, S_IFLNK, S_IFCHR, S_IFSOCK } = posix;
const OWN = { uid: 1, gid: 2, mtime: 1000 };
const ROOT = 1;
let store: MemoryChunkStore;
let tree: Tree;
let fs: TreeFileSystem;
let nowNs: number;

async function plant(): Promise<Tree> {
  const builder = new TreeBuilder(1000);
  const data = new TextEncoder().encode('from the tree');
  const digest = await store.put(data);
  const file = { type: 'file', ...OWN, mode: 0o644, digest, sizeBytes: data.length } as const;
  builder.add('dir/file', { ...file, xattrs: new Map([['user.a', Uint8Array.of(1)]]) }, 'test');
  builder.link('dir/other', 'dir/file', 'test');
  builder.add('dir/sub', { type: 'directory', ...OWN, mode: 0o755 }, 'test');
  builder.add('suid', { ...file, mode: 0o6755 }, 'test');
  builder.add('link', { type: 'symlink', ...OWN, mode: 0o777, target: 'dir/file' }, 'test');
  builder.add('null', { type: 'char', ...OWN, mode: 0o666, major: 1, minor: 3 }, 'test');
  return builder.build();
}

beforeEach(async () => {
  store = new MemoryChunkStore();
  tree = await plant();
  fs = new TreeFileSystem(tree, store);
  nowNs = 2e18;
  fs.connect(() => (nowNs += 1e9));
});

function at(path: string): number {
  return path.split('/').reduce((ino, name) => (ino < 0 || name === '' ? ino : fs.lookup(ino, name)), ROOT);
}

function file(path: string, mode = S_IFREG | 0o644, parent = ROOT): number {
  return fs.create(parent, path, { mode, uid: 0, gid: 0 });
}

function put(ino: number, text: string, offset = 0): unknown {
  const bytes = new TextEncoder().encode(text);
  return fs.write(ino, offset, bytes.length, (from, into) => into.set(bytes.subarray(from, from + into.length)));
}

function text(ino: number, from: TreeFileSystem = fs): string {
  const bytes = new Uint8Array(from.attributes(ino)!.sizeBytes);
  expect(from.read(ino, 0, bytes.length, (offset, part) => bytes.set(part, offset))).toBe(bytes.length);
  return new TextDecoder().decode(bytes);
}

const names = (ino: number): string[] => {
  const found: string[] = [];
  fs.list(ino, 0, (name) => found.push(name) > 0);
  return found;
};

describe('what the tree has', () => {
  test('is found with its attributes, hard links as one inode', () => {
    expect(fs.attributes(at('dir/file'))).toMatchObject({
      mode: S_IFREG | 0o644,
      uid: 1,
      gid: 2,
      nlink: 2,
      sizeBytes: 13,
      mtime: { seconds: 1000 },
    });
    expect(at('dir/other')).toBe(at('dir/file'));
    expect(fs.attributes(at('dir'))).toMatchObject({ nlink: 3 });
    expect(fs.attributes(at('null'))).toMatchObject({ rdev: 0x103, mode: S_IFCHR | 0o666 });
    expect(fs.readLink(at('link'))).toBe('dir/file');
    expect(fs.getXattr(at('dir/file'), 'user.a')).toEqual(Uint8Array.of(1));
    expect(text(at('dir/file'))).toBe('from the tree');
    expect(names(ROOT)).toEqual(['.', '..', 'dir', 'link', 'null', 'suid']);
  });

  test('is written to in a layer above, and stays what it is', async () => {
    const before = await tree.digest();
    put(at('dir/file'), 'FROM');
    expect(text(at('dir/other'))).toBe('FROM the tree');
    fs.unlink(at('dir'), 'file');
    expect(await tree.digest()).toBe(before);
    expect(text(at('dir/file') < 0 ? at('suid') : 0)).toBe('from the tree');
  });

  test('is waited for when it is not here yet, and then the same call gives it', async () => {
    const slow: ChunkStore = { has: (digest) => store.has(digest), get: (digest) => store.get(digest), put: (data) => store.put(data) };
    const other = new TreeFileSystem(tree, slow);
    const ino = other.lookup(ROOT, 'suid');
    const sink: Uint8Array[] = [];
    const first = other.read(ino, 0, 100, (_, bytes) => sink.push(bytes));
    expect(first).toBeInstanceOf(Promise);
    expect(sink).toEqual([]);
    await first;
    expect(text(ino, other)).toBe('from the tree');
  });

  test('is an I/O error when the content is not what the tree promises', async () => {
    const lying: ChunkStore = { has: async () => true, get: async () => new Uint8Array(3), put: (data) => store.put(data) };
    const other = new TreeFileSystem(tree, lying);
    await expect(other.read(other.lookup(ROOT, 'suid'), 0, 100, () => {})).rejects.toThrow(/promises 13 bytes/);
  });
});

describe('names', () => {
  test('cannot be made twice, in a file, or too long', () => {
    expect(file('suid')).toBe(-posix.EEXIST);
    expect(file('.')).toBe(-posix.EEXIST);
    expect(file('x', S_IFREG, at('suid'))).toBe(-posix.ENOTDIR);
    expect(file('x', S_IFREG, 999)).toBe(-posix.ESTALE);
    expect(file('ü'.repeat(128))).toBe(-posix.ENAMETOOLONG);
    expect(file('ü'.repeat(127))).toBeGreaterThan(0);
    expect(file('a/b')).toBe(-posix.EINVAL);
  });

  test('of every kind can be made', () => {
    const socket = file('socket', S_IFSOCK | 0o600);
    expect(fs.attributes(socket)).toMatchObject({ mode: S_IFSOCK | 0o600, nlink: 1 });
    const link = fs.create(ROOT, 'l', { mode: S_IFLNK, uid: 0, gid: 0, target: 'nowhere' });
    expect(fs.attributes(link)).toMatchObject({ mode: S_IFLNK | 0o777, sizeBytes: 7 });
  });

  test('of a removed file stay while it is known, and its bytes go with the last of both', () => {
    const ino = file('f');
    fs.retain(ino);
    put(ino, 'still here');
    const used = fs.quota.usedBytes;
    expect(fs.unlink(ROOT, 'f')).toBe(0);
    expect(at('f')).toBe(-posix.ENOENT);
    expect(fs.attributes(ino)).toMatchObject({ nlink: 0 });
    expect(text(ino)).toBe('still here');
    fs.forget(ino, 1);
    expect(fs.attributes(ino)).toBeUndefined();
    expect(fs.quota.usedBytes).toBeLessThan(used);
  });

  test('a file without a name can get one', () => {
    const ino = fs.create(ROOT, undefined, { mode: S_IFREG | 0o600, uid: 0, gid: 0 });
    expect(fs.attributes(ino)).toMatchObject({ nlink: 0 });
    expect(fs.link(ino, ROOT, 'named')).toBe(0);
    expect(fs.attributes(at('named'))).toMatchObject({ ino, nlink: 1 });
  });

  test('a directory goes only when it is empty, and takes no names then', () => {
    expect(fs.removeDirectory(ROOT, 'dir')).toBe(-posix.ENOTEMPTY);
    expect(fs.removeDirectory(ROOT, 'suid')).toBe(-posix.ENOTDIR);
    expect(fs.unlink(ROOT, 'dir')).toBe(-posix.EISDIR);
    const sub = at('dir/sub');
    fs.retain(sub);
    expect(fs.removeDirectory(at('dir'), 'sub')).toBe(0);
    expect(fs.attributes(at('dir'))).toMatchObject({ nlink: 2 });
    expect(file('x', S_IFREG, sub)).toBe(-posix.ENOENT);
  });

  test('in a directory with set-group-ID get its group, and directories the bit', () => {
    const dir = file('g', S_IFDIR | 0o2775);
    fs.change(dir, { gid: 50 });
    fs.change(dir, { mode: 0o2775 });
    expect(fs.attributes(file('a', S_IFREG | 0o644, dir))).toMatchObject({ gid: 50, mode: S_IFREG | 0o644 });
    expect(fs.attributes(file('d', S_IFDIR | 0o755, dir))).toMatchObject({ gid: 50, mode: S_IFDIR | 0o2755 });
  });
});

describe('rename', () => {
  test('replaces a file, and a directory only by a directory when it is empty', () => {
    const ino = file('new');
    expect(fs.rename(ROOT, 'new', ROOT, 'suid', 0)).toBe(0);
    expect(at('suid')).toBe(ino);
    file('d', S_IFDIR | 0o755);
    expect(fs.rename(ROOT, 'suid', ROOT, 'd', 0)).toBe(-posix.EISDIR);
    expect(fs.rename(ROOT, 'd', ROOT, 'suid', 0)).toBe(-posix.ENOTDIR);
    expect(fs.rename(ROOT, 'd', ROOT, 'dir', 0)).toBe(-posix.ENOTEMPTY);
    expect(fs.rename(at('dir'), 'sub', ROOT, 'd', 0)).toBe(0);
    expect(fs.lookup(at('d'), '..')).toBe(ROOT);
    expect(fs.attributes(ROOT)).toMatchObject({ nlink: 4 });
  });

  test('does nothing between two names of one file', () => {
    expect(fs.rename(at('dir'), 'file', at('dir'), 'other', 0)).toBe(0);
    expect(names(at('dir'))).toEqual(['.', '..', 'file', 'other', 'sub']);
  });

  test('moves no directory into itself, also not by exchange', () => {
    expect(fs.rename(ROOT, 'dir', at('dir/sub'), 'x', 0)).toBe(-posix.EINVAL);
    expect(fs.rename(ROOT, 'dir', at('dir'), 'sub', posix.RENAME_EXCHANGE)).toBe(-posix.EINVAL);
    expect(fs.rename(at('dir'), 'sub', ROOT, 'dir', posix.RENAME_EXCHANGE)).toBe(-posix.EINVAL);
  });

  test('exchanges, refuses to replace, and leaves a whiteout', () => {
    const [dir, suid] = [at('dir'), at('suid')];
    expect(fs.rename(ROOT, 'dir', ROOT, 'suid', posix.RENAME_NOREPLACE)).toBe(-posix.EEXIST);
    expect(fs.rename(ROOT, 'dir', ROOT, 'suid', posix.RENAME_EXCHANGE)).toBe(0);
    expect([at('dir'), at('suid')]).toEqual([suid, dir]);
    expect(fs.rename(ROOT, 'dir', ROOT, 'moved', posix.RENAME_WHITEOUT)).toBe(0);
    expect(fs.attributes(at('dir'))).toMatchObject({ mode: S_IFCHR, rdev: 0 });
    expect(fs.rename(ROOT, 'gone', ROOT, 'x', 0)).toBe(-posix.ENOENT);
    expect(fs.rename(ROOT, 'moved', ROOT, 'x', 8)).toBe(-posix.EINVAL);
  });
});

describe('attributes', () => {
  test('a change of owner takes set-id bits and capabilities away', () => {
    fs.setXattr(at('suid'), 'security.capability', Uint8Array.of(1), 0);
    fs.change(at('suid'), { uid: 5 });
    expect(fs.attributes(at('suid'))).toMatchObject({ uid: 5, mode: S_IFREG | 0o755 });
    expect(fs.getXattr(at('suid'), 'security.capability')).toBe(-posix.ENODATA);
  });

  test('times are set as told, and the time of change always', () => {
    fs.change(at('suid'), { mtime: { seconds: -5, nanoseconds: 7 }, atime: 'now' });
    const { atime, mtime, ctime } = fs.attributes(at('suid'))!;
    expect(mtime).toEqual({ seconds: -5, nanoseconds: 7 });
    expect(atime).toEqual(ctime);
    expect(ctime.seconds).toBeGreaterThan(1e9);
  });

  test('extended attributes are made, replaced and removed as their flags say', () => {
    const ino = at('dir/file');
    expect(fs.setXattr(ino, 'user.a', Uint8Array.of(2), posix.XATTR_CREATE)).toBe(-posix.EEXIST);
    expect(fs.setXattr(ino, 'user.b', Uint8Array.of(2), posix.XATTR_REPLACE)).toBe(-posix.ENODATA);
    expect(fs.setXattr(ino, 'user.b', Uint8Array.of(2), 0)).toBe(0);
    expect(fs.listXattrs(ino)).toEqual(['user.a', 'user.b']);
    expect(fs.removeXattr(ino, 'user.a')).toBe(0);
    expect(fs.removeXattr(ino, 'user.a')).toBe(-posix.ENODATA);
    expect(fs.setXattr(ino, 'system.posix_acl_access', Uint8Array.of(2), 0)).toBe(-posix.EOPNOTSUPP);
  });
});

describe('contents', () => {
  test('holes are made and kept', () => {
    const ino = file('f');
    put(ino, 'x', 100_000);
    expect(fs.allocate(ino, 0, 200_000, posix.FALLOC_PUNCH_HOLE | posix.FALLOC_KEEP_SIZE)).toBe(0);
    expect(fs.attributes(ino)).toMatchObject({ sizeBytes: 100_001, blocks: 0 });
    expect(fs.allocate(ino, 0, 200_000, 0)).toBe(0);
    expect(fs.attributes(ino)).toMatchObject({ sizeBytes: 200_000 });
    expect(fs.allocate(ino, 0, 1, 0x40)).toBe(-posix.EOPNOTSUPP);
  });

  test('are copied between files', () => {
    const ino = file('copy');
    expect(fs.copy(at('suid'), 5, ino, 3, 100)).toBe(8);
    expect(text(ino)).toBe('\0\0\0the tree');
    expect(fs.copy(ino, 0, ino, 2, 5)).toBe(-posix.EINVAL);
  });

  test('beyond the capacity are refused', () => {
    fs = new TreeFileSystem(tree, store, { capacityBytes: 200_000 });
    const ino = file('f');
    expect(fs.write(ino, 0, 400_000, () => {})).toBe(-posix.ENOSPC);
    for (let i = 0; i < 1000; i++) if (file(`n${i}`) < 0) return;
    expect.fail('inodes have to be bounded, too');
  });
});
