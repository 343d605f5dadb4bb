/** Machines of a published snapshot that are kept: what they wrote is here, the rest comes from where it is published. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { NodeFiles } from '../node/files.ts';
import { Catalogue } from '../snapshots/catalogue/catalogue.ts';
import { readFile, writeFile } from '../snapshots/testing/fake-build-machine.ts';
import { noise } from '../snapshots/testing/noise.ts';
import { TestPublisher } from '../snapshots/testing/published.ts';
import { serveDirectory, type WebServer } from '../snapshots/testing/web-server.ts';
import { readTar } from '../storage/tar.ts';
import type { TreeFileSystem } from '../storage/tree-fs/tree-file-system.ts';
import { main } from './main.ts';
import { testHost, type FakeMachine } from './testing/fakes.ts';
import { triedIn, type Guest } from './testing/prompt-guest.ts';

let directory: string;
let catalogue: Catalogue;
let publisher: TestPublisher;
let web: WebServer;
let from: string[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-kept-'));
  catalogue = new Catalogue(new NodeFiles(), join(directory, 'data'));
  publisher = new TestPublisher(join(directory, 'publisher'));
  // So much that they do not lie in one frame.
  const files = { asked: 'asked for', large: noise(1 << 21, 1), never: noise(1 << 21, 2) };
  const snapshot = await publisher.snapshot('debian', '2026-11-01', files);
  await publisher.addState(snapshot, 10);
  await publisher.publish(snapshot);
  web = await serveDirectory(publisher.www);
  from = ['--from', web.url, '--trust', publisher.fingerprint];
  return () => {
    web.close();
    rmSync(directory, { recursive: true, force: true });
  };
});

const tried = (guest: Guest, ...args: string[]) => triedIn(directory, guest, ...args);

async function run(...args: string[]) {
  const { host, terminal, errors } = testHost(directory);
  const status = await main(host, args);
  return { status, output: terminal.output, errors: errors.text };
}

const rootOf = ({ options }: FakeMachine): TreeFileSystem => options.fileSystems![0]!.backend as TreeFileSystem;

/** Reads `asked`, writes `mine`. */
const writes: Guest = {
  run: async (machine) => {
    await writeFile(rootOf(machine), 'mine', await readFile(rootOf(machine), 'asked'));
    return 0;
  },
};

/** What reading a file gives. */
async function read(path: string, ...args: string[]): Promise<string> {
  let found = '';
  const guest: Guest = {
    run: async (machine) => {
      found = await readFile(rootOf(machine), path).catch((error: unknown) => String(error));
      return 0;
    },
  };
  const { errors, machines } = await tried(guest, 'debian', '--keep', 'work', ...args);
  return machines.length === 0 ? errors : found;
}

describe('a machine of a published snapshot that is kept', () => {
  test('goes on without its server, as far as its contents are here, whatever happens to the cache', async () => {
    const first = await tried(writes, 'debian', ...from, '--keep', 'work');
    expect(first.status, first.errors).toBe(0);
    expect(first.machines[0]!.options.restore).toBeDefined();
    expect(first.errors).toContain('kept as work: daybreak try debian --keep work goes on with it');
    expect(first.errors).toMatch(/4\.2 MB of its files are fetched when .* daybreak pull debian@2026-11-01 --from http.* brings them all/);
    expect((await run('ps', '--all')).output).toMatch(/^work +debian@2026-11-01 +kept .* 0 B$/m);
    web.close();
    rmSync(join(directory, 'cache'), { recursive: true });
    await run('prune');
    expect(await read('mine')).toBe('asked for');
    expect(await read('never')).toMatch(
      /work needs something of debian@2026-11-01 that was never fetched: .* refuses connections; it goes on when/,
    );
    // What could not be read is still kept.
    expect(await read('mine')).toBe('asked for');
  });

  test('fetches from where it was, and from another place that has the same', async () => {
    await tried(writes, 'debian', ...from, '--keep', 'work');
    expect(await read('never')).toHaveLength(new TextDecoder().decode(noise(1 << 21, 2)).length);
    web.close();
    expect(await read('large')).toContain('refuses connections');
    const mirror = await serveDirectory(publisher.www);
    try {
      expect(await read('large', '--from', mirror.url)).toMatch(/trust/);
      expect(await read('large', '--from', mirror.url, '--trust', publisher.fingerprint)).toHaveLength(
        new TextDecoder().decode(noise(1 << 21, 1)).length,
      );
    } finally {
      mirror.close();
    }
    expect((await catalogue.kept('work'))!.published!.place).toBe(mirror.url);
    const other = new TestPublisher(join(directory, 'other'));
    await other.add('debian', '2026-11-01', { asked: 'something else' });
    expect(await read('mine', '--from', other.www, '--trust', other.fingerprint)).toMatch(/another publisher/);
  });

  test('is told when what it needs is not published any more, and what would work', async () => {
    await tried(writes, 'debian', ...from, '--keep', 'work');
    rmSync(join(publisher.www, 'packs'), { recursive: true });
    expect(await read('large')).toMatch(
      /packs\/.* status 404; when it is not published there any more, another place .* --keep work --from PLACE/,
    );
  });

  test('needs nothing of a publisher once all of it was pulled, and prune leaves it that', async () => {
    await tried(writes, 'debian', ...from, '--keep', 'work');
    expect((await run('pull', 'debian@2026-11-01', ...from)).status).toBe(0);
    web.close();
    for (const snapshot of await catalogue.list(() => {})) await catalogue.remove(snapshot);
    // As if a day had passed.
    await catalogue.prune({ nowMs: () => Date.now() + 2 * 86_400_000, sleep: async () => {} }, 0);
    expect((await read('large')).length).toBeGreaterThan(1 << 20);
    expect((await read('never')).length).toBeGreaterThan(1 << 20);
    expect((await tried(writes, 'debian', '--keep', 'work')).errors).not.toContain('fetched when they are asked for');
  });

  test('keep makes one of a machine that runs', async () => {
    let said = '';
    const guest: Guest = {
      run: async (machine) => {
        await writeFile(rootOf(machine), 'mine', 'written');
        said = (await run('keep', 'debian', 'work')).errors;
        return 4;
      },
    };
    expect((await tried(guest, 'debian', ...from)).status).toBe(4);
    expect(said).toContain('work is kept when it ends');
    expect(await read('mine')).toBe('written');
  });

  test('is exported with what it wrote, and what was never fetched is fetched for it', async () => {
    await tried(writes, 'debian', ...from, '--keep', 'work');
    const path = join(directory, 'work.tar');
    const names = () => [...readTar('tar', readFileSync(path))].map((entry) => entry.path);
    web.misbehave = (_path, _request, response) => !!response.writeHead(500).end();
    const failed = await run('export', 'work', path);
    expect([failed.status, existsSync(path)], failed.errors).toEqual([1, false]);
    expect(failed.errors).toMatch(/work needs something of debian@2026-11-01 that was never fetched: .* status 500/);
    web.misbehave = () => false;
    const done = await run('export', 'work', path, '--json');
    expect(JSON.parse(done.output)).toMatchObject({ name: 'work', day: '2026-11-01', kept: true, of: 'debian@2026-11-01', format: 'tar' });
    expect(done.errors).toContain(`${path}: work, of debian@2026-11-01, `);
    expect(names()).toEqual(expect.arrayContaining(['asked', 'large', 'mine', 'never']));
  });

  test('is told from a snapshot of its name', async () => {
    await tried(writes, 'debian', ...from, '--keep', 'debian');
    await run('pull', 'debian', ...from);
    const both = await run('export', 'debian', join(directory, 'a.tar'));
    expect(both.errors).toMatch(
      /debian is a snapshot, and a machine that is kept: this exports the snapshot, --kept the machine\n.*a\.tar: debian@2026-11-01/,
    );
    expect((await run('export', 'debian', join(directory, 'b.tar'), '--kept')).errors).toContain('b.tar: debian, of debian@2026-11-01');
    expect(await run('export', 'debain', join(directory, 'c.tar'), '--kept')).toMatchObject({
      status: 1,
      errors: expect.stringContaining('there is no kept machine "debain" (did you mean debian?)'),
    });
  });

  test('is refused where the name is of another machine', async () => {
    await tried(writes, 'debian', ...from, '--keep', 'work');
    await publisher.add('debian', '2026-11-02', { a: 'a' });
    expect((await tried(writes, 'debian@2026-11-02', ...from, '--keep', 'work')).errors).toContain(
      '--keep work: that machine is of debian@2026-11-01',
    );
    // Without a day, it is the one that it is of.
    expect((await tried(writes, 'debian', ...from, '--keep', 'work')).status).toBe(0);
  });
});
