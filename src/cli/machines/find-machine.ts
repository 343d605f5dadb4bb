/** The machine that a person means by a word: its name, or its process. */
import { VmError } from '../../base/errors.ts';
import { isKeptName } from '../../snapshots/catalogue/kept.ts';
import { nearest } from '../nearest.ts';
import type { MachineRegistry, RunningMachineEntry } from './registry.ts';

/** Rejects with `not-found`, which tells what runs. */
export async function findMachine(registry: MachineRegistry, word: string): Promise<RunningMachineEntry> {
  const named = isKeptName(word) ? await registry.find(word) : undefined;
  if (named) return named;
  const running = await registry.list();
  const found = running.find(({ facts }) => String(facts.pid) === word);
  if (found) return found;
  const names = running.map(({ facts }) => facts.name);
  const meant = nearest(word, names);
  const what = names.length === 0 ? 'none runs' : meant === undefined ? `there is ${names.join(', ')}` : `did you mean ${meant}?`;
  throw new VmError('not-found', `no machine ${JSON.stringify(word)} runs (${what})`);
}
