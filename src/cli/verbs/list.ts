/** `daybreak list`: the snapshots on this computer. */
import { VmError } from '../../base/errors.ts';
import { Catalogue } from '../../snapshots/catalogue/catalogue.ts';
import type { ParsedArguments } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Host } from '../host.ts';
import { MachineRegistry } from '../machines/registry.ts';
import { formatBytes } from '../messages.ts';
import { formatTable } from '../table.ts';

export async function listVerb(host: Host, { values, positionals }: ParsedArguments): Promise<number> {
  const print = (content: string) => host.terminal.write(new TextEncoder().encode(content));
  if (positionals.length > 1) throw new VmError('usage', 'list: expected one name at most');
  const catalogue = new Catalogue(host.files, host.dataDirectory);
  const all = await catalogue.list((error) => host.messages.log('warn', 'list', error.message));
  const shown = positionals[0] === undefined ? all : all.filter(({ name }) => name === positionals[0]);
  if (values['json']) {
    for (const snapshot of shown) {
      const { name, day, title, tree, contentBytes, packages, kernel } = snapshot;
      const bootedBytes = (await catalogue.booted(snapshot))?.sizeBytes;
      print(
        `${JSON.stringify({ name, day, title, tree, contentBytes, packageCount: packages.length, kernel: kernel.version, bootedBytes })}\n`,
      );
    }
    return EXIT_OK;
  }
  const machines = await machinesOf(host, catalogue, positionals[0]);
  if (shown.length === 0) {
    host.messages.line('there are no snapshots here yet: daybreak build debian makes one');
    if (machines !== undefined) host.messages.line(machines);
    return EXIT_OK;
  }
  const rows: string[][] = [];
  for (const snapshot of shown) {
    const { name, day, tree, contentBytes, packages, title } = snapshot;
    const booted = await catalogue.booted(snapshot);
    const state = booted ? formatBytes(booted.sizeBytes) : '-';
    rows.push([name, day, String(packages.length), formatBytes(contentBytes), state, tree.slice(0, 12), title ?? '']);
  }
  print(formatTable([['NAME', 'DAY', 'PACKAGES', 'SIZE', 'STATE', 'TREE', 'TITLE'], ...rows], [2, 3, 4]));
  if (machines !== undefined) host.messages.line(machines);
  return EXIT_OK;
}

/** The machines of snapshots, or of those of one name, as `ps --all` calls their states; undefined when there is none. */
async function machinesOf(host: Host, catalogue: Catalogue, name: string | undefined): Promise<string | undefined> {
  const isOf = (of: string): boolean => name === undefined || of === name;
  const told = new Map<string, string>();
  for (const kept of await catalogue.keptNames()) {
    const record = await catalogue.kept(kept).catch(() => undefined);
    if (record && isOf(record.from.name)) told.set(kept, record.state ? 'saved' : 'kept');
  }
  const running = await new MachineRegistry(host.files, await host.runtimeDirectory()).list();
  for (const { facts } of running) if (facts.verb === 'try' && isOf(facts.of.split('@')[0]!)) told.set(facts.name, 'runs');
  if (told.size === 0) return undefined;
  const all = [...told].sort().map(([machine, state]) => `${machine} (${state})`);
  return `machines: ${all.join(', ')}; daybreak ps --all tells more`;
}
