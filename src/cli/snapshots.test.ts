import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { FakeArchive, makeSigner, MINIMAL_PACKAGES } from '../snapshots/testing/fake-archive.ts';
import { fakeBuildMachine } from '../snapshots/testing/fake-build-machine.ts';
import type { StartMachine } from './machine.ts';
import { main } from './main.ts';
import { testHost } from './testing/fakes.ts';

let archive: FakeArchive;
let mirror: string;
let directory: string;
let recipe: string;

beforeAll(async () => {
  const signer = await makeSigner();
  archive = new FakeArchive(signer);
  mirror = await archive.listen();
  return () => archive.close();
});

beforeEach(async () => {
  await archive.publish();
  directory = mkdtempSync(join(tmpdir(), 'daybreak-snapshots-'));
  recipe = join(directory, 'mine.toml');
  writeFileSync(recipe, 'title = "Mine"\nsuites = ["unstable"]\nkernel = "linux-image-cloud-amd64"\npackages = ["nano"]\n');
  return () => rmSync(directory, { recursive: true, force: true });
});

async function run(...args: string[]) {
  const { host, terminal, errors } = testHost(directory, undefined, archive.signer.publicKey.armor());
  const startMachine = fakeBuildMachine({}) as unknown as StartMachine;
  const status = await main({ ...host, startMachine }, args);
  return { status, output: terminal.output, errors: errors.text };
}

const build = (...more: string[]) => run('build', recipe, '--mirror', mirror, ...more);

test('build makes a snapshot, tells what it is, and does nothing the second time', async () => {
  const first = await build();
  expect(first).toMatchObject({ status: 0, output: '' });
  expect(first.errors).toMatch(/mine@2026-11-01: 3 packages, .* tree [0-9a-f]{16}\n/);
  expect((await build()).errors).toMatch(/there already/);
  const record = JSON.parse((await build('--json', '--force')).output) as { name: string; tree: string };
  expect(record).toMatchObject({ name: 'mine', day: '2026-11-01' });
});

test('list, info, diff and prune tell of it, in words and in JSON', async () => {
  expect((await run('list')).errors).toContain('there are no snapshots here yet');
  await build();
  const newer = [...MINIMAL_PACKAGES, { name: 'nano', version: '2', entries: [{ path: './usr/bin/nano', content: 'newer', mode: 0o755 }] }];
  await archive.publish({ packages: newer, date: 'Mon, 02 Nov 2026 08:00:00 UTC' });
  await build();

  const { output: table } = await run('list');
  expect(table.split('\n').map((line) => line.split(/\s+/).slice(0, 3).join(' '))).toEqual([
    'NAME DAY PACKAGES',
    'mine 2026-11-02 3',
    'mine 2026-11-01 3',
    '',
  ]);
  const listed = (await run('list', 'mine', '--json')).output.trim().split('\n');
  expect(listed.map((line) => (JSON.parse(line) as { day: string }).day)).toEqual(['2026-11-02', '2026-11-01']);

  const { output: info } = await run('info', 'mine@-1');
  expect(info).toMatch(/name +mine@2026-11-01\n/);
  expect(info).toMatch(/booted state +\d\.\d kB, of a machine with 1024 MiB\n/);
  expect(info).toMatch(/suite +unstable of 2026-11-01\n/);
  for (const line of listed) expect((JSON.parse(line) as { bootedBytes: number }).bootedBytes).toBeGreaterThan(1000);
  expect((await run('info', 'mine', '--packages')).output).toMatch(/nano +2\n/);

  const { output: diff } = await run('diff', 'mine@-1', 'mine');
  expect(diff).toMatch(/~ +nano +1 +→ +2\n/);
  expect(diff).toMatch(/files added, .* removed, .* changed; .* new\nbooted state \d.* kB → \d.* kB\n$/);
  expect((await run('diff', 'mine@-1', 'mine', '--files')).output).toMatch(/~ +\/usr\/bin\/nano +content .*nano\n/);
  const { packages } = JSON.parse((await run('diff', 'mine@-1', 'mine', '--json')).output) as { packages: unknown };
  expect(packages).toEqual([{ name: 'nano', from: '1', to: '2' }]);
  expect((await run('diff', 'mine', 'mine')).output).toBe('no difference\n');

  expect((await run('prune', '--keep-days', '1')).output).toMatch(/^removed mine@2026-11-01\nremoved 0 contents/);
  expect((await run('info', 'mine@-1')).status).toBe(1);
});

test('a lock that was written builds the same again', async () => {
  const lock = join(directory, 'mine.lock');
  await build('--write-lock', lock);
  expect((await run('info', 'mine', '--lock')).output).toBe(readFileSync(lock, 'utf8'));
  await archive.publish({ packages: MINIMAL_PACKAGES, date: 'Mon, 02 Nov 2026 08:00:00 UTC' });
  expect((await build('--lock', lock)).errors).toMatch(/mine@2026-11-01: .*there already/);
  writeFileSync(lock, '{"format": 1}');
  expect(await build('--lock', lock)).toMatchObject({ status: 2, errors: expect.stringContaining('not a lock') });
});

test.each<[string, string[]]>([
  ['expected one name or file', ['build']],
  ['there is no recipe fedora', ['build', 'fedora']],
  ['there is no such file', ['build', 'debian', '--lock', 'none']],
  ['expected one name', ['info']],
  ['no snapshot debian on this computer', ['info', 'debian']],
  ['names no snapshot', ['info', '../x']],
  ['expected two names', ['diff', 'debian']],
  ['expected a number from 1 on', ['prune', '--keep-days', '0']],
  ['expected a size', ['prune', '--keep-size', 'much']],
  ['expected one name at most', ['list', 'a', 'b']],
])('says "%s"', async (message, args) => {
  const { status, errors } = await run(...args);
  expect(status).toBeGreaterThan(0);
  expect(errors).toContain(message);
});

test.each(['build', 'list', 'info', 'diff', 'prune'])('%s --help tells what it does', async (verb) => {
  expect(await run(verb, '--help')).toMatchObject({ status: 0, output: expect.stringContaining(`Usage: daybreak ${verb}`) });
});
