/** From verified packages to what a machine boots: a kernel and an initramfs. */
import { VmError } from '../../base/errors.ts';
import { concatBytes } from '../../base/bytes.ts';
import { writeCpio } from '../../storage/cpio.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import type { Tree } from '../../storage/tree.ts';
import type { DebianPackage } from './packages.ts';
import { readDeb, unpackInto } from './unpack.ts';
import { finishTree, isWanted, prepareTree, writeDpkgDatabase, type InstalledPackage, type UserlandSource } from './userland.ts';

/** Gives a package's .deb, verified. */
export type DebSource = (wanted: DebianPackage) => Promise<Uint8Array>;

/** The tree of a usable minimal system. `onPackage` is told each package as it is unpacked. */
export async function buildUserland(
  packages: readonly DebianPackage[],
  debs: DebSource,
  store: ChunkStore,
  source: UserlandSource,
  onPackage: (name: string) => void = () => {},
): Promise<Tree> {
  const builder = new TreeBuilder(source.time);
  const installed: InstalledPackage[] = [];
  prepareTree(builder, source.time);
  for (const one of packages) {
    onPackage(one.name);
    const { control, entries } = await readDeb(one.filename, await debs(one));
    await unpackInto(builder, store, one.filename, entries, isWanted);
    installed.push({ name: one.name, architecture: one.architecture, control, paths: entries.map((entry) => entry.path) });
  }
  await finishTree(builder, store, source);
  await writeDpkgDatabase(builder, store, installed, source.time);
  return builder.build();
}

/** A tree as an uncompressed initramfs in memory. */
export async function toInitramfs(tree: Tree, store: ChunkStore): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of writeCpio(tree, store)) pieces.push(piece);
  return concatBytes(pieces);
}

/** The kernel out of its package: `/usr/lib/modules/VERSION/vmlinuz` or `/boot/vmlinuz-VERSION`. */
export async function kernelOf(name: string, deb: Uint8Array): Promise<Uint8Array> {
  const { entries } = await readDeb(name, deb);
  const found = entries.find(
    ({ type, path }) => type === 'file' && /^\.?\/?(usr\/lib\/modules\/[^/]+\/vmlinuz|boot\/vmlinuz-[^/]+)$/.test(path),
  );
  if (!found) throw new VmError('not-found', `${name}: there is no vmlinuz in the kernel's package`);
  return found.data;
}
