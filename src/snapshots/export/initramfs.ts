/**
 * The initramfs of an exported disk: a small `/init` and the kernel's drivers of disks, out of the tree. Distributions' kernels have the drivers of
 * most disks, and some ext4, as modules only. kmod(8), modules.dep(5).
 */
import { VmError } from '../../base/errors.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import { writeCpio } from '../../storage/cpio.ts';
import { decompress } from '../../storage/decompress.ts';
import { Tree, type TreeNode } from '../../storage/tree.ts';
import { concatBytes } from '../../base/bytes.ts';
import { INIT_PARAMETERS, INIT_PROGRAM } from './boot-code.ts';

/** Of the disks of QEMU, Xen, VMware, VirtualBox, Hyper-V and real machines; and what ext4 asks for. Those that a kernel has not are left out. */
const WANTED = [
  'virtio_pci', 'virtio_mmio', 'virtio_blk', 'virtio_scsi', 'nvme', 'ahci', 'ata_piix', 'sd_mod', 'mptspi', 'mptsas', 'vmw_pvscsi', 'hv_storvsc',
  'xen_blkfront', 'usb_storage', 'crc32c_generic', 'ext4',
]; // prettier-ignore
/** The second is that of systems that have not merged it into /usr. */
const PLACES = ['usr/lib/modules', 'lib/modules'];
const MODULE_MAX_BYTES = 64 << 20;
/** As far as the names in the archive go. */
const MODULES_MAX = 1000;
const MODULE = /^(.*?)([^/]+)\.ko(\.xz|\.zst|\.gz)?$/;

export interface Initramfs {
  /** An uncompressed archive. */
  readonly data: Uint8Array;
  /** In the order in which they are loaded. */
  readonly modules: readonly string[];
}

/** `uuid` is that of the root file system. Rejects with VmError `bad-image` when a module is damaged. */
export async function makeInitramfs(tree: Tree, store: ChunkStore, kernelVersion: string, uuid: Uint8Array): Promise<Initramfs> {
  const own = new MemoryChunkStore();
  const nodes = new Map<string, TreeNode>();
  const meta = { mode: 0o755, uid: 0, gid: 0, mtime: 0 };
  const add = async (path: string, data: Uint8Array) =>
    nodes.set(path, { type: 'file', ...meta, digest: await own.put(data), sizeBytes: data.length });
  for (const path of ['', 'm', 'dev']) nodes.set(path, { type: 'directory', ...meta });
  nodes.set('dev/console', { type: 'char', ...meta, mode: 0o600, major: 5, minor: 1 });
  const init = INIT_PROGRAM.slice();
  init.set(uuid, INIT_PARAMETERS.uuid);
  await add('init', init);
  const paths = await modulesFor(tree, store, kernelVersion);
  if (paths.length > MODULES_MAX) throw new VmError('bad-image', `the kernel's drivers depend on ${paths.length} modules, which cannot be`);
  for (const [i, path] of paths.entries()) {
    const node = tree.get(path);
    if (node?.type !== 'file') throw new VmError('bad-image', `/${path} is missing in the tree, though modules.dep names it`);
    await add(`m/${String(i).padStart(3, '0')}.ko`, await decompress(`/${path}`, await store.get(node.digest), MODULE_MAX_BYTES));
  }
  const parts: Uint8Array[] = [];
  for await (const part of writeCpio(new Tree(nodes), own)) parts.push(part);
  return { data: concatBytes(parts), modules: paths.map(nameOf) };
}

/** What the wanted ones need stands before them. */
async function modulesFor(tree: Tree, store: ChunkStore, version: string): Promise<string[]> {
  const directory = PLACES.map((place) => `${place}/${version}`).find((path) => tree.get(`${path}/modules.dep`)?.type === 'file');
  const list = directory === undefined ? undefined : tree.get(`${directory}/modules.dep`);
  if (list?.type !== 'file') return [];
  const needs = new Map<string, string[]>();
  for (const line of new TextDecoder().decode(await store.get(list.digest)).split('\n')) {
    const [path, others] = line.split(':');
    if (others !== undefined && MODULE.test(path!)) needs.set(path!, others.split(' ').filter(Boolean));
  }
  const found = new Set<string>();
  const visit = (path: string, above: ReadonlySet<string>): void => {
    if (found.has(path) || above.has(path)) return;
    for (const other of needs.get(path) ?? []) visit(other, new Set([...above, path]));
    found.add(path);
  };
  for (const name of WANTED) for (const path of needs.keys()) if (nameOf(path) === name) visit(path, new Set());
  return [...found].map((path) => (path.startsWith('/') ? path.slice(1) : `${directory}/${path}`));
}

/** As the kernel calls it. */
function nameOf(path: string): string {
  return (MODULE.exec(path)?.[2] ?? path).replace(/-/g, '_');
}
