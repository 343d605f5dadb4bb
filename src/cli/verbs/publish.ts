/** `daybreak publish`: hands a snapshot of this computer to others, through a directory that any web server can offer. */
import { VmError } from '../../base/errors.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { Catalogue, parseSnapshotName } from '../../snapshots/catalogue/catalogue.ts';
import type { Snapshot } from '../../snapshots/catalogue/snapshot.ts';
import { probeTree } from '../../snapshots/builder/probe.ts';
import { RecordingStore } from '../../snapshots/get/on-demand-store.ts';
import { collect } from '../../snapshots/publish/collect.ts';
import { KeyDirectory } from '../../snapshots/publish/keyring.ts';
import { renew, rotateKey } from '../../snapshots/publish/rotate.ts';
import { publishSnapshot } from '../../snapshots/publish/publish.ts';
import { parseVerb, text, type ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { ROLES } from '../../snapshots/trust/metadata.ts';
import { openStorage } from '../storage.ts';

const LEVEL = 9;
const GRACE_HOURS = 48;

export const PUBLISH_HELP = `Usage: daybreak publish NAME[@DAY] PLACE [options]
       daybreak publish --renew|--collect|--rotate ROLE PLACE [options]

Publishes a snapshot of this computer at PLACE, a directory or s3://BUCKET/PREFIX: what is new as packs, an index, a
signed list. Any web server can offer the directory; readers see the old state or the new one, never a part. The first
time, it makes keys.

Options:
  --keys DIR        the secret keys (default: XDG_DATA_HOME/daybreak/keys)
  --keep-days N     of this name, list only the N newest days from now on
  --level N         of zstd, 1 to 19 (default: ${LEVEL})
  --record          boot it once, and publish in which order it asks for its contents: those are fetched ahead
  --renew           nothing new: sign what is published there for another while
  --rotate ROLE     give root, targets, snapshot or timestamp a new key; needs the root's
  --collect         remove what no listed day has needed for a while, unless that is more than half
  --grace HOURS     of --collect: how long (default: ${GRACE_HOURS})
  --even-much       of --collect: also when it is more than half
  --json            what was published, as one line of JSON
  -h, --help        this text
`;

export async function publishVerb(host: Host, args: readonly string[]): Promise<number> {
  const { values, positionals } = parseVerb('publish', args, {
    keys: { type: 'string' },
    'keep-days': { type: 'string' },
    level: { type: 'string' },
    record: { type: 'boolean' },
    renew: { type: 'boolean' },
    rotate: { type: 'string' },
    collect: { type: 'boolean' },
    grace: { type: 'string' },
    'even-much': { type: 'boolean' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  });
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (values['help']) {
    print(PUBLISH_HELP);
    return EXIT_OK;
  }
  if (values['renew'] || values['collect'] || values['rotate'] !== undefined) return maintain(host, values, positionals);
  const [name, place] = positionals;
  if (name === undefined || place === undefined || positionals.length > 2)
    throw new VmError('usage', 'publish: expected a name and a place (daybreak publish debian ./www)');
  const keepDays = text(values, 'keep-days');
  if (keepDays !== undefined && !/^[1-9]\d{0,4}$/.test(keepDays))
    throw new VmError('usage', `--keep-days ${keepDays}: expected a number from 1 on`);
  const level = text(values, 'level') ?? String(LEVEL);
  if (!/^([1-9]|1\d)$/.test(level)) throw new VmError('usage', `--level ${level}: expected a number from 1 to 19`);
  const storage = openStorage(host, place);
  const keys = new KeyDirectory(host.files, text(values, 'keys') ?? `${host.dataDirectory}/keys`);
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const snapshot = await catalogue.find(parseSnapshotName(name));
  const first = (await storage.read('metadata/1.root.json')) === undefined;
  const { messages, clock, signal } = host;
  const order = values['record'] ? await bootOrder(host, catalogue, snapshot) : undefined;
  const result = await publishSnapshot(
    { clock, zstd: await nodeZstd(), progress: messages.progress, signal },
    storage,
    keys,
    catalogue,
    snapshot,
    {
      level: Number(level),
      ...(order && { order }),
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
  const machine = { ...host, progress: host.messages.progress, consoleLog: () => {}, accelerator: 'auto' };
  await probeTree(machine, await catalogue.store.get(snapshot.kernel.digest), await catalogue.tree(snapshot), store, []);
  return store.order;
}

async function maintain(host: Host, values: ParsedArguments['values'], positionals: readonly string[]): Promise<number> {
  if (positionals.length !== 1) throw new VmError('usage', 'publish: expected one place (daybreak publish --renew ./www)');
  const storage = openStorage(host, positionals[0]!);
  const keys = new KeyDirectory(host.files, text(values, 'keys') ?? `${host.dataDirectory}/keys`);
  const { messages, clock } = host;
  const role = text(values, 'rotate');
  if (role !== undefined) {
    const found = ROLES.find((one) => one === role);
    if (!found) throw new VmError('usage', `--rotate ${role}: expected ${ROLES.join(', ')}`);
    await rotateKey(storage, keys, clock, found);
    messages.line(`${storage.name}: the role ${role} has a new key; the old one counts no more`);
  } else if (values['renew']) {
    await renew(storage, keys, clock);
    messages.line(`${storage.name}: signed anew`);
  } else {
    const grace = text(values, 'grace') ?? String(GRACE_HOURS);
    if (!/^\d{1,5}$/.test(grace)) throw new VmError('usage', `--grace ${grace}: expected a number of hours`);
    const result = await collect(storage, clock, { graceMs: Number(grace) * 3_600_000, evenMuch: values['even-much'] === true });
    if (values['json']) host.terminal.write(new TextEncoder().encode(`${JSON.stringify(result)}\n`));
    const { removed, removedBytes, waiting, keptBytes } = result;
    messages.line(
      `${storage.name}: removed ${removed} files of ${formatBytes(removedBytes)}; ${waiting} wait; ${formatBytes(keptBytes)} are left`,
    );
  }
  return EXIT_OK;
}
