/** `daybreak ps`: the machines that run, and those that are kept. */
import { VmError } from '../../base/errors.ts';
import { Catalogue } from '../../snapshots/catalogue/catalogue.ts';
import type { ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { keptMachines, type KeptMachine } from '../machines/kept-machines.ts';
import { MachineRegistry, type RunningMachineEntry } from '../machines/registry.ts';
import { formatBytes } from '../messages.ts';
import { formatTable } from '../table.ts';

export async function psVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (positionals.length > 0) throw new VmError('usage', 'ps: it takes options only (daybreak ps --help)');
  const running = await new MachineRegistry(host.files, await host.runtimeDirectory()).list();
  const names = new Set(running.map(({ facts }) => facts.name));
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const warn = (error: VmError) => host.messages.log('warn', 'ps', error.message);
  const kept = values['all'] ? await keptMachines(catalogue, warn) : [];
  const idle = kept.filter(({ name }) => !names.has(name));
  const sizeOf = new Map(kept.map((one) => [one.name, one]));
  if (values['json']) {
    for (const entry of running) print(`${JSON.stringify({ ...programs(entry), ...sizes(sizeOf.get(entry.facts.name)) })}\n`);
    for (const one of idle) print(`${JSON.stringify({ name: one.name, state: idleState(one), of: one.of, kept: true, ...sizes(one) })}\n`);
    return EXIT_OK;
  }
  if (running.length + idle.length === 0) {
    host.messages.line(
      values['all'] ? 'no machine runs, and none is kept' : 'no machine runs (daybreak ps --all shows those that are kept)',
    );
    return EXIT_OK;
  }
  const now = host.clock.nowMs();
  const head = ['NAME', 'OF', 'STATE', 'SINCE', 'ACCEL', 'MEMORY', 'PID', 'KEPT'];
  const rows = [
    ...running.map(({ facts, silent }) => [
      facts.name,
      facts.of,
      silent ? 'does not answer' : 'runs',
      formatAge(now - facts.startedMs),
      facts.accelerator ?? '-',
      facts.memoryBytes === undefined ? '-' : formatMemory(facts.memoryBytes),
      String(facts.pid),
      facts.kept ? 'yes' : 'no',
    ]),
    ...idle.map((one) => [one.name, one.of, idleState(one), '-', '-', '-', '-', 'yes']),
  ];
  if (!values['all']) print(formatTable([head, ...rows], [5, 6]));
  else {
    const withSize = rows.map((row) => [...row, sizeOf.has(row[0]!) ? formatBytes(takes(sizeOf.get(row[0]!)!)) : '-']);
    print(formatTable([[...head, 'SIZE'], ...withSize], [5, 6, 8]));
  }
  return EXIT_OK;
}

/** What programs are told of a machine that runs. */
function programs({ facts, silent }: RunningMachineEntry): object {
  const { name, pid, verb, of, startedMs, accelerator, memoryBytes, kept } = facts;
  const state = silent ? 'silent' : 'running';
  return { name, state, verb, of, startedAt: new Date(startedMs).toISOString(), accelerator, memoryBytes, pid, kept };
}

/** What a kept machine that does not run does when it is started: boots, or goes on. */
function idleState({ stateBytes }: KeptMachine): 'kept' | 'saved' {
  return stateBytes === undefined ? 'kept' : 'saved';
}

/** Of this computer's disk. */
function takes({ ownBytes, stateBytes = 0 }: KeptMachine): number {
  return ownBytes + stateBytes;
}

function sizes(one: KeptMachine | undefined): object {
  return one
    ? { ownBytes: one.ownBytes, contentBytes: one.contentBytes, ...(one.stateBytes !== undefined && { stateBytes: one.stateBytes }) }
    : {};
}

/** Binary units, as memory is asked for. */
function formatMemory(bytes: number): string {
  const mebibytes = bytes / 2 ** 20;
  return mebibytes % 1024 === 0 ? `${mebibytes / 1024} GiB` : `${Math.round(mebibytes)} MiB`;
}

/** How long ago: its largest unit, and no fractions. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}
