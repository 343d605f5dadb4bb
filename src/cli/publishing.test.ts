import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { TestPublisher } from '../snapshots/testing/published.ts';
import { main } from './main.ts';
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

test.each<[string, string[]]>([
  ['expected a name and a place', ['publish', 'debian']],
  ['expected a number from 1 to 19', ['publish', 'debian', 'x', '--level', '20']],
  ['expected a number from 1 on', ['publish', 'debian', 'x', '--keep-days', '0']],
  ['no snapshot fedora', ['publish', 'fedora', 'x']],
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
