/**
 * Removes published files that no listed day needs any more. A file goes only after it has been seen to be unreachable for a while: a reader
 * who has an older list is still reading. And when much would go, something is probably wrong with what is reachable: then nothing goes.
 */
import { VmError } from '../../base/errors.ts';
import { PublishingLock, type LockHost } from './lock.ts';
import { Repository } from './repository.ts';
import type { Storage, StoredFile } from './storage.ts';

/** What is unreachable, and since when. Nobody but this needs it. */
const RECORD = 'unreachable.json';
const DIRECTORIES = ['metadata', 'targets', 'indexes', 'packs'];
/** Of all bytes; more is refused. */
const MOST = 0.5;

export interface CollectOptions {
  /** How long a file must have been unreachable. */
  readonly graceMs: number;
  /** Also when more than half would go. */
  readonly evenMuch: boolean;
}

export interface CollectResult {
  readonly removed: number;
  readonly removedBytes: number;
  /** Unreachable, but not long enough. */
  readonly waiting: number;
  readonly keptBytes: number;
}

/** Rejects with a VmError, and removes nothing, when what is published cannot be read as a whole. */
export async function collect(storage: Storage, host: LockHost, options: CollectOptions): Promise<CollectResult> {
  const lock = await PublishingLock.take(storage, host);
  try {
    const repository = await Repository.open(storage);
    if (!repository) throw new VmError('not-found', `${storage.name}: nothing is published there`);
    const reachable = await repository.reachable();
    const since = await readRecord(storage);
    const next: Record<string, number> = {};
    const doomed: { path: string; sizeBytes: number }[] = [];
    const now = host.clock.nowMs();
    let [allBytes, waiting] = [0, 0];
    const found = new Set<string>();
    const look = (files: readonly StoredFile[]): void => {
      for (const file of files) {
        found.add(file.path);
        allBytes += file.sizeBytes;
        if (reachable.has(file.path)) continue;
        const first = Math.min(since[file.path] ?? now, now);
        if (now - first >= options.graceMs) doomed.push(file);
        else {
          next[file.path] = first;
          waiting++;
        }
      }
    };
    for (const directory of DIRECTORIES) look(await storage.list(directory));
    look((await storage.unfinished?.()) ?? []);
    const missing = [...reachable].filter((path) => !found.has(path));
    if (missing.length > 0)
      throw new VmError(
        'not-found',
        `${storage.name}: ${missing.length} files that readers need are missing (${missing[0]}): nothing is removed; see daybreak verify`,
      );
    const removedBytes = doomed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    if (removedBytes > MOST * allBytes && !options.evenMuch)
      throw new VmError(
        'usage',
        `${storage.name}: ${doomed.length} files, ${Math.round((100 * removedBytes) / allBytes)} % of all bytes, would be removed: nothing is; if that is right, say --even-much`,
      );
    // Before anything goes: what is removed only in part is found again by the next run.
    await storage.write(RECORD, new TextEncoder().encode(`${JSON.stringify({ ...next, ...stillThere(doomed, now - options.graceMs) })}\n`));
    for (const { path } of doomed) {
      await lock.renew();
      await storage.remove(path);
    }
    await storage.write(RECORD, new TextEncoder().encode(`${JSON.stringify(next)}\n`));
    return { removed: doomed.length, removedBytes, waiting, keptBytes: allBytes - removedBytes };
  } finally {
    await lock.release();
  }
}

function stillThere(files: readonly { path: string }[], sinceMs: number): Record<string, number> {
  return Object.fromEntries(files.map(({ path }) => [path, sinceMs]));
}

async function readRecord(storage: Storage): Promise<Readonly<Record<string, number>>> {
  const data = await storage.read(RECORD);
  try {
    const value: unknown = data && JSON.parse(new TextDecoder().decode(data));
    return Object.fromEntries(Object.entries((value ?? {}) as object).filter(([, since]) => Number.isSafeInteger(since))) as Record<
      string,
      number
    >;
  } catch {
    return {};
  }
}
