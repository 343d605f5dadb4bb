/** A tree that runs one command instead of booting: what /init of `try debian` is made of lies in it, for this run only. */
import { sha256 } from '../../base/sha256.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import { Tree, type TreeNode } from '../../storage/tree.ts';
import { INIT_SCRIPT, RUN_DIRECTORY } from '../debian/init-script.ts';
import { runFiles, type RunOptions } from '../debian/run-archive.ts';

export const COMMAND_INIT = `/${RUN_DIRECTORY}/init`;

/** `store` gets the added files: a store of this run, not the catalogue's. */
export async function commandRoot(tree: Tree, store: ChunkStore, options: RunOptions): Promise<Tree> {
  const builder = new TreeBuilder(0);
  for (const [name, content] of [['init', INIT_SCRIPT] as const, ...runFiles(options)]) {
    const data = new TextEncoder().encode(content);
    await store.put(data);
    const mode = name === 'init' ? 0o755 : 0o644;
    builder.add(
      `${RUN_DIRECTORY}/${name}`,
      { type: 'file', mode, uid: 0, gid: 0, mtime: 0, digest: await sha256(data), sizeBytes: data.length },
      name,
    );
  }
  const nodes = new Map<string, TreeNode>(builder.build().entries());
  // What the tree has stays as it is, its hard links too.
  for (const [path, node] of tree.entries()) if (!path.startsWith(`${RUN_DIRECTORY}/`)) nodes.set(path, node);
  return new Tree(nodes);
}
