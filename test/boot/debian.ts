/**
 * Files of Debian's packages for tests, fetched from the mirror that this system is set up for, verified as `daybreak try` does,
 * and kept in the cache.
 */
import { mkdirSync } from 'node:fs';
import { VmError } from '../../src/base/errors.ts';
import { sha256 } from '../../src/base/sha256.ts';
import { nodeHost } from '../../src/cli/host.ts';
import { systemMirror } from '../../src/cli/system-debian.ts';
import { DEFAULT_MIRROR } from '../../src/snapshots/debian/apt-sources.ts';
import { DebianArchive } from '../../src/snapshots/debian/archive.ts';
import { DEBIAN_ARCHIVE_KEYS } from '../../src/snapshots/debian/keys/archive-keys.ts';
import type { DebianPackage, PackageIndex } from '../../src/snapshots/debian/packages.ts';
import { findKernel } from '../../src/snapshots/debian/prepare.ts';
import { resolve } from '../../src/snapshots/debian/resolve.ts';
import { readKeyring } from '../../src/snapshots/debian/release.ts';
import { readDeb } from '../../src/snapshots/debian/unpack.ts';

export type Architecture = 'amd64' | 'i386';

export interface PackageFile {
  /** Where it lies on this computer. */
  readonly path: string;
  readonly data: Uint8Array;
}

const VMLINUZ = /^(usr\/lib\/modules\/[^/]+\/vmlinuz|boot\/vmlinuz-[^/]+)$/;

const host = nodeHost(new AbortController().signal);
const directory = `${host.cacheDirectory}/debian/boot-tests`;
const opened = new Map<string, Promise<Suite>>();

/** A suite of one architecture, as the mirror has it now; without a network, as it was seen last. */
export function openSuite(suite: string, architecture: Architecture = 'amd64'): Promise<Suite> {
  const key = `${suite} ${architecture}`;
  const found = opened.get(key) ?? Suite.open(suite, architecture);
  opened.set(key, found);
  return found;
}

/** Whether a test cannot run because something could not be fetched, and why. */
export function missingNetwork(error: unknown): string | undefined {
  return error instanceof VmError && error.code === 'network' ? error.message : undefined;
}

export class Suite {
  readonly #archive: DebianArchive;
  readonly #index: PackageIndex;

  private constructor(archive: DebianArchive, index: PackageIndex) {
    this.#archive = archive;
    this.#index = index;
  }

  static async open(suite: string, architecture: Architecture): Promise<Suite> {
    mkdirSync(directory, { recursive: true });
    const archive = new DebianArchive(host, {
      mirror: ((await systemMirror(host.files)) ?? DEFAULT_MIRROR).replace(/\/+$/, ''),
      suite,
      architecture,
      keyring: await readKeyring([DEBIAN_ARCHIVE_KEYS]),
      strict: false,
      allowOlder: true,
      offline: false,
      cacheDirectory: `${host.cacheDirectory}/debian`,
      stateDirectory: directory,
    });
    return new Suite(archive, await archive.packages(await archive.release(), () => {}));
  }

  /** The kernel that a metapackage (`linux-image-cloud-amd64`) stands for, and further files of its package by pattern. */
  async kernel(metaPackage: string, ...others: RegExp[]): Promise<{ release: string; vmlinuz: PackageFile; others: PackageFile[] }> {
    const found = findKernel(this.#index, metaPackage);
    const [vmlinuz, ...rest] = await this.#extract(found, [VMLINUZ, ...others]);
    return { release: found.name.replace(/^linux-(binary|image)-/, ''), vmlinuz: vmlinuz!, others: rest };
  }

  async file(packageName: string, pattern: RegExp): Promise<PackageFile> {
    const found = this.#index.get(packageName);
    if (!found) throw new VmError('not-found', `the archive has no package ${packageName}`);
    const [file] = await this.#extract(found, [pattern]);
    return file!;
  }

  /** These packages and all that they need, with their files. */
  async *packages(wanted: readonly string[]): AsyncGenerator<{ found: DebianPackage; deb: Uint8Array }> {
    const { packages } = resolve(this.#index, [...this.#index.essential().map(({ name }) => name), ...wanted]);
    for (const found of packages) yield { found, deb: await this.#archive.deb(found, () => {}) };
  }

  /** One package alone. */
  async package(name: string): Promise<{ found: DebianPackage; deb: Uint8Array }> {
    const found = this.#index.get(name);
    if (!found) throw new VmError('not-found', `the archive has no package ${name}`);
    return { found, deb: await this.#archive.deb(found, () => {}) };
  }

  busybox(): Promise<PackageFile> {
    return this.file('busybox-static', /^(usr\/)?bin\/busybox$/);
  }

  /** One file for each pattern. Unpacking a kernel's package takes longer than booting it: what was taken from it is kept. */
  async #extract(from: DebianPackage, patterns: readonly RegExp[]): Promise<PackageFile[]> {
    const paths = await Promise.all(
      patterns.map(async ({ source }) => `${directory}/${await sha256(new TextEncoder().encode(`${from.sha256} ${source}`))}`),
    );
    const kept = await Promise.all(paths.map(readKept));
    if (kept.every((file) => file !== undefined)) return kept;
    const { entries } = await readDeb(from.filename, await this.#archive.deb(from, () => {}));
    return Promise.all(
      patterns.map(async (pattern, i) => {
        const entry = entries.find(({ type, path }) => type === 'file' && pattern.test(path.replace(/^\.\//, '')));
        if (!entry) throw new VmError('not-found', `${from.filename} has no file ${pattern}`);
        const path = paths[i]!;
        await host.files.write(path, entry.data);
        await host.files.write(`${path}.sha256`, new TextEncoder().encode(await sha256(entry.data)));
        return { path, data: entry.data };
      }),
    );
  }
}

async function readKept(path: string): Promise<PackageFile | undefined> {
  const [data, digest] = await Promise.all([host.files.read(path), host.files.read(`${path}.sha256`)]);
  if (!data || !digest || (await sha256(data)) !== new TextDecoder().decode(digest)) return undefined;
  return { path, data };
}
