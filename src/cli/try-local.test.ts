import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { NodeFiles } from '../node/files.ts';
import { Catalogue } from '../snapshots/catalogue/catalogue.ts';
import type { Snapshot } from '../snapshots/catalogue/snapshot.ts';
import { writeFile } from '../snapshots/testing/fake-build-machine.ts';
import { TreeBuilder } from '../storage/tree-builder.ts';
import type { TreeFileSystem } from '../storage/tree-fs/tree-file-system.ts';
import { main } from './main.ts';
import { testHost } from './testing/fakes.ts';
import { EXIT_0, triedIn, type Guest } from './testing/prompt-guest.ts';

let directory: string;
let catalogue: Catalogue;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-try-'));
  catalogue = new Catalogue(new NodeFiles(), join(directory, 'data'));
  return () => rmSync(directory, { recursive: true, force: true });
});

async function add(day: string, state?: string): Promise<Snapshot> {
  const builder = new TreeBuilder(1);
  const data = new TextEncoder().encode(day);
  const digest = await catalogue.store.put(data);
  builder.add('etc/day', { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 1, digest, sizeBytes: data.length }, 'test');
  const tree = builder.build();
  const snapshot: Snapshot = {
    format: 1,
    name: 'debian',
    day,
    tree: await catalogue.putTree(tree),
    entryCount: tree.size,
    contentBytes: 1,
    kernel: { digest: await catalogue.store.put(new TextEncoder().encode('kernel')), version: '7.2' },
    inputs: 'f'.repeat(64),
    lock: { format: 1, recipe: 'debian', day, suites: [{ name: 'unstable', dateMs: 1, index: 'e'.repeat(64) }], packages: [], kernel: [] },
    packages: [],
    probes: [],
  };
  await catalogue.add(snapshot);
  if (state !== undefined)
    await catalogue.addBooted(snapshot, { data: new TextEncoder().encode(state), firstBytes: 1, tailBytes: 1 }, 2 ** 30);
  return snapshot;
}

const tried = (guest: Guest, ...args: string[]) => triedIn(directory, guest, ...args);

describe('try of a snapshot of this computer', () => {
  test('goes on from the booted state, and shows only what runs', async () => {
    await add('2026-11-01', 'a state');
    const hello: Guest = { run: (machine) => (machine.print('hello\n'), 7) };
    const { status, output, machines } = await tried(hello, 'debian', '--', 'hello', "it's");
    expect([status, output]).toEqual([7, 'hello\n']);
    const { restore, memoryBytes, kernel, fileSystems } = machines[0]!.options;
    expect(restore).toEqual({ source: expect.stringMatching(/chunks/), onlyAsked: true });
    expect([memoryBytes, kernel, fileSystems!.length]).toEqual([2 ** 30, undefined, 1]);
    expect(machines[0]!.typed).toContain("daybreak $'hello' $'it\\047s'\n");
  });

  test('boots with --cold, with other memory or kernel options, and without a state, and says why', async () => {
    await add('2026-11-01', 'a state');
    await add('2026-10-31');
    for (const [args, why] of [
      [['debian', '--cold'], ''],
      [['debian', '--memory', '2G'], 'the booted state has 1024 MiB'],
      [['debian', '--append', 'debug'], 'knows nothing of --append'],
      [['debian@-1'], 'it has no booted state'],
    ] as const) {
      const { status, errors, machines } = await tried(EXIT_0, ...args);
      expect(status).toBe(0);
      expect(machines[0]!.options.restore).toBeUndefined();
      expect(machines[0]!.options.commandLine).toMatch(/root=root rootfstype=virtiofs .*systemd/);
      if (why === '') expect(errors).not.toContain('boots:');
      else expect(errors).toContain(why);
    }
  });

  test('boots when the state does not fit this machine, and says so', async () => {
    await add('2026-11-01', 'a state');
    const { status, errors, machines } = await tried({ ...EXIT_0, refuse: new VmError('bad-state', 'another processor') }, 'debian');
    expect([status, machines.length]).toEqual([0, 1]);
    expect(errors).toContain('debian@2026-11-01 boots: another processor');
    const broken = await tried({ ...EXIT_0, refuse: new VmError('host-io', 'no more files') }, 'debian', '--', 'x');
    expect(broken).toMatchObject({ status: 125, errors: expect.stringContaining('no more files') });
  });

  test('throws away what the machine wrote, but for --keep, which goes on with it', async () => {
    const first = await add('2026-11-01', 'a state');
    const write: Guest = {
      run: async ({ options }) => {
        await writeFile(options.fileSystems![0]!.backend as TreeFileSystem, 'etc/mine', 'mine');
        return 0;
      },
    };
    await tried(write, 'debian');
    const kept = await tried(write, 'debian', '--keep', 'work');
    expect(kept).toMatchObject({ status: 0, errors: expect.stringContaining('kept as work') });
    expect((await catalogue.tree(first)).get('etc/mine')).toBeUndefined();
    await add('2026-11-02', 'a state');
    let seen: string[] = [];
    const look: Guest = {
      run: ({ options }) => {
        seen = [...(options.fileSystems![0]!.backend as TreeFileSystem).tree.entries()].map(([path]) => path);
        return 0;
      },
    };
    const again = await tried(look, 'debian', '--keep', 'work');
    expect(again.machines[0]!.options.restore).toBeUndefined();
    expect(seen).toContain('etc/mine');
    await tried(look, 'debian');
    expect(seen).not.toContain('etc/mine');
    // Pruned snapshots take nothing of it along.
    for (const one of await catalogue.list(() => {})) await catalogue.remove(one);
    expect((await tried(look, 'debian', '--keep', 'work')).status).toBe(0);
    expect((await tried(look, 'debian@2026-11-02', '--keep', 'work')).errors).toContain('that machine is of debian@2026-11-01');
  });

  test('keep makes a running machine one that is kept, under its name or another; rm removes it when it is over', async () => {
    await add('2026-11-01', 'a state');
    const other = (...args: string[]) => {
      const { host, terminal, errors } = testHost(directory);
      return main(host, args).then((status) => ({ status, output: terminal.output, errors: errors.text }));
    };
    let asked: Awaited<ReturnType<typeof other>>[] = [];
    const keeping = (...commands: string[][]): Guest => ({
      run: async ({ options }) => {
        await writeFile(options.fileSystems![0]!.backend as TreeFileSystem, 'etc/mine', 'four');
        asked = [];
        for (const command of commands) asked.push(await other(...command));
        return 3;
      },
    });
    const first = await tried(keeping(['keep', 'debian'], ['rm', 'debian'], ['keep', 'debian', 'more'], ['ps', '--all']), 'debian');
    expect(first).toMatchObject({ status: 3, errors: expect.stringContaining('kept as debian: ') });
    expect(asked[0]!.errors).toBe('debian is kept when it ends; daybreak try debian --keep debian goes on with it then\n');
    expect(asked[1]).toMatchObject({
      status: 1,
      errors: expect.stringContaining(`runs (process ${process.pid}): daybreak stop debian first`),
    });
    expect(asked[2]).toMatchObject({ status: 1, errors: expect.stringContaining('debian is kept already') });
    expect(asked[3]!.output).toMatch(/^debian +debian@2026-11-01 +runs .* yes +-$/m);
    const twice = tried(keeping(['try', 'debian', '--keep', 'debian'], ['keep', 'debian', 'work']), 'debian', '--keep', 'debian');
    expect((await twice).status).toBe(3);
    expect(asked.map(({ status }) => status)).toEqual([2, 1]);
    expect(asked[0]!.errors).toContain('a machine named debian runs already');
    // A name that is kept is not given to another machine.
    await tried(keeping(['ps'], ['keep', 'debian-2', 'debian'], ['keep', 'debian-2', 'work'], ['ps']), 'debian');
    expect(asked[0]!.output).toContain('debian-2  debian@2026-11-01');
    expect(asked[1]).toMatchObject({ status: 1, errors: expect.stringContaining('there is a kept machine debian already') });
    expect(asked[3]!.output).toMatch(/^work .* yes$/m);
    expect((await other('ps', '--all')).output.split('\n').slice(1)).toEqual([
      expect.stringMatching(/^debian +debian@2026-11-01 +kept .* 4 B$/),
      expect.stringMatching(/^work +debian@2026-11-01 +kept .* 4 B$/),
      '',
    ]);
    const listed = (await other('ps', '--all', '--json')).output.split('\n')[0]!;
    expect(JSON.parse(listed)).toEqual({
      name: 'debian',
      state: 'kept',
      of: 'debian@2026-11-01',
      kept: true,
      ownBytes: 4,
      contentBytes: 14,
    });
    expect(await other('rm', 'wrok', 'work')).toMatchObject({
      status: 1,
      errors: expect.stringMatching(/did you mean work\?[^]*work is removed/),
    });
    expect(await catalogue.keptNames()).toEqual(['debian']);
  });

  test('stop does not wait for a guest that does not listen, when nothing of it stays', async () => {
    await add('2026-11-01', 'a state');
    let said = '';
    const deaf: Guest = {
      run: () => {
        const { host, errors } = testHost(directory);
        void main(host, ['stop', 'debian', '--timeout', '600']).then(() => (said = errors.text));
        return undefined;
      },
    };
    expect((await tried(deaf, 'debian')).status).toBe(0);
    await expect.poll(() => said, { timeout: 30_000 }).toContain('its system does not listen to the power button');
  });

  test('stop of a kept machine waits until it is kept', async () => {
    await add('2026-11-01', 'a state');
    let said = '';
    const stopped: Guest = {
      run: (machine) => {
        machine.onPowerButton = () => machine.end({ kind: 'poweroff' });
        const { host, errors } = testHost(directory);
        void main(host, ['stop', 'work']).then(() => (said = errors.text));
        return undefined;
      },
    };
    expect((await tried(stopped, 'debian', '--keep', 'work')).errors).toContain('kept as work');
    await expect.poll(() => said, { timeout: 30_000 }).toBe('work has powered off; daybreak ps --all shows what is kept of it\n');
    expect(await catalogue.keptNames()).toEqual(['work']);
  });

  test('a machine that ends on its own is told with its last words', async () => {
    await add('2026-11-01', 'a state');
    const panic: Guest = { run: (machine) => (machine.print('Kernel panic\n'), machine.end({ kind: 'reset' }), undefined) };
    expect(await tried(panic, 'debian', '--', 'x')).toMatchObject({
      status: 125,
      errors: expect.stringMatching(/\(reset\)[^]*Kernel panic/),
    });
    expect((await tried(panic, 'debian')).status).toBe(1);
    const off: Guest = { run: (machine) => (machine.end({ kind: 'poweroff' }), undefined) };
    expect((await tried(off, 'debian')).status).toBe(0);
  });

  test.each<[string, number, string[]]>([
    ['no snapshot plan9 on this computer', 1, ['plan9']],
    ['names no snapshot', 2, ['../x']],
    ['a machine that is kept has the name of --keep', 2, ['debian', '--keep', 'a', '--name', 'b']],
    ['expected a name of small letters', 2, ['debian', '--keep', '../x']],
    ['no snapshot debian on this computer', 1, ['debian', '--cold']],
    ['no snapshot debian on this computer', 1, ['debian', '--keep', 'work']],
    ['no snapshot debian@2026-11-01 on this computer', 1, ['debian@2026-11-01']],
    ['--cold is for snapshots: leave --mirror out', 2, ['debian', '--mirror', 'http://x', '--cold']],
    ['--keep is for snapshots: leave --offline out', 2, ['debian', '--offline', '--keep', 'x']],
  ])('says "%s"', async (message, expected, args) => {
    const { status, errors } = await tried({}, ...args);
    expect(status).toBe(expected);
    expect(errors).toContain(message);
  });
});
