import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { PieceSource } from '../snapshots/get/published-state.ts';
import { TestPublisher } from '../snapshots/testing/published.ts';
import { main } from './main.ts';
import type { MachineOptions } from './machine.ts';
import { awayBy, testHost, type FakeMachine } from './testing/fakes.ts';

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

describe('try of a published snapshot with a booted state', () => {
  /** What the machines were started with; a guest does what is typed at its prompt and ends with 7. */
  async function tried(refuse: VmError | undefined, ...args: string[]) {
    const asked: MachineOptions[] = [];
    const test = testHost(`${directory}/reader`);
    const startMachine = async (options: MachineOptions) => {
      asked.push(options);
      if (options.restore && refuse) throw refuse;
      const machine = (await test.host.startMachine(options)) as FakeMachine;
      machine.input = async (data) => {
        const nonce = /\\035([0-9a-f]{16})/.exec(new TextDecoder().decode(data))?.[1];
        if (nonce !== undefined) machine.print(`echo\x1d${nonce}hello\n\x1e${nonce} 7\n`);
      };
      if (!options.restore) setTimeout(() => machine.print('root@daybreak:~# '), 0);
      return machine;
    };
    const status = await main({ ...test.host, startMachine, startAway: awayBy(startMachine) }, [
      'try',
      'debian',
      '--from',
      www,
      '--trust',
      fingerprint,
      ...args,
    ]);
    return { status, output: test.terminal.output, errors: test.errors.text, asked };
  }
  let fingerprint: string;
  beforeEach(async () => {
    await publisher.addState((await publisher.catalogue.get('debian', '2026-11-01'))!, 100);
    fingerprint = await publish();
  });

  test('goes on from it, and says what was fetched', async () => {
    const { status, output, errors, asked } = await tried(undefined);
    expect([status, output]).toEqual([7, 'hello\n']);
    expect(asked[0]).toMatchObject({ memoryBytes: 2 ** 30, restore: { onlyAsked: true, source: expect.any(PieceSource) as unknown } });
    expect(asked[0]!.kernel).toBeUndefined();
    expect(errors).toMatch(/kB of 4\d\d kB were fetched/);
  });

  test('uses the one that was pulled', async () => {
    await run('reader', 'pull', 'debian', '--from', www, '--trust', fingerprint);
    const { asked } = await tried(undefined, '--', 'hello');
    expect(asked[0]!.restore!.source).toMatch(/chunks/);
  });

  test('boots where it cannot be used, and says why', async () => {
    const { status, errors, asked } = await tried(new VmError('bad-state', 'another processor'), '--', 'hello');
    expect([status, asked.length]).toEqual([7, 2]);
    expect(errors).toContain('debian@2026-11-01 boots: another processor');
    expect(new TextDecoder().decode(asked[1]!.kernel)).toBe('a kernel');
    expect(await tried(new VmError('host-io', 'no memory'), '--', 'hello')).toMatchObject({ status: 125 });
  });

  test.each<[string, string[]]>([
    ['knows nothing of --append', ['--append', 'debug']],
    ['has 1024 MiB of memory', ['--memory', '2G']],
    ['', ['--cold']],
  ])('boots and says "%s" with %j', async (why, args) => {
    const test = testHost(`${directory}/reader`, (machine) => machine.end({ kind: 'poweroff' }));
    let asked: MachineOptions | undefined;
    const startMachine = (options: MachineOptions) => test.host.startMachine((asked = options));
    expect(await main({ ...test.host, startMachine }, ['try', 'debian', '--from', www, '--trust', fingerprint, ...args])).toBe(0);
    expect(asked!.restore).toBeUndefined();
    if (why === '') expect(test.errors.text).not.toContain('boots:');
    else expect(test.errors.text).toContain(why);
  });
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

test('search tells what is published, and info what one of it is', async () => {
  expect(await run('reader', 'search')).toMatchObject({ status: 2, errors: expect.stringContaining('daybreak search --from') });
  const fingerprint = await publish();
  await publisher.snapshot('debian', '2026-11-02', { a: 'text', b: 'more text', c: 'still more' });
  await publish();
  await publisher.snapshot('arch/plasma', '2026-11-01', { d: 'other' });
  await run('publisher', 'publish', 'arch/plasma', www);
  const from = ['--from', www];
  expect(await run('reader', 'search', ...from)).toMatchObject({ status: 1, errors: expect.stringContaining(`--trust ${fingerprint}`) });
  const all = await run('reader', 'search', ...from, '--trust', fingerprint);
  expect(all.output.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
    ['NAME', 'DAY', 'PACKAGES', 'SIZE', 'HERE', 'DAYS', 'TITLE'],
    ['arch/plasma', '2026-11-01', '0', '5 B', 'no', '1'],
    ['debian', '2026-11-02', '0', '23 B', 'no', '2'],
    [''],
  ]);
  // Believed once, and known as a place since the pull.
  await run('reader', 'pull', 'debian@2026-11-01', ...from);
  const days = await run('reader', 'search', 'DEB', '11', '--days');
  expect(
    days.output
      .split('\n')
      .slice(1)
      .map((line) => line.split(/ {2,}/)),
  ).toEqual([['debian', '2026-11-02', '0', '23 B', 'no'], ['debian', '2026-11-01', '0', '13 B', 'yes'], ['']]);
  const lines = (await run('reader', 'search', 'debian', '--json')).output.trimEnd().split('\n');
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    expect.objectContaining({ name: 'debian', day: '2026-11-02', contentBytes: 23, from: www, here: false }),
    expect.objectContaining({ name: 'debian', day: '2026-11-01', here: true }),
  ]);
  expect(await run('reader', 'search', 'plan9')).toMatchObject({ status: 0, output: '', errors: 'nothing there is about plan9\n' });

  const info = await run('reader', 'info', 'debian', ...from);
  expect(info.output).toMatch(/^name +debian@2026-11-02\n/);
  expect(info.output).toContain('10 B in 1 contents, before they are packed');
  expect(JSON.parse((await run('reader', 'info', 'debian', ...from, '--json')).output)).toMatchObject({
    day: '2026-11-02',
    missingBytes: 10,
    from: www,
  });
  // It was looked at, not pulled.
  expect((await run('reader', 'info', 'debian')).output).toMatch(/^name +debian@2026-11-01\n/);
  expect(await run('reader', 'info', 'plan9', ...from)).toMatchObject({
    status: 1,
    errors: expect.stringContaining('it has arch/plasma, debian'),
  });
  for (const verb of ['search', 'info']) expect((await run('reader', verb, 'x', '--trust', fingerprint)).status).toBe(2);
});

test('search goes on where one of several places fails', async () => {
  const fingerprint = await publish();
  await run('reader', 'pull', 'debian', '--from', www, '--trust', fingerprint);
  const known = join(directory, 'reader/state/origins.json');
  writeFileSync(known, JSON.stringify({ debian: www, gone: join(directory, 'nowhere') }));
  const found = await run('reader', 'search');
  expect(found).toMatchObject({ status: 1, errors: expect.stringContaining('nowhere') });
  expect(found.output).toContain('debian  2026-11-01');
});

test('what a publisher writes gets to no terminal as a control sequence', async () => {
  const title = '\x1b]0;owned\x07\x1b[2Jfine';
  const plain = await publisher.snapshot('evil', '2026-11-01', { a: 'x' });
  await publisher.catalogue.add({ ...plain, title });
  const { output } = await run('publisher', 'publish', 'evil', www, '--json');
  const { fingerprint } = JSON.parse(output) as { fingerprint: string };
  const { output: shown } = await run('reader', 'search', '--from', www, '--trust', fingerprint);
  expect(shown).toContain('fine');
  // oxlint-disable-next-line no-control-regex
  expect(shown).not.toMatch(/[\x00-\x09\x0b-\x1f]/);
});
