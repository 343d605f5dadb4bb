/**
 * An immutable file-system tree: names, metadata and, for each file, the SHA-256 of its content. Two paths with the
 * same node object are hard links to one inode. Equal trees have equal digests, whatever order they were built in.
 */
import { VmError } from '../base/errors.ts';
import { sha256 } from '../base/sha256.ts';

interface Metadata {
  /** Permission bits with set-id and sticky: 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Whole seconds since 1970. */
  readonly mtime: number;
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
}

export interface DirectoryNode extends Metadata {
  readonly type: 'directory';
}

export interface FileNode extends Metadata {
  readonly type: 'file';
  /** SHA-256 of the content, in the chunk store that belongs to the tree. */
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface SymlinkNode extends Metadata {
  readonly type: 'symlink';
  readonly target: string;
}

export interface DeviceNode extends Metadata {
  readonly type: 'char' | 'block';
  readonly major: number;
  readonly minor: number;
}

export interface FifoNode extends Metadata {
  readonly type: 'fifo';
}

export type TreeNode = DirectoryNode | FileNode | SymlinkNode | DeviceNode | FifoNode;

const MAX_PATH_BYTES = 4095;
const MAX_NAME_BYTES = 255;
const encoder = new TextEncoder();

/**
 * `./usr//bin/` → `usr/bin`; the root is ''. A path that could leave the tree or that no kernel takes is refused:
 * VmError `bad-image`, `where` being the archive it came from.
 */
export function normalizePath(path: string, where: string): string {
  const refuse = (why: string): never => {
    throw new VmError('bad-image', `${where}: refusing the path ${JSON.stringify(path.slice(0, 200))}: ${why}`);
  };
  if (path.includes('\0')) refuse('it has a NUL byte');
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  for (const part of parts) {
    if (part === '..') refuse('it has ".."');
    if (longer(part, MAX_NAME_BYTES)) refuse(`a name is longer than ${MAX_NAME_BYTES} bytes`);
  }
  const normal = parts.join('/');
  if (longer(normal, MAX_PATH_BYTES)) refuse(`it is longer than ${MAX_PATH_BYTES} bytes`);
  return normal;
}

/** Whether it has more bytes in UTF-8 than that: a character has three at most for each of its units. */
function longer(text: string, maxBytes: number): boolean {
  return text.length * 3 > maxBytes && encoder.encode(text).length > maxBytes;
}

/** The part before the last slash; '' for a name in the root. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

export class Tree {
  readonly #nodes: ReadonlyMap<string, TreeNode>;
  #digest: Promise<string> | undefined;

  /**
   * From a builder: every parent is there and is a directory, the root ('') too.
   * @param digest where it is known
   */
  constructor(nodes: ReadonlyMap<string, TreeNode>, digest?: string) {
    if (digest !== undefined) this.#digest = Promise.resolve(digest);
    // A parent sorts before its children; names in one directory sort by UTF-16 unit, the same on every host.
    this.#nodes = new Map([...nodes].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** Without following symlinks. */
  get(path: string): TreeNode | undefined {
    return this.#nodes.get(path);
  }

  /** All paths in order, parents first. */
  entries(): IterableIterator<[string, TreeNode]> {
    return this.#nodes.entries();
  }

  /** Canonical text, one line an entry: what `digest` is made of. */
  encode(): string {
    const first = new Map<TreeNode, string>();
    const lines: string[] = [];
    for (const [path, node] of this.#nodes) {
      const earlier = first.get(node);
      if (earlier !== undefined) {
        lines.push(JSON.stringify({ path, link: earlier }));
        continue;
      }
      first.set(node, path);
      const { xattrs, ...rest } = node;
      const attributes = xattrs && [...xattrs].map(([key, value]) => [key, [...value]]).sort();
      lines.push(JSON.stringify(sorted({ path, ...rest, ...(attributes?.length && { xattrs: attributes }) })));
    }
    return lines.join('\n') + '\n';
  }

  digest(): Promise<string> {
    return (this.#digest ??= sha256(encoder.encode(this.encode())));
  }
}

function sorted(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}
