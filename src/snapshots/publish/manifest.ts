/** A published day: what it is made of, and which parts of the index say where that lies. Signed for by the role `targets`. */
import { VmError } from '../../base/errors.ts';
import { isSha256 } from '../../base/sha256.ts';
import { parseStateBytes, type StateBytes } from '../catalogue/booted.ts';
import { isDay } from '../catalogue/snapshot.ts';
import { isRecipeName } from '../recipe/recipe.ts';

export interface IndexFile {
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface Manifest {
  readonly format: 1;
  readonly name: string;
  readonly day: string;
  /** Content: the snapshot's record, with lock, packages and probes. */
  readonly record: string;
  /** Content: the tree's text. */
  readonly tree: string;
  /** Content: the kernel. */
  readonly kernel: string;
  /** Content: digests of the tree's contents, a line each, as a machine that boots asks for them. */
  readonly order?: string;
  /** The booted state, which is a content as well. Whoever cannot use it boots. */
  readonly state?: StateBytes;
  /** Files `indexes/SHA256.index`: together they know all of the above and all contents of the tree. */
  readonly indexes: readonly IndexFile[];
}

/** What the list of targets tells of a day besides its digest. */
export interface DaySummary {
  readonly title?: string;
  readonly tree: string;
  readonly contentBytes: number;
  readonly packageCount: number;
  readonly kernel: string;
}

/** More than any index has; each costs a request. */
export const INDEXES_MAX = 64;
export const INDEX_MAX_BYTES = 64 * 1024 * 1024;
export const MANIFEST_MAX_BYTES = 1024 * 1024;

export function targetPath(name: string, day: string): string {
  return `${name}/${day}.json`;
}

/** Name and day of a target; undefined when it is something else. */
export function parseTargetPath(path: string): { name: string; day: string } | undefined {
  const match = /^(.+)\/(\d{4}-\d\d-\d\d)\.json$/.exec(path);
  return match && isRecipeName(match[1]!) ? { name: match[1]!, day: match[2]! } : undefined;
}

/** Where a target lies: its digest is in its name, so that two states never share a file. */
export function targetFile(path: string, sha256: string): string {
  const slash = path.lastIndexOf('/');
  return `targets/${path.slice(0, slash + 1)}${sha256}.${path.slice(slash + 1)}`;
}

export const packFile = (sha256: string): string => `packs/${sha256}.pack`;
export const indexFile = (sha256: string): string => `indexes/${sha256}.index`;

/** `where` is for messages. Throws `bad-image`. */
export function parseManifest(where: string, data: Uint8Array): Manifest {
  const bad = (what: string, cause?: unknown): never => {
    throw new VmError('bad-image', `${where}: not a day's manifest: ${what}`, cause);
  };
  let one: Partial<Record<keyof Manifest, unknown>> = {};
  try {
    one = (JSON.parse(new TextDecoder().decode(data)) ?? {}) as typeof one;
  } catch (error) {
    bad('it is no JSON', error);
  }
  if (one.format !== 1) bad(`its format is ${String(one.format)} (supported: 1)`);
  const digest = (value: unknown, what: string): string => (typeof value === 'string' && isSha256(value) ? value : bad(`bad ${what}`));
  if (typeof one.name !== 'string' || !isRecipeName(one.name)) return bad('bad name');
  if (typeof one.day !== 'string' || !isDay(one.day)) return bad('bad day');
  const indexes = parseIndexFiles(one.indexes) ?? bad('bad indexes');
  return {
    format: 1,
    name: one.name,
    day: one.day,
    record: digest(one.record, 'record'),
    tree: digest(one.tree, 'tree'),
    kernel: digest(one.kernel, 'kernel'),
    ...(one.order !== undefined && { order: digest(one.order, 'order') }),
    ...(one.state !== undefined && { state: parseStateBytes(one.state) ?? bad('bad state') }),
    indexes,
  };
}

/** Undefined for anything that is no list of them. */
export function parseIndexFiles(value: unknown): readonly IndexFile[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > INDEXES_MAX) return undefined;
  const files: IndexFile[] = [];
  for (const entry of value as unknown[]) {
    const { sha256, sizeBytes } = (entry ?? {}) as Record<string, unknown>;
    if (typeof sha256 !== 'string' || !isSha256(sha256)) return undefined;
    if (typeof sizeBytes !== 'number' || !Number.isSafeInteger(sizeBytes) || sizeBytes < 1 || sizeBytes > INDEX_MAX_BYTES) return undefined;
    files.push({ sha256, sizeBytes });
  }
  return files;
}

/** What `custom` of a target says, as far as it can be used; undefined when that is nothing. */
export function parseSummary(custom: Readonly<Record<string, unknown>> | undefined): DaySummary | undefined {
  const { title, tree, contentBytes, packageCount, kernel } = custom ?? {};
  const count = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (typeof tree !== 'string' || !isSha256(tree) || !count(contentBytes) || !count(packageCount) || typeof kernel !== 'string')
    return undefined;
  return { ...(typeof title === 'string' && { title }), tree, contentBytes, packageCount, kernel };
}
