/** Hours of different code in ten minutes: gcc of Debian unstable compiles real sources over and over; memory and speed stay level. */
import { beforeAll, expect, test } from 'vitest';
import { TreeFileSystem } from '../../src/storage/tree-fs/tree-file-system.ts';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { COMPLAINTS, fetched } from './linux.ts';
import { debianRoot, runMachine } from './tree-root.ts';

/** About twenty seconds each. */
const ROUNDS = Number(process.env['DAYBREAK_SOAK_ROUNDS'] ?? 30);

/** Of libstb-dev's libraries, each a header with the implementation in it, the smaller ones. */
const SCRIPT = `#!/bin/bash
export PATH=/usr/bin:/usr/sbin HOME=/root LANG=C
mount -t proc proc /proc; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp; cd /tmp
compile() { printf '#define %s\\n#include <stb/%s.h>\\n' $2 $1 | gcc -O2 -g -x c -c -o $1.o - || echo "FAILED $1"; }
for round in $(seq ${ROUNDS}); do
  compile stb_rect_pack STB_RECT_PACK_IMPLEMENTATION
  compile stb_dxt STB_DXT_IMPLEMENTATION
  compile stb_sprintf STB_SPRINTF_IMPLEMENTATION
  compile stb_ds STB_DS_IMPLEMENTATION
  echo "ROUND $round $(md5sum *.o | md5sum)"
done
sync; echo o > /proc/sysrq-trigger; sleep 100
`;

beforeAll(buildDaybreak);

interface Round {
  /** CPU seconds of this process, and its resident MiB after it. */
  readonly cpu: number;
  readonly memory: number;
  readonly result: string;
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

test(`gcc compiles the same for ${ROUNDS} rounds, as fast and in as much memory at the end`, { timeout: 7_200_000 }, async (context) => {
  const { root, kernel } = await fetched(context, async () => {
    const suite = await openSuite('sid');
    return {
      root: await debianRoot(suite, ['gcc', 'libc6-dev', 'libstb-dev', 'mount'], { 'test.sh': SCRIPT }),
      kernel: (await suite.kernel('linux-image-cloud-amd64')).vmlinuz.data,
    };
  });
  const rounds: Round[] = [];
  let before = process.cpuUsage();
  let pending = '';
  const { end, output, counts } = await runMachine(
    {
      kernel,
      commandLine: 'console=ttyS0 panic=-1 quiet root=debian rootfstype=virtiofs rw init=/test.sh',
      memoryBytes: 1024 * 2 ** 20,
      fileSystems: [{ tag: 'debian', backend: new TreeFileSystem(root.tree, root.store) }],
    },
    undefined,
    (text) => {
      pending += text;
      const found = /ROUND \d+ (\w+)/.exec(pending);
      if (!found || !pending.includes('\n', found.index)) return;
      pending = pending.slice(found.index + found[0].length);
      const { user, system } = process.cpuUsage(before);
      before = process.cpuUsage();
      rounds.push({ cpu: (user + system) / 1e6, memory: process.memoryUsage().rss / 2 ** 20, result: found[1]! });
      console.log(`round ${rounds.length}: ${rounds.at(-1)!.cpu.toFixed(1)} CPU s, ${rounds.at(-1)!.memory.toFixed(0)} MiB`);
    },
  );
  expect(end.kind).toBe('poweroff');
  expect(output.split(/\r?\n/).filter((line) => /FAILED/.test(line) || COMPLAINTS.test(line))).toEqual([]);
  expect(rounds).toHaveLength(ROUNDS);
  expect(new Set(rounds.map(({ result }) => result)).size).toBe(1);
  console.log(`${counts.compiler!.regions} regions, ${counts.compiler!.dropped} dropped, ${counts.compiler!.modules} modules`);
  // What is new is compiled in the first third; a busy host makes rounds differ.
  const third = Math.floor(ROUNDS / 3);
  const [middle, last] = [rounds.slice(third, 2 * third), rounds.slice(-third)];
  expect(mean(last.map(({ cpu }) => cpu))).toBeLessThan(1.3 * mean(middle.map(({ cpu }) => cpu)));
  expect(mean(last.map(({ memory }) => memory))).toBeLessThan(mean(middle.map(({ memory }) => memory)) + 100);
});
