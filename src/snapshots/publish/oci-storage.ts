/**
 * Publishing to a container registry. Registries have no directories, no exclusive writes, and often no deletes; `registry/paths.ts` says how files
 * lie there. Blobs that no manifest names are nobody's, so what was uploaded is put on a list before anything else is written: whoever is
 * killed before that uploads again.
 */
import { sha256 } from '../../base/sha256.ts';
import type { RegistryHost } from '../registry/authorization.ts';
import { digestInPath, LIST_PREFIX, pathOfTag, tagOf } from '../registry/paths.ts';
import { parseRepository } from '../registry/reference.ts';
import { Registry, type RegistryFile } from '../registry/registry.ts';
import { INDEX_MAX_BYTES } from './manifest.ts';
import type { Storage, StoredFile } from './storage.ts';

/** A list of so many is half a MiB long, of the 4 that registries take. */
const LIST_MAX = 2000;
/** Longer than it takes another publisher, who has just seen that nobody is there, to say that it is. */
const SETTLE_MS = 3000;

interface List {
  readonly digest: string;
  readonly files: readonly RegistryFile[];
}

export class OciStorage implements Storage {
  readonly name: string;
  readonly #registry: Registry;
  readonly #host: RegistryHost;
  readonly #settleMs: number;
  /** By tag. While we hold the lock nobody else changes them. */
  #lists: Map<string, List> | undefined;
  readonly #added = new Map<string, RegistryFile>();
  readonly #removed = new Set<string>();
  #refusesRemoval = false;

  /** Throws VmError `usage`. */
  constructor(host: RegistryHost, place: string, settleMs = SETTLE_MS) {
    this.#registry = new Registry(host, parseRepository(place), ['pull', 'push']);
    this.#host = host;
    this.#settleMs = settleMs;
    this.name = this.#registry.name;
  }

  /** For the person who has something removed. */
  get remark(): string | undefined {
    return this.#refusesRemoval
      ? 'the registry lets nobody remove manifests: what nothing names any more goes when its owner cleans up untagged manifests'
      : undefined;
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    const digest = digestInPath(path) ?? (await this.#registry.files(tagOf(path)))?.files[0]?.digest;
    // No file is larger than an index may be.
    return digest === undefined ? undefined : this.#registry.blob(digest, 0, undefined, INDEX_MAX_BYTES);
  }

  /** Of what is named by its content: only when it is on a list, since another blob may go at any time. */
  async sizeOf(path: string): Promise<number | undefined> {
    if (digestInPath(path) === undefined) return (await this.#registry.files(tagOf(path)))?.files[0]?.sizeBytes;
    if (this.#removed.has(path)) return undefined;
    const listed = this.#added.get(path) ?? (await this.#listed()).get(path);
    return listed?.sizeBytes;
  }

  async write(path: string, data: Uint8Array): Promise<void> {
    const named = digestInPath(path);
    const digest = await sha256(data);
    await this.#registry.upload(digest, data);
    const file = { path, digest, sizeBytes: data.length };
    // What has another digest than its name is a bug of the caller's, and would be found by readers.
    if (named !== undefined) {
      this.#removed.delete(path);
      this.#added.set(path, file);
      return;
    }
    await this.#flush();
    await this.#registry.putFiles(tagOf(path), [file]);
  }

  /** Two that begin at once both write; after a while, the one that is still there has it (Fischer's algorithm). It is for locks. */
  async create(path: string, data: Uint8Array): Promise<boolean> {
    // Whatever was seen before the lock is old.
    this.#lists = undefined;
    if ((await this.sizeOf(path)) !== undefined) return false;
    await this.write(path, data);
    await this.#host.clock.sleep(this.#settleMs);
    return (await this.#registry.files(tagOf(path)))?.files[0]?.digest === (await sha256(data));
  }

  async list(directory: string): Promise<StoredFile[]> {
    const below = `${directory}/`;
    const found = new Map((await this.#listed()).entries());
    for (const [path, file] of this.#added) found.set(path, file);
    for (const path of this.#removed) found.delete(path);
    const files = [...found.values()].filter(({ path }) => path.startsWith(below));
    // Only what is directly below it can have a tag.
    const tags = directory === 'metadata' ? await this.#registry.tags() : [];
    for (const tag of tags) {
      const path = pathOfTag(tag);
      const file = path?.startsWith(below) ? (await this.#registry.files(tag))?.files[0] : undefined;
      if (file) files.push({ ...file, path: path! });
    }
    return files.map(({ path, sizeBytes }) => ({ path, sizeBytes })).sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** Contents leave their list with the next write of another file. */
  async remove(path: string): Promise<void> {
    if (digestInPath(path) !== undefined) {
      this.#added.delete(path);
      this.#removed.add(path);
      return;
    }
    await this.#flush();
    const tag = tagOf(path);
    const there = await this.#registry.files(tag);
    if (there && there.files.length > 0) await this.#removeTag(tag, there.digest);
  }

  async #removeTag(tag: string, digest: string): Promise<void> {
    if (await this.#removeManifest(digest)) return;
    await this.#registry.putFiles(tag, []);
  }

  async #removeManifest(digest: string): Promise<boolean> {
    this.#refusesRemoval ||= !(await this.#registry.removeManifest(digest));
    return !this.#refusesRemoval;
  }

  async #loadLists(): Promise<Map<string, List>> {
    if (this.#lists) return this.#lists;
    const lists = new Map<string, List>();
    for (const tag of await this.#registry.tags()) {
      const found =
        /^\d+$/.test(tag.slice(LIST_PREFIX.length)) && tag.startsWith(LIST_PREFIX) ? await this.#registry.files(tag) : undefined;
      if (found) lists.set(tag, found);
    }
    this.#lists = lists;
    return lists;
  }

  async #listed(): Promise<Map<string, RegistryFile>> {
    const found = new Map<string, RegistryFile>();
    for (const { files } of (await this.#loadLists()).values()) for (const file of files) found.set(file.path, file);
    return found;
  }

  /** Makes the lists say what was written and removed. Additions first: a file may move from one list to another, never be on none. */
  async #flush(): Promise<void> {
    if (this.#added.size === 0 && this.#removed.size === 0) return;
    const lists = await this.#loadLists();
    let added = [...this.#added.values()];
    while (added.length > 0) {
      const [tag, open] = [...lists].find(([, { files }]) => files.length < LIST_MAX) ?? [unusedTag(lists), undefined];
      const before = (open?.files ?? []).filter(({ path }) => !this.#removed.has(path) && !this.#added.has(path));
      const room = LIST_MAX - before.length;
      await this.#putList(lists, tag, [...before, ...added.slice(0, room)]);
      added = added.slice(room);
    }
    this.#added.clear();
    for (const [tag, { files }] of lists) {
      const left = files.filter(({ path }) => !this.#removed.has(path));
      if (left.length < files.length) await this.#putList(lists, tag, left);
    }
    this.#removed.clear();
  }

  async #putList(lists: Map<string, List>, tag: string, files: readonly RegistryFile[]): Promise<void> {
    const old = lists.get(tag);
    const digest = await this.#registry.putFiles(tag, files);
    lists.set(tag, { digest, files });
    // Without its tag nobody finds it, but it would keep what it names.
    if (old && old.digest !== digest && !this.#refusesRemoval) await this.#removeManifest(old.digest);
  }
}

function unusedTag(lists: ReadonlyMap<string, unknown>): string {
  let number = 1;
  while (lists.has(`${LIST_PREFIX}${number}`)) number++;
  return `${LIST_PREFIX}${number}`;
}
