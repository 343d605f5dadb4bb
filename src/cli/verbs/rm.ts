/** `daybreak rm`: removes kept machines. */
import { VmError } from '../../base/errors.ts';
import { Catalogue } from '../../snapshots/catalogue/catalogue.ts';
import { isKeptName } from '../../snapshots/catalogue/kept.ts';
import type { ParsedArguments } from '../arguments.ts';
import { EXIT_FAILURE, EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { noKept } from '../machines/kept-machines.ts';
import { MachineRegistry } from '../machines/registry.ts';

export async function rmVerb(host: Host, { positionals }: ParsedArguments): Promise<number> {
  if (positionals.length === 0) throw new VmError('usage', 'rm: expected names of kept machines (daybreak ps --all tells which there are)');
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const registry = new MachineRegistry(host.files, await host.runtimeDirectory());
  let status = EXIT_OK;
  let removed = false;
  for (const name of new Set(positionals)) {
    try {
      await remove(catalogue, registry, name);
      removed = true;
      host.messages.line(`${name} is removed`);
    } catch (error) {
      if (!(error instanceof VmError)) throw error;
      // The others are to be removed all the same.
      host.messages.error(error.message);
      status = EXIT_FAILURE;
    }
  }
  if (removed) host.messages.line('daybreak prune frees what only they needed');
  return status;
}

async function remove(catalogue: Catalogue, registry: MachineRegistry, name: string): Promise<void> {
  const running = isKeptName(name) ? await registry.find(name) : undefined;
  if (running)
    throw new VmError(
      'unsupported',
      running.facts.kept
        ? `${name} runs (process ${running.facts.pid}): daybreak stop ${name} first`
        : `${name} runs, and nothing of it is kept: daybreak stop ${name} ends it`,
    );
  if (isKeptName(name) && (await catalogue.dropKept(name))) return;
  throw await noKept(catalogue, name);
}
