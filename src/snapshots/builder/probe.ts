/** Boots a finished tree to its prompt and asks it whether it is well: no failed units, and what the recipe's probes want. */
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

/** Rejects with a VmError that says which probe failed and what the machine printed. */
export async function probeTree(
  host: BuildHost,
  kernel: Uint8Array,
  tree: Tree,
  store: ChunkStore,
  probes: readonly Probe[],
): Promise<ProbeResult[]> {
  const session = await PromptMachine.start(host, kernel, tree, store);
  try {
    await session.untilPrompt();
    const all = [NO_FAILED_UNITS, ...probes];
    await session.run('systemctl is-system-running --wait');
    for (const [index, probe] of all.entries()) {
      host.progress({ step: 'probes', done: index, total: all.length, unit: 'items' });
      check(probe, await session.run(probe.run));
    }
    host.progress({ step: 'probes', done: all.length, total: all.length, unit: 'items' });
    return all.map(({ run }) => ({ run, passed: true }));
  } finally {
    await session.stop();
  }
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
