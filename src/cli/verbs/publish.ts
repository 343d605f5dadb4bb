/** `daybreak publish`: hands a snapshot of this computer to others, through a directory that any web server can offer, an S3 store or a container registry. */
import { VmError } from '../../base/errors.ts';
import { NodeProcesses } from '../../node/processes.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { Catalogue, parseSnapshotName } from '../../snapshots/catalogue/catalogue.ts';
import type { Snapshot } from '../../snapshots/catalogue/snapshot.ts';
import { bootTree } from '../../snapshots/builder/probe.ts';
import { RecordingStore } from '../../snapshots/get/on-demand-store.ts';
import { collect } from '../../snapshots/publish/collect.ts';
import { KeyDirectory } from '../../snapshots/publish/keyring.ts';
import { renew, rotateKey } from '../../snapshots/publish/rotate.ts';
import { publishSnapshot } from '../../snapshots/publish/publish.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { ROLES } from '../../snapshots/trust/metadata.ts';
import { openStorage } from '../storage.ts';
import { GRACE_HOURS, PACKING_LEVEL } from '../usage/publishing.ts';

export async function publishVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (values['renew'] || values['collect'] || values['rotate'] !== undefined) return maintain(host, values, positionals);
  const [name, place] = positionals;
  if (name === undefined || place === undefined || positionals.length > 2)
    throw new VmError('usage', 'publish: expected a name and a place (daybreak publish debian ./www)');
  const keepDays = text(values, 'keep-days');
  if (keepDays !== undefined && !/^[1-9]\d{0,4}$/.test(keepDays))
    throw new VmError('usage', `--keep-days ${keepDays}: expected a number from 1 on`);
  const level = text(values, 'level') ?? String(PACKING_LEVEL);
  if (!/^([1-9]|1\d)$/.test(level)) throw new VmError('usage', `--level ${level}: expected a number from 1 to 19`);
  const storage = openStorage(host, place);
  const keys = new KeyDirectory(host.files, text(values, 'keys') ?? `${host.dataDirectory}/keys`);
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const snapshot = await catalogue.find(parseSnapshotName(name));
  const first = (await storage.read('metadata/1.root.json')) === undefined;
  const { messages, clock, signal } = host;
  const order = values['record'] ? await bootOrder(host, catalogue, snapshot) : undefined;
  const result = await publishSnapshot(
    {
      clock,
      processes: await NodeProcesses.open(),
      zstd: await nodeZstd(),
      stateCodec: await nodeStateCodec(),
      progress: messages.progress,
      signal,
    },
    storage,
    keys,
    catalogue,
    snapshot,
    {
      level: Number(level),
      ...(order && { order }),
      state: values['no-state'] !== true,
      ...(keepDays !== undefined && { keepDays: Number(keepDays) }),
    },
  );
  messages.clear();
  if (values['json']) print(`${JSON.stringify({ name: snapshot.name, day: snapshot.day, ...result })}\n`);
  const what = `${snapshot.name}@${snapshot.day}`;
  const added = `${formatBytes(result.packedBytes)} new, ${result.patchCount} patches`;
  messages.line(result.known ? `${what}: there already, signed anew` : `${what}: published at ${storage.name}: ${added}`);
  for (const path of result.withdrawn) messages.line(`no longer listed: ${path.replace(/\/([^/]*)\.json$/, '@$1')}`);
  if (first) {
    messages.line(`new keys are in ${keys.directory}: keep copies, and root.json, which is seldom needed, elsewhere`);
    messages.line(`tell your readers: --trust ${result.fingerprint}`);
  }
  return EXIT_OK;
}

/** Boots it to its prompt, and notes what it asks for. */
async function bootOrder(host: Host, catalogue: Catalogue, snapshot: Snapshot): Promise<readonly string[]> {
  const store = new RecordingStore(catalogue.store);
  const machine = { ...host, progress: host.messages.progress, consoleLog: () => {}, stateCodec: nodeStateCodec, accelerator: 'auto' };
  await bootTree(machine, await catalogue.store.get(snapshot.kernel.digest), await catalogue.tree(snapshot), store);
  return store.order;
}

async function maintain(host: Host, values: ParsedArguments['values'], positionals: readonly string[]): Promise<number> {
  if (positionals.length !== 1) throw new VmError('usage', 'publish: expected one place (daybreak publish --renew ./www)');
  const storage = openStorage(host, positionals[0]!);
  const keys = new KeyDirectory(host.files, text(values, 'keys') ?? `${host.dataDirectory}/keys`);
  const { messages, clock } = host;
  const locking = { clock, processes: await NodeProcesses.open() };
  const role = text(values, 'rotate');
  if (role !== undefined) {
    const found = ROLES.find((one) => one === role);
    if (!found) throw new VmError('usage', `--rotate ${role}: expected ${ROLES.join(', ')}`);
    await rotateKey(storage, keys, locking, found);
    messages.line(`${storage.name}: the role ${role} has a new key; the old one counts no more`);
  } else if (values['renew']) {
    await renew(storage, keys, locking);
    messages.line(`${storage.name}: signed anew`);
  } else {
    const grace = text(values, 'grace') ?? String(GRACE_HOURS);
    if (!/^\d{1,5}$/.test(grace)) throw new VmError('usage', `--grace ${grace}: expected a number of hours`);
    const result = await collect(storage, locking, { graceMs: Number(grace) * 3_600_000, evenMuch: values['even-much'] === true });
    if (values['json']) host.terminal.write(new TextEncoder().encode(`${JSON.stringify(result)}\n`));
    const { removed, removedBytes, waiting, keptBytes } = result;
    messages.line(
      `${storage.name}: removed ${removed} files of ${formatBytes(removedBytes)}; ${waiting} wait; ${formatBytes(keptBytes)} are left`,
    );
    if (storage.remark !== undefined) messages.line(`${storage.name}: ${storage.remark}`);
  }
  return EXIT_OK;
}
