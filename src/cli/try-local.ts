/** `daybreak try` of a snapshot on this computer: a machine that goes on from the booted state, or boots, over its tree. */
import { VmError } from '../base/errors.ts';
import type { StateBytes } from '../snapshots/catalogue/booted.ts';
import type { Catalogue, SnapshotName } from '../snapshots/catalogue/catalogue.ts';
import type { Kept } from '../snapshots/catalogue/kept.ts';
import type { FileChunkStore } from '../storage/file-chunk-store.ts';
import type { Host } from './host.ts';
import { Registration } from './machines/registration.ts';
import { TryRun, unfit, type TryRunOptions, type TrySource, type TryState } from './try-run.ts';

export interface TryLocalOptions extends TryRunOptions {
  readonly name: SnapshotName;
  /** Boot, though there is a booted state. */
  readonly cold: boolean;
  /** Go on with the machine kept under this name, and keep it. */
  readonly keep: string | undefined;
  /** `--name`. */
  readonly machine: string | undefined;
}

interface LocalSource extends TrySource {
  readonly from: Kept['from'];
}

export async function tryLocal(host: Host, catalogue: Catalogue, options: TryLocalOptions): Promise<number> {
  const source = await sourceOf(host, catalogue, options);
  const { from } = source;
  const of = `${from.name}@${from.day}`;
  const registered = await Registration.open(host, { verb: 'try', of, base: from.name, name: options.machine, keep: options.keep }, true);
  try {
    // Who waited for the name may find that its machine has written more.
    const now = options.keep === undefined ? source : await sourceOf(host, catalogue, options);
    return await new TryRun(host, now, options, registered).run();
  } finally {
    await registered.close();
  }
}

async function sourceOf(host: Host, catalogue: Catalogue, options: TryLocalOptions): Promise<LocalSource> {
  const { name, keep } = options;
  const { store } = catalogue;
  const made = (
    label: string,
    { from, tree, kernel }: Omit<Kept, 'format'>,
    state: TryState | undefined,
    why: string | undefined,
  ): LocalSource => ({
    label,
    from,
    tree: () => catalogue.treeOf(label, tree),
    store,
    kernel: { version: kernel.version, read: () => store.get(kernel.digest) },
    state,
    why,
    async keep(name, root) {
      const left = await catalogue.putTree(await root.seal(store));
      await catalogue.keep(name, { format: 1, from, tree: left, kernel });
      host.messages.line(`kept as ${name}: daybreak try ${from.name} --keep ${name} goes on with it`);
    },
  });
  const kept = keep === undefined ? undefined : await catalogue.kept(keep);
  if (kept) {
    const { from } = kept;
    const asked = name.day === 'latest' ? from.day : (await catalogue.find(name)).day;
    if (from.name !== name.name || from.day !== asked)
      throw new VmError('usage', `--keep ${keep}: that machine is of ${from.name}@${from.day}: daybreak try ${from.name} --keep ${keep}`);
    return made(`${keep}, of ${from.name}@${from.day}`, kept, undefined, undefined);
  }
  const snapshot = await catalogue.find(name);
  const { day, tree, kernel } = snapshot;
  const found = options.cold ? undefined : await catalogue.booted(snapshot);
  const why = options.cold ? undefined : found ? unfit(found, options) : `it has no booted state (daybreak build ${name.name} makes one)`;
  const state = found && why === undefined ? localState(store, found) : undefined;
  return made(`${snapshot.name}@${day}`, { from: { name: snapshot.name, day }, tree, kernel }, state, why);
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
