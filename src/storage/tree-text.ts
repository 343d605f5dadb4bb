/** Reads the canonical text of a tree (`Tree.encode`) back. The text may come from anywhere: all of it is checked. */
import { VmError } from '../base/errors.ts';
import { isSha256 } from '../base/sha256.ts';
import { normalizePath, parentOf, Tree, type TreeNode } from './tree.ts';

/** Sixteen times the largest desktop. */
const MAX_ENTRIES = 4_000_000;
const MAX_XATTR_BYTES = 65_536;

/** `name` is for messages; `digest` is that of the text, where it is known. Throws `bad-image` when it is not what `Tree.encode` writes. */
export function decodeTree(name: string, text: string, digest?: string): Tree {
  const nodes = new Map<string, TreeNode>();
  let at = 0;
  for (let line = 1; at < text.length; line++) {
    const end = text.indexOf('\n', at);
    const bad = (what: string): never => {
      throw new VmError('bad-image', `${name}: line ${line} is not a tree's: ${what}`);
    };
    if (end < 0) bad('it is cut short');
    if (line > MAX_ENTRIES) bad(`there are more than ${MAX_ENTRIES} of them`);
    const record = parse(text.slice(at, end), bad);
    at = end + 1;
    const path = typeof record['path'] === 'string' ? record['path'] : bad('it has no path');
    if (normalizePath(path, name) !== path || nodes.has(path)) bad('its path is not in its normal form, or was there before');
    if (path === '' ? record['type'] !== 'directory' : nodes.get(parentOf(path))?.type !== 'directory') bad('its parent is no directory');
    const link = record['link'];
    nodes.set(path, link === undefined ? nodeOf(record, bad) : linked(nodes, link, bad));
  }
  if (!nodes.has('')) throw new VmError('bad-image', `${name}: a tree without a root`);
  return new Tree(nodes, digest);
}

type Refuse = (what: string) => never;

function parse(line: string, bad: Refuse): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // said below
  }
  return bad('it is no JSON object');
}

function linked(nodes: ReadonlyMap<string, TreeNode>, link: unknown, bad: Refuse): TreeNode {
  const node = typeof link === 'string' ? nodes.get(link) : undefined;
  return node && node.type !== 'directory' ? node : bad('its link leads nowhere');
}

function nodeOf(record: Record<string, unknown>, bad: Refuse): TreeNode {
  const number = (key: string, max: number): number => {
    const value = record[key];
    return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max ? (value as number) : bad(`bad ${key}`);
  };
  const xattrs = record['xattrs'] === undefined ? undefined : xattrsOf(record['xattrs'], bad);
  const metadata = {
    mode: number('mode', 0o7777),
    uid: number('uid', 0xffff_fffe),
    gid: number('gid', 0xffff_fffe),
    mtime: number('mtime', 0xffff_ffff),
    ...(xattrs && { xattrs }),
  };
  const { type, digest, target } = record;
  switch (type) {
    case 'file':
      if (typeof digest !== 'string' || !isSha256(digest)) return bad('bad digest');
      return { type, ...metadata, digest, sizeBytes: number('sizeBytes', Number.MAX_SAFE_INTEGER) };
    case 'symlink':
      if (typeof target !== 'string' || target === '' || target.length > 4095 || target.includes('\0')) return bad('bad target');
      return { type, ...metadata, target };
    case 'char':
    case 'block':
      return { type, ...metadata, major: number('major', 0xffff_ffff), minor: number('minor', 0xffff_ffff) };
    case 'directory':
    case 'fifo':
      return { type, ...metadata };
    default:
      return bad('unknown type');
  }
}

function xattrsOf(value: unknown, bad: Refuse): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const entry of Array.isArray(value) ? value : bad('bad xattrs')) {
    const [key, bytes]: unknown[] = Array.isArray(entry) ? entry : bad('bad xattrs');
    if (typeof key !== 'string' || !Array.isArray(bytes) || bytes.length > MAX_XATTR_BYTES) return bad('bad xattrs');
    if (bytes.some((byte) => !Number.isInteger(byte) || byte < 0 || byte > 255)) return bad('bad xattrs');
    found.set(key, Uint8Array.from(bytes as number[]));
  }
  return found;
}
