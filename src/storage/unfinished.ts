/** Files that processes were writing when they were killed: nobody goes on with them. */
import type { WallClock } from '../platform/clock.ts';
import { UNFINISHED, type Files } from '../platform/files.ts';

/** A process that goes on writes all the time. */
const ABANDONED_MS = 3_600_000;

/** Removes those of a directory, for whose name `isMeant` says yes: that which the file was to have. What may still be written stays. */
export async function removeUnfinished(
  files: Files,
  clock: WallClock,
  directory: string,
  isMeant: (name: string) => boolean = () => true,
): Promise<void> {
  for (const name of await files.list(directory)) {
    if (!UNFINISHED.test(name) || !isMeant(name.replace(UNFINISHED, ''))) continue;
    const info = await files.info(`${directory}/${name}`);
    if (info && !info.directory && info.mtimeMs < clock.nowMs() - ABANDONED_MS) await files.remove(`${directory}/${name}`);
  }
}
