/** Real guests that come to no prompt: a build says so at once, and what would help. */
import { beforeAll, expect, test, type TestContext } from 'vitest';
import { MemoryChunkStore } from '../../src/storage/chunk-store.ts';
import { TreeBuilder } from '../../src/storage/tree-builder.ts';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { fetched } from './linux.ts';
import { promptFailure } from './no-prompt.ts';
import { addFiles } from './tree-root.ts';

/** A guest that rests is told from one that works by executing hardly anything, which is as well seen in a tenth of the time. */
const HASTE = 20;

beforeAll(buildDaybreak);

/** Boots busybox with that script in systemd's place; what that fails with. */
async function failure(context: TestContext, script: string | undefined): Promise<string> {
  const { vmlinuz, busybox } = await fetched(context, async () => {
    const suite = await openSuite('sid');
    const { vmlinuz } = await suite.kernel('linux-image-cloud-amd64');
    return { vmlinuz: vmlinuz.data, busybox: (await suite.busybox()).data };
  });
  const store = new MemoryChunkStore();
  const builder = new TreeBuilder(0);
  const start = `#!/bin/busybox sh\n/bin/busybox --install -s /bin\nPATH=/bin\nmount -t devtmpfs dev /dev\n${script}`;
  await addFiles(builder, store, { 'bin/busybox': busybox, ...(script !== undefined && { 'usr/lib/systemd/systemd': start }) });
  for (const path of ['dev', 'proc']) builder.add(path, { type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: 0 }, 'the test');
  builder.add('dev/console', { type: 'char', mode: 0o600, uid: 0, gid: 0, mtime: 0, major: 5, minor: 1 }, 'the test');
  return promptFailure(vmlinuz, { tree: builder.build(), store }, HASTE);
}

test.for([
  ['that has no init system', undefined, /finds no program to start; .*"systemd-sysv".*Requested init/s],
  ['whose process 1 ends', 'exit 3', /process 1 has ended; .*kill init/s],
  ['that asks for a name', 'printf "daybreak login: "; read x', /asks who wants to log in.*autologin\.conf.*daybreak login:/s],
  ['that halts', 'halt -f', /does not come to the root shell's prompt: it does nothing any more; it may have halted/],
] as const)('a guest %s is told from one that boots', { timeout: 300_000 }, async ([, script, told], context) => {
  expect(await failure(context, script)).toMatch(told);
});
