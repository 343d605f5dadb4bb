/** A snapshot of a bash that is process 1, saved at its prompt, in half a minute: what its session does, a large system's does too. */
import { join } from 'node:path';
import { nodeHost } from '../../src/cli/host.ts';
import { orderState } from '../../src/machine/saved-state-order.ts';
import { NodeFiles } from '../../src/node/files.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { contentBytes } from '../../src/snapshots/builder/content-bytes.ts';
import { PromptMachine } from '../../src/snapshots/builder/prompt.ts';
import { SYSTEM_MEMORY_BYTES } from '../../src/snapshots/builder/root.ts';
import { Catalogue } from '../../src/snapshots/catalogue/catalogue.ts';
import { sourceOf } from '../../src/snapshots/testing/saved-state.ts';
import type { Suite } from './debian.ts';
import { debianRoot, startStateMachine } from './tree-root.ts';

const INIT = `#!/bin/bash
export PATH=/usr/sbin:/usr/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
cd /root
exec setsid -c bash -i </dev/hvc0 >/dev/hvc0 2>&1
`;
/** All that is asked of it here is to power off. */
const SYSTEMCTL = `#!/bin/bash
echo o >/proc/sysrq-trigger
sleep 60
`;

/** Puts `shell@2026-11-01` into the catalogue of XDG_DATA_HOME. No page of its state counts as one that is needed first. */
export async function makeShellSnapshot(suite: Suite, dataHome: string): Promise<void> {
  const { vmlinuz, release } = await suite.kernel('linux-image-cloud-amd64');
  const { tree, store } = await debianRoot(suite, ['bash', 'coreutils', 'mount', 'util-linux'], {
    'usr/lib/systemd/systemd': INIT,
    'usr/bin/systemctl': SYSTEMCTL,
  });
  const catalogue = new Catalogue(new NodeFiles(), join(dataHome, 'daybreak'));
  for (const [, node] of tree.entries()) if (node.type === 'file') await catalogue.store.put(await store.get(node.digest));
  const day = '2026-11-01';
  const snapshot = {
    format: 1,
    name: 'shell',
    day,
    tree: await catalogue.putTree(tree),
    entryCount: tree.size,
    contentBytes: contentBytes(tree),
    kernel: { digest: await catalogue.store.put(vmlinuz.data), version: release },
    inputs: 'f'.repeat(64),
    lock: { format: 1, recipe: 'shell', day, suites: [{ name: 'sid', dateMs: 1, index: 'e'.repeat(64) }], packages: [], kernel: [] },
    packages: [],
    probes: [],
  } as const;
  await catalogue.add(snapshot);
  const host = { ...nodeHost(new AbortController().signal), progress: () => {}, consoleLog: () => {}, stateCodec: nodeStateCodec, startMachine: startStateMachine }; // prettier-ignore
  const machine = await PromptMachine.start(host, vmlinuz.data, tree, store);
  await machine.untilPrompt();
  const state = orderState(sourceOf(await machine.state()), [], await nodeStateCodec());
  await machine.stop();
  await catalogue.addBooted(snapshot, state, SYSTEM_MEMORY_BYTES);
}
