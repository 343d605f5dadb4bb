/**
 * Makes the tree of a build from what the machine leaves. What it left as it was stays the very node that it was before; what
 * depends on when or where it was built is taken away, so that the same inputs give the same tree.
 */
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { Tree, type TreeNode } from '../../storage/tree.ts';

/** What a machine makes for itself, or makes anew when it is not there; each with what it is. */
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/^daybreak-build(\/|$)/, 'the build’s own files'],
  [/^usr\/sbin\/policy-rc\.d$/, 'kept services from starting in the build'],
  [/^(tmp|var\/tmp|run|dev|proc|sys)\/./, 'of a running machine'],
  [/^var\/cache\/(ldconfig|man)\/./, 'caches with times in them'],
  [/^var\/cache\/apt\/(.*\.bin|archives\/.*\.deb|archives\/lock)$/, 'caches with times in them'],
  [/^var\/cache\/debconf\/.*-old$/, 'the state before the last change'],
  [/^var\/lib\/dpkg\/(.*-old|lock.*|triggers\/Lock)$/, 'the state before the last change, and locks'],
  [/^etc\/(passwd|group|shadow|gshadow|subuid|subgid)-$/, 'the state before the last change'],
  [/^etc\/\.pwd\.lock$/, 'a lock'],
  [/^var\/lib\/systemd\/random-seed$/, 'random'],
  [/^var\/lib\/dbus\/machine-id$/, 'random; D-Bus asks systemd'],
];
/** Only directories stay there: services expect them. */
const LOGS = /^var\/log\/./;
/** Directories that stay, empty. */
const KEPT = /^(dev|proc|sys|run|tmp|var\/tmp)$/;

function isVolatile(path: string): boolean {
  return VOLATILE.some(([pattern]) => pattern.test(path));
}

/** The tree `built`, in terms of the one before. `time`: seconds since 1970 for what is new or changed. */
export async function sealTree(built: Tree, before: Tree, store: ChunkStore, time: number): Promise<Tree> {
  const nodes = new Map<string, TreeNode>();
  // Hard links stay hard links: every node of the built tree becomes one node.
  const became = new Map<TreeNode, TreeNode>();
  const wasOf = new Map<TreeNode, TreeNode>();
  for (const [path, node] of built.entries()) {
    if (isVolatile(path) || (LOGS.test(path) && node.type !== 'directory')) continue;
    const old = before.get(path);
    let result = became.get(node);
    if (!result) {
      const unchanged = old && same(old, node) && !wasOf.has(old);
      result = unchanged ? old : { ...node, mtime: time };
      became.set(node, result);
      if (unchanged) wasOf.set(old, node);
    }
    nodes.set(path, result);
  }
  // What lies on a file system of its own in the machine did not come back.
  for (const [path, node] of before.entries()) {
    if ((KEPT.test(path) || /^dev\/(console|null)$/.test(path)) && !nodes.has(path)) nodes.set(path, node);
  }
  const root = before.get('');
  if (root) nodes.set('', root);
  await emptyFile(nodes, 'etc/machine-id', store, time);
  for (const path of nodes.keys()) if (path !== '' && !hasParents(nodes, path)) nodes.delete(path);
  return new Tree(nodes);
}

function hasParents(nodes: ReadonlyMap<string, TreeNode>, path: string): boolean {
  for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
    if (nodes.get(path.slice(0, slash))?.type !== 'directory') return false;
  }
  return true;
}

/** Empty, a machine gives itself an identity at every start; without it, systemd takes the start for the first: machine-id(5). */
async function emptyFile(nodes: Map<string, TreeNode>, path: string, store: ChunkStore, time: number): Promise<void> {
  if (nodes.get('etc')?.type !== 'directory') return;
  nodes.set(path, { type: 'file', mode: 0o444, uid: 0, gid: 0, mtime: time, digest: await store.put(new Uint8Array()), sizeBytes: 0 });
}

/** All but the time: what was written again as it was is what it was. */
function same(old: TreeNode, node: TreeNode): boolean {
  if (old.type !== node.type || old.mode !== node.mode || old.uid !== node.uid || old.gid !== node.gid) return false;
  if (!sameXattrs(old.xattrs ?? new Map(), node.xattrs ?? new Map())) return false;
  switch (node.type) {
    case 'file':
      return old.type === 'file' && old.digest === node.digest;
    case 'symlink':
      return old.type === 'symlink' && old.target === node.target;
    case 'char':
    case 'block':
      return (old.type === 'char' || old.type === 'block') && old.major === node.major && old.minor === node.minor;
    default:
      return true;
  }
}

function sameXattrs(a: ReadonlyMap<string, Uint8Array>, b: ReadonlyMap<string, Uint8Array>): boolean {
  return a.size === b.size && [...b].every(([key, value]) => a.get(key)?.join() === value.join());
}
