/** Everything between a mirror and a machine: today's kernel and userland of a suite, from the cache when they are there. */
import { VmError } from '../../base/errors.ts';
import { isSha256, sha256 } from '../../base/sha256.ts';
import type { Files } from '../../platform/files.ts';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import type { Progress } from '../progress.ts';
import { dateOf, DebianArchive, type ArchiveHost, type ArchiveOptions } from './archive.ts';
import { buildUserland, kernelOf, toInitramfs } from './image.ts';
import type { DebianPackage, PackageIndex } from './packages.ts';
import { counter, startDownloads } from './parallel-downloads.ts';
import type { Release } from './release.ts';
import { resolve } from './resolve.ts';
import { USERLAND_VERSION, WANTED_PACKAGES } from './userland.ts';

const KERNEL_META_PACKAGE = 'linux-image-cloud-amd64';
const IMAGES_KEPT = 3;

export interface DebianImage {
  /** bzImage. */
  readonly kernel: Uint8Array;
  /** Uncompressed cpio; per-run archives may follow it. */
  readonly initramfs: Uint8Array;
  readonly kernelVersion: string;
  readonly packageCount: number;
  /** Date of the archive's state: `2026-10-30`. */
  readonly date: string;
}

interface Manifest {
  readonly kernel: string;
  readonly initramfs: string;
  readonly kernelVersion: string;
  readonly packageCount: number;
}

export async function prepareDebian(
  host: ArchiveHost,
  options: ArchiveOptions,
  progress: Progress,
  signal?: AbortSignal,
): Promise<DebianImage> {
  const archive = new DebianArchive(host, options);
  const release = await archive.release(signal);
  try {
    return await imageOf(host, options, archive, release, progress, signal);
  } catch (error) {
    if (options.offline || !isMirrorChange(error)) throw error;
    // What the index promises is gone or different: the mirror was updated meanwhile. Once more with its new state.
    const again = await archive.release(signal, true);
    if (again.dateMs === release.dateMs) {
      throw new VmError(
        error.code,
        `${error.message}. The mirror ${options.mirror} does not have what its own signed index promises: it is being updated or broken. Try again later, or another --mirror`,
        error,
      );
    }
    host.log('warn', 'debian', 'the mirror was updated meanwhile: starting again with its new state');
    return imageOf(host, options, archive, again, progress, signal);
  }
}

function isMirrorChange(error: unknown): error is VmError {
  return error instanceof VmError && (error.code === 'bad-digest' || error.code === 'not-found');
}

async function imageOf(
  host: ArchiveHost,
  options: ArchiveOptions,
  archive: DebianArchive,
  release: Release,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<DebianImage> {
  const { mirror, suite, cacheDirectory } = options;
  const { file } = archive.indexOf(release);
  const inputs = JSON.stringify([USERLAND_VERSION, WANTED_PACKAGES, mirror, suite, file.sha256]);
  const directory = `${cacheDirectory}/images/${(await sha256(new TextEncoder().encode(inputs))).slice(0, 32)}`;
  const date = dateOf(release.dateMs);
  const known = await readImage(host.files, directory);
  if (known) {
    await host.files.touch(`${directory}/image.json`);
    return { ...known, date };
  }

  const index = await archive.packages(release, counter(progress, 'package index', file.sizeBytes), signal);
  const { packages, unmet } = resolve(index, [...index.essential().map(({ name }) => name), ...WANTED_PACKAGES]);
  for (const sentence of unmet) host.log('warn', 'debian', sentence);
  const kernelPackage = findKernel(index);
  await archive.hold([kernelPackage, ...packages]);
  const debs = startDownloads(archive, [kernelPackage, ...packages], progress, signal);
  try {
    const kernel = await kernelOf(kernelPackage.filename, await debs.get(kernelPackage));
    const store = new MemoryChunkStore();
    const source = { mirror, suite, time: Math.floor(release.dateMs / 1000) };
    let unpacked = 0;
    const tree = await buildUserland(packages, debs.get, store, source, () => {
      if (debs.allArrived()) progress({ step: 'unpacking', done: unpacked, total: packages.length, unit: 'items' });
      unpacked++;
    });
    progress({ step: 'unpacking', done: unpacked, total: packages.length, unit: 'items' });
    const initramfs = await toInitramfs(tree, store);
    const kernelVersion = kernelPackage.name.replace(/^linux-(binary|image)-/, '');
    const image = { kernel, initramfs, kernelVersion, packageCount: packages.length };
    await writeImage(host.files, directory, image);
    await pruneImages(host.files, `${cacheDirectory}/images`);
    await archive.prune();
    return { ...image, date };
  } finally {
    await debs.stop();
  }
}

/** The package that has the vmlinuz. From Debian 14 on kernels are split and the image is in linux-binary-VERSION. */
export function findKernel(index: PackageIndex, metaPackage = KERNEL_META_PACKAGE): DebianPackage {
  const meta = index.get(metaPackage);
  const names = meta?.depends.flat().map(({ name }) => name) ?? [];
  const version = names.map((name) => /^linux-image-(\d.*)$/.exec(name)?.[1]).find((found) => found !== undefined);
  const found = version && (index.get(`linux-binary-${version}`) ?? index.get(`linux-image-${version}`));
  if (!found) throw new VmError('not-found', `the archive has no kernel for ${metaPackage}: try another mirror or another day`);
  return found;
}

async function readImage(files: Files, directory: string): Promise<Omit<DebianImage, 'date'> | undefined> {
  const data = await files.read(`${directory}/image.json`);
  const manifest = data && readManifest(data);
  if (!manifest) return undefined;
  const [kernel, initramfs] = await Promise.all([files.read(`${directory}/vmlinuz`), files.read(`${directory}/initramfs.cpio`)]);
  if (!kernel || !initramfs) return undefined;
  const [kernelDigest, initramfsDigest] = await Promise.all([sha256(kernel), sha256(initramfs)]);
  if (kernelDigest !== manifest.kernel || initramfsDigest !== manifest.initramfs) return undefined;
  return { kernel, initramfs, kernelVersion: manifest.kernelVersion, packageCount: manifest.packageCount };
}

function readManifest(data: Uint8Array): Manifest | undefined {
  try {
    const parsed = JSON.parse(new TextDecoder().decode(data)) as Partial<Manifest>;
    const { kernel, initramfs, kernelVersion, packageCount } = parsed;
    if (typeof kernel !== 'string' || typeof initramfs !== 'string' || !isSha256(kernel) || !isSha256(initramfs)) return undefined;
    if (typeof kernelVersion !== 'string' || typeof packageCount !== 'number') return undefined;
    return { kernel, initramfs, kernelVersion, packageCount };
  } catch {
    return undefined;
  }
}

/** The manifest comes last: without it the rest does not count. */
async function writeImage(files: Files, directory: string, image: Omit<DebianImage, 'date'>): Promise<void> {
  const { kernel, initramfs, kernelVersion, packageCount } = image;
  const manifest: Manifest = { kernel: await sha256(kernel), initramfs: await sha256(initramfs), kernelVersion, packageCount };
  await files.write(`${directory}/vmlinuz`, kernel);
  await files.write(`${directory}/initramfs.cpio`, initramfs);
  await files.write(`${directory}/image.json`, new TextEncoder().encode(`${JSON.stringify(manifest, undefined, 2)}\n`));
}

/** Keeps those used last; each is large and can be made again. */
async function pruneImages(files: Files, directory: string): Promise<void> {
  const dated: { path: string; mtimeMs: number }[] = [];
  for (const name of await files.list(directory)) {
    const path = `${directory}/${name}`;
    const info = await files.info(`${path}/image.json`);
    if (info) dated.push({ path, mtimeMs: info.mtimeMs });
  }
  dated.sort((a, b) => b.mtimeMs - a.mtimeMs);
  for (const { path } of dated.slice(IMAGES_KEPT)) await files.remove(path);
}
