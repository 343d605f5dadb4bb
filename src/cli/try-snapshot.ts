/** `daybreak try NAME[@DAY]`: a machine whose root is a snapshot's tree. What it writes goes with it. */
import { VmError } from '../base/errors.ts';
import { Catalogue, parseSnapshotName } from '../snapshots/catalogue/catalogue.ts';
import type { Snapshot } from '../snapshots/catalogue/snapshot.ts';
import { KERNEL_COMMAND_LINE } from '../snapshots/debian/prepare.ts';
import { COMMAND_INIT, commandRoot } from '../snapshots/get/command-root.ts';
import { LayeredStore, OnDemandStore } from '../snapshots/get/on-demand-store.ts';
import { originOf } from '../snapshots/get/origins.ts';
import { ROOT_OPTIONS, ROOT_TAG } from '../snapshots/builder/root.ts';
import { MemoryChunkStore, type ChunkStore } from '../storage/chunk-store.ts';
import { TreeFileSystem } from '../storage/tree-fs/tree-file-system.ts';
import type { Tree } from '../storage/tree.ts';
import { text } from './arguments.ts';
import type { Host } from './host.ts';
import { formatBytes } from './messages.ts';
import { openPublished } from './published.ts';
import { fingerprintOf } from './publishing.ts';
import { runInTerminal, type RunInTerminal } from './run-in-terminal.ts';
import { ESCAPE_HINT } from './usage/running.ts';

/** Contents that were fetched for machines, and that no snapshot of this computer has. */
const CACHE_BYTES = 4 * 1024 ** 3;
const CACHE_IN_USE_MS = 3_600_000;

interface Opened {
  readonly snapshot: Snapshot;
  readonly tree: Tree;
  readonly store: ChunkStore;
  /** Ends what goes on beside the machine, and tells of it. */
  close(): Promise<void>;
}

export async function trySnapshot(host: Host, name: string, options: RunInTerminal): Promise<number> {
  const { values, command } = options;
  const { snapshot, tree, store, close } = await open(host, name, options);
  try {
    const { terminal, messages } = host;
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
  } finally {
    await close();
  }
}

async function open(host: Host, given: string, { values, command }: RunInTerminal): Promise<Opened> {
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
  const published = await openPublished(host, given, place, fingerprintOf(text(values, 'trust')));
  const { manifest, index, snapshot, tree, fetcher, here, cache } = published;
  const store = new OnDemandStore(here, index, fetcher);
  const order =
    manifest.order === undefined
      ? []
      : new TextDecoder()
          .decode(await here.get(manifest.order))
          .split('\n')
          .filter(Boolean);
  const abort = new AbortController();
  // A command asks for what it needs; a boot asks for what the publisher's asked for. What goes wrong, the guest's own request tells.
  const ahead = store.fetchAhead(command ? [] : order, abort.signal).catch(() => {});
  return {
    snapshot,
    tree,
    store,
    async close() {
      abort.abort();
      await ahead;
      const { fetchedBytes } = fetcher.counts;
      if (!command) host.messages.line(`${formatBytes(fetchedBytes)} of ${formatBytes(snapshot.contentBytes)} were fetched (packed)`);
      await cache.prune(host.clock, () => false, CACHE_BYTES, CACHE_IN_USE_MS);
    },
  };
}
