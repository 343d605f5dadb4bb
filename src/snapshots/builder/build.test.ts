import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { VmError } from '../../base/errors.ts';
import { openState } from '../../machine/saved-state-file.ts';
import { NodeFetch } from '../../node/fetch.ts';
import { NodeFiles } from '../../node/files.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { Catalogue } from '../catalogue/catalogue.ts';
import { loadRecipe } from '../recipe/load.ts';
import { FakeArchive, makeSigner, MINIMAL_PACKAGES, type FakePackage, type Signer } from '../testing/fake-archive.ts';
import { sourceOf } from '../testing/saved-state.ts';
import { fakeBuildMachine, writeFile, type FakeGuest } from '../testing/fake-build-machine.ts';
import { buildSnapshot, type BuildOptions } from './build.ts';
import type { MachineRequest } from './host.ts';

let signer: Signer;
let archive: FakeArchive;
let mirror: string;
let directory: string;
let started: MachineRequest[];

const EXTRA: readonly FakePackage[] = [
  { name: 'hello', fields: 'Depends: libhello', entries: [{ path: './usr/bin/hello', content: 'hello', mode: 0o755 }] },
  { name: 'libhello', entries: [{ path: './usr/lib/libhello.so', content: 'lib' }] },
];

beforeAll(async () => {
  signer = await makeSigner();
});

beforeEach(async () => {
  archive = new FakeArchive(signer);
  await archive.publish({ packages: [...MINIMAL_PACKAGES, ...EXTRA] });
  mirror = await archive.listen();
  directory = mkdtempSync(join(tmpdir(), 'daybreak-build-'));
  started = [];
  recipe(
    'base',
    'suites = ["unstable"]\nkernel = "linux-image-cloud-amd64"\npackages = ["nano"]\n[[probes]]\nrun = "true"\nexpect = "yes"\n',
  );
  recipe('mine', 'from = "base"\npackages = ["hello"]\ncommands = ["echo 1"]\n[[files]]\npath = "/etc/motd"\ncontent = "Hi"\n');
});

afterEach(() => {
  archive.close();
  rmSync(directory, { recursive: true, force: true });
});

function recipe(name: string, text: string): void {
  mkdirSync(join(directory, 'recipes'), { recursive: true });
  writeFileSync(join(directory, 'recipes', `${name}.toml`), text);
}

const HEALTHY: FakeGuest = { answer: (command) => (command === 'true' ? ['yes\n', 0] : ['', 0]) };

async function build(
  name: string,
  { guest = HEALTHY, home = 'one', ...options }: Partial<BuildOptions> & { guest?: FakeGuest; home?: string; signal?: AbortSignal } = {},
) {
  const files = new NodeFiles();
  const { signal, ...rest } = options;
  const catalogue = new Catalogue(files, join(directory, home));
  const result = await buildSnapshot(
    {
      files,
      fetch: new NodeFetch({ silenceMs: 2000 }),
      clock: {
        nowMs: () => Date.parse('2026-11-02T00:00:00Z'),
        // Only what is to hang waits for long.
        sleep: (ms, aborted) =>
          new Promise((done) => (ms < 60_000 ? setTimeout(done, 0) : aborted?.addEventListener('abort', () => done()))),
      },
      log: () => {},
      progress: () => {},
      consoleLog: () => {},
      stateCodec: nodeStateCodec,
      startMachine: fakeBuildMachine(guest, started),
      ...(signal && { signal }),
    },
    catalogue,
    await loadRecipe(files, join(directory, 'recipes'), name),
    {
      archive: {
        mirror,
        keyring: [signer.publicKey],
        strict: false,
        allowOlder: false,
        offline: false,
        cacheDirectory: join(directory, 'cache'),
        stateDirectory: join(directory, 'state'),
      },
      ...rest,
    },
  );
  return { ...result, catalogue };
}

describe('a build', () => {
  test('makes a snapshot that the catalogue finds, with its packages, lock and probes', async () => {
    const { snapshot, known, catalogue } = await build('base');
    expect(known).toBe(false);
    expect(snapshot).toMatchObject({ name: 'base', day: '2026-11-01', kernel: { version: '7.2.0-cloud-amd64' } });
    expect(snapshot.packages.map(({ name }) => name)).toEqual(['base-files', 'base-passwd', 'nano']);
    expect(snapshot.probes).toEqual(['systemctl --failed --no-legend --plain', 'true']);
    const tree = await catalogue.tree(snapshot);
    expect(tree.get('usr/bin/nano')).toBeDefined();
    expect(tree.get('usr/lib/modules/7.2.0-cloud-amd64/vmlinuz')).toBeUndefined();
    expect(new TextDecoder().decode(await catalogue.store.get(snapshot.kernel.digest))).toBe('a kernel');
  });

  test('of the same inputs gives the same tree and the same record, in another place and with other times', async () => {
    const shifted: FakeGuest = { ...HEALTHY, change: (fs) => writeFile(fs, 'etc/machine-id', 'random') };
    const [a, b] = [await build('base'), await build('base', { home: 'two', guest: shifted })];
    expect(b.known).toBe(false);
    expect(b.snapshot).toEqual(a.snapshot);
  });

  test('is not made again, but for --force or when something of it is lost', async () => {
    const { snapshot } = await build('base');
    // Configured, booted, gone on with four times.
    expect(started.length).toBe(6);
    expect((await build('base')).known).toBe(true);
    expect(started.length).toBe(7);
    expect((await build('base', { force: true })).known).toBe(false);
    rmSync(join(directory, 'one/chunks', snapshot.tree.slice(0, 2)), { recursive: true });
    expect((await build('base')).known).toBe(false);
    expect((await build('base')).snapshot).toEqual(snapshot);
  });

  test('keeps a booted state with the snapshot, but not in its record, and makes a lost one again', async () => {
    const { snapshot, catalogue } = await build('base');
    const booted = (await catalogue.booted(snapshot))!;
    expect(booted).toMatchObject({ tree: snapshot.tree, memoryBytes: 2 ** 30 });
    const state = openState(sourceOf(await catalogue.store.get(booted.state)), await nodeStateCodec());
    expect(state.description).toEqual({ made: 'for a test', seed: 1 });
    await catalogue.store.remove(booted.state);
    expect(await catalogue.booted(snapshot)).toBeUndefined();
    expect((await build('base')).known).toBe(true);
    expect(await catalogue.booted(snapshot)).toEqual(booted);
    expect(started.length).toBe(11);
  });

  test('makes a booted state anew from which this Daybreak cannot go on', async () => {
    await build('base');
    const old = new VmError('bad-state', 'a saved state of version 1 cannot be restored');
    let refused = 0;
    const refuse = () => (refused++ === 0 ? old : undefined);
    expect((await build('base', { guest: { ...HEALTHY, refuse } })).known).toBe(true);
    expect(started.slice(6).map(({ restore }) => restore !== undefined)).toEqual([true, false, true, true, true, true]);
    await expect(build('base', { guest: { ...HEALTHY, refuse: () => new VmError('host-io', 'no memory') } })).rejects.toThrow('no memory');
  });

  test('fails when its booted state does not go on', async () => {
    const refuse = () => new VmError('bad-state', 'it does not fit');
    await expect(build('base', { guest: { ...HEALTHY, refuse } })).rejects.toThrow('it does not fit');
  });

  test('that is not asked has no booted state', async () => {
    const { snapshot, catalogue } = await build('base', { probe: false });
    expect(await catalogue.booted(snapshot)).toBeUndefined();
    expect(started.length).toBe(1);
  });

  test('on a base builds that first, and shares its files', async () => {
    const { snapshot, catalogue } = await build('mine');
    const days = await catalogue.list(() => {});
    expect(days.map(({ name }) => name)).toEqual(['base', 'mine']);
    expect(snapshot.lock.base).toEqual({ name: 'base', tree: days[0]!.tree });
    expect(snapshot.lock.packages.map(({ name }) => name)).toEqual(['hello', 'libhello']);
    expect(snapshot.packages.map(({ name }) => name)).toEqual(['base-files', 'base-passwd', 'hello', 'libhello', 'nano']);
    const [tree, base] = [await catalogue.tree(snapshot), await catalogue.tree(days[0]!)];
    expect(tree.get('usr/bin/nano')).toEqual(base.get('usr/bin/nano'));
    expect(tree.get('etc/motd')).toMatchObject({ sizeBytes: 2 });
  });

  test('by a lock is the same when the archive has gone on', async () => {
    const { snapshot } = await build('base');
    const newer = [...MINIMAL_PACKAGES, { name: 'nano', version: '2', entries: [{ path: './usr/bin/nano', content: 'new' }] }];
    await archive.publish({ packages: newer, date: 'Mon, 02 Nov 2026 08:00:00 UTC' });
    expect((await build('base', { lock: snapshot.lock, home: 'two' })).snapshot).toEqual(snapshot);
    expect((await build('base')).snapshot.day).toBe('2026-11-02');
    await expect(build('mine', { lock: snapshot.lock })).rejects.toMatchObject({ code: 'usage' });
  });

  test('says which package, command or probe failed, with its last words, and keeps nothing', async () => {
    const console = 'Setting up nano (1) ...\nE: it broke\nSetting up other (1) ...\nfine\n';
    const report = [
      'status: nano: error : installed nano package post-installation script subprocess returned error exit status 1',
      'failed configure',
      'exit 1',
    ];
    const failing = build('base', { guest: { console, report } });
    await expect(failing).rejects.toMatchObject({
      message: expect.stringMatching(/package nano could not be configured.*exit status 1[^]*E: it broke\s*$/),
    });
    const command = build('base', { guest: { console: 'sh: nope: not found\n', report: ['failed command 0000 127', 'exit 1'] } });
    await expect(command).rejects.toMatchObject({ message: expect.stringMatching(/command 1 ended with status 127[^]*nope/) });
    const lost = build('base', { guest: { console: 'Kernel panic\n', report: [] } });
    await expect(lost).rejects.toMatchObject({ message: expect.stringMatching(/before it was done[^]*Kernel panic/) });
    const probe = build('base', { guest: { answer: (asked) => (asked === 'true' ? ['no\n', 0] : ['', 0]) } });
    await expect(probe).rejects.toMatchObject({ message: expect.stringMatching(/"true" did not print "yes"[^]*no/) });
    const status = build('base', { guest: { answer: (asked) => (asked === 'true' ? ['yes', 3] : ['', 0]) } });
    await expect(status).rejects.toMatchObject({ message: expect.stringContaining('status 3') });
    const units = build('base', { guest: { answer: (asked) => [asked.includes('--failed') ? 'x.service failed\n' : 'yes', 0] } });
    await expect(units).rejects.toMatchObject({ message: expect.stringMatching(/units of it fail[^]*x\.service/) });
    expect(await new Catalogue(new NodeFiles(), join(directory, 'one')).list(() => {})).toEqual([]);
  });

  test('says what does not go together today', async () => {
    await archive.publish({ packages: [...MINIMAL_PACKAGES, { name: 'hello', fields: 'Depends: gone (>= 2)' }] });
    await expect(build('mine')).rejects.toMatchObject({ code: 'not-found', message: expect.stringContaining('hello needs gone (>= 2)') });
  });

  test('that is stopped anywhere keeps no snapshot, and the next one gives what it would have given', async () => {
    const { snapshot } = await build('base', { home: 'whole' });
    for (const afterMs of [0, 5, 15, 30, 60, 90]) {
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort('SIGINT'), afterMs);
      const stopped = await build('base', { home: 'cut', signal: abort.signal }).catch(() => undefined);
      clearTimeout(timer);
      const records = readdirSync(directory).includes('cut')
        ? await new Catalogue(new NodeFiles(), join(directory, 'cut')).list(() => {})
        : [];
      expect(records.length).toBe(stopped ? 1 : 0);
      if (stopped) break;
    }
    expect((await build('base', { home: 'cut' })).snapshot).toEqual(snapshot);
  });
});
