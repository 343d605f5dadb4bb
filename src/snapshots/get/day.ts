/** What a source publishes, as a reader sees it: verified from the list of days down to where each content lies. */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import type { Files } from '../../platform/files.ts';
import { PackIndex } from '../../storage/packs/pack-index.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import type { SnapshotName } from '../catalogue/catalogue.ts';
import {
  indexFile,
  MANIFEST_MAX_BYTES,
  parseManifest,
  parseSummary,
  parseTargetPath,
  targetFile,
  type DaySummary,
  type IndexFile,
  type Manifest,
} from '../publish/manifest.ts';
import { readSegment } from '../publish/repository.ts';
import type { Target } from '../trust/metadata.ts';
import type { Source } from './source.ts';

export interface PublishedDay {
  readonly name: string;
  readonly day: string;
  readonly path: string;
  readonly target: Target;
  readonly summary: DaySummary | undefined;
}

/** All days of a list, by name, newest first. */
export function publishedDays(targets: Readonly<Record<string, Target>>): PublishedDay[] {
  return Object.entries(targets)
    .flatMap(([path, target]) => {
      const named = parseTargetPath(path);
      return named ? [{ ...named, path, target, summary: parseSummary(target.custom) }] : [];
    })
    .sort((a, b) => (a.name !== b.name ? (a.name < b.name ? -1 : 1) : a.day < b.day ? 1 : -1));
}

/** The one that a person means. Throws `not-found`, which tells what there is. */
export function findDay(source: string, all: readonly PublishedDay[], { name, day }: SnapshotName): PublishedDay {
  const days = all.filter((one) => one.name === name);
  const found = /^-\d+$/.test(day)
    ? days[-Number(day)]
    : day === 'latest' || day === 'today'
      ? days[0]
      : days.find((one) => one.day === day || (day.length >= 8 && one.summary?.tree.startsWith(day)));
  if (found) return found;
  const names = [...new Set(all.map((one) => one.name))];
  const what = days.length > 0 ? days.map((one) => one.day).join(', ') : names.join(', ') || 'nothing';
  throw new VmError('not-found', `${source} has no ${name}${day === 'latest' ? '' : `@${day}`} (it has ${what})`);
}

/** Rejects with `bad-digest` when the source has something else. */
export async function readManifest(source: Source, { name, day, path, target }: PublishedDay): Promise<Manifest> {
  if (target.length > MANIFEST_MAX_BYTES)
    throw new VmError('bad-image', `${source.name}: the manifest of ${name}@${day} would have ${target.length} bytes`);
  const file = targetFile(path, target.hashes.sha256);
  const data = await verifiedFile(source, file, target.length, target.hashes.sha256);
  const manifest = parseManifest(`${source.name}/${file}`, data);
  if (manifest.name !== name || manifest.day !== day)
    throw new VmError('bad-image', `${source.name}/${file}: it is the manifest of ${manifest.name}@${manifest.day}`);
  return manifest;
}

export async function verifiedFile(source: Source, path: string, length: number, digest: string): Promise<Uint8Array> {
  const data = await source.read(path, length);
  if (!data)
    throw new VmError('not-found', `${source.name}/${path} is missing, though it was signed for: try again later, or tell the publisher`);
  if (data.length === length && (await sha256(data)) === digest) return data;
  throw new VmError('bad-digest', `${source.name}/${path}: its content is not what was signed for: it was damaged or changed on the way`);
}

/** Where a day's contents lie. Segments are kept in `directory`, where other processes may keep theirs too. */
export async function readIndexes(
  source: Source,
  wanted: readonly IndexFile[],
  files: Files,
  directory: string,
  onBytes: (count: number) => void = () => {},
): Promise<PackIndex> {
  return indexOf(source, wanted, async (file) => {
    const path = indexPath(directory, file);
    const kept = await files.read(path);
    if (kept && (await isIndex(kept, file))) {
      await files.touch(path);
      return kept;
    }
    const data = await fetchIndex(source, file);
    onBytes(data.length);
    await files.write(path, data);
    return data;
  });
}

/** The same with segments that are kept as contents, since whoever needs them may outlive what was published. Those that are lost are fetched again. */
export function keptIndexes(source: Source, wanted: readonly IndexFile[], store: ChunkStore): Promise<PackIndex> {
  return indexOf(source, wanted, async (file) => {
    const kept = (await store.has(file.sha256)) ? await store.get(file.sha256).catch(() => undefined) : undefined;
    if (kept) return kept;
    const data = await fetchIndex(source, file);
    await store.put(data);
    return data;
  });
}

/** Puts segments that `readIndexes` has left in `directory` into a store, or gets them again. */
export async function keepIndexes(
  source: Source,
  wanted: readonly IndexFile[],
  files: Files,
  directory: string,
  store: ChunkStore,
): Promise<void> {
  for (const file of wanted) {
    if (await store.has(file.sha256)) continue;
    const kept = await files.read(indexPath(directory, file));
    await store.put(kept && (await isIndex(kept, file)) ? kept : await fetchIndex(source, file));
  }
}

async function indexOf(source: Source, wanted: readonly IndexFile[], dataOf: (file: IndexFile) => Promise<Uint8Array>): Promise<PackIndex> {
  const index = new PackIndex();
  for (const file of wanted) index.add(await readSegment(`${source.name}/${indexFile(file.sha256)}`, await dataOf(file)));
  return index;
}

const indexPath = (directory: string, { sha256: digest }: IndexFile): string => `${directory}/${digest}.index`;

async function isIndex(data: Uint8Array, { sha256: digest, sizeBytes }: IndexFile): Promise<boolean> {
  return data.length === sizeBytes && (await sha256(data)) === digest;
}

function fetchIndex(source: Source, { sha256: digest, sizeBytes }: IndexFile): Promise<Uint8Array> {
  return verifiedFile(source, indexFile(digest), sizeBytes, digest);
}
