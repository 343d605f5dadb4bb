/**
 * Unpacks a .deb (deb(5)) into a tree. Nothing of it is run. The package is untrusted in form even though its digest
 * was signed for: sizes are bounded and paths checked.
 */
import { VmError } from '../../base/errors.ts';
import { readAr } from '../../storage/ar.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { decompress } from '../../storage/decompress.ts';
import { readTar, type TarEntry } from '../../storage/tar.ts';
import type { TreeBuilder } from '../../storage/tree-builder.ts';
import type { TreeNode } from '../../storage/tree.ts';

/** No package of Debian's comes near; a bomb does. */
const MAX_UNPACKED_BYTES = 4 * 2 ** 30;
const MAX_CONTROL_BYTES = 64 * 2 ** 20;
/** Limits of our tree's numbers: ids are 32 bits in the kernel, symlink targets one page. */
const MAX_ID = 0xffff_fffe;
const MAX_TARGET_BYTES = 4095;

export interface Deb {
  /** Files of the control archive by name: `control`, `conffiles`, `md5sums`, maintainer scripts… */
  readonly control: ReadonlyMap<string, Uint8Array>;
  /** Entries of the data archive, in its order. */
  readonly entries: readonly TarEntry[];
}

/** Reads a .deb. `name` is for messages. Throws `bad-image`. */
export async function readDeb(name: string, data: Uint8Array): Promise<Deb> {
  let version = false;
  let control: Map<string, Uint8Array> | undefined;
  let entries: TarEntry[] | undefined;
  for (const member of readAr(name, data)) {
    const where = `${name}: ${member.name}`;
    if (member.name === 'debian-binary') {
      if (!new TextDecoder().decode(member.data).startsWith('2.')) {
        throw new VmError('unsupported', `${name}: not a .deb of format 2 (supported: 2.x)`);
      }
      version = true;
    } else if (member.name.startsWith('control.tar') && !control) {
      const archive = await decompress(where, member.data, MAX_CONTROL_BYTES);
      control = new Map();
      for (const entry of readTar(where, archive)) {
        if (entry.type === 'file') control.set(entry.path.replace(/^\.\//, ''), entry.data);
      }
    } else if (member.name.startsWith('data.tar') && !entries) {
      entries = [...readTar(where, await decompress(where, member.data, MAX_UNPACKED_BYTES))];
    }
  }
  if (!version || !control || !entries) throw new VmError('bad-image', `${name}: not a .deb: a part of it is missing`);
  return { control, entries };
}

/**
 * Puts a package's files into the tree. `wanted` decides by path (`usr/share/doc/x`) what is taken; a hard link to
 * a file that was left out is left out too.
 */
export async function unpackInto(
  builder: TreeBuilder,
  store: ChunkStore,
  name: string,
  entries: readonly TarEntry[],
  wanted: (path: string) => boolean,
): Promise<void> {
  for (const entry of entries) {
    const path = entry.path.replace(/^\.\//, '').replace(/\/+$/, '');
    if (path === '' || path === '.' || !wanted(path)) continue;
    if (entry.type === 'link') {
      const target = entry.target.replace(/^\.\//, '');
      if (wanted(target)) builder.link(path, target, name);
    } else {
      builder.add(path, await nodeOf(name, entry, store), name);
    }
  }
}

async function nodeOf(name: string, entry: TarEntry, store: ChunkStore): Promise<TreeNode> {
  const refuse = (what: string): never => {
    throw new VmError('bad-image', `${name}: ${JSON.stringify(entry.path.slice(0, 200))}: ${what}`);
  };
  const { mode, uid, gid, xattrs } = entry;
  if (uid > MAX_ID || gid > MAX_ID) refuse('its owner is out of range');
  const mtime = Math.min(entry.mtime, 0xffff_ffff);
  const metadata = { mode, uid, gid, mtime, ...(xattrs.size > 0 && { xattrs }) };
  switch (entry.type) {
    case 'file':
      return { type: 'file', ...metadata, digest: await store.put(entry.data), sizeBytes: entry.data.length };
    case 'symlink':
      if (entry.target === '' || entry.target.length > MAX_TARGET_BYTES || entry.target.includes('\0'))
        refuse('a symlink without a usable target');
      return { type: 'symlink', ...metadata, mode: 0o777, target: entry.target };
    case 'char':
    case 'block':
      return { type: entry.type, ...metadata, major: entry.major, minor: entry.minor };
    case 'directory':
    case 'fifo':
      return { type: entry.type, ...metadata };
    case 'link':
      return refuse('a hard link here is a bug');
  }
}
