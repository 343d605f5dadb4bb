/** `daybreak try`: a snapshot, or today's Debian unstable, in a machine that is thrown away. */
import { VmError } from '../../base/errors.ts';
import type { Files } from '../../platform/files.ts';
import { Catalogue, parseSnapshotName } from '../../snapshots/catalogue/catalogue.ts';
import { isKeptName } from '../../snapshots/catalogue/kept.ts';
import { DEFAULT_MIRROR, mirrorFromSources } from '../../snapshots/debian/apt-sources.ts';
import { KERNEL_COMMAND_LINE, prepareDebian } from '../../snapshots/debian/prepare.ts';
import { readKeyring } from '../../snapshots/debian/release.ts';
import { runArchive } from '../../snapshots/debian/run-archive.ts';
import { parseMemory, text, type ParsedArguments } from '../arguments.ts';
import { watchCompiler } from '../compiler-watch.ts';
import type { Host } from '../host.ts';
import { machineName } from '../machines/registration.ts';
import { runInTerminal, type RunInTerminal } from '../run-in-terminal.ts';
import { statsFormat } from '../stats.ts';
import { tryLocal } from '../try-local.ts';
import { trySnapshot } from '../try-snapshot.ts';
import { ESCAPE_HINT } from '../usage/running.ts';

const SUITE = 'unstable';
const KEYRINGS = ['/usr/share/keyrings/debian-archive-keyring.pgp', '/usr/share/keyrings/debian-archive-keyring.gpg'];

export async function tryVerb(host: Host, { values, positionals, command }: ParsedArguments): Promise<number> {
  if (positionals.length !== 1) throw new VmError('usage', 'try: expected one name (daybreak try debian)');
  const name = positionals[0]!;
  if (command?.length === 0) throw new VmError('usage', 'try: expected a command behind --');
  const keep = text(values, 'keep');
  if (keep !== undefined && !isKeptName(keep))
    throw new VmError('usage', `--keep ${keep}: expected a name of small letters, digits, ".", "-" and "_"`);
  const memory = text(values, 'memory');
  const memoryBytes = memory === undefined ? undefined : parseMemory(memory);
  const stats = statsFormat(values);
  const machine = machineName(text(values, 'name'));
  if (machine !== undefined && keep !== undefined)
    throw new VmError('usage', `--name ${machine}: a machine that is kept has the name of --keep`);
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const kind = await kindOf(catalogue, name, values, command);
  const watch = await watchCompiler(host.files, values);
  try {
    if (kind === 'local') {
      const [append, accelerator] = [text(values, 'append'), text(values, 'accel')];
      const cold = values['cold'] === true;
      return await tryLocal(host, catalogue, {
        name: parseSnapshotName(name),
        command,
        cold,
        keep,
        machine,
        memoryBytes,
        append,
        accelerator,
        stats,
        watch,
      });
    }
    const userland = kind === 'userland';
    const options = { values, command, name: machine, memoryBytes: memoryBytes ?? (userland ? 512 : 1024) * 2 ** 20, stats, watch };
    return await (userland ? tryDebian(host, options) : trySnapshot(host, name, options));
  } finally {
    await watch.close();
  }
}

/**
 * `userland`: a console that is made of packages on the spot; `local`: a snapshot of this computer, resumed or booted to its shell;
 * `alone`: a published snapshot, or a command without a system around it.
 */
async function kindOf(
  catalogue: Catalogue,
  name: string,
  values: ParsedArguments['values'],
  command: readonly string[] | undefined,
): Promise<'userland' | 'local' | 'alone'> {
  const wanted = parseSnapshotName(name);
  const given = (options: readonly string[]) => options.find((option) => values[option] !== undefined);
  const [fetching, own] = [given(['mirror', 'offline', 'strict', 'allow-older']), given(['keep', 'cold'])];
  const other = fetching ?? given(['from']);
  if (own !== undefined && other !== undefined && !(own === 'cold' && other === 'from'))
    throw new VmError('usage', `--${own} is for a snapshot of this computer: leave --${other} out`);
  if (given(['from']) !== undefined) return 'alone';
  if (name === 'debian' && fetching !== undefined) return 'userland';
  // What is kept outlives its snapshot.
  if (values['keep'] !== undefined) return 'local';
  const snapshot = await catalogue.find(wanted).catch((error: unknown) => {
    if (error instanceof VmError && error.code === 'not-found') return undefined;
    throw error;
  });
  if (!snapshot) return name === 'debian' && own === undefined ? 'userland' : 'alone';
  return command === undefined || own !== undefined || (await catalogue.booted(snapshot)) ? 'local' : 'alone';
}

async function tryDebian(host: Host, options: RunInTerminal): Promise<number> {
  const { values, command } = options;
  const mirror = (text(values, 'mirror') ?? (await systemMirror(host.files)) ?? DEFAULT_MIRROR).replace(/\/+$/, '');
  const image = await prepareDebian(
    host,
    {
      mirror,
      suite: SUITE,
      keyring: await readKeyring([...(await systemKeyring(host.files)), host.archiveKeys]),
      strict: values['strict'] === true,
      allowOlder: values['allow-older'] === true,
      offline: values['offline'] === true,
      cacheDirectory: `${host.cacheDirectory}/debian`,
      stateDirectory: `${host.stateDirectory}/debian`,
    },
    host.messages.progress,
    host.signal,
  );
  host.signal.throwIfAborted();
  const { terminal, messages } = host;
  const size = terminal.size();
  const person = terminal.inputIsTerminal && terminal.outputIsTerminal;
  const run = await runArchive({
    ...(command && { command }),
    ...(size && { size }),
    ...(terminal.outputIsTerminal && host.environment['TERM'] && { term: host.environment['TERM'] }),
    plain: !person,
  });
  if (!command) {
    messages.line(
      `Debian ${SUITE} of ${image.date}, Linux ${image.kernelVersion}, ${image.packageCount} packages; exit powers off, ${ESCAPE_HINT}`,
    );
    messages.line('a small system, fetched; daybreak build debian makes the full one, which then starts by the same name');
  }
  const append = text(values, 'append');
  return runInTerminal(
    host,
    {
      of: { name: 'debian', day: image.date },
      kernel: image.kernel,
      initrds: [image.initramfs, run],
      commandLine: append ? `${KERNEL_COMMAND_LINE} ${append}` : KERNEL_COMMAND_LINE,
    },
    options,
    true,
  );
}

/** The mirror that this system's apt uses, if it is a Debian. */
export async function systemMirror(files: Files): Promise<string | undefined> {
  const directory = '/etc/apt/sources.list.d';
  const names = (await files.list(directory)).filter((name) => /\.(list|sources)$/.test(name));
  const found: [string, string][] = [];
  for (const path of ['/etc/apt/sources.list', ...names.map((name) => `${directory}/${name}`)]) {
    const data = await files.read(path).catch(() => undefined);
    if (data) found.push([path, new TextDecoder().decode(data)]);
  }
  return mirrorFromSources(found);
}

/** The archive keys that this system trusts, if it is a Debian. */
export async function systemKeyring(files: Files): Promise<Uint8Array[]> {
  for (const path of KEYRINGS) {
    const data = await files.read(path).catch(() => undefined);
    if (data) return [data];
  }
  return [];
}
