/** What a machine has left becomes a machine that is kept: its tree, its record, and what it will need when nobody publishes it any more. */
import { VmError } from '../base/errors.ts';
import type { Catalogue } from '../snapshots/catalogue/catalogue.ts';
import type { Kept, KeptState } from '../snapshots/catalogue/kept.ts';
import { keepIndexes } from '../snapshots/get/day.ts';
import type { OnDemandStore } from '../snapshots/get/on-demand-store.ts';
import { indexDirectory } from '../snapshots/get/cache.ts';
import type { ChunkStore } from '../storage/chunk-store.ts';
import type { Tree } from '../storage/tree.ts';
import type { Host } from './host.ts';
import { formatBytes } from './messages.ts';
import type { PublishedContents } from './published.ts';

/** What a machine was made of. */
export type Beginnings = Omit<Kept, 'format' | 'tree' | 'state'>;

/** Where contents come from of a machine that has a published snapshot below it. */
export interface FetchedContents extends PublishedContents {
  readonly store: OnDemandStore;
  /** Digests of contents that a boot asks for, in order, as far as they are known. */
  readonly order: readonly string[];
}

/** Whatever can be sealed: `TreeFileSystem`. */
export interface Sealable {
  seal(store: ChunkStore): Promise<Tree>;
}

/** Rejects when it cannot be kept; what comes after that is only told. */
export async function keepMachine(
  host: Host,
  catalogue: Catalogue,
  name: string,
  beginnings: Beginnings,
  root: Sealable,
  { saved, fetched }: { readonly saved?: KeptState | undefined; readonly fetched?: FetchedContents | undefined } = {},
): Promise<void> {
  const { messages } = host;
  const { from, base, kernel, published } = beginnings;
  const tree = await root.seal(catalogue.store);
  const kept: Kept = {
    format: 2,
    from,
    ...(base !== undefined && { base }),
    tree: await catalogue.putTree(tree),
    kernel,
    ...(published && { published }),
    ...(saved && { state: saved }),
  };
  if (fetched)
    await adopt(catalogue, fetched, [
      ...filesOf(tree).keys(),
      kept.kernel.digest,
      ...[kept.base, kept.published?.order].filter((one) => one !== undefined),
    ]);
  await catalogue.keep(name, kept);
  messages.line(
    saved
      ? `saved as ${name} (${formatBytes(saved.sizeBytes)}): daybreak try ${from.name} --keep ${name} goes on where it was`
      : `kept as ${name}: daybreak try ${from.name} --keep ${name} goes on with it`,
  );
  if (fetched) await bringBoot(host, catalogue, kept, tree, fetched);
}

/** What was fetched is in a cache, which may go at any time; what is kept may not. */
async function adopt({ store }: Catalogue, { cache }: FetchedContents, digests: readonly string[]): Promise<void> {
  for (const digest of digests) {
    if ((await store.has(digest)) || !(await cache.has(digest))) continue;
    const data = await cache.get(digest).catch(() => undefined);
    // What has gone bad in the cache is fetched again.
    if (data) await store.put(data);
  }
}

/** The next start boots: what that asks for is brought now, while somebody publishes it. Never rejects but for a bug. */
async function bringBoot(host: Host, catalogue: Catalogue, kept: Kept, tree: Tree, fetched: FetchedContents): Promise<void> {
  const { files, messages, signal, cacheDirectory } = host;
  const { source, here, store, order } = fetched;
  const sizes = filesOf(tree);
  const { name, day } = kept.from;
  const pull = `daybreak pull ${name}@${day} --from ${kept.published!.place}`;
  try {
    await keepIndexes(source, kept.published!.indexes, files, indexDirectory(cacheDirectory), catalogue.store);
    const wanted = kept.state ? [] : [kept.kernel.digest, ...order.filter((digest) => sizes.has(digest))];
    const step = 'for the next start';
    await store.fetchAll([...new Set(wanted)], (done, total) => messages.progress({ step, done, total, unit: 'items' }), signal);
    await adopt(catalogue, fetched, wanted);
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    messages.log('warn', 'keep', `not all that its next start needs is here: ${error.message}`);
  }
  let missingBytes = 0;
  for (const [digest, size] of sizes) if (!(await here.has(digest))) missingBytes += size;
  messages.clear();
  if (missingBytes > 0)
    messages.line(
      `${formatBytes(missingBytes)} of its files are fetched when they are asked for; ${pull} brings them all, for when nobody publishes them any more`,
    );
}

/** Sizes by digest. */
function filesOf(tree: Tree): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const [, node] of tree.entries()) if (node.type === 'file') sizes.set(node.digest, node.sizeBytes);
  return sizes;
}
