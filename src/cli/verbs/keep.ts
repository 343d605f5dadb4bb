/** `daybreak keep`: makes a machine that would be thrown away one that is kept. */
import { VmError } from '../../base/errors.ts';
import { isKeptName } from '../../snapshots/catalogue/kept.ts';
import type { ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { findMachine } from '../machines/find-machine.ts';
import { MachineRegistry } from '../machines/registry.ts';

const ANSWER_MS = 15_000;

export async function keepVerb(host: Host, { positionals }: ParsedArguments): Promise<number> {
  const [word, given] = positionals;
  if (word === undefined || positionals.length > 2)
    throw new VmError('usage', 'keep: expected a machine, and the name to keep it under if that is another');
  if (given !== undefined && !isKeptName(given))
    throw new VmError('usage', `keep: ${JSON.stringify(given)} is no name: expected small letters, digits, ".", "-" and "_"`);
  const registry = new MachineRegistry(host.files, await host.runtimeDirectory());
  const entry = await findMachine(registry, word);
  const as = given ?? entry.facts.name;
  for await (const answer of registry.ask(entry, { do: 'keep', as }, ANSWER_MS, host.signal)) {
    if (answer.kind === 'refused') throw new VmError('unsupported', answer.why);
    if (answer.kind !== 'kept') continue;
    const { name, of } = answer.facts;
    host.messages.line(`${name} is kept when it ends; daybreak try ${of.split('@')[0]} --keep ${name} goes on with it then`);
    return EXIT_OK;
  }
  host.signal.throwIfAborted();
  throw new VmError('not-found', `${entry.facts.name}: its process (${entry.facts.pid}) ended without a word: it is not kept`);
}
