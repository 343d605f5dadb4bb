/** What is published in a storage now, as its publisher sees it, and the one step that changes it: a new timestamp. */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import { decompress } from '../../storage/decompress.ts';
import { decodeSegment, PackIndex, type Segment } from '../../storage/packs/pack-index.ts';
import type { Role, Target } from '../trust/metadata.ts';
import { signTargets, signTimestamp, makeRoot, type RoleKeyring } from '../trust/signing.ts';
import { TrustedMetadata } from '../trust/trusted.ts';
import type { KeyDirectory } from './keyring.ts';
import { indexFile, INDEX_MAX_BYTES, parseManifest, targetFile, type IndexFile, type Manifest } from './manifest.ts';
import type { Storage } from './storage.ts';

const ANY_TIME = Number.NEGATIVE_INFINITY;

export class Repository {
  readonly storage: Storage;
  readonly #trusted: TrustedMetadata;

  private constructor(storage: Storage, trusted: TrustedMetadata) {
    this.storage = storage;
    this.#trusted = trusted;
  }

  /** Verifies what is there, but not that its time has not passed. Undefined when there is nothing. */
  static async open(storage: Storage): Promise<Repository | undefined> {
    const first = await storage.read('metadata/1.root.json');
    if (!first) return undefined;
    const trusted = await TrustedMetadata.from(storage.name, first);
    for (;;) {
      const next = await storage.read(`metadata/${trusted.root.version + 1}.root.json`);
      if (!next) break;
      await trusted.nextRoot(next);
    }
    const repository = new Repository(storage, trusted);
    const timestamp = await storage.read('metadata/timestamp.json');
    // Whoever made the root was killed before anything was published.
    if (!timestamp) return repository;
    await trusted.setTimestamp(timestamp, ANY_TIME);
    const { version } = trusted.timestamp!.meta['snapshot.json'];
    await trusted.setSnapshot(await repository.#read(`metadata/${version}.snapshot.json`), ANY_TIME);
    await trusted.setTargets(await repository.#read(`metadata/${trusted.snapshot!.meta['targets.json'].version}.targets.json`), ANY_TIME);
    return repository;
  }

  static async create(storage: Storage, keys: RoleKeyring, nowMs: number): Promise<Repository> {
    const root = await makeRoot(keys, nowMs);
    await storage.write('metadata/1.root.json', root);
    return new Repository(storage, await TrustedMetadata.from(storage.name, root));
  }

  get targets(): Readonly<Record<string, Target>> {
    return this.#trusted.targets?.targets ?? {};
  }

  get root(): TrustedMetadata['root'] {
    return this.#trusted.root;
  }

  /** What readers give to `--trust`. */
  async fingerprint(): Promise<string> {
    return sha256(await this.#read('metadata/1.root.json'));
  }

  /** The keys that the root names. Rejects when those that are here are others: nobody would believe what they sign. */
  async ringOf(keys: KeyDirectory): Promise<RoleKeyring> {
    await this.finishChanges(keys);
    const ring = await keys.ring();
    for (const role of ['targets', 'snapshot', 'timestamp'] as const) {
      if (!this.names(role, ring[role].id))
        throw new VmError(
          'bad-signature',
          `${this.storage.name}: the key of the role ${role} is not the one it was published with: name the right directory with --keys`,
        );
    }
    return ring;
  }

  /** Of changes of keys that were interrupted: gives the roles that have their new keys since then, or now. */
  finishChanges(keys: KeyDirectory): Promise<Role[]> {
    return keys.finishChanges((role, id) => this.names(role, id));
  }

  /** Whether this key counts for that role. */
  names(role: Role, id: string): boolean {
    return this.root.roles[role].keyids.includes(id);
  }

  async manifest(path: string): Promise<Manifest> {
    const target = this.targets[path]!;
    const file = targetFile(path, target.hashes.sha256);
    const data = await this.#verified(file, target.hashes.sha256);
    return parseManifest(`${this.storage.name}/${file}`, data);
  }

  async segment({ sha256: digest }: IndexFile): Promise<Segment> {
    return readSegment(`${this.storage.name}/${indexFile(digest)}`, await this.#verified(indexFile(digest), digest));
  }

  /** Where everything lies that is published. */
  async index(): Promise<{ index: PackIndex; segments: Map<string, { file: IndexFile; segment: Segment }> }> {
    const index = new PackIndex();
    const segments = new Map<string, { file: IndexFile; segment: Segment }>();
    for (const path of Object.keys(this.targets)) {
      for (const file of (await this.manifest(path)).indexes) {
        if (segments.has(file.sha256)) continue;
        const segment = await this.segment(file);
        index.add(segment);
        segments.set(file.sha256, { file, segment });
      }
    }
    return { index, segments };
  }

  /** Publishes a list of targets, whose files must be there. Readers see the old list until the last write, and then the new one. */
  async commit(targets: Readonly<Record<string, Target>>, keys: RoleKeyring, nowMs: number): Promise<void> {
    const version = 1 + Math.max(this.#trusted.timestamp?.version ?? 0, this.#trusted.snapshot?.version ?? 0);
    const state = await signTargets(targets, version, keys, nowMs);
    await this.storage.write(`metadata/${version}.targets.json`, state.targets);
    await this.storage.write(`metadata/${version}.snapshot.json`, state.snapshot);
    await this.storage.write('metadata/timestamp.json', state.timestamp);
    await this.#trusted.setTimestamp(state.timestamp, nowMs);
    await this.#trusted.setSnapshot(state.snapshot, nowMs);
    await this.#trusted.setTargets(state.targets, nowMs);
  }

  /** Signs that what is there is still what is published. */
  async renewTimestamp(keys: RoleKeyring, nowMs: number): Promise<void> {
    const before = this.#trusted.timestamp!;
    const { version } = before.meta['snapshot.json'];
    const data = await signTimestamp(await this.#read(`metadata/${version}.snapshot.json`), version, before.version + 1, keys, nowMs);
    await this.storage.write('metadata/timestamp.json', data);
    await this.#trusted.setTimestamp(data, nowMs);
  }

  /** Publishes a root that follows this one. */
  async commitRoot(root: Uint8Array): Promise<void> {
    const path = `metadata/${this.root.version + 1}.root.json`;
    await this.storage.write(path, root);
    await this.#trusted.nextRoot(root);
  }

  /** Paths of all files that the present list needs, metadata included. */
  async reachable(): Promise<Set<string>> {
    const { timestamp, snapshot } = this.#trusted;
    const paths = new Set(['metadata/timestamp.json']);
    for (let version = 1; version <= this.root.version; version++) paths.add(`metadata/${version}.root.json`);
    if (timestamp) paths.add(`metadata/${timestamp.meta['snapshot.json'].version}.snapshot.json`);
    if (snapshot) paths.add(`metadata/${snapshot.meta['targets.json'].version}.targets.json`);
    for (const [path, target] of Object.entries(this.targets)) paths.add(targetFile(path, target.hashes.sha256));
    for (const { file, segment } of (await this.index()).segments.values()) {
      paths.add(indexFile(file.sha256));
      for (const { frame } of [...segment.pieces, ...segment.patches]) paths.add(`packs/${frame.pack.digest}.pack`);
    }
    return paths;
  }

  async #verified(path: string, digest: string): Promise<Uint8Array> {
    const data = await this.#read(path);
    if ((await sha256(data)) === digest) return data;
    throw new VmError(
      'bad-digest',
      `${this.storage.name}/${path}: its content has gone bad: publish the day again, or put the file back from a copy`,
    );
  }

  async #read(path: string): Promise<Uint8Array> {
    const data = await this.storage.read(path);
    if (data) return data;
    throw new VmError('not-found', `${this.storage.name}/${path} is missing: put it back from a copy`);
  }
}

/** An index's file is one zstd frame. */
export async function readSegment(name: string, data: Uint8Array): Promise<Segment> {
  return decodeSegment(name, await decompress(name, data, INDEX_MAX_BYTES * 2));
}
