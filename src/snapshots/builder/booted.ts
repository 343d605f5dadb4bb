/** Boots a finished tree to its prompt and saves the machine there, so that whoever tries the snapshot need not boot it. */
import type { ChunkStore } from '../../storage/chunk-store.ts';
import type { Tree } from '../../storage/tree.ts';
import type { BuildHost } from './host.ts';
import { PromptMachine } from './prompt.ts';

/** A saved state. Rejects with a VmError when the tree comes to no prompt. */
export async function bootedState(host: BuildHost, kernel: Uint8Array, tree: Tree, store: ChunkStore): Promise<Uint8Array> {
  host.progress({ step: 'booted state', done: 0, total: 1, unit: 'items' });
  const machine = await PromptMachine.start(host, kernel, tree, store);
  try {
    await machine.untilPrompt();
    // All that starts has started; nobody's history is in it.
    await machine.run('systemctl is-system-running --wait');
    await machine.run('history -c; sync');
    await machine.untilPrompt();
    const state = await machine.state();
    host.progress({ step: 'booted state', done: 1, total: 1, unit: 'items' });
    return state;
  } finally {
    await machine.stop();
  }
}
