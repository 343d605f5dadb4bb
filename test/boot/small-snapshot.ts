/** A snapshot of a small Debian, with its booted state, made in a minute or so: what `daybreak try` is tried with. */
import { join } from 'node:path';
import { nodeHost } from '../../src/cli/host.ts';
import { NodeFiles } from '../../src/node/files.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { bootAndAsk } from '../../src/snapshots/builder/booted.ts';
import { SYSTEM_MEMORY_BYTES } from '../../src/snapshots/builder/root.ts';
import { Catalogue } from '../../src/snapshots/catalogue/catalogue.ts';
import type { Snapshot } from '../../src/snapshots/catalogue/snapshot.ts';
import type { Suite } from './debian.ts';
import { debianRoot, startStateMachine } from './tree-root.ts';

const PACKAGES = ['systemd-sysv', 'dbus', 'udev', 'login', 'passwd', 'procps', 'apt', 'mount', 'bash'];
/** A build's tree has all modules, and lists of them; this one has what the power button needs, and loads it itself. */
const MODULES = ['button', 'evdev'];
const LOAD = 'usr/lib/load-modules';
// finit_module(2), of compressed files.
const LOADER = `#!/usr/bin/perl
my $none = "";
for (@ARGV) { open(my $file, "<", "/usr/lib/$_.ko.xz"); syscall(313, fileno($file), $none, 4); }
`;
const AUTOLOGIN = `[Service]
ExecStartPre=-/${LOAD} ${MODULES.join(' ')}
ExecStart=
ExecStart=-/sbin/agetty --autologin root --keep-baud 115200 - $TERM
`;

/** Puts `small@2026-11-01` into the catalogue of XDG_DATA_HOME. Rejects as downloads do. */
export async function makeSmallSnapshot(suite: Suite, dataHome: string): Promise<void> {
  const { vmlinuz, release } = await suite.kernel('linux-image-cloud-amd64');
  const files: Record<string, string | Uint8Array> = {
    'etc/systemd/system/serial-getty@.service.d/autologin.conf': AUTOLOGIN,
    [LOAD]: LOADER,
    // An empty unit is masked: on a busy computer this work is not done before the console's device is given up.
    'etc/systemd/system/systemd-hwdb-update.service': '',
  };
  for (const name of MODULES)
    files[`usr/lib/${name}.ko.xz`] = (await suite.file(`linux-modules-${release}`, new RegExp(`/${name}\\.ko\\.xz$`))).data;
  const root = await debianRoot(suite, PACKAGES, files);
  const catalogue = new Catalogue(new NodeFiles(), join(dataHome, 'daybreak'));
  for (const [, node] of root.tree.entries()) if (node.type === 'file') await catalogue.store.put(await root.store.get(node.digest));
  const snapshot: Snapshot = {
    format: 1,
    name: 'small',
    day: '2026-11-01',
    tree: await catalogue.putTree(root.tree),
    entryCount: root.tree.size,
    contentBytes: 1,
    kernel: { digest: await catalogue.store.put(vmlinuz.data), version: 'of today' },
    inputs: 'f'.repeat(64),
    lock: {
      format: 1,
      recipe: 'small',
      day: '2026-11-01',
      suites: [{ name: 'sid', dateMs: 1, index: 'e'.repeat(64) }],
      packages: [],
      kernel: [],
    },
    packages: [],
    probes: [],
  };
  await catalogue.add(snapshot);
  const host = {
    ...nodeHost(new AbortController().signal),
    progress: () => {},
    consoleLog: () => {},
    stateCodec: nodeStateCodec,
    startMachine: startStateMachine,
  };
  const { state } = await bootAndAsk(host, vmlinuz.data, root.tree, catalogue.store, []);
  await catalogue.addBooted(snapshot, state, SYSTEM_MEMORY_BYTES);
}
