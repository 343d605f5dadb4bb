/**
 * From a recipe to a snapshot: resolve, fetch, verify, unpack, configure in a machine, seal, boot, ask. Every step's result is a
 * function of the recipe and its lock. What is interrupted leaves downloads, which are resumed, and chunks, which are found again; a
 * snapshot appears when it is whole.
 */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import { openState } from '../../machine/saved-state-file.ts';
import type { ByteSource } from '../../machine/saved-state.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import type { Tree } from '../../storage/tree.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { InstalledVersion, Snapshot } from '../catalogue/snapshot.ts';
import { dateOf, DebianArchive, type ArchiveOptions } from '../debian/archive.ts';
import { kernelOf } from '../debian/image.ts';
import { PackageIndex, readInstalled, type Candidate, type PackageFile } from '../debian/packages.ts';
import { counter, startDownloads } from '../debian/parallel-downloads.ts';
import { findKernel } from '../debian/prepare.ts';
import { resolve } from '../debian/resolve.ts';
import { readDeb, unpackInto } from '../debian/unpack.ts';
import { timeOf, type Lock } from '../recipe/lock.ts';
import type { LoadedRecipe } from '../recipe/load.ts';
import { bootAndAsk, unfitHere, type Booted } from './booted.ts';
import { buildInGuest } from './guest-build.ts';
import type { BuildHost } from './host.ts';
import { contentBytes } from './content-bytes.ts';
import { SYSTEM_MEMORY_BYTES } from './root.ts';
import { sealTree } from './seal.ts';
import { addSystemFiles } from './system-files.ts';
import { unpackPackages, wantedBy } from './unpacked.ts';

/** Raise when a change gives another tree from the same recipe and lock. */
const BUILDER_VERSION = 2;

export interface BuildOptions {
  /** Of the archive; the suite is the recipe's. */
  readonly archive: Omit<ArchiveOptions, 'suite'>;
  /** Build exactly this. */
  readonly lock?: Lock;
  /** Also when the same has been built already. */
  readonly force?: boolean;
  /** False leaves the booting of the finished tree out: it is not asked, and there is no booted state. */
  readonly probe?: boolean;
}

export interface BuildResult {
  readonly snapshot: Snapshot;
  /** It was there already, from the same inputs. */
  readonly known: boolean;
}

/** Builds what the recipe builds on first, where that is not there. Rejects with a VmError that names the step, package or probe. */
export async function buildSnapshot(
  host: BuildHost,
  catalogue: Catalogue,
  recipe: LoadedRecipe,
  options: BuildOptions,
): Promise<BuildResult> {
  const { layer } = recipe;
  const base = layer && (await baseOf(host, catalogue, layer, options));
  const archives = recipe.suites.map((suite) => new DebianArchive(host, { ...options.archive, suite }));
  const lock = options.lock ? fitting(options.lock, recipe, base) : await resolveLock(host, catalogue, recipe, archives, base);
  const inputs = await inputsOf(recipe, lock);
  const known = options.force ? undefined : await catalogue.get(recipe.name, lock.day).catch(() => undefined);
  if (known?.inputs === inputs && (known.probes.length > 0 || options.probe === false)) {
    const complete = await catalogue.tree(known).then(
      () => true,
      () => false,
    );
    if (complete) {
      if (options.probe !== false && !(await hasBooted(host, catalogue, known))) await bootAgain(host, catalogue, known);
      return { snapshot: known, known: true };
    }
  }
  return { snapshot: await make(host, catalogue, recipe, lock, inputs, archives[0]!, base, options), known: false };
}

async function baseOf(host: BuildHost, catalogue: Catalogue, layer: LoadedRecipe, options: BuildOptions): Promise<Snapshot> {
  const { lock, force: _, ...rest } = options;
  if (!lock) return (await buildSnapshot(host, catalogue, layer, rest)).snapshot;
  if (!lock.base) throw new VmError('usage', `the lock of ${lock.recipe} names no base, but its recipe builds on ${layer.name}`);
  const { name, tree } = lock.base;
  return catalogue.find({ name, day: tree });
}

function fitting(lock: Lock, recipe: LoadedRecipe, base: Snapshot | undefined): Lock {
  if (lock.recipe !== recipe.name) throw new VmError('usage', `the lock is that of ${lock.recipe}, not of ${recipe.name}`);
  const suites = lock.suites.map(({ name }) => name);
  if (suites.join() !== recipe.suites.join()) {
    throw new VmError(
      'usage',
      `the lock is for the suites ${suites.join(', ')}, the recipe for ${recipe.suites.join(', ')}: make a new one`,
    );
  }
  if (lock.base?.tree !== base?.tree)
    throw new VmError('usage', `the lock of ${recipe.name} is for another state of ${recipe.layer?.name ?? 'its base'}`);
  return lock;
}

/** What the recipe comes to today. */
async function resolveLock(
  host: BuildHost,
  catalogue: Catalogue,
  recipe: LoadedRecipe,
  archives: readonly DebianArchive[],
  base: Snapshot | undefined,
): Promise<Lock> {
  const indexes: PackageIndex[] = [];
  const suites: Lock['suites'][number][] = [];
  for (const [number, archive] of archives.entries()) {
    const name = recipe.suites[number]!;
    const release = await archive.release(host.signal);
    const { file } = archive.indexOf(release);
    indexes.push(await archive.packages(release, counter(host.progress, `index of ${name}`, file.sizeBytes), host.signal));
    suites.push({ name, dateMs: release.dateMs, index: file.sha256 });
  }
  const index = indexes.length === 1 ? indexes[0]! : PackageIndex.merge(indexes);
  const present = base ? await installedIn(catalogue, base) : [];
  const wanted = base ? recipe.own.packages : [...index.essential().map(({ name }) => name), ...index.required(), ...recipe.packages];
  const { packages, unmet } = resolve(index, [...new Set(wanted)], present);
  if (unmet.length > 0) {
    throw new VmError(
      'not-found',
      `the packages of ${recipe.name} do not go together today:\n${unmet.map((one) => `  ${one}`).join('\n')}\nTry another day, or leave packages out`,
    );
  }
  const kernel = base ? [] : kernelPackages(index, recipe.kernel);
  const day = dateOf(Math.max(...suites.map(({ dateMs }) => dateMs)));
  return {
    format: 1,
    recipe: recipe.name,
    day,
    suites,
    packages: packages.map(fileOf),
    kernel: kernel.map(fileOf),
    ...(base && { base: { name: base.name, tree: base.tree } }),
  };
}

function fileOf({ name, version, architecture, filename, sizeBytes, sha256: digest }: PackageFile): PackageFile {
  return { name, version, architecture, filename, sizeBytes, sha256: digest };
}

/** The package with the image, then, since Debian 14, those with its modules and with the lists of what is built in, which depmod reads. */
function kernelPackages(index: PackageIndex, metaPackage: string): PackageFile[] {
  const image = findKernel(index, metaPackage);
  const others = ['linux-modules-', 'linux-base-'].map((kind) => index.get(image.name.replace(/^linux-binary-/, kind)));
  return [image, ...others.filter((one): one is NonNullable<typeof one> => one !== undefined && one.name !== image.name)];
}

async function installedIn(catalogue: Catalogue, { name, day, tree: digest }: Snapshot): Promise<Candidate[]> {
  const tree = await catalogue.tree({ name, day, tree: digest } as Snapshot);
  return installed(tree, catalogue);
}

async function installed(tree: Tree, catalogue: Catalogue): Promise<Candidate[]> {
  const node = tree.get('var/lib/dpkg/status');
  if (node?.type !== 'file') throw new VmError('bad-image', 'the tree has no database of dpkg');
  return readInstalled('var/lib/dpkg/status', new TextDecoder().decode(await catalogue.store.get(node.digest)));
}

/** The base's tree stands in the lock; how a recipe is laid out does not matter. */
async function inputsOf(recipe: LoadedRecipe, lock: Lock): Promise<string> {
  const { packages, without, commands, probes, ...rest } = recipe.layer ? recipe.own : recipe;
  const files = rest.files.map(({ path, mode, digest }) => ({ path, mode, digest }));
  const said = { version: BUILDER_VERSION, packages, without, files, commands, probes, kernel: recipe.kernel, lock };
  return sha256(new TextEncoder().encode(JSON.stringify(said)));
}

async function make(
  host: BuildHost,
  catalogue: Catalogue,
  recipe: LoadedRecipe,
  lock: Lock,
  inputs: string,
  archive: DebianArchive,
  base: Snapshot | undefined,
  options: BuildOptions,
): Promise<Snapshot> {
  const { store } = catalogue;
  const time = timeOf(lock);
  const parts = recipe.layer ? recipe.own : recipe;
  const all = [...lock.kernel, ...lock.packages];
  await archive.hold(all);
  const debs = startDownloads(archive, all, host.progress, host.signal);
  try {
    const image = lock.kernel[0];
    const imageDeb = image && (await debs.get(image));
    const kernel = image && imageDeb ? await kernelOf(image.filename, imageDeb) : await store.get(base!.kernel.digest);
    let count = 0;
    const unpacked = await unpackPackages(lock.packages, store, {
      ...(base && { base: await catalogue.tree(base) }),
      time,
      wanted: wantedBy(recipe.without),
      deb: debs.get,
      onPackage: () => host.progress({ step: 'unpacking', done: ++count, total: lock.packages.length, unit: 'items' }),
    });
    const { builder } = unpacked;
    for (const one of lock.kernel) await addModules(builder, catalogue, one, one === image ? imageDeb! : await debs.get(one));
    await addSystemFiles(builder, store, { time, suites: recipe.suites, without: recipe.without, first: !base, files: parts.files });
    const before = builder.build();
    const left = await buildInGuest(host, {
      kernel,
      tree: before,
      store,
      preinsts: unpacked.preinsts,
      triggers: unpacked.triggers,
      packageCount: lock.packages.length,
      commands: parts.commands,
      time,
    });
    const tree = await sealTree(left, before, store, time);
    const booted =
      options.probe === false
        ? undefined
        : await bootAndAsk(host, kernel, tree, store, recipe.probes, await stateBefore(host, catalogue, recipe.name));
    const snapshot: Snapshot = {
      format: 1,
      name: recipe.name,
      day: lock.day,
      ...(recipe.title !== undefined && { title: recipe.title }),
      tree: await catalogue.putTree(tree),
      entryCount: tree.size,
      contentBytes: contentBytes(tree),
      kernel: { digest: await store.put(kernel), version: image ? image.name.replace(/^linux-(binary|image)-/, '') : base!.kernel.version },
      inputs,
      lock,
      packages: (await installed(tree, catalogue))
        .map(({ name, version }): InstalledVersion => ({ name, version }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
      probes: booted?.probes.map(({ run }) => run) ?? [],
    };
    // Before the record: a snapshot that is in the list is whole.
    if (booted) await keepBooted(host, catalogue, snapshot, booted);
    await catalogue.add(snapshot);
    await archive.prune();
    return snapshot;
  } finally {
    await debs.stop();
  }
}

/** Whether there is a booted state from which this Daybreak can go on. */
async function hasBooted(host: BuildHost, catalogue: Catalogue, snapshot: Snapshot): Promise<boolean> {
  const booted = await catalogue.booted(snapshot);
  if (!booted) return false;
  const { store } = catalogue;
  const why = await unfitHere(host, await catalogue.tree(snapshot), store, store.pathOf(booted.state));
  if (why === undefined) return true;
  host.log('info', 'build', `the booted state of ${snapshot.name}@${snapshot.day} is made anew: ${why}`);
  // A damaged one is taken away by this, so that what is made can be stored, though it were the same.
  await store.get(booted.state).catch(() => {});
  return false;
}

/** The newest booted state of that name from which this Daybreak could go on: readers have it, perhaps. */
async function stateBefore(host: BuildHost, catalogue: Catalogue, name: string): Promise<ByteSource | undefined> {
  for (const snapshot of await catalogue.days(name, () => {})) {
    const source = (await catalogue.bootedBytes(snapshot))?.source;
    if (!source) continue;
    try {
      openState(source, await host.stateCodec()).verify();
      return source;
    } catch (error) {
      if (!(error instanceof VmError) || error.code !== 'bad-state') throw error;
    }
  }
  return undefined;
}

/** For a snapshot that has been asked before. */
async function bootAgain(host: BuildHost, catalogue: Catalogue, snapshot: Snapshot): Promise<void> {
  const { store } = catalogue;
  const kernel = await store.get(snapshot.kernel.digest);
  const like = await stateBefore(host, catalogue, snapshot.name);
  await keepBooted(host, catalogue, snapshot, await bootAndAsk(host, kernel, await catalogue.tree(snapshot), store, [], like));
}

async function keepBooted(host: BuildHost, catalogue: Catalogue, snapshot: Snapshot, { state }: Booted): Promise<void> {
  host.signal?.throwIfAborted();
  await catalogue.addBooted(snapshot, state, SYSTEM_MEMORY_BYTES);
}

/** The kernel is booted from outside; its modules have to be in the tree, and depmod lists them in the machine. */
async function addModules(builder: TreeBuilder, catalogue: Catalogue, one: PackageFile, deb: Uint8Array): Promise<void> {
  const { entries } = await readDeb(one.filename, deb);
  await unpackInto(builder, catalogue.store, one.filename, entries, (path) =>
    /^(usr\/)?lib\/modules\/(?!.*\/(vmlinuz|build|source)$)/.test(`${path}`),
  );
}
