/**
 * Writer of newc cpio archives, the format of a Linux initramfs (Documentation/driver-api/early-userspace/buffer-format).
 * The same tree gives the same bytes.
 */
import { VmError } from '../base/errors.ts';
import type { ChunkStore } from './chunk-store.ts';
import type { Tree, TreeNode } from './tree.ts';

const FORMAT_BITS: Record<TreeNode['type'], number> = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
};

const encoder = new TextEncoder();
const EMPTY = new Uint8Array();

interface Header {
  readonly ino: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly mtime: number;
  readonly size: number;
  readonly major: number;
  readonly minor: number;
}

function header(name: string, h: Header): Uint8Array {
  const nameBytes = encoder.encode(name);
  const fields = [h.ino, h.mode, h.uid, h.gid, h.nlink, h.mtime, h.size, 0, 0, h.major, h.minor, nameBytes.length + 1, 0];
  const text = `070701${fields.map((field) => (field >>> 0).toString(16).padStart(8, '0')).join('')}`;
  const bytes = new Uint8Array(align(text.length + nameBytes.length + 1));
  bytes.set(encoder.encode(text));
  bytes.set(nameBytes, text.length);
  return bytes;
}

function align(size: number): number {
  return (size + 3) & ~3;
}

/**
 * The archive piece by piece. Another archive may follow directly: the kernel unpacks one after the other, and later
 * ones win. Extended attributes are not written: the format has none.
 */
export async function* writeCpio(tree: Tree, store: ChunkStore): AsyncGenerator<Uint8Array> {
  const links = new Map<TreeNode, { ino: number; total: number; left: number }>();
  for (const [, node] of tree.entries()) {
    const known = links.get(node);
    if (known) known.left = ++known.total;
    else links.set(node, { ino: links.size + 1, total: 1, left: 1 });
  }
  for (const [path, node] of tree.entries()) {
    const link = links.get(node)!;
    // Content stands with the last of an inode's names.
    const content = --link.left === 0 ? await contentOf(path, node, store) : EMPTY;
    if (content.length > 0xffff_ffff)
      throw new VmError('unsupported', `/${path}: a file of 4 GiB or more does not fit into a cpio archive`);
    const device = node.type === 'char' || node.type === 'block';
    // The kernel's rootfs has a root already; this gives it its mode and owner.
    yield header(path === '' ? '.' : path, {
      ino: link.ino,
      mode: FORMAT_BITS[node.type] | node.mode,
      uid: node.uid,
      gid: node.gid,
      nlink: node.type === 'directory' ? 2 : link.total,
      mtime: node.mtime,
      size: content.length,
      major: device ? node.major : 0,
      minor: device ? node.minor : 0,
    });
    if (content.length > 0) {
      yield content;
      if (content.length % 4) yield new Uint8Array(4 - (content.length % 4));
    }
  }
  yield header('TRAILER!!!', { ino: 0, mode: 0, uid: 0, gid: 0, nlink: 1, mtime: 0, size: 0, major: 0, minor: 0 });
}

async function contentOf(path: string, node: TreeNode, store: ChunkStore): Promise<Uint8Array> {
  if (node.type === 'symlink') return encoder.encode(node.target);
  if (node.type !== 'file') return EMPTY;
  const data = await store.get(node.digest);
  if (data.length !== node.sizeBytes) throw new VmError('bad-digest', `/${path}: ${data.length} bytes instead of ${node.sizeBytes}`);
  return data;
}
