/** `daybreak stop`: asks machines to power off, and pulls the plug of those that do not. */
import { resolve } from 'node:path';
import { VmError } from '../../base/errors.ts';
import { text, type ParsedArguments } from '../arguments.ts';
import { EXIT_FAILURE, EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { findMachine } from '../machines/find-machine.ts';
import type { Answer, Request } from '../machines/protocol.ts';
import { MachineRegistry, type RunningMachineEntry } from '../machines/registry.ts';
import { formatBytes } from '../messages.ts';
import { STOP_SECONDS } from '../usage/running.ts';

/** Beyond the time that the guest has: what a machine writes when it is kept or saved takes its time, too. */
const ENDING_MS = 10 * 60_000;
/** A process that has not answered in so long is stuck. */
const ANSWER_MS = 15_000;
/** Each takes two seconds when there is no answer. */
const ATTEMPTS = 5;

export async function stopVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const all = values['all'] === true;
  if (all === positionals.length > 0)
    throw new VmError('usage', 'stop: expected names, or --all for every machine (daybreak ps tells what runs)');
  const save = values['save'] === true;
  const timeoutMs = timeoutOf(text(values, 'timeout'), values['now'] === true);
  const registry = new MachineRegistry(host.files, await host.runtimeDirectory());
  let names: readonly string[] = [...new Set(positionals)];
  let path: string | undefined;
  // A machine of "boot" is saved to a file, one of "try" is kept under its name.
  if (save && positionals.length === 2 && (await findMachine(registry, positionals[0]!)).facts.verb === 'boot') {
    names = [positionals[0]!];
    path = resolve(positionals[1]!);
  }
  const stopOne = async (find: () => Promise<RunningMachineEntry>): Promise<boolean> => {
    try {
      const entry = await answering(host, registry, await find());
      await stop(host, registry, entry, save ? { do: 'save', ...(path !== undefined && { path }) } : { do: 'stop', timeoutMs });
      return true;
    } catch (error) {
      if (!(error instanceof VmError) || host.signal.aborted) throw error;
      // The others are to be stopped all the same.
      host.messages.error(error.message);
      return false;
    }
  };
  const finds = all ? (await registry.list()).map((entry) => async () => entry) : names.map((word) => () => findMachine(registry, word));
  if (finds.length === 0) host.messages.line('no machine runs');
  const stopped = await Promise.all(finds.map(stopOne));
  return stopped.every(Boolean) ? EXIT_OK : EXIT_FAILURE;
}

/** A busy process may be slow to answer: it is asked some times more. Rejects when it does not, or is gone. */
async function answering(host: Host, registry: MachineRegistry, found: RunningMachineEntry): Promise<RunningMachineEntry> {
  const { name, pid } = found.facts;
  let entry: RunningMachineEntry | undefined = found;
  for (let attempt = 1; entry?.silent && attempt < ATTEMPTS; attempt++) {
    host.signal.throwIfAborted();
    host.messages.transient(`${name} does not answer yet…`);
    entry = await registry.find(name);
  }
  if (!entry) throw new VmError('not-found', `${name} (process ${pid}) has ended by itself`);
  if (entry.silent) throw silent(entry);
  return entry;
}

async function stop(host: Host, registry: MachineRegistry, entry: RunningMachineEntry, request: Request): Promise<void> {
  const { facts } = entry;
  const { messages, signal } = host;
  const patienceMs = request.do === 'stop' ? Math.max(request.timeoutMs, ANSWER_MS) + ENDING_MS : ENDING_MS;
  let listens = false;
  let sizeBytes = 0;
  for await (const answer of registry.ask(entry, request, patienceMs, signal)) {
    if (answer.kind === 'refused') throw new VmError('unsupported', answer.why);
    if (answer.kind === 'saved') sizeBytes = answer.sizeBytes;
    if (answer.kind === 'pressed') {
      listens ||= answer.listens;
      messages.transient(listens ? `${facts.name} is shutting down…` : `${facts.name} does not listen to its power button yet…`);
    }
    if (answer.kind !== 'ended') {
      if (request.do === 'save') messages.transient(`${facts.name} is being saved…`);
      continue;
    }
    if (request.do === 'save' && request.path !== undefined)
      messages.line(`${facts.name} is saved to ${request.path} (${formatBytes(sizeBytes)}); daybreak boot --restore goes on from there`);
    else if (request.do === 'save') {
      if (!answer.kept) throw new VmError('host-io', `${facts.name} was saved, but could not be kept: its own terminal says why`);
      messages.line(
        `${facts.name} is saved (${formatBytes(sizeBytes)}); daybreak try ${facts.of.split('@')[0]} --keep ${facts.name} goes on where it was`,
      );
    } else messages.line(told(facts.name, answer, listens, request.do === 'stop' ? request.timeoutMs : 0));
    return;
  }
  signal.throwIfAborted();
  throw new VmError('not-found', `${facts.name}: its process (${facts.pid}) ended without a word`);
}

function told(name: string, { how, forced, kept }: Extract<Answer, { kind: 'ended' }>, listens: boolean, timeoutMs: number): string {
  const keeping = kept ? `; daybreak ps --all shows what is kept of it` : '';
  if (!forced) return how === 'poweroff' ? `${name} has powered off${keeping}` : `${name} has ended (${how})${keeping}`;
  if (timeoutMs === 0) return `${name} is ended, as by pulling the plug${keeping}`;
  const seconds = Math.round(timeoutMs / 1000);
  const why = listens ? `it did not power off within ${seconds} s` : 'its system does not listen to the power button';
  return `${name} is ended, as by pulling the plug: ${why}${keeping}`;
}

function timeoutOf(value: string | undefined, now: boolean): number {
  if (value !== undefined && now) throw new VmError('usage', 'stop: --now leaves no time for --timeout');
  if (now) return 0;
  if (value !== undefined && !/^\d{1,5}$/.test(value)) throw new VmError('usage', `--timeout ${value}: expected a number of seconds`);
  return Number(value ?? STOP_SECONDS) * 1000;
}

function silent({ facts }: RunningMachineEntry): VmError {
  return new VmError(
    'unsupported',
    `${facts.name}: its process (${facts.pid}) does not answer; when it is stopped, kill -CONT ${facts.pid} wakes it, and kill -KILL ${facts.pid} ends it`,
  );
}
