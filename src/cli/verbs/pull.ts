/** `daybreak pull` and `daybreak update`: bring published days to this computer. */
import { VmError } from '../../base/errors.ts';
import { Catalogue, parseSnapshotName } from '../../snapshots/catalogue/catalogue.ts';
import { pull, type PullOptions, type PullResult } from '../../snapshots/get/pull.ts';
import { openSource } from '../../snapshots/get/open-source.ts';
import { originOf, origins, rememberOrigin } from '../../snapshots/get/origins.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_FAILURE, EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { formatBytes } from '../messages.ts';
import { lastingPlace } from '../published.ts';
import { fingerprintOf, pullHost, pullOptions } from '../publishing.ts';

export async function pullVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  if (positionals.length !== 1) throw new VmError('usage', 'pull: expected one name (daybreak pull debian --from https://…)');
  const wanted = parseSnapshotName(positionals[0]!);
  const from = text(values, 'from');
  const place = from === undefined ? await originOf(host.files, host.stateDirectory, wanted.name) : lastingPlace(from);
  if (place === undefined) throw new VmError('usage', `pull: nothing says where ${wanted.name} comes from: name the place with --from`);
  const options = { ...(await pullOptions(host, place, fingerprintOf(text(values, 'trust')))), state: values['no-state'] !== true };
  await pullOne(host, place, positionals[0]!, options, values['json'] === true);
  return EXIT_OK;
}

export async function updateVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const known = await origins(host.files, host.stateDirectory);
  for (const name of positionals) {
    if (!known.has(name))
      throw new VmError('not-found', `update: ${name} was never pulled here (pulled: ${[...known.keys()].join(', ') || 'nothing'})`);
  }
  const names = positionals.length > 0 ? positionals : [...known.keys()];
  if (names.length === 0) host.messages.line('nothing was pulled here yet: daybreak pull NAME --from PLACE');
  let status = EXIT_OK;
  for (const name of names) {
    try {
      const place = known.get(name)!;
      const options = { ...(await pullOptions(host, place, undefined)), ...(values['no-state'] === true && { state: false }) };
      await pullOne(host, place, name, options, values['json'] === true);
    } catch (error) {
      if (!(error instanceof VmError) || host.signal.aborted) throw error;
      // The others may be well.
      host.messages.error(error.message);
      status = EXIT_FAILURE;
    }
  }
  return status;
}

async function pullOne(host: Host, place: string, name: string, options: PullOptions, json: boolean): Promise<void> {
  const source = openSource(host, place);
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const result = await pull(source, catalogue, parseSnapshotName(name), await pullHost(host), options);
  await rememberOrigin(host.files, host.stateDirectory, result.snapshot.name, place);
  host.messages.clear();
  const { snapshot, ...counts } = result;
  if (json)
    host.terminal.write(
      new TextEncoder().encode(`${JSON.stringify({ name: snapshot.name, day: snapshot.day, tree: snapshot.tree, ...counts })}\n`),
    );
  host.messages.line(tell(result));
}

function tell({ snapshot, totalBytes, reusedBytes, fetchedBytes, patched, known }: PullResult): string {
  const what = `${snapshot.name}@${snapshot.day}`;
  if (known) return `${what}: there already`;
  const patches = patched > 0 ? ` (${patched} contents by patches)` : '';
  return `${what}: ${formatBytes(reusedBytes)} of ${formatBytes(totalBytes)} were here, ${formatBytes(fetchedBytes)} fetched${patches}`;
}
