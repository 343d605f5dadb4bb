/** From a file system that was written to, to a tree again. */
import { VmError } from '../../base/errors.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from '../../machine/posix.ts';
import type { ChunkStore } from '../chunk-store.ts';
import { Tree, type TreeNode } from '../tree.ts';
import type { Contents } from './contents.ts';
import { decodeDevice, type Inode } from './inode.ts';

/** What is held in memory at once. */
const MAX_FILE_BYTES = 2 ** 31;

interface Sealable {
  readonly inodes: ReadonlyMap<number, Inode>;
  readonly contents: Contents;
}

/** `TreeFileSystem.seal` says what. */
export async function sealUpper(fs: Sealable, store: ChunkStore): Promise<Tree> {
  const nodes = new Map<string, TreeNode>();
  /** Names of one inode share one node: that is what a hard link is in a tree. */
  const made = new Map<number, TreeNode | undefined>();
  const waiting: [string, number][] = [['', 1]];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [path, ino] = next;
    const inode = fs.inodes.get(ino)!;
    if (!made.has(ino)) made.set(ino, await nodeOf(fs, inode, path, store));
    const node = made.get(ino);
    if (!node) continue;
    nodes.set(path, node);
    for (const entry of inode.directory?.entries() ?? []) waiting.push([path === '' ? entry.name : `${path}/${entry.name}`, entry.ino]);
  }
  return new Tree(nodes);
}

async function nodeOf({ contents }: Sealable, inode: Inode, path: string, store: ChunkStore): Promise<TreeNode | undefined> {
  if (!inode.changed) return inode.origin;
  const { uid, gid, xattrs, content } = inode;
  const metadata = {
    mode: inode.mode & 0o7777,
    uid,
    gid,
    mtime: Math.max(0, inode.mtime.seconds),
    ...(xattrs.size > 0 && { xattrs: new Map(xattrs) }),
  };
  switch (inode.type) {
    case S_IFDIR:
      return { type: 'directory', ...metadata };
    case S_IFLNK:
      return { type: 'symlink', ...metadata, target: inode.target };
    case S_IFIFO:
      return { type: 'fifo', ...metadata };
    case S_IFCHR:
    case S_IFBLK:
      return { type: inode.type === S_IFCHR ? 'char' : 'block', ...metadata, ...decodeDevice(inode.rdev) };
    case S_IFREG:
      break;
    default:
      return undefined;
  }
  const { sizeBytes, base, pristine } = content!;
  if (base && pristine) return { type: 'file', ...metadata, digest: base.digest, sizeBytes };
  if (sizeBytes > MAX_FILE_BYTES) {
    throw new VmError(
      'unsupported',
      `/${path}: has ${sizeBytes} bytes, and a tree's files have at most ${MAX_FILE_BYTES}; remove or shorten it`,
    );
  }
  const bytes = new Uint8Array(sizeBytes);
  const below = base && content!.readNeedsBase(0, sizeBytes) ? await contents.get(base) : undefined;
  content!.read(0, sizeBytes, below, (at, part) => bytes.set(part, at));
  return { type: 'file', ...metadata, digest: await store.put(bytes), sizeBytes };
}
