/** Checks all that is published, as a reader would, down to the last content. Finds as much as it can before it gives up. */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import { openState } from '../../machine/saved-state-file.ts';
import type { StateCodec } from '../../machine/saved-state.ts';
import type { WallClock } from '../../platform/clock.ts';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import type { Zstd } from '../../platform/zstd.ts';
import { EMPTY_SHA256, type Frame, PackIndex, type Segment } from '../../storage/packs/pack-index.ts';
import { decodeTree } from '../../storage/tree-text.ts';
import type { StateBytes } from '../catalogue/booted.ts';
import { parseSnapshot } from '../catalogue/snapshot.ts';
import { publishedDays, readManifest, verifiedFile, type PublishedDay } from '../get/day.ts';
import { ContentFetcher } from '../get/fetcher.ts';
import { unpackFrame } from '../get/frames.ts';
import type { Source } from '../get/source.ts';
import type { Progress } from '../progress.ts';
import { METADATA_MAX_BYTES, ROOT_MAX_BYTES, TIMESTAMP_MAX_BYTES, TrustedMetadata } from '../trust/trusted.ts';
import { indexFile, packFile, type IndexFile, type Manifest } from './manifest.ts';
import { readSegment } from './repository.ts';

export interface VerifyHost {
  readonly clock: WallClock;
  readonly zstd: Zstd;
  readonly stateCodec: StateCodec;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
}

export interface VerifyResult {
  readonly fingerprint: string;
  readonly days: readonly string[];
  readonly packCount: number;
  readonly packedBytes: number;
  /** When the timestamp's signature ends. */
  readonly expires: string;
  readonly problems: readonly string[];
}

/** Rejects when the list of days cannot be believed, or with `cancelled`; what else is wrong is in `problems`. */
export async function verifyPublished(source: Source, host: VerifyHost, fingerprint?: string): Promise<VerifyResult> {
  const { trusted, fingerprint: found } = await readList(source, host.clock.nowMs(), fingerprint);
  const days = publishedDays(trusted.targets!.targets);
  const problems: string[] = [];
  const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    if (host.signal?.aborted) throw new VmError('cancelled', 'stopped before everything was looked at');
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof VmError)) throw error;
      problems.push(error.message);
      return undefined;
    }
  };
  const segments = new Map<string, Segment>();
  const manifests: [PublishedDay, Manifest][] = [];
  for (const day of days) {
    const manifest = await attempt(() => readManifest(source, day));
    if (!manifest) continue;
    manifests.push([day, manifest]);
    for (const file of manifest.indexes) {
      if (segments.has(file.sha256)) continue;
      const segment = await attempt(() => readSegmentOf(source, file));
      if (segment) segments.set(file.sha256, segment);
    }
  }
  const packs = framesByPack(segments.values());
  let [done, packedBytes] = [0, 0];
  for (const [digest, frames] of packs) {
    packedBytes += frames[0]!.pack.sizeBytes;
    await attempt(() => verifyPack(source, digest, frames, segments.values(), host.zstd));
    host.progress({ step: 'packs', done: ++done, total: packs.size, unit: 'items' });
  }
  for (const [day, manifest] of manifests) await attempt(() => verifyDay(source, host, day, manifest, segments));
  return {
    fingerprint: found,
    days: days.map(({ name, day }) => `${name}@${day}`),
    packCount: packs.size,
    packedBytes,
    expires: trusted.timestamp!.expires,
    problems: [...new Set(problems)],
  };
}

async function readList(source: Source, nowMs: number, expected?: string): Promise<{ trusted: TrustedMetadata; fingerprint: string }> {
  const read = async (path: string, limit: number): Promise<Uint8Array> => {
    const data = await source.read(path, limit);
    if (data) return data;
    throw new VmError('not-found', `${source.name}: there is no ${path}: is this something that daybreak published?`);
  };
  const first = await read('metadata/1.root.json', ROOT_MAX_BYTES);
  const fingerprint = await sha256(first);
  if (expected !== undefined && expected !== fingerprint)
    throw new VmError('bad-signature', `${source.name}: its fingerprint is ${fingerprint}, not ${expected}: this is another publisher`);
  const trusted = await TrustedMetadata.from(source.name, first);
  for (;;) {
    const next = await source.read(`metadata/${trusted.root.version + 1}.root.json`, ROOT_MAX_BYTES);
    if (!next) break;
    await trusted.nextRoot(next);
  }
  trusted.checkRootExpiry(nowMs);
  await trusted.setTimestamp(await read('metadata/timestamp.json', TIMESTAMP_MAX_BYTES), nowMs);
  const { version } = trusted.timestamp!.meta['snapshot.json'];
  await trusted.setSnapshot(await read(`metadata/${version}.snapshot.json`, METADATA_MAX_BYTES), nowMs);
  await trusted.setTargets(
    await read(`metadata/${trusted.snapshot!.meta['targets.json'].version}.targets.json`, METADATA_MAX_BYTES),
    nowMs,
  );
  return { trusted, fingerprint };
}

async function readSegmentOf(source: Source, { sha256: digest, sizeBytes }: IndexFile): Promise<Segment> {
  const path = indexFile(digest);
  return readSegment(`${source.name}/${path}`, await verifiedFile(source, path, sizeBytes, digest));
}

function framesByPack(segments: Iterable<Segment>): Map<string, Frame[]> {
  const packs = new Map<string, Frame[]>();
  const seen = new Set<Frame>();
  for (const { pieces, patches } of segments) {
    for (const { frame } of [...pieces, ...patches]) {
      if (seen.has(frame)) continue;
      seen.add(frame);
      packs.set(frame.pack.digest, [...(packs.get(frame.pack.digest) ?? []), frame]);
    }
  }
  return packs;
}

async function verifyPack(
  source: Source,
  digest: string,
  frames: readonly Frame[],
  segments: Iterable<Segment>,
  zstd: Zstd,
): Promise<void> {
  const data = await verifiedFile(source, packFile(digest), frames[0]!.pack.sizeBytes, digest);
  for (const { pieces } of segments) {
    let last: { frame: Frame; raw: Uint8Array } | undefined;
    for (const { frame, digest: piece, offset, sizeBytes } of pieces) {
      if (frame.pack.digest !== digest) continue;
      if (last?.frame !== frame)
        last = { frame, raw: unpackFrame(source, frame, data.subarray(frame.offset, frame.offset + frame.length), zstd) };
      if ((await sha256(last.raw.subarray(offset, offset + sizeBytes))) !== piece)
        throw new VmError('bad-digest', `${source.name}/${packFile(digest)}: the content ${piece} is not what its index says`);
    }
  }
}

/** Pieces have been looked at: what is left is that the day's parts fit together, and that what has several pieces is their sum. */
async function verifyDay(
  source: Source,
  host: VerifyHost,
  { name, day, summary }: PublishedDay,
  manifest: Manifest,
  segments: ReadonlyMap<string, Segment>,
): Promise<void> {
  const where = `${source.name}: ${name}@${day}`;
  const index = new PackIndex();
  for (const { sha256: digest } of manifest.indexes) {
    const segment = segments.get(digest);
    if (!segment) throw new VmError('bad-image', `${where}: a part of its index cannot be read`);
    index.add(segment);
  }
  const contents = new MemoryChunkStore();
  const fetcher = new ContentFetcher(source, index, contents, host.zstd);
  await fetcher.fetch([manifest.record, manifest.tree, ...(manifest.order === undefined ? [] : [manifest.order])], () => {}, host.signal);
  const snapshot = parseSnapshot(where, new TextDecoder().decode(await contents.get(manifest.record)));
  if (snapshot.name !== name || snapshot.day !== day || snapshot.tree !== manifest.tree || (summary && summary.tree !== manifest.tree))
    throw new VmError('bad-image', `${where}: its record, its manifest and the list do not tell of the same tree`);
  const tree = decodeTree(where, new TextDecoder().decode(await contents.get(manifest.tree)));
  const large = new Set<string>([manifest.kernel]);
  for (const [path, node] of tree.entries()) {
    if (node.type !== 'file' || node.digest === EMPTY_SHA256) continue;
    const pieces = index.locate(node.digest);
    if (!pieces) throw new VmError('bad-image', `${where}: the content of /${path} is not in its index`);
    if (pieces.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) !== node.sizeBytes)
      throw new VmError('bad-image', `${where}: the content of /${path} has not the size that the tree says`);
    if (pieces.length > 1) large.add(node.digest);
  }
  // One at a time, and dropped at once.
  for (const digest of large)
    await new ContentFetcher(source, index, new MemoryChunkStore(), host.zstd).fetch([digest], () => {}, host.signal);
  if (manifest.state) await verifyState(where, source, host, index, manifest.state);
}

async function verifyState(where: string, source: Source, host: VerifyHost, index: PackIndex, bytes: StateBytes): Promise<void> {
  const contents = new MemoryChunkStore();
  await new ContentFetcher(source, index, contents, host.zstd).fetch([bytes.state], () => {}, host.signal);
  const data = await contents.get(bytes.state);
  const bad = (what: string, cause?: unknown) => new VmError('bad-image', `${where}: its booted state ${what}`, cause);
  if (data.length !== bytes.sizeBytes) throw bad('has not the size that its manifest says');
  const read = (offset: number, length: number) => data.subarray(offset, offset + length);
  try {
    openState({ name: 'the state', sizeBytes: data.length, read }, host.stateCodec).verify();
  } catch (cause) {
    if (!(cause instanceof VmError)) throw cause;
    throw bad(`cannot be used by this Daybreak: ${cause.message}`, cause);
  }
}
