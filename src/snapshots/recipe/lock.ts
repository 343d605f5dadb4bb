/** A lock: what a recipe came to on one day, down to the digests of its packages. The same lock gives the same snapshot. */
import { VmError } from '../../base/errors.ts';
import { isSha256 } from '../../base/sha256.ts';
import type { PackageFile } from '../debian/packages.ts';

export interface LockedSuite {
  readonly name: string;
  /** Of its Release file, in milliseconds since 1970. */
  readonly dateMs: number;
  /** SHA-256 of its package index, as it was signed for. */
  readonly index: string;
}

export interface Lock {
  readonly format: 1;
  /** The recipe's name. */
  readonly recipe: string;
  /** Day of the newest suite: `2026-10-30`. */
  readonly day: string;
  readonly suites: readonly LockedSuite[];
  /** To be unpacked and configured, sorted by name; without those of the base. */
  readonly packages: readonly PackageFile[];
  /** What the kernel and its modules are taken from; empty when the base has them. */
  readonly kernel: readonly PackageFile[];
  /** The snapshot that is added to. */
  readonly base?: { readonly name: string; readonly tree: string };
}

const NAME = /^[a-z0-9][a-z0-9+.-]*$/;

export function printLock(lock: Lock): string {
  return `${JSON.stringify(lock, undefined, 2)}\n`;
}

/** `where` is for messages. Throws VmError `usage` when it is none. */
export function parseLock(where: string, text: string): Lock {
  try {
    return readLock(where, JSON.parse(text));
  } catch (error) {
    if (error instanceof VmError) throw error;
    throw new VmError('usage', `${where}: not a lock: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

/** Checks a lock that has been read as JSON. Throws VmError `usage`. */
export function readLock(where: string, value: unknown): Lock {
  const bad = (what: string): never => {
    throw new VmError('usage', `${where}: not a lock that can be used: ${what}`);
  };
  const lock = record(value) ?? bad('it is no JSON object');
  if (lock['format'] !== 1) bad(`its format is ${String(lock['format'])} (supported: 1)`);
  const { recipe, day } = lock;
  if (typeof recipe !== 'string' || typeof day !== 'string' || !/^\d{4}-\d\d-\d\d$/.test(day)) return bad('recipe or day is missing');
  const suites = list(lock['suites'])?.map((one): LockedSuite => {
    const { name, dateMs, index } = record(one) ?? bad('bad suites');
    if (typeof name !== 'string' || !NAME.test(name) || !Number.isSafeInteger(dateMs) || !(typeof index === 'string' && isSha256(index)))
      return bad('bad suites');
    return { name, dateMs: dateMs as number, index };
  });
  const packages = (key: string): PackageFile[] => {
    const all = list(lock[key]) ?? bad(`${key} is missing`);
    return all.map(
      (one, number) => packageOf(record(one)) ?? bad(`${key}[${number}] has no name, version, filename, size or digest that can be used`),
    );
  };
  const base = lock['base'] === undefined ? undefined : (record(lock['base']) ?? bad('bad base'));
  if (base && (typeof base['name'] !== 'string' || typeof base['tree'] !== 'string' || !isSha256(base['tree']))) bad('bad base');
  return {
    format: 1,
    recipe,
    day,
    suites: suites && suites.length > 0 ? suites : bad('suites are missing'),
    packages: packages('packages'),
    kernel: packages('kernel'),
    ...(base && { base: { name: base['name'] as string, tree: base['tree'] as string } }),
  };
}

/** Seconds since 1970 for everything that a build makes. */
export function timeOf(lock: Lock): number {
  return Math.floor(Math.max(...lock.suites.map(({ dateMs }) => dateMs)) / 1000);
}

function packageOf(one: Record<string, unknown> | undefined): PackageFile | undefined {
  const { name, version, architecture, filename, sizeBytes, sha256 } = one ?? {};
  if (typeof name !== 'string' || !NAME.test(name) || typeof version !== 'string' || typeof architecture !== 'string') return undefined;
  if (typeof filename !== 'string' || filename.startsWith('/') || filename.includes('..')) return undefined;
  if (!Number.isSafeInteger(sizeBytes) || (sizeBytes as number) < 0 || typeof sha256 !== 'string' || !isSha256(sha256)) return undefined;
  return { name, version, architecture, filename, sizeBytes: sizeBytes as number, sha256 };
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
}

function list(value: unknown): unknown[] | undefined {
  return Array.isArray(value) ? value : undefined;
}
