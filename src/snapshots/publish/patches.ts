/** Binary patches: a content packed against the one that it takes the place of. They are kept where they pay. */
import type { Zstd } from '../../platform/zstd.ts';
import { PACK_MAX_BYTES, PATCH_MAX_BYTES } from '../../storage/packs/pack-index.ts';
import type { PackWriter } from '../../storage/packs/pack-writer.ts';
import type { Tree } from '../../storage/tree.ts';
import type { Snapshot } from '../catalogue/snapshot.ts';

export interface PatchBase {
  readonly snapshot: Snapshot;
  readonly tree: Tree;
}

/** Below this a request costs more than the bytes. */
const SMALLEST_BYTES = 4096;
/** A patch is kept when it has at most this part of what the content has, packed. */
const PAYS = 0.6;
/** zstd looks back as far as its level's window: both contents have to fit. */
const WINDOWS: readonly (readonly [bytes: number, level: number])[] = [
  [4 << 20, 9],
  [8 << 20, 19],
  [32 << 20, 20],
];

export interface PatchOptions {
  readonly zstd: Zstd;
  readonly level: number;
  readonly read: (digest: string) => Promise<Uint8Array>;
  readonly onStep: (done: number) => Promise<void>;
}

/** `pairs` are new contents and what they replace. Gives how many patches pay. */
export async function addPatches(writer: PackWriter, pairs: ReadonlyMap<string, string>, options: PatchOptions): Promise<number> {
  const { zstd, read, onStep } = options;
  let [count, done] = [0, 0];
  for (const [digest, base] of pairs) {
    await onStep(++done);
    const data = await read(digest);
    // What it replaces may have been pruned here: then there is no patch.
    const old = await read(base).catch(() => undefined);
    if (!old || data.length < SMALLEST_BYTES || old.length === 0 || Math.max(data.length, old.length) > PATCH_MAX_BYTES) continue;
    const level = WINDOWS.find(([bytes]) => data.length + old.length <= bytes)?.[1];
    if (level === undefined) continue;
    const patch = zstd.compressAgainst(old, data, level);
    if (patch.length > PACK_MAX_BYTES / 2 || patch.length > PAYS * zstd.compress(data, Math.min(options.level, 9)).length) continue;
    await writer.addPatch(digest, base, patch, data.length);
    count++;
  }
  return count;
}
