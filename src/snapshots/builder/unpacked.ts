/**
 * A tree with packages in the state that dpkg calls unpacked: files in their places, configuration files beside theirs as
 * `.dpkg-new`, and a database from which dpkg in the machine goes on with `--configure -a`. Layout: dpkg(1), "Files";
 * deb-triggers(5). Nothing is run here.
 */
import { VmError } from '../../base/errors.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import type { TarEntry } from '../../storage/tar.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import type { Tree } from '../../storage/tree.ts';
import { fieldOf } from '../debian/control.ts';
import type { PackageFile } from '../debian/packages.ts';
import { readDeb, unpackInto } from '../debian/unpack.ts';
import { prepareTree } from '../debian/userland.ts';

const STATUS = 'var/lib/dpkg/status';
const FILE_TRIGGERS = 'var/lib/dpkg/triggers/File';
const INFO = 'var/lib/dpkg/info';
/** What serves the building of packages only, and what stands in the status file. */
const NOT_IN_INFO = ['control', 'symbols', 'shlibs'];

export interface UnpackOptions {
  /** The tree that is added to; absent: an empty one. */
  readonly base?: Tree;
  /** Seconds since 1970; everything made here gets it. */
  readonly time: number;
  /** Whether a path (`usr/share/doc/x`) is wanted. */
  readonly wanted: (path: string) => boolean;
  /** The verified .deb of a package. */
  readonly deb: (one: PackageFile) => Promise<Uint8Array>;
  readonly onPackage?: (name: string) => void;
}

export interface Unpacked {
  readonly builder: TreeBuilder;
  /** Names of `info/NAME.preinst`, in the packages' order. */
  readonly preinsts: readonly { readonly info: string; readonly package: string }[];
  /** Triggers of the base's packages that the new files and packages set off. */
  readonly triggers: readonly string[];
}

/** Throws `bad-image` when a package is malformed or reaches out of the tree. */
export async function unpackPackages(packages: readonly PackageFile[], store: ChunkStore, options: UnpackOptions): Promise<Unpacked> {
  const { base, time, wanted } = options;
  const builder = new TreeBuilder(time);
  if (base) for (const [path, node] of base.entries()) builder.add(path, node, 'the base');
  else prepareTree(builder, time);
  const database = new Database(builder, store, time);
  await database.open();
  for (const one of packages) {
    options.onPackage?.(one.name);
    const { control, entries } = await readDeb(one.filename, await options.deb(one));
    const conffiles = conffilesOf(control);
    await unpackInto(builder, store, one.filename, entries.map(besideConffile(conffiles)), (path) =>
      wanted(path.replace(/\.dpkg-new$/, '')),
    );
    await database.add(one.name, control, entries, conffiles);
  }
  return { builder, ...(await database.close()) };
}

const decoder = new TextDecoder();
const textOf = (data: Uint8Array | undefined): string => decoder.decode(data ?? new Uint8Array());
const plainPath = (path: string): string => path.replace(/^\.?\/+/, '').replace(/\/+$/, '');

/** Paths without a slash before them. */
function conffilesOf(control: ReadonlyMap<string, Uint8Array>): ReadonlySet<string> {
  const lines = textOf(control.get('conffiles')).split('\n');
  // `remove-on-upgrade /etc/x` names what is no longer there: deb-conffiles(5).
  return new Set(lines.filter((line) => line.startsWith('/')).map((line) => plainPath(line.trim())));
}

/** dpkg puts a configuration file in its place only when it configures the package. */
function besideConffile(conffiles: ReadonlySet<string>): (entry: TarEntry) => TarEntry {
  return (entry) =>
    conffiles.has(plainPath(entry.path)) && entry.type !== 'directory' ? { ...entry, path: `${entry.path}.dpkg-new` } : entry;
}

interface Trigger {
  readonly name: string;
  readonly line: string;
}

/** dpkg's database as it is being written. */
class Database {
  readonly #builder: TreeBuilder;
  readonly #store: ChunkStore;
  readonly #time: number;
  #status = '';
  readonly #paths: string[] = [];
  readonly #activated = new Set<string>();
  /** Of packages that are configured: those of the base. */
  readonly #baseInterests: string[] = [];
  readonly #interests: Trigger[] = [];
  readonly #preinsts: { info: string; package: string }[] = [];

  constructor(builder: TreeBuilder, store: ChunkStore, time: number) {
    this.#builder = builder;
    this.#store = store;
    this.#time = time;
  }

  async open(): Promise<void> {
    this.#status = (await this.#read(STATUS)).trimEnd();
    for (const line of (await this.#read(FILE_TRIGGERS)).split('\n')) {
      const space = line.lastIndexOf(' ');
      if (space > 0) this.#baseInterests.push(line.slice(0, space));
    }
  }

  async add(
    name: string,
    control: ReadonlyMap<string, Uint8Array>,
    entries: readonly TarEntry[],
    conffiles: ReadonlySet<string>,
  ): Promise<void> {
    const stanza = textOf(control.get('control')).trimEnd();
    if (fieldOf(stanza, 'Package') !== name) throw new VmError('bad-image', `the package ${name} says it is ${fieldOf(stanza, 'Package')}`);
    const [first, ...rest] = stanza.split('\n');
    const listed = [...conffiles].map((path) => `\n /${path} newconffile`).join('');
    const lines = [first, 'Status: install ok unpacked', ...rest, ...(listed === '' ? [] : [`Conffiles:${listed}`])];
    this.#status += `${this.#status === '' ? '' : '\n\n'}${lines.join('\n')}`;

    const info = fieldOf(stanza, 'Multi-Arch') === 'same' ? `${name}:${fieldOf(stanza, 'Architecture')}` : name;
    const paths = entries.map(({ path }) => plainPath(path));
    this.#paths.push(...paths);
    await this.#put(`${INFO}/${info}.list`, paths.map((path) => `/${path === '' ? '.' : path}\n`).join(''));
    for (const [file, data] of control) {
      if (NOT_IN_INFO.includes(file) || !/^[a-z0-9]+$/.test(file)) continue;
      await this.#put(`${INFO}/${info}.${file}`, data, /^(pre|post)(inst|rm)$|^config$/.test(file) ? 0o755 : 0o644);
    }
    if (control.has('preinst')) this.#preinsts.push({ info, package: name });
    this.#triggers(info, textOf(control.get('triggers')));
  }

  #triggers(info: string, text: string): void {
    for (const line of text.split('\n')) {
      const [directive, name] = line.trim().split(/\s+/);
      // A name becomes a file's name or a part of a line: deb-triggers(5) allows printable ASCII only, without spaces.
      if (!name || !/^(\/[\x21-\x7e]*|[A-Za-z0-9][A-Za-z0-9.+_-]*)$/.test(name)) continue;
      if (directive?.startsWith('interest'))
        this.#interests.push({ name, line: `${info}${directive === 'interest-noawait' ? '/noawait' : ''}` });
      // The new packages' interests are not among these files yet.
      if (directive?.startsWith('activate') && this.#builder.get(`var/lib/dpkg/triggers/${name}`, 'dpkg')) this.#activated.add(name);
    }
  }

  async close(): Promise<Pick<Unpacked, 'preinsts' | 'triggers'>> {
    await this.#put(STATUS, `${this.#status}\n\n`);
    await this.#put(`${INFO}/format`, '1\n');
    for (const name of ['available', 'diversions', 'statoverride', 'triggers/Unincorp']) {
      if (!this.#builder.get(`var/lib/dpkg/${name}`, 'dpkg')) await this.#put(`var/lib/dpkg/${name}`, '');
    }
    const fresh = this.#interests;
    const files = fresh.filter(({ name }) => name.startsWith('/')).map(({ name, line }) => `${name} ${line}\n`);
    await this.#put(FILE_TRIGGERS, (await this.#read(FILE_TRIGGERS)) + files.join(''));
    for (const name of new Set(fresh.filter((one) => !one.name.startsWith('/')).map((one) => one.name))) {
      const lines = fresh.filter((one) => one.name === name).map(({ line }) => `${line}\n`);
      await this.#put(`var/lib/dpkg/triggers/${name}`, (await this.#read(`var/lib/dpkg/triggers/${name}`)) + lines.join(''));
    }
    // Who is not configured yet is interested in nothing (dpkg's trig_record_activation): his postinst finds all that is unpacked.
    const byFile = this.#baseInterests.filter((name) =>
      this.#paths.some((path) => `/${path}` === name || `/${path}`.startsWith(`${name}/`)),
    );
    return { preinsts: this.#preinsts, triggers: [...new Set([...byFile, ...this.#activated])].sort() };
  }

  async #read(path: string): Promise<string> {
    const node = this.#builder.lookup(path, 'dpkg');
    return node?.type === 'file' ? textOf(await this.#store.get(node.digest)) : '';
  }

  async #put(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
    const data = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    const digest = await this.#store.put(data);
    this.#builder.add(path, { type: 'file', mode, uid: 0, gid: 0, mtime: this.#time, digest, sizeBytes: data.length }, 'dpkg');
  }
}

/** Whether a path is not under any of the beginnings of paths that a recipe leaves out. */
export function wantedBy(without: readonly string[]): (path: string) => boolean {
  const escaped = without.map((pattern) => pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]*'));
  if (escaped.length === 0) return () => true;
  const unwanted = new RegExp(`^(?:${escaped.join('|')})`);
  return (path) => !unwanted.test(path) && !unwanted.test(`${path}/`);
}
