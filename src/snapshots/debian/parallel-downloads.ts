/** Fetches many packages at once. */
import { VmError } from '../../base/errors.ts';
import type { Progress } from '../progress.ts';
import type { DebianArchive } from './archive.ts';
import type { PackageFile } from './packages.ts';

const PARALLEL_DOWNLOADS = 6;

/** Adds up what has arrived, and reports it. */
export function counter(progress: Progress, step: string, total: number): (count: number) => void {
  let done = 0;
  return (count) => {
    done += count;
    progress({ step, done, total, unit: 'bytes' });
  };
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

/** Promise.withResolvers, which Node 20 lacks. */
function deferred<T>(): Deferred<T> {
  let settle: Omit<Deferred<T>, 'promise'> | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, ...settle! };
}

export interface Downloads {
  get(one: PackageFile): Promise<Uint8Array>;
  allArrived(): boolean;
  /** Gives up what is under way. Resolves, and never rejects, when nothing of it touches the cache any more. */
  stop(): Promise<void>;
}

/** Fetches all packages, several at a time, in order; the first failure stops the rest. */
export function startDownloads(archive: DebianArchive, all: readonly PackageFile[], progress: Progress, signal?: AbortSignal): Downloads {
  const abort = new AbortController();
  const onAbort = () => abort.abort();
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) abort.abort();
  const count = counter(
    progress,
    'packages',
    all.reduce((sum, one) => sum + one.sizeBytes, 0),
  );
  const waiting = all.map((one) => ({ one, result: deferred<Uint8Array>() }));
  const results = new Map(waiting.map(({ one, result }) => [one, result.promise]));
  let failure: unknown;
  let left = all.length;
  let next = 0;
  const work = async () => {
    for (let job = waiting[next++]; job; job = waiting[next++]) {
      try {
        if (abort.signal.aborted) throw failure ?? new VmError('cancelled', 'stopped while getting packages');
        job.result.resolve(await archive.deb(job.one, count, abort.signal));
        left--;
      } catch (error) {
        // The error that stopped the others says more than that they were stopped.
        failure ??= error;
        job.result.reject(failure);
        abort.abort();
      }
    }
  };
  for (const { result } of waiting) result.promise.catch(() => {});
  const workers = Array.from({ length: PARALLEL_DOWNLOADS }, work);
  return {
    get: async (one) => {
      const data = await results.get(one)!;
      results.delete(one);
      return data;
    },
    allArrived: () => left === 0,
    stop: async () => {
      signal?.removeEventListener('abort', onAbort);
      abort.abort();
      await Promise.all(workers);
    },
  };
}
