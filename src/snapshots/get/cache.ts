/** What getting leaves in the cache: pieces of contents that are not whole yet, and segments of indexes. All of it can be fetched again. */
import type { WallClock } from '../../platform/clock.ts';
import type { Files } from '../../platform/files.ts';
import { FileChunkStore, type PruneResult } from '../../storage/file-chunk-store.ts';
import { removeUnfinished } from '../../storage/unfinished.ts';

/** A day's segments are asked for when the day after is fetched, and by machines that run. */
const SEGMENT_IDLE_MS = 30 * 86_400_000;

export function piecesDirectory(cacheDirectory: string): string {
  return `${cacheDirectory}/pieces`;
}

export function indexDirectory(cacheDirectory: string): string {
  return `${cacheDirectory}/indexes`;
}

/** Removes pieces that nobody has gone on with for a day, and segments that nobody has asked for within a month. */
export async function pruneCache(files: Files, clock: WallClock, cacheDirectory: string): Promise<Omit<PruneResult, 'keptBytes'>> {
  const pieces = await new FileChunkStore(files, piecesDirectory(cacheDirectory)).prune(clock, () => false);
  let { removed, removedBytes } = pieces;
  const directory = indexDirectory(cacheDirectory);
  await removeUnfinished(files, clock, directory);
  for (const name of await files.list(directory)) {
    const info = await files.info(`${directory}/${name}`);
    if (!name.endsWith('.index') || !info || info.directory || info.mtimeMs >= clock.nowMs() - SEGMENT_IDLE_MS) continue;
    await files.remove(`${directory}/${name}`);
    removed++;
    removedBytes += info.sizeBytes;
  }
  return { removed, removedBytes };
}
