/** A machine that is kept: what it left, as a tree, and which snapshot it came from. */
import { VmError } from '../../base/errors.ts';
import { isSha256 } from '../../base/sha256.ts';
import { isRecipeName } from '../recipe/recipe.ts';
import { isDay } from './snapshot.ts';

export interface Kept {
  readonly format: 1;
  /** The snapshot that it was made of. */
  readonly from: { readonly name: string; readonly day: string };
  /** Digest of the tree that it left. */
  readonly tree: string;
  readonly kernel: { readonly digest: string; readonly version: string };
}

/** What people call a kept machine. */
export function isKeptName(text: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,63}$/.test(text);
}

/** `where` is for messages. Throws VmError `bad-image`. */
export function parseKept(where: string, text: string): Kept {
  const bad = (cause?: unknown) => new VmError('bad-image', `${where}: not the record of a kept machine: remove or mend the file`, cause);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw bad(cause);
  }
  const fields = (one: unknown) => (typeof one === 'object' && one !== null ? one : {}) as Record<string, unknown>;
  const { format, from, tree, kernel } = fields(value);
  const { name, day } = fields(from);
  const { digest, version } = fields(kernel);
  if (format !== 1 || typeof name !== 'string' || !isRecipeName(name) || typeof day !== 'string' || !isDay(day)) throw bad();
  if (typeof tree !== 'string' || !isSha256(tree) || typeof digest !== 'string' || !isSha256(digest) || typeof version !== 'string')
    throw bad();
  return { format, from: { name, day }, tree, kernel: { digest, version } };
}
