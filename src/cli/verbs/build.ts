/** `daybreak build`: a snapshot of a recipe. */
import { VmError } from '../../base/errors.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { buildSnapshot } from '../../snapshots/builder/build.ts';
import { Catalogue } from '../../snapshots/catalogue/catalogue.ts';
import { DEFAULT_MIRROR } from '../../snapshots/debian/apt-sources.ts';
import { readKeyring } from '../../snapshots/debian/release.ts';
import { loadRecipe } from '../../snapshots/recipe/load.ts';
import { parseLock, printLock } from '../../snapshots/recipe/lock.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { systemKeyring, systemMirror } from '../system-debian.ts';

/** Of zstd's compression: a booted state is made once, and fetched by many. */
const STATE_LEVEL = 9;

export async function buildVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (positionals.length !== 1) throw new VmError('usage', 'build: expected one name or file (daybreak build debian)');
  const { files, messages } = host;
  const recipe = await loadRecipe(files, host.recipeDirectory, positionals[0]!);
  const lockPath = text(values, 'lock');
  const lockData = lockPath === undefined ? undefined : await files.read(lockPath);
  if (lockPath !== undefined && !lockData) throw new VmError('not-found', `--lock ${lockPath}: there is no such file`);
  const catalogue = new Catalogue(files, host.dataDirectory);
  const logPath = text(values, 'log');
  const log = logPath === undefined ? undefined : await files.append(logPath, 0);
  let logged: Promise<void> = Promise.resolve();
  try {
    const { snapshot, known } = await buildSnapshot(
      {
        ...host,
        progress: messages.progress,
        stateCodec: () => nodeStateCodec(STATE_LEVEL),
        consoleLog: (data) => {
          if (log) logged = logged.then(() => log.write(data));
        },
        accelerator: text(values, 'accel') ?? 'auto',
      },
      catalogue,
      recipe,
      {
        archive: {
          mirror: (text(values, 'mirror') ?? (await systemMirror(files)) ?? DEFAULT_MIRROR).replace(/\/+$/, ''),
          keyring: await readKeyring([...(await systemKeyring(files)), host.archiveKeys]),
          strict: values['strict'] === true,
          allowOlder: values['allow-older'] === true,
          offline: values['offline'] === true,
          cacheDirectory: `${host.cacheDirectory}/debian`,
          stateDirectory: `${host.stateDirectory}/debian`,
        },
        ...(lockData && { lock: parseLock(lockPath!, new TextDecoder().decode(lockData)) }),
        force: values['force'] === true,
        probe: values['no-probe'] !== true,
      },
    );
    messages.clear();
    const writeLock = text(values, 'write-lock');
    if (writeLock !== undefined) await files.write(writeLock, new TextEncoder().encode(printLock(snapshot.lock)));
    if (values['json']) print(`${JSON.stringify(snapshot)}\n`);
    const { name, day, tree, packages, contentBytes } = snapshot;
    const what = `${name}@${day}: ${packages.length} packages, ${formatBytes(contentBytes)}, tree ${tree.slice(0, 16)}`;
    messages.line(known ? `${what}: there already` : what);
    return EXIT_OK;
  } finally {
    await logged.catch(() => {});
    await log?.close();
  }
}
