/** `daybreak try` of a snapshot on this computer, or of a machine that is kept: goes on from the booted state, or boots, over its tree. */
import { VmError } from '../base/errors.ts';
import type { StateBytes } from '../snapshots/catalogue/booted.ts';
import type { Catalogue, SnapshotName } from '../snapshots/catalogue/catalogue.ts';
import type { Kept } from '../snapshots/catalogue/kept.ts';
import type { FileChunkStore } from '../storage/file-chunk-store.ts';
import type { Snapshot } from '../snapshots/catalogue/snapshot.ts';
import type { Host } from './host.ts';
import { keepMachine } from './keeping.ts';
import { baseElsewhere, contentsBelow, FetchingAhead } from './kept-contents.ts';
import { Registration } from './machines/registration.ts';
import { TryRun, unfit, type TryRunOptions, type TrySource, type TryState } from './try-run.ts';

export interface TryLocalOptions extends TryRunOptions {
  readonly name: SnapshotName;
  /** Boot, though there is a booted state. */
  readonly cold: boolean;
  /** Go on with the machine kept under this name, and keep it. */
  readonly keep: string | undefined;
  /** `--from`: where its contents come from, for a machine that is kept. */
  readonly from: string | undefined;
  /** `--trust`. */
  readonly trust: string | undefined;
  /** `--name`. */
  readonly machine: string | undefined;
}

/** What a name means: a machine that is kept, or a snapshot of this computer. */
type Meant = { readonly kept: Kept } | { readonly snapshot: Snapshot };

export async function tryLocal(host: Host, catalogue: Catalogue, options: TryLocalOptions): Promise<number> {
  const from = beginningOf(await meantBy(catalogue, options));
  const of = `${from.name}@${from.day}`;
  const registered = await Registration.open(host, { verb: 'try', of, base: from.name, name: options.machine, keep: options.keep }, true);
  try {
    // Who waited for the name may find that its machine has written more.
    const source = await sourceOf(host, catalogue, options);
    try {
      return await new TryRun(host, source, options, registered).run();
    } finally {
      await source.close?.();
    }
  } finally {
    await registered.close();
  }
}

async function meantBy(catalogue: Catalogue, { name, keep }: TryLocalOptions): Promise<Meant> {
  const kept = keep === undefined ? undefined : await catalogue.kept(keep);
  if (!kept) return { snapshot: await catalogue.find(name) };
  const { from, base } = kept;
  const isAsked =
    from.name === name.name &&
    (name.day === 'latest' ||
      name.day === from.day ||
      base?.startsWith(name.day) ||
      (await catalogue.find(name).catch(() => undefined))?.day === from.day);
  if (isAsked) return { kept };
  throw new VmError(
    'usage',
    `--keep ${keep}: that machine is of ${from.name}@${from.day}: daybreak try ${from.name} --keep ${keep}, or keep another under another name`,
  );
}

function beginningOf(meant: Meant): Kept['from'] {
  return 'kept' in meant ? meant.kept.from : { name: meant.snapshot.name, day: meant.snapshot.day };
}

async function sourceOf(host: Host, catalogue: Catalogue, options: TryLocalOptions): Promise<TrySource> {
  const meant = await meantBy(catalogue, options);
  if ('kept' in meant) return keptSource(host, catalogue, meant.kept, options);
  const { snapshot } = meant;
  const { store } = catalogue;
  const { name, day, tree, kernel } = snapshot;
  const found = options.cold ? undefined : await catalogue.booted(snapshot);
  const why = options.cold ? undefined : found ? unfit(found, options) : `it has no booted state (daybreak build ${name} makes one)`;
  return {
    label: `${name}@${day}`,
    tree: () => catalogue.tree(snapshot),
    store,
    kernel: { version: kernel.version, read: () => store.get(kernel.digest) },
    state: found && why === undefined ? localState(store, found) : undefined,
    why,
    keep: (as, root) => keepMachine(host, catalogue, as, { from: { name, day }, base: tree, kernel }, root),
  };
}

/** Goes on with a machine that is kept. */
async function keptSource(host: Host, catalogue: Catalogue, kept: Kept, { keep, from: place, trust }: TryLocalOptions): Promise<TrySource> {
  const { from, kernel } = kept;
  const name = keep!;
  const published = place === undefined ? kept.published : await baseElsewhere(host, catalogue, name, kept, place, trust);
  const fetched = published && (await contentsBelow(host, catalogue, name, kept, published));
  const store = fetched?.store ?? catalogue.store;
  const ahead = fetched && new FetchingAhead(fetched.store, [kernel.digest, ...fetched.order]);
  return {
    label: `${name}, of ${from.name}@${from.day}`,
    tree: () => catalogue.treeOf(name, kept.tree),
    store,
    kernel: { version: kernel.version, read: () => store.get(kernel.digest) },
    state: undefined,
    why: undefined,
    keep: (as, root) => keepMachine(host, catalogue, as, { ...kept, ...(published && { published }) }, root, fetched),
    ...(ahead && { close: () => ahead.close() }),
  };
}

export function localState(store: FileChunkStore, { state, memoryBytes }: StateBytes): TryState {
  return {
    memoryBytes,
    open: async () => store.pathOf(state),
    // Damaged, it is taken away, and the next build makes it again.
    unusable: () =>
      store.get(state).then(
        () => {},
        () => {},
      ),
  };
}
