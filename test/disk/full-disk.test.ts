/** The built `daybreak` on a disk that is really full: it says so, what was there is whole, and with more room it goes on. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { sha256 } from '../../src/base/sha256.ts';
import { UNFINISHED } from '../../src/platform/files.ts';
import { noise } from '../../src/snapshots/testing/noise.ts';
import { TestPublisher } from '../../src/snapshots/testing/published.ts';
import { buildDaybreak } from '../boot/daybreak.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/daybreak.js', import.meta.url));
/** Whoever may have a user namespace may mount a file system in memory there, and nobody else sees it. */
const NAMESPACE = ['--user', '--map-root-user', '--mount', '--propagation', 'private'];

const missing =
  spawnSync('unshare', [...NAMESPACE, 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0
    ? undefined
    : 'no file system can be mounted in a user namespace (unshare of util-linux)';
if (missing !== undefined) process.stderr.write(`full-disk.test.ts: skipped: ${missing}\n`);

/** `$disk` has room for `$room`; `daybreak` runs from there; `copy` shows the test what is on it. */
const PRELUDE = `
set -u
mount -t tmpfs -o size=$room none "$disk"
mkdir -p "$disk/data" "$disk/cache" "$disk/state"
export XDG_DATA_HOME="$disk/data" XDG_CACHE_HOME="$disk/cache" XDG_STATE_HOME="$disk/state" NO_COLOR=1
daybreak() { "$node" "$program" "$@" 2>&1; echo "STATUS $?"; }
copy() { rm -rf "$seen"; cp -r "$disk" "$seen"; }
`;

let directory: string;
let publisher: TestPublisher;

beforeAll(buildDaybreak);
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-full-'));
  for (const name of ['disk', 'tmp']) mkdirSync(join(directory, name));
  publisher = new TestPublisher(directory);
  publisher.nowMs = Date.now();
  return () => rmSync(directory, { recursive: true, force: true });
});

function run(room: string, script: string): string {
  const { stdout, stderr } = spawnSync('unshare', [...NAMESPACE, 'sh', '-c', PRELUDE + script], {
    encoding: 'utf8',
    env: {
      PATH: process.env['PATH'],
      room,
      disk: join(directory, 'disk'),
      seen: join(directory, 'seen'),
      node: process.execPath,
      program: PROGRAM,
      www: publisher.www,
      fingerprint: publisher.fingerprint,
      publisher: join(directory, 'publisher'),
      keys: publisher.keys.directory,
    },
  });
  expect(stderr).toBe('');
  return stdout;
}

async function expectWhole(chunks: string): Promise<void> {
  if (!existsSync(chunks)) return;
  for (const entry of readdirSync(chunks, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || UNFINISHED.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    expect(await sha256(readFileSync(path))).toBe(path.slice(chunks.length + 1).replace('/', ''));
  }
}

test.skipIf(missing)(`pull ends with the reason, and goes on when there is room${missing ? ` (skipped: ${missing})` : ''}`, async () => {
  await publisher.add('debian', '2026-11-01', { a: 'text', large: noise(3_000_000), program: noise(200_000, 2) });
  for (const room of ['16k', '48k', '300k', '1m', '2m', '3m', '5m']) {
    const output = run(
      room,
      `daybreak pull debian --from "$www" --trust "$fingerprint"
       daybreak list
       copy
       mount -o remount,size=64m "$disk"
       daybreak pull debian --from "$www" --trust "$fingerprint"
       daybreak list`,
    );
    const [first, list, second, after] = output.split(/STATUS (?=\d)/).map((part) => part.split('\n')) as [
      string[],
      string[],
      string[],
      string[],
    ];
    expect(first.join('\n'), room).toMatch(/the disk is full: free some space/);
    expect(list[0]).toBe('1');
    expect(list.join('\n'), room).toContain('there are no snapshots here yet');
    expect(second.slice(1).join('\n'), room).toMatch(/debian@2026-11-01: .* fetched/);
    expect(after.join('\n'), room).toContain('2026-11-01');
    await expectWhole(join(directory, 'seen/data/daybreak/chunks'));
  }
});

test.skipIf(missing)(
  `publish leaves what is published, and goes on when there is room${missing ? ` (skipped: ${missing})` : ''}`,
  async () => {
    await publisher.add('debian', '2026-11-01', { a: 'text' });
    await publisher.snapshot('debian', '2026-11-02', { a: 'text', large: noise(700_000) });
    for (const room of ['32k', '64k', '400k', '720k']) {
      const output = run(
        room,
        `rm -r "$disk"/*; mkdir "$disk/data"; ln -s "$publisher" "$disk/data/daybreak"; cp -r "$www" "$disk/www"
       daybreak publish debian "$disk/www" --keys "$keys"
       daybreak verify "$disk/www"
       copy
       mount -o remount,size=64m "$disk"
       daybreak publish debian "$disk/www" --keys "$keys"
       daybreak verify "$disk/www"`,
      );
      const parts = output.split(/STATUS \d\n/);
      expect(output.match(/STATUS \d/g), `${room}: ${output}`).toEqual(['STATUS 1', 'STATUS 0', 'STATUS 0', 'STATUS 0']);
      expect(parts[0], room).toMatch(/the disk is full: free some space/);
      expect(parts[1], room).toContain('1 days');
      expect(parts[3], room).toContain('2 days');
    }
  },
);
