/** `daybreak try NAME[@DAY]`: a machine whose root is a snapshot's tree. What it writes goes with it. */
import { VmError } from '../base/errors.ts';
import { Catalogue, parseSnapshotName } from '../snapshots/catalogue/catalogue.ts';
import type { Snapshot } from '../snapshots/catalogue/snapshot.ts';
import { KERNEL_COMMAND_LINE } from '../snapshots/debian/kernel-command-line.ts';
import { COMMAND_INIT, commandRoot } from '../snapshots/get/command-root.ts';
import { LayeredStore } from '../snapshots/get/on-demand-store.ts';
import { originOf } from '../snapshots/get/origins.ts';
import { PublishedState } from '../snapshots/get/published-state.ts';
import { ROOT_OPTIONS, ROOT_TAG } from '../snapshots/builder/root.ts';
import { MemoryChunkStore, type ChunkStore } from '../storage/chunk-store.ts';
import { TreeFileSystem } from '../storage/tree-fs/tree-file-system.ts';
import type { Tree } from '../storage/tree.ts';
import { parseMemory, text } from './arguments.ts';
import type { Host } from './host.ts';
import { keepMachine } from './keeping.ts';
import { baseOf, FetchingAhead, orderOf } from './kept-contents.ts';
import { Registration } from './machines/registration.ts';
import { localState } from './try-local.ts';
import { TryRun, unfit, type TrySource, type TryState } from './try-run.ts';
import { formatBytes } from './messages.ts';
import { Patience, PatientStore } from './patience.ts';
import { onDemand, openPublished } from './published.ts';
import { fingerprintOf } from './publishing.ts';
import { runInTerminal, type RunInTerminal } from './run-in-terminal.ts';
import { ESCAPE_HINT } from './usage/running.ts';

const CACHE_BYTES = 4 * 1024 ** 3;
const CACHE_IN_USE_MS = 3_600_000;

interface Opened {
  readonly snapshot: Snapshot;
  readonly tree: Tree;
  readonly store: ChunkStore;
  /** Why there is no booted state, where a person would ask. */
  readonly why?: string | undefined;
  /** Of a published one. */
  readonly published?: OpenedPublished;
  /** Ends what goes on beside the machine, and tells of it. */
  close(): Promise<void>;
}

interface OpenedPublished {
  /** Unless something else was asked for. */
  readonly state: TryState | undefined;
  readonly keep: NonNullable<TrySource['keep']>;
}

/** @param keep the name under which it is to be kept, which no machine has yet */
export async function trySnapshot(host: Host, name: string, options: RunInTerminal, keep?: string): Promise<number> {
  const opened = await open(host, name, options, keep !== undefined);
  try {
    const { published } = opened;
    // What is kept is shut down from its prompt.
    return await (published && (published.state || keep !== undefined)
      ? toPrompt(host, opened, published, options, keep)
      : boot(host, opened, options));
  } finally {
    await opened.close();
  }
}

/** Goes on from the published state, or boots the whole system where that cannot be. */
async function toPrompt(
  host: Host,
  { snapshot, tree, store, why }: Opened,
  { state, keep: keeping }: OpenedPublished,
  options: RunInTerminal,
  keep: string | undefined,
): Promise<number> {
  const label = `${snapshot.name}@${snapshot.day}`;
  const { values, command, stats, watch } = options;
  const what = { verb: 'try', of: label, base: snapshot.name, name: options.name, keep } as const;
  const registered = await Registration.open(host, what, true);
  try {
    const source: TrySource = {
      label,
      tree: async () => tree,
      store,
      kernel: { version: snapshot.kernel.version, read: () => store.get(snapshot.kernel.digest) },
      state,
      why,
      keep: keeping,
      statePath: (file) => new Catalogue(host.files, host.dataDirectory).statePath(file),
    };
    const [append, accelerator] = [text(values, 'append'), text(values, 'accel')];
    const memoryBytes = text(values, 'memory') === undefined ? undefined : options.memoryBytes;
    return await new TryRun(host, source, { command, memoryBytes, append, accelerator, stats, watch }, registered).run();
  } finally {
    await registered.close();
  }
}

/** Boots to the system's own console, or a command alone. */
async function boot(host: Host, { snapshot, tree, store, why }: Opened, options: RunInTerminal): Promise<number> {
  const { values, command } = options;
  const { terminal, messages } = host;
  if (why !== undefined) messages.line(`${snapshot.name}@${snapshot.day} boots: ${why}`);
  const kernel = await store.get(snapshot.kernel.digest);
  const what = `${snapshot.name}@${snapshot.day}, Linux ${snapshot.kernel.version}, ${snapshot.packages.length} packages`;
  if (!command) messages.line(`${what}; poweroff powers off, ${ESCAPE_HINT}`);
  const size = terminal.size();
  const own = new MemoryChunkStore();
  const root = command
    ? await commandRoot(tree, own, {
        command,
        ...(size && { size }),
        ...(terminal.outputIsTerminal && host.environment['TERM'] && { term: host.environment['TERM'] }),
        plain: !(terminal.inputIsTerminal && terminal.outputIsTerminal),
      })
    : tree;
  const init = command ? COMMAND_INIT : '/usr/lib/systemd/systemd';
  const append = text(values, 'append');
  const commandLine = `${KERNEL_COMMAND_LINE} ${ROOT_OPTIONS} init=${init}${command ? '' : ' systemd.show_status=0'}`;
  return await runInTerminal(
    host,
    {
      of: snapshot,
      kernel,
      initrds: [],
      commandLine: append ? `${commandLine} ${append}` : commandLine,
      fileSystems: [{ tag: ROOT_TAG, backend: new TreeFileSystem(root, new LayeredStore(own, store)) }],
    },
    options,
    command !== undefined,
  );
}

async function open(host: Host, given: string, { values, command }: RunInTerminal, keeping: boolean): Promise<Opened> {
  const wanted = parseSnapshotName(given);
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const from = text(values, 'from');
  if (from === undefined) {
    const snapshot = await catalogue.find(wanted).catch((error: unknown) => error as VmError);
    if (!(snapshot instanceof Error))
      return { snapshot, tree: await catalogue.tree(snapshot), store: catalogue.store, close: async () => {} };
    if (!(snapshot instanceof VmError) || snapshot.code !== 'not-found') throw snapshot;
  }
  const place = from ?? (await originOf(host.files, host.stateDirectory, wanted.name));
  if (place === undefined) {
    await catalogue.find(wanted);
    throw new VmError('not-found', `there is no ${given}`);
  }
  return published(host, catalogue, given, place, values, command, keeping);
}

async function published(
  host: Host,
  catalogue: Catalogue,
  given: string,
  place: string,
  values: RunInTerminal['values'],
  command: RunInTerminal['command'],
  keeping: boolean,
): Promise<Opened> {
  const opened = await openPublished(host, given, place, fingerprintOf(text(values, 'trust')));
  const { manifest, index, snapshot, tree, fetcher, here, cache } = opened;
  const store = onDemand(opened);
  const patience = new Patience(host, place);
  const order = await orderOf(here, manifest.order);
  let ahead: FetchingAhead | undefined;
  /** A boot asks for what the publisher's asked for. */
  const fetchAhead = async (): Promise<void> => void (ahead ??= new FetchingAhead(store, order));
  const { state: bytes } = manifest;
  const cold = values['cold'] === true;
  const memory = text(values, 'memory');
  const asked = { memoryBytes: memory === undefined ? undefined : parseMemory(memory), append: text(values, 'append') };
  const why = cold ? undefined : bytes ? unfit(bytes, asked) : 'its booted state is not published';
  const usable = bytes && !cold && why === undefined ? bytes : undefined;
  const name = `the booted state of ${snapshot.name}@${snapshot.day}`;
  let going: PublishedState | undefined;
  const onPiece = (done: number, total: number): void => host.messages.progress({ step: 'booted state', done, total, unit: 'items' });
  const fetched: TryState | undefined = usable && {
    memoryBytes: usable.memoryBytes,
    async open() {
      const state = await patience.for(() => PublishedState.open(name, usable, { index, fetcher, store: here }, onPiece, host.signal));
      going = state;
      return { parts: state.parts, piece: (digest) => patience.for(() => state.piece(digest)) };
    },
    complete: async () => going && patience.for(() => going!.complete(onPiece, host.signal)),
    unusable: fetchAhead,
  };
  // A command alone asks for what it needs.
  if (!usable && (!command || keeping)) await fetchAhead();
  const beginnings = {
    from: { name: snapshot.name, day: snapshot.day },
    base: snapshot.tree,
    kernel: snapshot.kernel,
    published: baseOf(place, manifest),
  };
  return {
    snapshot,
    tree,
    store: new PatientStore(store, patience),
    ...((!command || keeping) && { why }),
    published: {
      state: usable && ((await catalogue.store.has(usable.state)) ? localState(catalogue.store, usable) : fetched),
      keep: (as, root, saved) => keepMachine(host, catalogue, as, beginnings, root, { saved, fetched: { ...opened, store, order } }),
    },
    async close() {
      await ahead?.close();
      patience.close();
      const { fetchedBytes } = fetcher.counts;
      const totalBytes = snapshot.contentBytes + (usable?.sizeBytes ?? 0);
      if (!command) host.messages.line(`${formatBytes(fetchedBytes)} of ${formatBytes(totalBytes)} were fetched (packed)`);
      await cache.prune(host.clock, () => false, CACHE_BYTES, CACHE_IN_USE_MS);
    },
  };
}
