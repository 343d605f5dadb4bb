/** A machine that is kept: what it left, as a tree, and which snapshot it came from. */
import { VmError } from '../../base/errors.ts';
import { isSha256 } from '../../base/sha256.ts';
import { parseIndexFiles, type IndexFile } from '../publish/manifest.ts';
import { isRecipeName } from '../recipe/recipe.ts';
import { isDay } from './snapshot.ts';

export interface Kept {
  readonly format: 2;
  /** The snapshot that it was made of. */
  readonly from: { readonly name: string; readonly day: string };
  /** Digest of that snapshot's tree; records of format 1 do not tell it. */
  readonly base?: string;
  /** Digest of the tree that it left. */
  readonly tree: string;
  readonly kernel: { readonly digest: string; readonly version: string };
  /** Where contents are that are not on this computer; absent when all of them are. */
  readonly published?: PublishedBase;
  /** The machine as it stood, where it was saved: it goes on from there. Where that cannot be, it boots from `tree`. */
  readonly state?: KeptState;
}

/** A machine that was saved, and what its session must know to go on. */
export interface KeptState {
  /** Name of the file beside the record. */
  readonly file: string;
  readonly sizeBytes: number;
  readonly memoryBytes: number;
  /** Digest of the tree below the upper layer that is in the state. */
  readonly over: string;
  /** What the marks of the line that was typed at its prompt have. */
  readonly nonce: string;
  /** The last that its console showed. */
  readonly tail: string;
}

const STATE_FILE = /^[0-9a-f]{16}\.state$/;

/** What a state's file is called: it says not whose it is, since that is what the record is for. */
export function isStateFile(name: string): boolean {
  return STATE_FILE.test(name);
}

/** Contents of a published day. Indexes are kept as contents of their digests: nothing needs to be published any more but packs. */
export interface PublishedBase {
  readonly place: string;
  readonly indexes: readonly IndexFile[];
  /** Content: as `Manifest.order`. */
  readonly order?: string;
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
  const { format, from, base, tree, kernel, published, state } = fieldsOf(value);
  if (format !== 1 && format !== 2)
    throw new VmError(
      'bad-image',
      `${where}: a kept machine's record of format ${String(format)} (supported: 1, 2): remove the file, or use the Daybreak that wrote it`,
    );
  const { name, day } = fieldsOf(from);
  const { digest, version } = fieldsOf(kernel);
  if (typeof name !== 'string' || !isRecipeName(name) || typeof day !== 'string' || !isDay(day)) throw bad();
  if ((format === 2 && !isDigest(base)) || !isDigest(tree) || !isDigest(digest) || typeof version !== 'string') throw bad();
  const over = published === undefined ? undefined : publishedBase(published);
  if (published !== undefined && !over) throw bad();
  const saved = state === undefined ? undefined : keptState(state);
  if (state !== undefined && !saved) throw bad();
  return {
    format: 2,
    from: { name, day },
    ...(isDigest(base) && { base }),
    tree,
    kernel: { digest, version },
    ...(over && { published: over }),
    ...(saved && { state: saved }),
  };
}

function publishedBase(value: unknown): PublishedBase | undefined {
  const { place, indexes, order } = fieldsOf(value);
  const files = parseIndexFiles(indexes);
  if (typeof place !== 'string' || place === '' || !files || (order !== undefined && !isDigest(order))) return undefined;
  return { place, indexes: files, ...(order !== undefined && { order }) };
}

function keptState(value: unknown): KeptState | undefined {
  const { file, sizeBytes, memoryBytes, over, nonce, tail } = fieldsOf(value);
  const isCount = (count: unknown): count is number => Number.isSafeInteger(count) && (count as number) > 0;
  if (typeof file !== 'string' || !isStateFile(file) || !isCount(sizeBytes) || !isCount(memoryBytes)) return undefined;
  if (!isDigest(over) || typeof nonce !== 'string' || !/^[0-9a-f]{16}$/.test(nonce) || typeof tail !== 'string') return undefined;
  return { file, sizeBytes, memoryBytes, over, nonce, tail };
}

function isDigest(value: unknown): value is string {
  return typeof value === 'string' && isSha256(value);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
}
