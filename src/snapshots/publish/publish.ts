/**
 * Publishes a snapshot of this computer: packs with what is new, a segment of the index, the day's manifest, and then the signed list. All
 * but the list's last file have names that say what is in them, or that nobody knows yet: whoever reads meanwhile, and whatever step
 * is the last before a crash, sees the old state whole.
 */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import { sourceOf, type StateCodec } from '../../machine/saved-state.ts';
import type { Zstd } from '../../platform/zstd.ts';
import { encodeSegment, type PackIndex, type Segment } from '../../storage/packs/pack-index.ts';
import { PackWriter } from '../../storage/packs/pack-writer.ts';
import type { Tree } from '../../storage/tree.ts';
import type { BootedState, StateBytes } from '../catalogue/booted.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import { printSnapshot, type Snapshot } from '../catalogue/snapshot.ts';
import type { Progress } from '../progress.ts';
import type { Target } from '../trust/metadata.ts';
import type { KeyDirectory } from './keyring.ts';
import { PublishingLock, type LockHost } from './lock.ts';
import {
  indexFile,
  packFile,
  parseTargetPath,
  targetFile,
  targetPath,
  type DaySummary,
  type IndexFile,
  type Manifest,
} from './manifest.ts';
import { addPatches, type PatchBase } from './patches.ts';
import { Repository } from './repository.ts';
import { cutState } from './state-pieces.ts';
import type { Storage } from './storage.ts';

/** A day may refer to so many segments; then they become one. */
const SEGMENTS_MAX = 16;
const INDEX_LEVEL = 19;

export interface PublishHost extends LockHost {
  readonly zstd: Zstd;
  readonly stateCodec: StateCodec;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
}

export interface PublishOptions {
  /** Of zstd, 1 to 19. */
  readonly level: number;
  /** Digests of contents as a booting machine asked for them: they come first, and readers fetch them first. */
  readonly order?: readonly string[];
  /** False leaves the booted state out. */
  readonly state?: boolean;
  /** Keep so many of the name's newest days in the list; all when undefined. */
  readonly keepDays?: number;
}

export interface PublishResult {
  /** SHA-256 of the first root, for `--trust`. */
  readonly fingerprint: string;
  /** Nothing but the signature is new. */
  readonly known: boolean;
  readonly packedBytes: number;
  readonly patchCount: number;
  readonly withdrawn: readonly string[];
}

/** Rejects with a VmError; what was published before is then untouched. */
export async function publishSnapshot(
  host: PublishHost,
  storage: Storage,
  keys: KeyDirectory,
  catalogue: Catalogue,
  snapshot: Snapshot,
  options: PublishOptions,
): Promise<PublishResult> {
  const lock = await PublishingLock.take(storage, host);
  try {
    let repository = await Repository.open(storage);
    const ring = repository ? await repository.ringOf(keys) : await keys.ringForNew();
    repository ??= await Repository.create(storage, ring, host.clock.nowMs());
    const writing = new Writing(host, repository, catalogue, snapshot, options, lock);
    const { target, packedBytes, patchCount } = await writing.run();
    const path = targetPath(snapshot.name, snapshot.day);
    const targets = { ...repository.targets, [path]: target };
    const withdrawn = options.keepDays === undefined ? [] : daysBeyond(targets, snapshot.name, options.keepDays);
    for (const old of withdrawn) delete targets[old];
    const known = withdrawn.length === 0 && repository.targets[path]?.hashes.sha256 === target.hashes.sha256;
    await lock.check();
    await repository.commit(targets, ring, host.clock.nowMs());
    return { fingerprint: await repository.fingerprint(), known, packedBytes, patchCount, withdrawn };
  } finally {
    await lock.release();
  }
}

function bytesOf({ format: _format, tree: _tree, ...bytes }: BootedState): StateBytes {
  return bytes;
}

/** The targets of a name that are older than its `keep` newest. */
function daysBeyond(targets: Readonly<Record<string, Target>>, name: string, keep: number): string[] {
  const days = Object.keys(targets).filter((path) => parseTargetPath(path)?.name === name);
  return days.sort().slice(0, Math.max(0, days.length - keep));
}

class Writing {
  readonly #host: PublishHost;
  readonly #repository: Repository;
  readonly #catalogue: Catalogue;
  readonly #snapshot: Snapshot;
  readonly #options: PublishOptions;
  readonly #lock: PublishingLock;

  constructor(
    host: PublishHost,
    repository: Repository,
    catalogue: Catalogue,
    snapshot: Snapshot,
    options: PublishOptions,
    lock: PublishingLock,
  ) {
    this.#host = host;
    this.#repository = repository;
    this.#catalogue = catalogue;
    this.#snapshot = snapshot;
    this.#options = options;
    this.#lock = lock;
  }

  async run(): Promise<{ target: Target; packedBytes: number; patchCount: number }> {
    const { storage } = this.#repository;
    const snapshot = this.#snapshot;
    const tree = await this.#catalogue.tree(snapshot);
    const { index, segments } = await this.#repository.index();
    const writer = new PackWriter(this.#host.zstd, this.#options.level, index, (digest, data) => this.#put(packFile(digest), data));
    const record = new TextEncoder().encode(printSnapshot(snapshot));
    const recordDigest = await sha256(record);
    const order = this.#order(tree);
    const orderText = this.#options.order && new TextEncoder().encode(order.recorded.map((digest) => `${digest}\n`).join(''));
    const orderDigest = orderText && (await sha256(orderText));
    const before = await this.#dayBefore();
    const booted = this.#options.state === false ? undefined : await this.#catalogue.booted(snapshot);
    const needed = [
      recordDigest,
      ...(orderDigest ? [orderDigest] : []),
      ...(booted ? [booted.state] : []),
      snapshot.tree,
      snapshot.kernel.digest,
      ...order.all,
    ];
    const news = new Set(needed.filter((digest) => !writer.has(digest)));

    await writer.add(recordDigest, record);
    if (orderText) await writer.add(orderDigest!, orderText);
    let done = 0;
    for (const digest of [snapshot.tree, snapshot.kernel.digest, ...order.all]) {
      this.#stopIfAsked();
      if (!writer.has(digest)) await writer.add(digest, await this.#catalogue.store.get(digest));
      done++;
      if (done % 64 === 0 || done === order.all.length + 2)
        this.#host.progress({ step: 'packing', done, total: order.all.length + 2, unit: 'items' });
      await this.#lock.renew();
    }
    if (booted && !writer.has(booted.state)) await this.#addState(writer, booted);
    const patchCount = before ? await this.#patches(writer, tree, before, news, recordDigest) : 0;
    const segment = await writer.finish();
    const indexes = await this.#indexes(index, segments, segment, needed);

    const manifest: Manifest = {
      format: 1,
      name: snapshot.name,
      day: snapshot.day,
      record: recordDigest,
      tree: snapshot.tree,
      kernel: snapshot.kernel.digest,
      ...(orderDigest && { order: orderDigest }),
      ...(booted && { state: bytesOf(booted) }),
      indexes,
    };
    const data = new TextEncoder().encode(`${JSON.stringify(manifest, undefined, 1)}\n`);
    const digest = await sha256(data);
    await storage.write(targetFile(targetPath(snapshot.name, snapshot.day), digest), data);
    const summary: DaySummary = {
      ...(snapshot.title !== undefined && { title: snapshot.title }),
      tree: snapshot.tree,
      contentBytes: snapshot.contentBytes,
      packageCount: snapshot.packages.length,
      kernel: snapshot.kernel.version,
    };
    return {
      target: { length: data.length, hashes: { sha256: digest }, custom: { ...summary } },
      packedBytes: writer.packedBytes,
      patchCount,
    };
  }

  /** Rejects with `bad-state` when it is damaged or not a state of this Daybreak. */
  async #addState(writer: PackWriter, booted: BootedState): Promise<void> {
    const { name, day } = this.#snapshot;
    const data = await this.#catalogue.store.get(booted.state);
    try {
      const ends = cutState(sourceOf('its file', data), booted, this.#host.stateCodec);
      await writer.add(booted.state, data, () => ends);
    } catch (cause) {
      if (!(cause instanceof VmError) || cause.code !== 'bad-state') throw cause;
      throw new VmError(
        'bad-state',
        `the booted state of ${name}@${day} cannot be published (${cause.message.replace(/^.*?: /, '')}): daybreak build makes it anew, or leave it out (--no-state)`,
        cause,
      );
    }
    await this.#lock.renew();
  }

  /** Contents of the tree, each once: those that a boot needs first, in its order. */
  #order(tree: Tree): { all: string[]; recorded: string[] } {
    const inTree = new Set<string>();
    for (const [, node] of tree.entries()) if (node.type === 'file') inTree.add(node.digest);
    const recorded = [...new Set(this.#options.order ?? [])].filter((digest) => inTree.has(digest));
    return { all: [...new Set([...recorded, ...inTree])], recorded };
  }

  /** The newest day of this name that is published and that is on this computer, too: what readers probably have. */
  async #dayBefore(): Promise<PatchBase | undefined> {
    const { name, day } = this.#snapshot;
    const days = Object.keys(this.#repository.targets)
      .map(parseTargetPath)
      .flatMap((one) => (one?.name === name && one.day < day ? [one.day] : []));
    for (const earlier of days.sort().toReversed()) {
      const snapshot = await this.#catalogue.get(name, earlier).catch(() => undefined);
      const tree = snapshot && (await this.#catalogue.tree(snapshot).catch(() => undefined));
      if (snapshot && tree) return { snapshot, tree };
    }
    return undefined;
  }

  async #patches(writer: PackWriter, tree: Tree, before: PatchBase, news: ReadonlySet<string>, record: string): Promise<number> {
    const pairs = new Map<string, string>();
    if (news.has(this.#snapshot.tree)) pairs.set(this.#snapshot.tree, before.snapshot.tree);
    for (const [path, node] of tree.entries()) {
      const old = node.type === 'file' && news.has(node.digest) ? before.tree.get(path) : undefined;
      if (old?.type === 'file' && node.type === 'file') pairs.set(node.digest, old.digest);
    }
    pairs.delete(record);
    return addPatches(writer, pairs, {
      zstd: this.#host.zstd,
      level: this.#options.level,
      read: (digest) => this.#catalogue.store.get(digest),
      onStep: async (done) => {
        this.#stopIfAsked();
        this.#host.progress({ step: 'patches', done, total: pairs.size, unit: 'items' });
        await this.#lock.renew();
      },
    });
  }

  /** The segments that know something of what is needed, or, when those become many, one in their place. */
  async #indexes(
    index: PackIndex,
    segments: ReadonlyMap<string, { file: IndexFile; segment: Segment }>,
    added: Segment | undefined,
    needed: readonly string[],
  ): Promise<IndexFile[]> {
    if (added) index.add(added);
    const wanted = new Set(needed);
    for (const digest of needed) for (const piece of index.locate(digest) ?? []) wanted.add(piece.digest);
    const relevant = [...segments.values()].filter(
      ({ segment }) =>
        segment.pieces.some(({ digest }) => wanted.has(digest)) || [...segment.lists.keys()].some((digest) => wanted.has(digest)),
    );
    if (relevant.length + 1 <= SEGMENTS_MAX) {
      const files = relevant.map(({ file }) => file);
      return added ? [...files, await this.#putSegment(added)] : files;
    }
    const { pieces, lists, patches } = index.all();
    return [
      await this.#putSegment({
        pieces: pieces.filter(({ digest }) => wanted.has(digest)),
        lists: new Map([...lists].filter(([digest]) => wanted.has(digest))),
        patches: patches.filter(({ digest }) => wanted.has(digest)),
      }),
    ];
  }

  async #putSegment(segment: Segment): Promise<IndexFile> {
    const data = this.#host.zstd.compress(encodeSegment(segment), INDEX_LEVEL);
    const digest = await sha256(data);
    await this.#put(indexFile(digest), data);
    return { sha256: digest, sizeBytes: data.length };
  }

  /** A file that is named by its content: one of the right length is there already, since it got its name when it was whole. */
  async #put(path: string, data: Uint8Array): Promise<void> {
    this.#stopIfAsked();
    await this.#lock.renew();
    const { storage } = this.#repository;
    if ((await storage.sizeOf(path)) !== data.length) await storage.write(path, data);
  }

  #stopIfAsked(): void {
    if (this.#host.signal?.aborted) throw new VmError('cancelled', 'stopped before it was published: nothing has changed for readers');
  }
}
