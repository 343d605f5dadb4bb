/** `daybreak try` of a snapshot on this computer, or of a machine that is kept: goes on from the booted state, or boots, over its tree. */
import { VmError, type ErrorCode } from '../base/errors.ts';
import type { StateBytes } from '../snapshots/catalogue/booted.ts';
import type { Catalogue, SnapshotName } from '../snapshots/catalogue/catalogue.ts';
import type { Kept, KeptState } from '../snapshots/catalogue/kept.ts';
import type { FileChunkStore } from '../storage/file-chunk-store.ts';
import type { Snapshot } from '../snapshots/catalogue/snapshot.ts';
import type { Host } from './host.ts';
import { keepMachine } from './keeping.ts';
import { baseElsewhere, contentsBelow, FetchingAhead } from './kept-contents.ts';
import { Registration } from './machines/registration.ts';
import { Patience, PatientStore } from './patience.ts';
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
    keep: (as, root, saved) => keepMachine(host, catalogue, as, { from: { name, day }, base: tree, kernel }, root, { saved }),
    statePath: (file) => catalogue.statePath(file),
  };
}

/** Goes on with a machine that is kept. */
async function keptSource(host: Host, catalogue: Catalogue, kept: Kept, options: TryLocalOptions): Promise<TrySource> {
  const { keep, from: place, trust, cold, command } = options;
  const { from, kernel } = kept;
  const name = keep!;
  const published = place === undefined ? kept.published : await baseElsewhere(host, catalogue, name, kept, place, trust);
  const fetched = published && (await contentsBelow(host, catalogue, name, kept, published));
  const patience = published && new Patience(host, published.place);
  const store = fetched && patience ? new PatientStore(fetched.store, patience) : catalogue.store;
  const state = cold ? undefined : kept.state;
  // Its console is taken by what it was saved with.
  const why =
    state && (command ? 'it was saved with a shell at its console, which a command needs' : unfit(state, options, 'its saved state'));
  if (why !== undefined) throw notAgain(name, from.name, 'usage', why);
  const ahead = fetched && !state ? new FetchingAhead(fetched.store, [kernel.digest, ...fetched.order]) : undefined;
  return {
    label: `${name}, of ${from.name}@${from.day}`,
    tree: () => catalogue.treeOf(name, kept.tree),
    store,
    kernel: { version: kernel.version, read: () => store.get(kernel.digest) },
    state: state && savedState(catalogue, name, from.name, state),
    again: state,
    why: undefined,
    keep: (as, root, saved) => keepMachine(host, catalogue, as, { ...kept, ...(published && { published }) }, root, { saved, fetched }),
    statePath: (file) => catalogue.statePath(file),
    async close() {
      patience?.close();
      await ahead?.close();
    },
  };
}

/** A session that somebody has saved is not given up unless he says so. */
function notAgain(name: string, of: string, code: ErrorCode, why: string): VmError {
  return new VmError(
    code,
    `${name} cannot go on where it was: ${why}; daybreak try ${of} --keep ${name} --cold gives its session up, and boots it from the files that it had written`,
  );
}

function savedState(catalogue: Catalogue, name: string, of: string, { file, memoryBytes, over }: KeptState): TryState {
  return {
    memoryBytes,
    tree: () => catalogue.treeOf(name, over),
    open: async () => catalogue.statePath(file),
    async unusable(error) {
      throw notAgain(name, of, error.code, error.message);
    },
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
