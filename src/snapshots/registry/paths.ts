/**
 * How published files lie in a registry. What has its SHA-256 in its name is the blob of that digest, which readers get without asking for
 * anything else; lists `files.N` name those blobs, so that the registry keeps them. Any other file has a tag of its own, which moves.
 */
import { VmError } from '../../base/errors.ts';

export const LIST_PREFIX = 'files.';
const METADATA = 'metadata/';
const METADATA_PREFIX = 'metadata.';

/** The digest that a path is named by. */
export function digestInPath(path: string): string | undefined {
  const match = /^(?:packs\/([0-9a-f]{64})\.pack|indexes\/([0-9a-f]{64})\.index|targets\/.+\/([0-9a-f]{64})\.\d{4}-\d\d-\d\d\.json)$/.exec(
    path,
  );
  return match?.slice(1).find(Boolean);
}

/** The tag of a file that is not named by its content. OCI Distribution Specification: at most 128 letters, digits, ".", "_", "-". */
export function tagOf(path: string): string {
  const tag = path.startsWith(METADATA) ? `${METADATA_PREFIX}${path.slice(METADATA.length)}` : path;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(tag) || tag.startsWith(LIST_PREFIX))
    throw new VmError('unsupported', `${path}: a registry has no place for a file of this name`);
  return tag;
}

/** Undefined when the tag is not one of ours. */
export function pathOfTag(tag: string): string | undefined {
  if (tag.startsWith(METADATA_PREFIX)) return `${METADATA}${tag.slice(METADATA_PREFIX.length)}`;
  return /^(publishing\.lock|unreachable\.json)$/.test(tag) ? tag : undefined;
}
