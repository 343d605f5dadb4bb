import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { TestPublisher } from '../snapshots/testing/published.ts';
import { main } from './main.ts';
import type { MachineOptions } from './machine.ts';
import { testHost } from './testing/fakes.ts';

let directory: string;
let publisher: TestPublisher;
let www: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-publishing-'));
  publisher = new TestPublisher(directory);
  www = `${directory}/www`;
  await publisher.snapshot('debian', '2026-11-01', { a: 'text', b: 'more text' });
  return () => rmSync(directory, { recursive: true, force: true });
});

/** Of two people: the publisher's data directory is the catalogue of `publisher`. */
async function run(who: 'publisher' | 'reader', ...args: string[]) {
  const { host, terminal, errors } = testHost(`${directory}/${who}`);
  const status = await main(who === 'publisher' ? { ...host, dataDirectory: `${directory}/publisher` } : host, args);
  return { status, output: terminal.output, errors: errors.text };
}

async function publish(...more: string[]): Promise<string> {
  const { output } = await run('publisher', 'publish', 'debian', www, '--json', ...more);
  return (JSON.parse(output) as { fingerprint: string }).fingerprint;
}

test('publish tells of its keys once, and what readers need', async () => {
  const first = await run('publisher', 'publish', 'debian', www);
  expect(first).toMatchObject({ status: 0, output: '' });
  expect(first.errors).toMatch(/debian@2026-11-01: published at .*www: .* new, 0 patches\n/);
  expect(first.errors).toMatch(/new keys are in .*keys.*\ntell your readers: --trust [0-9a-f]{64}\n/);
  const second = await run('publisher', 'publish', 'debian', www);
  expect(second.errors).toMatch(/there already, signed anew\n$/);
});

test('verify prints the fingerprint, and finds damage', async () => {
  const fingerprint = await publish();
  expect((await run('reader', 'verify', www)).errors).toContain(`fingerprint: ${fingerprint}`);
  expect(await run('reader', 'verify', www, '--trust', fingerprint)).toMatchObject({
    status: 0,
    errors: expect.stringMatching(/1 days, 1 packs/),
  });
  writeFileSync(join(www, 'packs', readdirSync(join(www, 'packs'))[0]!), 'something else');
  expect(await run('reader', 'verify', www)).toMatchObject({ status: 1, errors: expect.stringContaining('not what was signed for') });
});

test('pull needs a fingerprint once; update knows where names come from, and what is new', async () => {
  const fingerprint = await publish();
  expect(await run('reader', 'pull', 'debian')).toMatchObject({ status: 2, errors: expect.stringContaining('--from') });
  expect(await run('reader', 'pull', 'debian', '--from', www)).toMatchObject({
    status: 1,
    errors: expect.stringContaining(`--trust ${fingerprint}`),
  });
  const pulled = await run('reader', 'pull', 'debian', '--from', www, '--trust', fingerprint);
  expect(pulled.errors).toMatch(/debian@2026-11-01: 0 B of 13 B were here, .* fetched\n$/);
  expect((await run('reader', 'list')).output).toMatch(/debian +2026-11-01/);
  expect((await run('reader', 'pull', 'debian')).errors).toMatch(/there already/);

  await publisher.snapshot('debian', '2026-11-02', { a: 'text', b: 'other text' });
  await publish();
  const updated = JSON.parse((await run('reader', 'update', '--json')).output) as Record<string, unknown>;
  expect(updated).toMatchObject({ name: 'debian', day: '2026-11-02', reusedBytes: 4, totalBytes: 14 });
});

test('keys are changed, signatures renewed and old files removed by options of publish', async () => {
  await publish();
  expect((await run('publisher', 'publish', '--rotate', 'timestamp', www)).errors).toMatch(/the role timestamp has a new key/);
  expect((await run('publisher', 'publish', '--renew', www)).errors).toMatch(/signed anew/);
  expect((await run('publisher', 'publish', '--collect', www)).errors).toMatch(/removed 0 files of 0 B; \d+ wait/);
  expect(await run('reader', 'verify', www)).toMatchObject({ status: 0 });
});

test('try starts a published snapshot with its tree as root, and with a command that alone', async () => {
  const fingerprint = await publish();
  const { host } = testHost(`${directory}/reader`, (machine) => {
    machine.options.control?.('exit 3');
    machine.end({ kind: 'poweroff' });
  });
  const asked: MachineOptions[] = [];
  const watching = { ...host, startMachine: (options: MachineOptions) => (asked.push(options), host.startMachine(options)) };
  const from = ['--from', www, '--trust', fingerprint];
  expect(await main(watching, ['try', 'debian@2026-11-01', ...from, '--', 'true'])).toBe(3);
  expect(asked[0]!.commandLine).toContain('root=root rootfstype=virtiofs rw init=/run/daybreak/init');
  expect(new TextDecoder().decode(asked[0]!.kernel)).toBe('a kernel');
  expect(asked[0]!.fileSystems?.map(({ tag }) => tag)).toEqual(['root']);
  expect(await main(watching, ['try', 'debian', ...from])).toBe(3);
  expect(asked[1]!.commandLine).toContain('init=/usr/lib/systemd/systemd');
  expect(await main(watching, ['try', 'fedora', ...from])).toBe(1);
});

test.each<[string, string[]]>([
  ['expected a name and a place', ['publish', 'debian']],
  ['expected a number from 1 to 19', ['publish', 'debian', 'x', '--level', '20']],
  ['expected a number from 1 on', ['publish', 'debian', 'x', '--keep-days', '0']],
  ['no snapshot fedora', ['publish', 'fedora', 'x']],
  ['Set AWS_ACCESS_KEY_ID', ['publish', 'debian', 's3://days']],
  ['publishing goes to', ['publish', 'debian', 'ftp://x/y']],
  ['expected oci://HOST/REPOSITORY', ['publish', 'debian', 'oci://x']],
  ['expected oci://HOST/REPOSITORY', ['pull', 'debian', '--from', 'oci://x/Y']],
  ['expected root, targets', ['publish', '--rotate', 'me', 'x']],
  ['expected a number of hours', ['publish', '--collect', '--grace', 'x', 'y']],
  ['expected one place', ['publish', '--renew']],
  ['expected one place', ['verify']],
  ['is this something that daybreak published?', ['verify', '/nowhere']],
  ['expected a publisher', ['verify', 'x', '--trust', 'me']],
  ['expected an address', ['verify', 'gopher://x']],
  ['expected one name', ['pull']],
  ['was never pulled here', ['update', 'debian']],
])('says "%s"', async (message, args) => {
  const { status, errors } = await run('publisher', ...args);
  expect(status).toBeGreaterThan(0);
  expect(errors).toContain(message);
});

test.each(['publish', 'verify', 'pull', 'update'])('%s --help tells what it does', async (verb) => {
  expect(await run('reader', verb, '--help')).toMatchObject({ status: 0, output: expect.stringContaining(`Usage: daybreak ${verb}`) });
});
