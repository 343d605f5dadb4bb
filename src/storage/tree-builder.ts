/**
 * Makes a `Tree` from archives, merging as dpkg does when it unpacks onto a running, usr-merged system: a path goes
 * through symlinks that lead to directories, a directory stays what it was first, a file replaces a file.
 * Paths and targets come from archives and are untrusted; nothing gets out of the tree.
 */
import { VmError } from '../base/errors.ts';
import { normalizePath, parentOf, Tree, type TreeNode } from './tree.ts';

/** Linux gives ELOOP after as many. */
const MAX_SYMLINKS = 40;

export class TreeBuilder {
  readonly #nodes = new Map<string, TreeNode>();
  readonly #defaultMtime: number;

  /** `mtime` is for directories that no archive mentions. */
  constructor(mtime: number) {
    this.#defaultMtime = mtime;
    this.#nodes.set('', { type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime });
  }

  /** Puts `node` at `path`; `where` names the archive in errors. Gives the path where it really is. */
  add(path: string, node: TreeNode, where: string): string {
    const real = this.#place(normalizePath(path, where), where);
    const existing = this.#nodes.get(real);
    if (existing?.type === 'directory') {
      // dpkg leaves a directory that is there alone, also when the package has a symlink at its place.
      if (node.type === 'directory' || node.type === 'symlink') return real;
      throw new VmError('bad-image', `${where}: refusing to replace the directory /${real} by a ${node.type}`);
    }
    if (existing?.type === 'symlink' && node.type === 'directory') {
      const target = this.#follow(real, where);
      if (this.#nodes.get(target)?.type === 'directory') return target;
      if (!this.#nodes.has(target)) {
        this.#makeDirectories(target, where);
        return target;
      }
    }
    this.#nodes.set(real, node);
    return real;
  }

  /** Makes `path` another name of the file at `target`. */
  link(path: string, target: string, where: string): void {
    const node = this.get(target, where);
    if (!node || node.type === 'directory') {
      throw new VmError(
        'bad-image',
        `${where}: the hard link ${JSON.stringify(path)} leads to ${JSON.stringify(target)}, which is no file`,
      );
    }
    this.add(path, node, where);
  }

  /** Replaces what is at `path` by another of the same identity (new mode, owner…) under all its names. */
  update(path: string, change: (node: TreeNode) => TreeNode, where: string): void {
    const old = this.get(path, where);
    if (!old) throw new VmError('not-found', `${where}: no /${path} to change`);
    const changed = change(old);
    for (const [name, node] of this.#nodes) if (node === old) this.#nodes.set(name, changed);
  }

  /** Removes a path with everything under it. Not there is fine. */
  remove(path: string, where: string): void {
    const real = this.#place(normalizePath(path, where), where);
    for (const name of this.#nodes.keys()) if (name === real || name.startsWith(`${real}/`)) this.#nodes.delete(name);
  }

  /** What is at `path`, through symlinked directories; a symlink itself is not followed. */
  get(path: string, where: string): TreeNode | undefined {
    return this.#nodes.get(this.#resolve(normalizePath(path, where), false, where, 0));
  }

  /** What is at `path` in the end, symlinks followed; undefined when they lead nowhere. */
  lookup(path: string, where: string): TreeNode | undefined {
    return this.#nodes.get(this.#resolve(normalizePath(path, where), true, where, 0));
  }

  build(): Tree {
    return new Tree(this.#nodes);
  }

  /** The real path for a new entry, its parents made. */
  #place(path: string, where: string): string {
    if (path === '') return '';
    const parent = this.#resolve(parentOf(path), true, where, 0);
    this.#makeDirectories(parent, where);
    const name = path.slice(path.lastIndexOf('/') + 1);
    return parent === '' ? name : `${parent}/${name}`;
  }

  #makeDirectories(path: string, where: string): void {
    const existing = this.#nodes.get(path);
    if (existing?.type === 'directory') return;
    if (existing) throw new VmError('bad-image', `${where}: /${path} is a ${existing.type}, but something is to be put into it`);
    this.#makeDirectories(parentOf(path), where);
    this.#nodes.set(path, { type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: this.#defaultMtime });
  }

  #follow(path: string, where: string): string {
    return this.#resolve(path, true, where, 0);
  }

  /** Walks `path` as a kernel would with the tree as its root; parts that are not there are taken as they stand. */
  #resolve(path: string, last: boolean, where: string, followed: number): string {
    let at = '';
    const parts = path === '' ? [] : path.split('/');
    for (let index = 0; index < parts.length; index++) {
      const part = parts[index]!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        at = parentOf(at);
        continue;
      }
      const next = at === '' ? part : `${at}/${part}`;
      const node = this.#nodes.get(next);
      if (node?.type !== 'symlink' || (index === parts.length - 1 && !last)) {
        at = next;
        continue;
      }
      if (followed >= MAX_SYMLINKS) throw new VmError('bad-image', `${where}: too many symlinks on the way to /${path}`);
      const rest = parts.slice(index + 1).join('/');
      const target = node.target.startsWith('/') ? node.target : `${at}/${node.target}`;
      return this.#resolve(rest === '' ? target : `${target}/${rest}`, last, where, followed + 1);
    }
    return at;
  }
}
