/** What changed between two snapshots: packages, then files with the package that each belongs to, then sizes. */
import type { ChunkStore } from '../../storage/chunk-store.ts';
import type { Tree, TreeNode } from '../../storage/tree.ts';
import type { InstalledVersion } from './snapshot.ts';

export interface PackageChange {
  readonly name: string;
  /** Undefined: it was not there. */
  readonly from: string | undefined;
  readonly to: string | undefined;
}

export interface FileChange {
  readonly path: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** What of a changed one: `content`, `mode`, `owner`, `type`, `target`, `time`, `attributes`. */
  readonly what: readonly string[];
  readonly fromBytes: number;
  readonly toBytes: number;
  /** By dpkg's lists; undefined when no package has it. */
  readonly package: string | undefined;
}

export interface TreeDiff {
  readonly packages: readonly PackageChange[];
  readonly files: readonly FileChange[];
  readonly totals: {
    readonly added: number;
    readonly removed: number;
    readonly changed: number;
    /** Contents that the second one has and the first one lacks: what an update would have to fetch, uncompressed. */
    readonly newBytes: number;
    readonly fromBytes: number;
    readonly toBytes: number;
  };
}

export interface Side {
  readonly tree: Tree;
  readonly packages: readonly InstalledVersion[];
}

export async function diffSnapshots(from: Side, to: Side, store: ChunkStore): Promise<TreeDiff> {
  const owners = [await ownersOf(from.tree, store), await ownersOf(to.tree, store)] as const;
  const files: FileChange[] = [];
  const paths = new Set([...from.tree.entries(), ...to.tree.entries()].map(([path]) => path));
  for (const path of [...paths].sort()) {
    const [old, now] = [from.tree.get(path), to.tree.get(path)];
    const what = old && now ? differences(old, now) : [];
    if (old && now && what.length === 0) continue;
    files.push({
      path: `/${path}`,
      change: !old ? 'added' : !now ? 'removed' : 'changed',
      what,
      fromBytes: sizeOf(old),
      toBytes: sizeOf(now),
      package: owners[now ? 1 : 0].get(path) ?? owners[0].get(path),
    });
  }
  const count = (change: FileChange['change']) => files.filter((file) => file.change === change).length;
  const [fromContents, toContents] = [contentsOf(from.tree), contentsOf(to.tree)];
  const sum = (sizes: Iterable<number>) => [...sizes].reduce((total, size) => total + size, 0);
  return {
    packages: diffPackages(from.packages, to.packages),
    files,
    totals: {
      added: count('added'),
      removed: count('removed'),
      changed: count('changed'),
      newBytes: sum([...toContents].filter(([digest]) => !fromContents.has(digest)).map(([, size]) => size)),
      fromBytes: sum(fromContents.values()),
      toBytes: sum(toContents.values()),
    },
  };
}

function diffPackages(from: readonly InstalledVersion[], to: readonly InstalledVersion[]): PackageChange[] {
  const [old, now] = [new Map(from.map((one) => [one.name, one.version])), new Map(to.map((one) => [one.name, one.version]))];
  return [...new Set([...old.keys(), ...now.keys()])]
    .sort()
    .map((name) => ({ name, from: old.get(name), to: now.get(name) }))
    .filter((change) => change.from !== change.to);
}

function differences(old: TreeNode, now: TreeNode): string[] {
  if (old === now) return [];
  if (old.type !== now.type) return ['type'];
  const found: string[] = [];
  if (old.type === 'file' && now.type === 'file' && old.digest !== now.digest) found.push('content');
  if (old.type === 'symlink' && now.type === 'symlink' && old.target !== now.target) found.push('target');
  if ('major' in old && 'major' in now && (old.major !== now.major || old.minor !== now.minor)) found.push('content');
  if (old.mode !== now.mode) found.push('mode');
  if (old.uid !== now.uid || old.gid !== now.gid) found.push('owner');
  if (attributes(old) !== attributes(now)) found.push('attributes');
  // A directory's time follows from what is in it.
  if (old.mtime !== now.mtime && old.type !== 'directory') found.push('time');
  return found;
}

function attributes({ xattrs }: TreeNode): string {
  return JSON.stringify([...(xattrs ?? [])].map(([key, value]) => [key, [...value]]).sort());
}

function sizeOf(node: TreeNode | undefined): number {
  return node?.type === 'file' ? node.sizeBytes : 0;
}

function contentsOf(tree: Tree): Map<string, number> {
  const found = new Map<string, number>();
  for (const [, node] of tree.entries()) if (node.type === 'file') found.set(node.digest, node.sizeBytes);
  return found;
}

const LIST = /^var\/lib\/dpkg\/info\/([^/:]+)(?::[^/]+)?\.(list|conffiles)$/;
/** Packages may still name their files by the links of a merged /usr. */
const MERGED = /^(bin|sbin|lib|lib32|lib64|libx32)(?=\/)/;

/** Which package each path belongs to, as dpkg knows it. A path of several packages (a directory) belongs to none of them. */
async function ownersOf(tree: Tree, store: ChunkStore): Promise<Map<string, string>> {
  const owners = new Map<string, string>();
  const decoder = new TextDecoder();
  for (const [path, node] of tree.entries()) {
    const name = LIST.exec(path)?.[1];
    if (name === undefined || node.type !== 'file') continue;
    owners.set(path, name);
    for (const line of decoder.decode(await store.get(node.digest)).split('\n')) {
      const owned = line.replace(/^\/+/, '').replace(MERGED, 'usr/$1');
      if (owned !== '' && owned !== '.' && tree.get(owned)?.type !== 'directory') owners.set(owned, name);
    }
  }
  for (const [path] of tree.entries()) {
    const name = /^var\/lib\/dpkg\/info\/([^/:]+)(?::[^/.]+)?\.[a-z0-9]+$/.exec(path)?.[1];
    if (name !== undefined) owners.set(path, name);
    // Compiled from a module beside its directory.
    const compiled = /^(.*)\/__pycache__\/([^/]+)\.cpython-\d+(?:\.opt-\d)?\.pyc$/.exec(path);
    const source = compiled && owners.get(`${compiled[1]}/${compiled[2]}.py`);
    if (source) owners.set(path, source);
  }
  return owners;
}
