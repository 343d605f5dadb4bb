/**
 * The booted state of a snapshot: a machine with its tree, saved at the prompt. It is no part of the snapshot, since it does not
 * follow from its inputs and fits one version of the devices: it can be lost, and made again.
 */
import { isSha256 } from '../../base/sha256.ts';

/** Where a state's bytes are, and what they are for. */
export interface StateBytes {
  /** Digest of the saved state, which is the content of that name. */
  readonly state: string;
  readonly sizeBytes: number;
  readonly memoryBytes: number;
  /** From its beginning: the pages that a machine needs until it is at work again. */
  readonly firstBytes: number;
  /** Up to its end: all that is needed before a machine can go on. */
  readonly tailBytes: number;
}

export interface BootedState extends StateBytes {
  readonly format: 2;
  /** Digest of the tree that it was booted from. */
  readonly tree: string;
}

/** Undefined for anything that is none. */
export function parseBootedState(text: string): BootedState | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { format, tree } = (value ?? {}) as Partial<Record<keyof BootedState, unknown>>;
  const bytes = parseStateBytes(value);
  return bytes && format === 2 && typeof tree === 'string' && isSha256(tree) ? { format, tree, ...bytes } : undefined;
}

/** Undefined for anything that is none. */
export function parseStateBytes(value: unknown): StateBytes | undefined {
  const { state, sizeBytes, memoryBytes, firstBytes, tailBytes } = (value ?? {}) as Partial<Record<keyof StateBytes, unknown>>;
  const isCount = (count: unknown): count is number => Number.isSafeInteger(count) && (count as number) > 0;
  if (typeof state !== 'string' || !isSha256(state)) return undefined;
  if (!isCount(sizeBytes) || !isCount(memoryBytes) || !isCount(firstBytes) || !isCount(tailBytes)) return undefined;
  return firstBytes + tailBytes <= sizeBytes ? { state, sizeBytes, memoryBytes, firstBytes, tailBytes } : undefined;
}
