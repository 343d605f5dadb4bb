/**
 * The snapshots on this computer, by name and day: a record each in `snapshots/NAME/DAY.json`, and what they are made of in one
 * store of chunks. A record is written last, so that whatever it names is there. `DAY.state.json` beside it tells of the booted state.
 */
import { VmError } from '../../base/errors.ts';
import type { OrderedState } from '../../machine/saved-state-order.ts';
import { sourceOf, type ByteSource } from '../../machine/saved-state.ts';
import type { WallClock } from '../../platform/clock.ts';
import type { Files } from '../../platform/files.ts';
import { FileChunkStore, type PruneResult } from '../../storage/file-chunk-store.ts';
import { decodeTree } from '../../storage/tree-text.ts';
import type { Tree } from '../../storage/tree.ts';
import { removeUnfinished } from '../../storage/unfinished.ts';
import { isRecipeName } from '../recipe/recipe.ts';
import { parseBootedState, type BootedState } from './booted.ts';
import { isKeptName, isStateFile, parseKept, type Kept } from './kept.ts';
import { isDay, parseSnapshot, printSnapshot, type Snapshot } from './snapshot.ts';

/** Shorter ones could be a name's mistake. */
const DIGEST_PREFIX = /^[0-9a-f]{8,64}$/;

/** Its machine's record is written within seconds. */
const STATE_IDLE_MS = 24 * 3_600_000;

export interface SnapshotName {
  readonly name: string;
  /** As a person gave it: `latest`, `-1`, `2026-10-30`, the beginning of a digest. */
  readonly day: string;
}

/** `OS[/EDITION][@DAY]`. Throws VmError `usage`. */
export function parseSnapshotName(text: string): SnapshotName {
  const [name, day = 'latest', ...rest] = text.split('@');
  if (rest.length > 0 || !isRecipeName(name!)) {
    throw new VmError(
      'usage',
      `${JSON.stringify(text)} names no snapshot: expected OS, OS/EDITION or OS@DAY, such as debian/trixie@2026-10-30`,
    );
  }
  if (!['latest', 'today'].includes(day) && !/^-\d{1,4}$/.test(day) && !isDay(day) && !DIGEST_PREFIX.test(day)) {
    throw new VmError(
      'usage',
      `${text}: "${day}" is no day: expected latest, -1 (the one before), a date such as 2026-10-30, or a tree's digest`,
    );
  }
  return { name: name!, day };
}

export class Catalogue {
  readonly #files: Files;
  readonly #directory: string;
  readonly #keptDirectory: string;
  readonly store: FileChunkStore;

  constructor(files: Files, dataDirectory: string) {
    this.#files = files;
    this.#directory = `${dataDirectory}/snapshots`;
    this.#keptDirectory = `${dataDirectory}/kept`;
    this.store = new FileChunkStore(files, `${dataDirectory}/chunks`);
  }

  /** All of them, by name, newest day first. A record that cannot be read is given to `onBad` and left out. */
  async list(onBad: (error: VmError) => void): Promise<Snapshot[]> {
    const found: Snapshot[] = [];
    for (const name of await this.#names()) found.push(...(await this.days(name, onBad)));
    return found;
  }

  /** Those of one name, newest first. */
  async days(name: string, onBad: (error: VmError) => void): Promise<Snapshot[]> {
    const files = (await this.#files.list(`${this.#directory}/${name}`)).filter(
      (file) => isDay(file.replace(/\.json$/, '')) && file.endsWith('.json'),
    );
    const found: Snapshot[] = [];
    for (const file of files.toReversed()) {
      try {
        const snapshot = await this.get(name, file.slice(0, -5));
        if (snapshot) found.push(snapshot);
      } catch (error) {
        if (!(error instanceof VmError) || error.code !== 'bad-image') throw error;
        onBad(error);
      }
    }
    return found;
  }

  async get(name: string, day: string): Promise<Snapshot | undefined> {
    const path = `${this.#directory}/${name}/${day}.json`;
    const data = await this.#files.read(path);
    const snapshot = data && parseSnapshot(path, new TextDecoder().decode(data));
    if (snapshot && (snapshot.name !== name || snapshot.day !== day)) {
      throw new VmError('bad-image', `${path}: it is the record of ${snapshot.name}@${snapshot.day}, and in the wrong place`);
    }
    return snapshot;
  }

  /** The one that a person means. Rejects with `not-found`, which tells what there is. */
  async find({ name, day }: SnapshotName): Promise<Snapshot> {
    const days = await this.days(name, () => {});
    const found = pick(days, day);
    if (found) return found;
    const names = await this.#names();
    const what =
      days.length > 0
        ? `there is ${days.map((one) => one.day).join(', ')}`
        : names.length > 0
          ? `there is ${names.join(', ')}`
          : 'there are none';
    throw new VmError(
      'not-found',
      `no snapshot ${name}${day === 'latest' ? '' : `@${day}`} on this computer (${what}); daybreak build ${name} makes one`,
    );
  }

  /** Its tree, verified. */
  async tree(snapshot: Snapshot): Promise<Tree> {
    return this.treeOf(`${snapshot.name}@${snapshot.day}`, snapshot.tree);
  }

  /** The tree of that digest, verified. `where` is for messages. */
  async treeOf(where: string, digest: string): Promise<Tree> {
    return decodeTree(where, new TextDecoder().decode(await this.store.get(digest)), digest);
  }

  /** The machine that is kept under a name. Throws `bad-image` when its record cannot be read. */
  async kept(name: string): Promise<Kept | undefined> {
    const path = `${this.#keptDirectory}/${name}.json`;
    const data = await this.#files.read(path);
    return data && parseKept(path, new TextDecoder().decode(data));
  }

  /** Keeps it, instead of the one before, whose saved state goes. What it names must be in the store, and its state at `statePath`. */
  async keep(name: string, kept: Kept): Promise<void> {
    const before = await this.kept(name).catch(() => undefined);
    await this.#files.write(`${this.#keptDirectory}/${name}.json`, new TextEncoder().encode(`${JSON.stringify(kept, undefined, 2)}\n`));
    if (before?.state && before.state.file !== kept.state?.file) await this.#files.remove(this.statePath(before.state.file));
  }

  /** Where a kept machine's saved state lies. */
  statePath(file: string): string {
    return `${this.#keptDirectory}/${file}`;
  }

  /** False when there was none. */
  async dropKept(name: string): Promise<boolean> {
    const path = `${this.#keptDirectory}/${name}.json`;
    if (!(await this.#files.info(path))) return false;
    const { state } = (await this.kept(name).catch(() => undefined)) ?? {};
    await this.#files.remove(path);
    if (state) await this.#files.remove(this.statePath(state.file));
    return true;
  }

  async keptNames(): Promise<string[]> {
    const files = (await this.#files.list(this.#keptDirectory)).filter((file) => file.endsWith('.json'));
    return files.map((file) => file.slice(0, -'.json'.length)).filter(isKeptName);
  }

  /** Keeps it: from now on it is in the list. What it names must be in the store. */
  async add(snapshot: Snapshot): Promise<void> {
    await this.#files.write(`${this.#directory}/${snapshot.name}/${snapshot.day}.json`, new TextEncoder().encode(printSnapshot(snapshot)));
  }

  /** Puts a tree's text and gives its digest. */
  async putTree(tree: Tree): Promise<string> {
    return this.store.put(new TextEncoder().encode(tree.encode()));
  }

  /** The booted state, where there is one of this very tree and its bytes are there. What is in them is checked by who resumes. */
  async booted(snapshot: Snapshot): Promise<BootedState | undefined> {
    const data = await this.#files.read(this.#bootedPath(snapshot));
    const booted = data && parseBootedState(new TextDecoder().decode(data));
    return booted?.tree === snapshot.tree && (await this.store.has(booted.state)) ? booted : undefined;
  }

  /** The same with its bytes, verified; undefined, too, where they are damaged. */
  async bootedBytes(snapshot: Snapshot): Promise<{ booted: BootedState; source: ByteSource } | undefined> {
    const booted = await this.booted(snapshot);
    const data = booted && (await this.store.get(booted.state).catch(() => undefined));
    return booted && data && { booted, source: sourceOf(`the booted state of ${snapshot.name}@${snapshot.day}`, data) };
  }

  /** Keeps a saved state of a machine with that tree, instead of the one before. */
  async addBooted(snapshot: Snapshot, { data, firstBytes, tailBytes }: OrderedState, memoryBytes: number): Promise<void> {
    const state = await this.store.put(data);
    await this.keepBooted(snapshot, { format: 2, tree: snapshot.tree, state, sizeBytes: data.length, memoryBytes, firstBytes, tailBytes });
  }

  /** The same of one that is in the store. */
  async keepBooted(snapshot: Snapshot, booted: BootedState): Promise<void> {
    await this.#files.write(this.#bootedPath(snapshot), new TextEncoder().encode(`${JSON.stringify(booted, undefined, 2)}\n`));
  }

  async remove(snapshot: Snapshot): Promise<void> {
    // The record last: one that is there still may be removed again, but what has none is found by nobody.
    await this.#files.remove(this.#bootedPath(snapshot));
    await this.#files.remove(`${this.#directory}/${snapshot.name}/${snapshot.day}.json`);
  }

  #bootedPath({ name, day }: Snapshot): string {
    return `${this.#directory}/${name}/${day}.state.json`;
  }

  /**
   * Removes chunks that no snapshot and no kept machine names, until `maxBytes` of those are left. Refuses (`bad-image`) while a record or a tree
   * cannot be read: what it needs is not known.
   */
  async prune(clock: WallClock, maxBytes: number): Promise<PruneResult> {
    const needed = new Set<string>();
    const snapshots = await this.list((error) => {
      throw new VmError(
        'bad-image',
        `${error.message}; nothing is removed while it is not known what that snapshot needs: remove or mend the file`,
        error,
      );
    });
    for (const snapshot of snapshots) {
      needed.add(snapshot.tree).add(snapshot.kernel.digest);
      const booted = await this.booted(snapshot);
      if (booted) needed.add(booted.state);
      for (const [, node] of (await this.tree(snapshot)).entries()) if (node.type === 'file') needed.add(node.digest);
    }
    const states = new Set<string>();
    for (const name of await this.keptNames()) {
      const kept = await this.kept(name);
      if (!kept) continue;
      if (kept.state) states.add(kept.state.file);
      needed.add(kept.tree).add(kept.kernel.digest);
      if (kept.base !== undefined) needed.add(kept.base);
      for (const { sha256 } of kept.published?.indexes ?? []) needed.add(sha256);
      if (kept.published?.order !== undefined) needed.add(kept.published.order);
      for (const tree of new Set([kept.tree, kept.state?.over ?? kept.tree])) {
        needed.add(tree);
        for (const [, node] of (await this.treeOf(name, tree)).entries()) if (node.type === 'file') needed.add(node.digest);
      }
    }
    await this.#removeStates(clock, states);
    for (const directory of [...(await this.#names()).map((name) => `${this.#directory}/${name}`), this.#keptDirectory])
      await removeUnfinished(this.#files, clock, directory);
    return this.store.prune(clock, (digest) => needed.has(digest), maxBytes);
  }

  /** Of machines whose process was killed between saving and keeping. */
  async #removeStates(clock: WallClock, known: ReadonlySet<string>): Promise<void> {
    for (const file of await this.#files.list(this.#keptDirectory)) {
      if (!isStateFile(file) || known.has(file)) continue;
      const info = await this.#files.info(this.statePath(file));
      if (info && info.mtimeMs < clock.nowMs() - STATE_IDLE_MS) await this.#files.remove(this.statePath(file));
    }
  }

  async #names(): Promise<string[]> {
    const found: string[] = [];
    for (const name of await this.#files.list(this.#directory)) {
      const inside = await this.#files.list(`${this.#directory}/${name}`);
      if (!isRecipeName(name)) continue;
      if (inside.some((file) => isDay(file.replace(/\.json$/, '')) && file.endsWith('.json'))) found.push(name);
      found.push(...inside.map((edition) => `${name}/${edition}`).filter((full) => !full.endsWith('.json') && isRecipeName(full)));
    }
    return found.sort();
  }
}

/** `days` are newest first. */
function pick(days: readonly Snapshot[], day: string): Snapshot | undefined {
  if (day === 'latest' || day === 'today') return days[0];
  if (/^-\d+$/.test(day)) return days[-Number(day)];
  if (isDay(day)) return days.find((one) => one.day === day);
  return days.find((one) => one.tree.startsWith(day));
}
