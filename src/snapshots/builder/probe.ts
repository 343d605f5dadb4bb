/** Asks a finished tree at its prompt whether it is well: no failed units, and what the recipe's probes want. */
import { VmError } from '../../base/errors.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import type { Tree } from '../../storage/tree.ts';
import type { Probe } from '../recipe/recipe.ts';
import type { BuildHost } from './host.ts';
import { PromptMachine, type Answer } from './prompt.ts';

/** Every snapshot's first probe. */
const NO_FAILED_UNITS: Probe = { run: 'systemctl --failed --no-legend --plain', status: 0 };

export interface ProbeResult {
  readonly run: string;
  readonly passed: true;
}

/** Boots a finished tree to its prompt, and asks it for failed units. */
export async function bootTree(host: BuildHost, kernel: Uint8Array, tree: Tree, store: ChunkStore): Promise<void> {
  const machine = await PromptMachine.start(host, kernel, tree, store);
  try {
    await untilUp(machine);
  } finally {
    await machine.stop();
  }
}

/** Waits until all that starts with the machine has started. Rejects with a VmError when it does not come to its prompt, or units of it have failed. */
export async function untilUp(machine: PromptMachine): Promise<ProbeResult> {
  await machine.untilPrompt();
  await machine.run('systemctl is-system-running --wait');
  check(NO_FAILED_UNITS, await machine.run(NO_FAILED_UNITS.run));
  return { run: NO_FAILED_UNITS.run, passed: true };
}

/** Rejects with a VmError that says which probe failed and what the machine printed. */
export async function askProbes(host: BuildHost, machine: PromptMachine, probes: readonly Probe[]): Promise<ProbeResult[]> {
  for (const [index, probe] of probes.entries()) {
    host.progress({ step: 'probes', done: index, total: probes.length, unit: 'items' });
    check(probe, await machine.run(probe.run));
  }
  if (probes.length > 0) host.progress({ step: 'probes', done: probes.length, total: probes.length, unit: 'items' });
  return probes.map(({ run }) => ({ run, passed: true }));
}

function check(probe: Probe, { output, status }: Answer): void {
  const shown = output.trim() === '' ? 'it printed nothing' : `it printed:\n${output.trimEnd().slice(-2000).replace(/^/gm, '  ')}`;
  if (probe === NO_FAILED_UNITS && output.trim() !== '')
    throw new VmError('bad-image', `the tree boots, but units of it fail:\n${output.trimEnd().replace(/^/gm, '  ')}`);
  if (status !== probe.status)
    throw new VmError('bad-image', `the probe ${JSON.stringify(probe.run)} ended with status ${status}, not ${probe.status}; ${shown}`);
  if (probe.expect !== undefined && !output.includes(probe.expect))
    throw new VmError('bad-image', `the probe ${JSON.stringify(probe.run)} did not print ${JSON.stringify(probe.expect)}; ${shown}`);
}
