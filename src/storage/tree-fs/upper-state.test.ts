import { Buffer } from 'node:buffer';
import { serialize } from 'node:v8';
import { beforeEach, describe, expect, test } from 'vitest';
import { VmError } from '../../base/errors.ts';
import * as posix from '../../machine/posix.ts';
import { seededRandom } from '../../machine/testing/random.ts';
import { MemoryChunkStore } from '../chunk-store.ts';
import { TreeBuilder } from '../tree-builder.ts';
import type { Tree } from '../tree.ts';
import { TreeFileSystem } from './tree-file-system.ts';

let store: MemoryChunkStore;
let tree: Tree;
let fs: TreeFileSystem;

beforeEach(async () => {
  store = new MemoryChunkStore();
  const builder = new TreeBuilder(1000);
  const own = { uid: 0, gid: 0, mtime: 1000 };
  for (let i = 0; i < 20; i++) {
    const data = new Uint8Array(i * 3000).fill(i);
    builder.add(`d${i % 4}/f${i}`, { type: 'file', ...own, mode: 0o644, digest: await store.put(data), sizeBytes: data.length }, 'test');
  }
  builder.link('again', 'd1/f1', 'test');
  builder.add('link', { type: 'symlink', ...own, mode: 0o777, target: 'd1/f1' }, 'test');
  tree = builder.build();
  fs = new TreeFileSystem(tree, store);
  let now = 2e18;
  fs.connect(() => (now += 1e6));
});

/** Does something random that a guest could do. */
function disturb(random: (below: number) => number, rounds: number): void {
  const { inodes } = fs;
  const some = (): number => [...inodes.keys()][random(inodes.size)]!;
  const directory = (): number => [...inodes.values()].filter((inode) => inode.directory)[random(4)]?.ino ?? 1;
  const name = (): string => ['a', 'b', 'c', 'd1', 'f1', 'f5', '\udcff', 'ü'][random(8)]!;
  const types = [posix.S_IFREG, posix.S_IFDIR, posix.S_IFLNK, posix.S_IFCHR, posix.S_IFIFO, posix.S_IFSOCK];
  for (let i = 0; i < rounds; i++) {
    switch (random(12)) {
      case 0:
      case 1: {
        const ino = fs.create(directory(), random(9) ? name() : undefined, {
          mode: types[random(6)]! | 0o640,
          uid: 3,
          gid: 4,
          rdev: 5,
          target: 'x',
        });
        if (ino > 0) fs.retain(ino);
        break;
      }
      case 2:
        fs.unlink(directory(), name());
        break;
      case 3:
        fs.removeDirectory(directory(), name());
        break;
      case 4:
        fs.rename(directory(), name(), directory(), name(), random(4));
        break;
      case 5:
        fs.link(some(), directory(), name());
        break;
      case 6:
        void fs.write(some(), random(70_000), 1 + random(9000), (_, into) => into.fill(i));
        break;
      case 7:
        fs.change(some(), { sizeBytes: random(100_000) });
        break;
      case 8:
        fs.setXattr(some(), `user.${name()}`, Uint8Array.of(i), 0);
        break;
      case 9:
        void fs.allocate(some(), random(50_000), 1 + random(50_000), posix.FALLOC_PUNCH_HOLE | posix.FALLOC_KEEP_SIZE);
        break;
      case 10:
        fs.change(some(), { mode: random(0o10000), uid: i, mtime: { seconds: -i, nanoseconds: i } });
        break;
      default:
        fs.forget(some(), 1);
    }
  }
}

function contentOf(from: TreeFileSystem, ino: number): string {
  const bytes = new Uint8Array(from.attributes(ino)!.sizeBytes);
  from.read(ino, 0, bytes.length, (at, part) => bytes.set(part, at));
  return Buffer.from(bytes).toString('latin1');
}

/** All that a guest can find out. */
function look(from: TreeFileSystem): unknown {
  return [...from.inodes.keys()]
    .sort((a, b) => a - b)
    .map((ino) => {
      const attributes = from.attributes(ino)!;
      const names: unknown[] = [];
      from.list(ino, 0, (...entry) => names.push(entry) > 0);
      const xattrs = (from.listXattrs(ino) as string[]).map((name) => [name, from.getXattr(ino, name)]);
      const content = from.inodes.get(ino)!.content ? contentOf(from, ino) : from.readLink(ino);
      return { attributes, names, xattrs, content, lookups: from.inodes.get(ino)!.lookups };
    });
}

/** Equal as data. vitest compares bytes one by one, and there are many. */
function same(one: unknown, other: unknown): void {
  if (Buffer.compare(serialize(one), serialize(other)) !== 0) expect(one).toEqual(other);
}

describe('a saved upper layer', () => {
  test('gives the same file system again, and the same state', () => {
    for (let seed = 1; seed <= 10; seed++) {
      disturb(seededRandom(seed), 100);
      const saved = fs.save();
      const other = new TreeFileSystem(tree, store);
      other.restore(saved);
      same(look(other), look(fs));
      same(other.save(), saved);
      expect(other.quota.usedBytes).toBe(fs.quota.usedBytes);
    }
  });

  test('of a file system that nobody changed is small', () => {
    expect(fs.save()).toEqual({ nextIno: fs.nextIno, gone: [], inodes: [], lookups: [] });
  });

  test('does not change with the file system', () => {
    const saved = fs.save();
    const before = structuredClone(saved);
    disturb(seededRandom(1), 100);
    same(saved, before);
    fs.restore(saved);
    same(look(fs), look(new TreeFileSystem(tree, store)));
  });

  test('is taken or refused as a whole when it is damaged, and never harms', () => {
    disturb(seededRandom(4), 150);
    const saved = fs.save();
    const random = seededRandom(9);
    let refused = 0;
    for (let i = 0; i < 400; i++) {
      const damaged = structuredClone(saved);
      damage(damaged, random);
      const other = new TreeFileSystem(tree, store);
      const before = look(other);
      try {
        other.restore(damaged);
      } catch (error) {
        expect(error).toBeInstanceOf(VmError);
        same(look(other), before);
        refused++;
        continue;
      }
      fs = other;
      disturb(random, 30);
    }
    expect(refused).toBeGreaterThan(100);
  });
});

/** Changes one number, text or array in plain data. */
function damage(data: unknown, random: (below: number) => number): void {
  let at = data as Record<string, unknown>;
  for (;;) {
    const keys = Object.keys(at);
    if (keys.length === 0) return;
    const key = keys[random(keys.length)]!;
    const value = at[key];
    if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array) && random(10) > 0) {
      at = value as Record<string, unknown>;
      continue;
    }
    at[key] =
      typeof value === 'number'
        ? [0, 1, value + 1, value - 1, 2 ** 40, -1, random(100)][random(7)]
        : [undefined, [], new Uint8Array(3), 'x'][random(4)];
    return;
  }
}

describe('a sealed file system', () => {
  test('is a tree of the same content, whoever built it and in which order', async () => {
    disturb(seededRandom(6), 200);
    const sealed = await fs.seal(store);
    const other = new TreeFileSystem(tree, store);
    other.restore(fs.save());
    expect(await (await other.seal(new MemoryChunkStore())).digest()).toBe(await sealed.digest());
    const again = new TreeFileSystem(sealed, store);
    expect((await again.seal(store)).encode()).toBe(sealed.encode());
    for (const [path, node] of sealed.entries()) {
      const [was, is] = [fs, again].map((from) => path.split('/').reduce((ino, name) => (name === '' ? ino : from.lookup(ino, name)), 1));
      const { mode, uid, gid, nlink, rdev } = fs.attributes(was!)!;
      if (node.type !== 'directory') expect(again.attributes(is!)).toMatchObject({ mode, uid, gid, nlink, rdev });
      if (node.type === 'file') expect(contentOf(again, is!)).toBe(contentOf(fs, was!));
    }
  });

  test('of one that nobody changed is the tree itself', async () => {
    expect(await (await fs.seal(store)).digest()).toBe(await tree.digest());
  });
});
