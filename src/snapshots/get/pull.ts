/** Brings a published day to this computer, as if it had been built here. */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import type { ByteSource, StateCodec } from '../../machine/saved-state.ts';
import type { WallClock } from '../../platform/clock.ts';
import type { Files } from '../../platform/files.ts';
import type { Zstd } from '../../platform/zstd.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { FileChunkStore } from '../../storage/file-chunk-store.ts';
import { decodeTree } from '../../storage/tree-text.ts';
import type { Tree } from '../../storage/tree.ts';
import type { Catalogue, SnapshotName } from '../catalogue/catalogue.ts';
import { parseSnapshot, type Snapshot } from '../catalogue/snapshot.ts';
import type { Progress } from '../progress.ts';
import { refreshTargets } from '../trust/refresh.ts';
import { indexDirectory, piecesDirectory } from './cache.ts';
import { findDay, publishedDays, readIndexes, readManifest, type PublishedDay } from './day.ts';
import { ContentFetcher } from './fetcher.ts';
import type { Source } from './source.ts';
import type { Manifest } from '../publish/manifest.ts';
import { cutState } from '../publish/state-pieces.ts';
import type { PackIndex, Piece } from '../../storage/packs/pack-index.ts';

export interface PullHost {
  readonly files: Files;
  readonly clock: WallClock;
  readonly zstd: Zstd;
  readonly stateCodec: StateCodec;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
}

export interface PullOptions {
  /** What is believed of the source. */
  readonly trustDirectory: string;
  /** Segments of indexes, and pieces of contents that are not whole yet. */
  readonly cacheDirectory: string;
  /** Of its first root. */
  readonly fingerprint?: string;
  /** Whether the booted state comes along; by default, where the latest day of the name that is here has one, or there is none. */
  readonly state?: boolean;
}

export interface PullResult {
  readonly snapshot: Snapshot;
  /** Of all files of the tree. */
  readonly totalBytes: number;
  /** Of those that were here already. */
  readonly reusedBytes: number;
  /** Over the line, without the list of days. */
  readonly fetchedBytes: number;
  /** Contents that were made of a patch. */
  readonly patched: number;
  readonly known: boolean;
}

/** What a source has, by name, newest day first. */
export async function listPublished(source: Source, host: PullHost, options: PullOptions): Promise<PublishedDay[]> {
  const { files, clock } = host;
  const { fingerprint, trustDirectory } = options;
  const targets = await refreshTargets(source, {
    files,
    directory: trustDirectory,
    nowMs: clock.nowMs(),
    ...(fingerprint !== undefined && { fingerprint }),
  });
  return publishedDays(targets);
}

/** A day whose record and tree are here; its contents need not be. */
export interface OpenedDay {
  readonly manifest: Manifest;
  readonly index: PackIndex;
  readonly snapshot: Snapshot;
  readonly tree: Tree;
  readonly fetcher: ContentFetcher;
}

/** One whose pieces, of contents that are not whole yet, are found again by the next. */
export function fetcherOf(
  source: Source,
  index: PackIndex,
  store: ChunkStore,
  { files, zstd }: Pick<PullHost, 'files' | 'zstd'>,
  cacheDirectory: string,
): ContentFetcher {
  return new ContentFetcher(source, index, store, zstd, new FileChunkStore(files, piecesDirectory(cacheDirectory)));
}

/** Fetches what is needed to know what a day has. `store` keeps it. */
export async function openDay(
  source: Source,
  day: PublishedDay,
  store: ChunkStore,
  host: PullHost,
  options: PullOptions,
): Promise<OpenedDay> {
  const manifest = await readManifest(source, day);
  let indexBytes = 0;
  const index = await readIndexes(
    source,
    manifest.indexes,
    host.files,
    indexDirectory(options.cacheDirectory),
    (count) => (indexBytes += count),
  );
  const fetcher = fetcherOf(source, index, store, host, options.cacheDirectory);
  fetcher.counts.fetchedBytes = indexBytes;
  const wanted = [manifest.record, manifest.tree, ...(manifest.order === undefined ? [] : [manifest.order])];
  await fetcher.fetch(await missingIn(store, wanted), () => {}, host.signal);
  const where = `${source.name}: ${day.name}@${day.day}`;
  const snapshot = parseSnapshot(where, new TextDecoder().decode(await store.get(manifest.record)));
  if (
    snapshot.name !== day.name ||
    snapshot.day !== day.day ||
    snapshot.tree !== manifest.tree ||
    snapshot.kernel.digest !== manifest.kernel
  )
    throw new VmError(
      'bad-image',
      `${where}: its record is that of ${snapshot.name}@${snapshot.day}, or of another tree: tell the publisher`,
    );
  const tree = decodeTree(where, new TextDecoder().decode(await store.get(manifest.tree)), manifest.tree);
  return { manifest, index, snapshot, tree, fetcher };
}

/** Rejects with a VmError; the catalogue then is as it was, and what has arrived is found again by the next pull. */
export async function pull(
  source: Source,
  catalogue: Catalogue,
  wanted: SnapshotName,
  host: PullHost,
  options: PullOptions,
): Promise<PullResult> {
  const day = findDay(source.name, await listPublished(source, host, options), wanted);
  return pullDay(source, catalogue, day, host, options);
}

export async function pullDay(
  source: Source,
  catalogue: Catalogue,
  day: PublishedDay,
  host: PullHost,
  options: PullOptions,
): Promise<PullResult> {
  const { store } = catalogue;
  const before = await catalogue.get(day.name, day.day).catch(() => undefined);
  const { manifest, index, snapshot, tree, fetcher } = await openDay(source, day, store, host, options);
  const sizes = new Map<string, number>();
  for (const [path, node] of tree.entries()) {
    if (node.type !== 'file') continue;
    const size = index.locate(node.digest)?.reduce((sum, piece) => sum + piece.sizeBytes, 0);
    if (size !== node.sizeBytes)
      throw new VmError(
        'bad-image',
        `${source.name}: /${path} of ${day.name}@${day.day} is not in its index as it should be: tell the publisher`,
      );
    sizes.set(node.digest, node.sizeBytes);
  }
  sizes.set(manifest.kernel, 0);
  const { state } = manifest;
  const wantsState = state !== undefined && (options.state ?? (await hasStates(catalogue, day.name)));
  if (wantsState) {
    const size = index.locate(state.state)?.reduce((total, piece) => total + piece.sizeBytes, 0);
    if (size !== state.sizeBytes)
      throw new VmError(
        'bad-image',
        `${source.name}: the booted state of ${day.name}@${day.day} is not in its index as it should be: leave it out (--no-state), and tell the publisher`,
      );
    sizes.set(state.state, 0);
    if (!(await store.has(state.state))) await offerPieces(host, catalogue, day.name, index.locate(state.state)!, fetcher);
  }
  const missing = await missingIn(store, [...sizes.keys()]);
  const sum = (digests: Iterable<string>) => [...digests].reduce((total, digest) => total + sizes.get(digest)!, 0);
  const totalBytes = sum(sizes.keys());
  let done = 0;
  await fetcher.fetch(
    missing,
    (count) => host.progress({ step: 'contents', done: (done += count), total: missing.length, unit: 'items' }),
    host.signal,
  );
  const known = before?.tree === snapshot.tree && missing.length === 0;
  if (wantsState) await catalogue.keepBooted(snapshot, { format: 2, tree: snapshot.tree, ...state });
  await catalogue.add(snapshot);
  return { snapshot, totalBytes, reusedBytes: totalBytes - sum(missing), ...fetcher.counts, known };
}

/** What the newest booted state of that name that is here has in common with the one that is wanted need not be fetched. */
async function offerPieces(
  { stateCodec }: PullHost,
  catalogue: Catalogue,
  name: string,
  pieces: readonly Piece[],
  fetcher: ContentFetcher,
): Promise<void> {
  const here = await newestState(catalogue, name, stateCodec);
  if (!here) return;
  const wanted = new Set(pieces.map(({ digest }) => digest));
  let start = 0;
  for (const end of here.ends) {
    const data = here.source.read(start, end - start);
    start = end;
    if (wanted.has(await sha256(data))) await fetcher.offer(data);
  }
}

async function newestState(
  catalogue: Catalogue,
  name: string,
  codec: StateCodec,
): Promise<{ source: ByteSource; ends: readonly number[] } | undefined> {
  for (const snapshot of await catalogue.days(name, () => {})) {
    const found = await catalogue.bootedBytes(snapshot);
    if (!found) continue;
    try {
      return { source: found.source, ends: cutState(found.source, found.booted, codec) };
    } catch (error) {
      // Of another version: it has nothing in common.
      if (!(error instanceof VmError) || error.code !== 'bad-state') throw error;
    }
  }
  return undefined;
}

async function hasStates(catalogue: Catalogue, name: string): Promise<boolean> {
  const [latest] = await catalogue.days(name, () => {});
  return !latest || (await catalogue.booted(latest)) !== undefined;
}

async function missingIn(store: ChunkStore, digests: readonly string[]): Promise<string[]> {
  const missing: string[] = [];
  for (const digest of digests) if (!(await store.has(digest))) missing.push(digest);
  return missing;
}
