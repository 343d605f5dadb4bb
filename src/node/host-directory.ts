/** A directory of this computer as a tree. It is only read, and what is read later is verified. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { userInfo } from 'node:os';
import { VmError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ChunkStore } from '../storage/chunk-store.ts';
import { Tree, type TreeNode } from '../storage/tree.ts';
import { decodeDevice } from '../storage/tree-fs/inode.ts';
import { hostError } from './files.ts';

/** What Node reads at once. */
const MAX_FILE_BYTES = 2 * 2 ** 30 - 1;

export interface HostDirectory {
  readonly tree: Tree;
  readonly store: ChunkStore;
}

/**
 * Looks at every file once, for its digest. Owners are as they are, but for the person who runs this: their files belong to root in
 * the guest. Extended attributes are not seen. Sockets, and what may not be read, are left out, the latter with a warning.
 */
export async function openHostDirectory(path: string, log: Log): Promise<HostDirectory> {
  const { uid, gid } = userInfo();
  const nodes = new Map<string, TreeNode>();
  const store = new DirectoryStore();
  const links = new Map<string, TreeNode>();

  const nodeOf = (place: string, stats: Stats): TreeNode | undefined => {
    const link = stats.nlink > 1 && !stats.isDirectory() ? `${stats.dev} ${stats.ino}` : undefined;
    const known = link === undefined ? undefined : links.get(link);
    if (known) return known;
    const owner = { uid: stats.uid === uid ? 0 : stats.uid, gid: stats.gid === gid ? 0 : stats.gid };
    const metadata = { mode: stats.mode & 0o7777, ...owner, mtime: Math.max(0, Math.floor(stats.mtimeMs / 1000)) };
    const node = ((): TreeNode | undefined => {
      if (stats.isDirectory()) return { type: 'directory', ...metadata };
      if (stats.isFile()) return { type: 'file', ...metadata, ...store.add(place, stats.size) };
      if (stats.isSymbolicLink()) return { type: 'symlink', ...metadata, mode: 0o777, target: readlinkSync(place) };
      if (stats.isFIFO()) return { type: 'fifo', ...metadata };
      if (stats.isSocket()) return undefined;
      return { type: stats.isBlockDevice() ? 'block' : 'char', ...metadata, ...decodeDevice(stats.rdev) };
    })();
    if (link !== undefined && node) links.set(link, node);
    return node;
  };

  const walk = (directory: string, prefix: string): void => {
    for (const name of readdirSync(directory)) {
      const place = `${directory}/${name}`;
      try {
        const stats = lstatSync(place);
        const node = nodeOf(place, stats);
        if (!node) continue;
        nodes.set(prefix + name, node);
        if (stats.isDirectory()) walk(place, `${prefix}${name}/`);
      } catch (error) {
        const failure = hostError('read', place, error);
        if (nodes.get(prefix + name)?.type === 'directory') nodes.delete(prefix + name);
        log('warn', 'virtio-fs', `left out of the guest's file system: ${failure.message}`);
      }
    }
  };

  try {
    const stats = lstatSync(`${path}/`);
    if (!stats.isDirectory()) throw new VmError('usage', `${path}: not a directory`);
    nodes.set('', nodeOf(path, stats)!);
    walk(path.replace(/(?<=.)\/+$/, ''), '');
  } catch (error) {
    throw hostError('read the directory', path, error);
  }
  return { tree: new Tree(nodes), store };
}

/** Contents that stay where they are. */
class DirectoryStore implements ChunkStore {
  readonly #places = new Map<string, string>();

  add(place: string, sizeBytes: number): { digest: string; sizeBytes: number } {
    if (sizeBytes > MAX_FILE_BYTES) {
      throw new VmError('unsupported', `${place}: has ${sizeBytes} bytes, and files of at most ${MAX_FILE_BYTES} bytes can be shared`);
    }
    const data = readFileSync(place);
    const digest = digestOf(data);
    if (!this.#places.has(digest)) this.#places.set(digest, place);
    return { digest, sizeBytes: data.length };
  }

  async has(digest: string): Promise<boolean> {
    return this.#places.has(digest);
  }

  /** On the spot: a guest that waits for a small file gains nothing by our waiting for the disk in another way. */
  peek(digest: string): Uint8Array | undefined {
    const place = this.#places.get(digest);
    if (place === undefined) return undefined;
    try {
      const data = readFileSync(place);
      return digestOf(data) === digest ? new Uint8Array(data.buffer, data.byteOffset, data.length) : undefined;
    } catch {
      return undefined;
    }
  }

  async get(digest: string): Promise<Uint8Array> {
    const place = this.#places.get(digest);
    if (place === undefined) throw new VmError('not-found', `no content ${digest} in the shared directory`);
    const data = this.peek(digest);
    if (!data) throw new VmError('bad-digest', `${place}: was changed while a machine used it; start the machine again`);
    return data;
  }

  put(): Promise<string> {
    return Promise.reject(new VmError('unsupported', 'a shared directory is only read'));
  }
}

function digestOf(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
