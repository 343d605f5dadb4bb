/** How much a tree holds. */
import type { Tree } from '../../storage/tree.ts';

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
