/** `daybreak try`: a snapshot, or today's Debian unstable, in a machine that is thrown away. */
import { VmError } from '../../base/errors.ts';
import { Catalogue, parseSnapshotName } from '../../snapshots/catalogue/catalogue.ts';
import { isKeptName } from '../../snapshots/catalogue/kept.ts';
import { parseMemory, text, type ParsedArguments } from '../arguments.ts';
import { watchCompiler } from '../compiler-watch.ts';
import type { Host } from '../host.ts';
import { machineName } from '../machines/registration.ts';
import { fingerprintOf } from '../publishing.ts';
import { statsFormat } from '../stats.ts';
import { tryLocal } from '../try-local.ts';
import { trySnapshot } from '../try-snapshot.ts';

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
        from: text(values, 'from'),
        trust: fingerprintOf(text(values, 'trust')),
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
    if (!userland) return await trySnapshot(host, name, options, keep);
    // OpenPGP and what reads packages are large: whoever has a snapshot does not wait for them.
    const { tryDebian } = await import('../try-debian.ts');
    return await tryDebian(host, options);
  } finally {
    await watch.close();
  }
}

/**
 * `userland`: a console that is made of packages on the spot; `local`: a snapshot of this computer, or a machine that is kept, resumed or
 * booted to its shell; `alone`: a published snapshot, or a command without a system around it.
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
  if (own !== undefined && fetching !== undefined) throw new VmError('usage', `--${own} is for snapshots: leave --${fetching} out`);
  const keep = text(values, 'keep');
  // What is kept outlives its snapshot.
  if (keep !== undefined && (await catalogue.kept(keep))) return 'local';
  if (given(['from']) !== undefined) return 'alone';
  if (name === 'debian' && fetching !== undefined) return 'userland';
  const snapshot = await catalogue.find(wanted).catch((error: unknown) => {
    if (error instanceof VmError && error.code === 'not-found') return undefined;
    throw error;
  });
  if (!snapshot) return name === 'debian' && own === undefined ? 'userland' : 'alone';
  return command === undefined || own !== undefined || (await catalogue.booted(snapshot)) ? 'local' : 'alone';
}
