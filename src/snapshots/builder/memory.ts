/** How much memory a machine takes whose root is in memory. */
import type { Tree } from '../../storage/tree.ts';

const MIB = 2 ** 20;
/** For the kernel and what runs, besides the tree. */
const ROOM = 512 * MIB;
/** What a PC without a hole in the middle of its memory has at most. */
const MAX = 3072 * MIB;

/** Bytes of files, each inode once. */
export function contentBytes(tree: Tree): number {
  const seen = new Set<object>();
  let total = 0;
  for (const [, node] of tree.entries()) {
    if (node.type !== 'file' || seen.has(node)) continue;
    seen.add(node);
    total += node.sizeBytes;
  }
  return total;
}

/** The archive and what it is unpacked to are there at once, and the kernel lets a root in memory have half of it. */
export function memoryFor(tree: Tree): number {
  const wanted = contentBytes(tree) * 2.5 + ROOM;
  return Math.min(MAX, Math.ceil(wanted / (64 * MIB)) * 64 * MIB);
}
