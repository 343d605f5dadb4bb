/** The machines that are kept on this computer, and how much they have written. */
import { VmError } from '../../base/errors.ts';
import type { Catalogue } from '../../snapshots/catalogue/catalogue.ts';
import { nearest } from '../nearest.ts';
import type { Tree } from '../../storage/tree.ts';

export interface KeptMachine {
  readonly name: string;
  /** The snapshot that it was made of. */
  readonly of: string;
  /** Contents that its snapshot does not have. */
  readonly ownBytes: number;
  readonly contentBytes: number;
  /** Of the state that it goes on from; absent when it boots. */
  readonly stateBytes?: number;
}

/** By name. What cannot be read is given to `onBad` and left out. */
export async function keptMachines(catalogue: Catalogue, onBad: (error: VmError) => void): Promise<KeptMachine[]> {
  const found: KeptMachine[] = [];
  for (const name of await catalogue.keptNames()) {
    try {
      const kept = await catalogue.kept(name);
      if (!kept) continue;
      const { from, base, tree, state } = kept;
      const contents = contentsOf(await catalogue.treeOf(name, tree));
      const below = base ?? (await catalogue.get(from.name, from.day).catch(() => undefined))?.tree;
      const known = below === undefined ? new Map<string, number>() : contentsOf(await catalogue.treeOf(name, below));
      const own = [...contents].filter(([digest]) => !known.has(digest));
      found.push({
        name,
        of: `${from.name}@${from.day}`,
        ownBytes: sum(own),
        contentBytes: sum([...contents]),
        ...(state && { stateBytes: state.sizeBytes }),
      });
    } catch (error) {
      if (!(error instanceof VmError)) throw error;
      onBad(error);
    }
  }
  return found;
}

/** There is none of that name; tells which there are. */
export async function noKept(catalogue: Catalogue, name: string): Promise<VmError> {
  const names = await catalogue.keptNames();
  const meant = nearest(name, names);
  const what = names.length === 0 ? 'there are none' : meant === undefined ? `there is ${names.join(', ')}` : `did you mean ${meant}?`;
  return new VmError('not-found', `there is no kept machine ${JSON.stringify(name)} (${what})`);
}

/** Sizes by digest: equal files are there once. */
function contentsOf(tree: Tree): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const [, node] of tree.entries()) if (node.type === 'file') sizes.set(node.digest, node.sizeBytes);
  return sizes;
}

function sum(contents: readonly (readonly [string, number])[]): number {
  return contents.reduce((total, [, size]) => total + size, 0);
}
