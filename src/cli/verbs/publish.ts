/** `daybreak publish`: hands a snapshot of this computer to others, through a directory that any web server can offer. */
import { VmError } from '../../base/errors.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { Catalogue, parseSnapshotName } from '../../snapshots/catalogue/catalogue.ts';
import { KeyDirectory } from '../../snapshots/publish/keyring.ts';
import { publishSnapshot } from '../../snapshots/publish/publish.ts';
import { parseVerb, text } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { openStorage } from '../storage.ts';

const LEVEL = 9;

export const PUBLISH_HELP = `Usage: daybreak publish NAME[@DAY] PLACE [options]

Publishes a snapshot of this computer at PLACE, a directory: what is new as packs, an index, a signed list. Any web
server can offer the directory; readers see the old state or the new one, never a part. The first time, it makes keys.

Options:
  --keys DIR        the secret keys (default: XDG_DATA_HOME/daybreak/keys)
  --keep-days N     of this name, list only the N newest days from now on
  --level N         of zstd, 1 to 19 (default: ${LEVEL})
  --json            what was published, as one line of JSON
  -h, --help        this text
`;

export async function publishVerb(host: Host, args: readonly string[]): Promise<number> {
  const { values, positionals } = parseVerb('publish', args, {
    keys: { type: 'string' },
    'keep-days': { type: 'string' },
    level: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  });
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (values['help']) {
    print(PUBLISH_HELP);
    return EXIT_OK;
  }
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
  const result = await publishSnapshot(
    { clock, zstd: await nodeZstd(), progress: messages.progress, signal },
    storage,
    keys,
    catalogue,
    snapshot,
    {
      level: Number(level),
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
