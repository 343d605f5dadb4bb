/** Extended attributes of an inode: in the inode where they fit, else in a block. Linux, Documentation/filesystems/ext4: "Extended Attributes". */
import { VmError } from '../../base/errors.ts';
import { BLOCK_BYTES } from './geometry.ts';

const MAGIC = 0xea02_0000;
const ENTRY_BYTES = 16;
const BLOCK_HEADER_BYTES = 32;
/** By the beginning of a name, the longest first. */
const PREFIXES: readonly (readonly [prefix: string, index: number])[] = [
  ['system.posix_acl_default', 3],
  ['system.posix_acl_access', 2],
  ['security.', 6],
  ['trusted.', 4],
  ['user.', 1],
];

interface Entry {
  readonly index: number;
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

export interface PackedXattrs {
  /** What stands behind the inode's fields; empty when everything is in the block. */
  readonly inline: Uint8Array;
  readonly block: Uint8Array | undefined;
}

/** `where` is for messages. Throws VmError `unsupported` for what ext4 cannot hold. */
export function packXattrs(where: string, xattrs: ReadonlyMap<string, Uint8Array>, inlineBytes: number): PackedXattrs {
  const entries = [...xattrs].map(([name, value]) => entryOf(where, name, value)).sort(compare);
  if (entries.length === 0) return { inline: new Uint8Array(), block: undefined };
  const inline = new Uint8Array(inlineBytes);
  new DataView(inline.buffer).setUint32(0, MAGIC, true);
  if (pack(inline, 4, 4, entries) !== undefined) return { inline, block: undefined };
  const block = new Uint8Array(BLOCK_BYTES);
  const hashes = pack(block, BLOCK_HEADER_BYTES, 0, entries);
  if (!hashes)
    throw new VmError('unsupported', `${where}: its extended attributes are larger than ext4 can hold in a block of ${BLOCK_BYTES} bytes`);
  const view = new DataView(block.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, 1, true); // reference count
  view.setUint32(8, 1, true); // blocks
  view.setUint32(
    12,
    hashes.some((hash) => hash === 0) ? 0 : hashes.reduce((all, hash) => ((all << 16) ^ (all >>> 16) ^ hash) >>> 0, 0),
    true,
  );
  return { inline: new Uint8Array(), block };
}

/** Entries from `start` on, values from the end; offsets count from `base`. The entries' hashes, or undefined when it does not fit. */
function pack(into: Uint8Array, start: number, base: number, entries: readonly Entry[]): number[] | undefined {
  const view = new DataView(into.buffer);
  const hashes: number[] = [];
  let [at, end] = [start, into.length];
  for (const { index, name, value } of entries) {
    const room = align(ENTRY_BYTES + name.length);
    const valueRoom = align(value.length);
    // Four zeros end the list.
    if (at + room + 4 > end - valueRoom) return undefined;
    end -= valueRoom;
    into.set(value, end);
    const hash = hashOf(name, into.subarray(end, end + valueRoom));
    hashes.push(hash);
    view.setUint8(at, name.length);
    view.setUint8(at + 1, index);
    view.setUint16(at + 2, value.length === 0 ? 0 : end - base, true);
    view.setUint32(at + 8, value.length, true);
    view.setUint32(at + 12, hash, true);
    into.set(name, at + ENTRY_BYTES);
    at += room;
  }
  return hashes;
}

function entryOf(where: string, name: string, value: Uint8Array): Entry {
  const known = PREFIXES.find(([prefix]) =>
    prefix.endsWith('.') ? name.startsWith(prefix) && name.length > prefix.length : name === prefix,
  );
  const rest = known && new TextEncoder().encode(name.slice(known[0].length));
  if (!known || !rest || rest.length > 255) throw new VmError('unsupported', `${where}: ext4 cannot hold the extended attribute ${name}`);
  return { index: known[1], name: rest, value: name.startsWith('system.') ? aclOf(where, value) : value };
}

/** From the form that programs see to that on disk. Linux, fs/ext4/acl.h; acl(5). */
function aclOf(where: string, value: Uint8Array): Uint8Array {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  if (value.length < 4 || value.length % 8 !== 4 || view.getUint32(0, true) !== 2)
    throw new VmError('bad-image', `${where}: its access control list is malformed`);
  const bytes = [1, 0, 0, 0];
  for (let at = 4; at < value.length; at += 8) {
    const tag = view.getUint16(at, true);
    const named = tag === 2 || tag === 8; // a user, a group
    bytes.push(...value.subarray(at, at + (named ? 8 : 4)));
  }
  return Uint8Array.from(bytes);
}

/** fs/ext4/xattr.c, ext4_xattr_hash_entry. */
function hashOf(name: Uint8Array, padded: Uint8Array): number {
  let hash = 0;
  for (const byte of name) hash = ((hash << 5) ^ (hash >>> 27) ^ byte) >>> 0;
  const view = new DataView(padded.buffer, padded.byteOffset, padded.length);
  for (let at = 0; at < padded.length; at += 4) hash = ((hash << 16) ^ (hash >>> 16) ^ view.getUint32(at, true)) >>> 0;
  return hash;
}

/** In a block the kernel looks for an entry only as far as its place in the order. */
function compare(a: Entry, b: Entry): number {
  if (a.index !== b.index) return a.index - b.index;
  if (a.name.length !== b.name.length) return a.name.length - b.name.length;
  for (let i = 0; i < a.name.length; i++) if (a.name[i] !== b.name[i]) return a.name[i]! - b.name[i]!;
  return 0;
}

function align(size: number): number {
  return (size + 3) & ~3;
}
