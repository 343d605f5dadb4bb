/** A snapshot: one day's operating system as a tree, with all that is known of it. Kept as JSON; what is read is checked. */
import { VmError } from '../../base/errors.ts';
import { isSha256 } from '../../base/sha256.ts';
import { isRecipeName } from '../recipe/recipe.ts';
import { readLock, type Lock } from '../recipe/lock.ts';

export interface InstalledVersion {
  readonly name: string;
  readonly version: string;
}

export interface Snapshot {
  readonly format: 1;
  /** `OS` or `OS/EDITION`. */
  readonly name: string;
  /** `2026-10-30`. */
  readonly day: string;
  readonly title?: string;
  /** Digest of the tree; its canonical text is the chunk of that name. */
  readonly tree: string;
  readonly entryCount: number;
  readonly contentBytes: number;
  readonly kernel: { readonly digest: string; readonly version: string };
  /** Digest of the recipe, its files and the builder's version: what, with the lock, the tree follows from. */
  readonly inputs: string;
  readonly lock: Lock;
  /** All of them, those of the base too, sorted by name. */
  readonly packages: readonly InstalledVersion[];
  /** What the booted machine was asked, and answered rightly. Empty when nobody asked. */
  readonly probes: readonly string[];
}

export function printSnapshot(snapshot: Snapshot): string {
  return `${JSON.stringify(snapshot, undefined, 2)}\n`;
}

/** `where` is for messages. Throws VmError `bad-image`. */
export function parseSnapshot(where: string, text: string): Snapshot {
  const bad = (what: string, cause?: unknown): never => {
    throw new VmError('bad-image', `${where}: not a snapshot's record: ${what}`, cause);
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    bad('it is no JSON', error);
  }
  if (typeof value !== 'object' || value === null) return bad('it is no JSON object');
  const one = value as Partial<Record<keyof Snapshot, unknown>>;
  if (one.format !== 1) bad(`its format is ${String(one.format)} (supported: 1)`);
  const digest = (found: unknown, what: string): string => (typeof found === 'string' && isSha256(found) ? found : bad(`bad ${what}`));
  const count = (found: unknown, what: string): number =>
    Number.isSafeInteger(found) && (found as number) >= 0 ? (found as number) : bad(`bad ${what}`);
  if (typeof one.name !== 'string' || !isRecipeName(one.name)) return bad('bad name');
  if (typeof one.day !== 'string' || !isDay(one.day)) return bad('bad day');
  if (one.title !== undefined && typeof one.title !== 'string') return bad('bad title');
  const kernel = (one.kernel ?? {}) as Record<string, unknown>;
  if (typeof kernel['version'] !== 'string') return bad('bad kernel');
  const packages = Array.isArray(one.packages) ? one.packages : bad('bad packages');
  const probes = Array.isArray(one.probes) ? one.probes : bad('bad probes');
  if (!probes.every((probe) => typeof probe === 'string')) return bad('bad probes');
  return {
    format: 1,
    name: one.name,
    day: one.day,
    ...(one.title !== undefined && { title: one.title }),
    tree: digest(one.tree, 'tree'),
    entryCount: count(one.entryCount, 'entryCount'),
    contentBytes: count(one.contentBytes, 'contentBytes'),
    kernel: { digest: digest(kernel['digest'], 'kernel'), version: kernel['version'] },
    inputs: digest(one.inputs, 'inputs'),
    lock: lockOf(where, one.lock),
    packages: packages.map((entry: unknown): InstalledVersion => {
      const { name, version } = (entry ?? {}) as Record<string, unknown>;
      return typeof name === 'string' && typeof version === 'string' ? { name, version } : bad('bad packages');
    }),
    probes,
  };
}

function lockOf(where: string, value: unknown): Lock {
  try {
    return readLock(where, value);
  } catch (error) {
    throw error instanceof VmError ? new VmError('bad-image', error.message, error) : error;
  }
}

export function isDay(text: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(text);
}
