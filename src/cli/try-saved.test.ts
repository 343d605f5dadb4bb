/** Machines of `try` that are saved in the middle of their sessions, and go on there. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { NodeFiles } from '../node/files.ts';
import { Catalogue } from '../snapshots/catalogue/catalogue.ts';
import { readFile, writeFile } from '../snapshots/testing/fake-build-machine.ts';
import { TestPublisher } from '../snapshots/testing/published.ts';
import type { TreeFileSystem } from '../storage/tree-fs/tree-file-system.ts';
import { main } from './main.ts';
import { testHost, type FakeMachine } from './testing/fakes.ts';
import { triedIn, type Guest } from './testing/prompt-guest.ts';

let directory: string;
let catalogue: Catalogue;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-saved-'));
  // What it would publish is this computer's here.
  const publisher = new TestPublisher(directory);
  catalogue = new Catalogue(new NodeFiles(), join(directory, 'data'));
  const { catalogue: made } = publisher;
  const snapshot = await publisher.snapshot('debian', '2026-11-01', { day: '1' });
  for (const digest of [snapshot.tree, snapshot.kernel.digest]) await catalogue.store.put(await made.store.get(digest));
  for (const [, node] of (await made.tree(snapshot)).entries())
    if (node.type === 'file') await catalogue.store.put(await made.store.get(node.digest));
  await catalogue.add(snapshot);
  return () => rmSync(directory, { recursive: true, force: true });
});

const tried = (guest: Guest, ...args: string[]) => triedIn(directory, guest, 'debian', ...args);

async function run(...args: string[]) {
  const { host, terminal, errors } = testHost(directory);
  const status = await main(host, args);
  return { status, output: terminal.output, errors: errors.text };
}

const rootOf = ({ options }: FakeMachine): TreeFileSystem => options.fileSystems![0]!.backend as TreeFileSystem;

/** Writes, shows `last`, and is saved from outside. */
function isSaved(last = 'root@debian:~# ', name = 'work') {
  const seen = { stop: Promise.resolve({ status: -1, output: '', errors: '' }), machine: undefined as FakeMachine | undefined };
  const guest: Guest = {
    run: async (machine) => {
      seen.machine = machine;
      await writeFile(rootOf(machine), 'mine', 'mine');
      machine.print(last);
      seen.stop = run('stop', name, '--save');
      return undefined;
    },
  };
  return { guest, seen };
}

async function save(last?: string) {
  const { guest, seen } = isSaved(last);
  const ended = await tried(guest, '--keep', 'work');
  const [path] = seen.machine!.saved;
  writeFileSync(path!, 'a state');
  return { ended, path: path!, stop: await seen.stop };
}

const ends: Guest = { run: () => 6 };

describe('a machine that is saved', () => {
  test('goes on where it was, with its shell, and is kept as it ends', async () => {
    const { ended, path, stop } = await save();
    expect([ended.status, ended.errors]).toEqual([
      0,
      expect.stringContaining('saved as work (1.2 MB): daybreak try debian --keep work goes on'),
    ]);
    expect(stop).toMatchObject({
      status: 0,
      errors: expect.stringContaining('work is saved (1.2 MB); daybreak try debian --keep work goes on'),
    });
    expect((await run('ps', '--all')).output).toMatch(/^work +debian@2026-11-01 +saved .* 1\.2 MB$/m);
    expect((await run('list')).errors).toBe('machines: work (saved); daybreak ps --all tells more\n');
    const again = await tried(ends, '--keep', 'work');
    expect(again.status, again.errors).toBe(6);
    expect((await run('list', 'debian')).errors).toContain('machines: work (kept)');
    expect((await run('list', 'other')).errors).not.toContain('machines');
    const { restore, fileSystems } = again.machines[0]!.options;
    expect(restore).toEqual({ source: path, onlyAsked: true });
    // The state brings what was written; below it is what was below it then.
    expect((fileSystems![0]!.backend as TreeFileSystem).tree.get('mine')).toBeUndefined();
    expect(again.machines[0]!.typed).toMatch(/^ date -us .*; printf '\\035[0-9a-f]{16}'\noff-/);
    // It was shut down at the end, and there is nothing to go on from.
    expect((await catalogue.kept('work'))!.state).toBeUndefined();
    expect(existsSync(path)).toBe(false);
  });

  test('that was doing something is left alone, and shows what it showed', async () => {
    await save('a line\r\nhalf a screen of');
    const again = await tried({ resumed: (machine) => machine.end({ kind: 'poweroff' }) }, '--keep', 'work');
    expect([again.status, again.machines[0]!.typed], again.errors).toEqual([0, '']);
    expect(again.output).toBe('half a screen of');
    expect(again.errors).toContain('its clock stood still meanwhile');
  });

  test.each<[string, string[], string]>([
    ['a command', ['--', 'true'], 'it was saved with a shell at its console'],
    ['other memory', ['--memory', '2G'], 'its saved state has 1024 MiB of memory'],
  ])('is not given up for %s', async (_what, args, why) => {
    const { path } = await save();
    const refused = await tried(ends, '--keep', 'work', ...args);
    expect(refused.errors).toContain(why);
    expect(refused.errors).toContain('--keep work --cold gives its session up');
    expect(refused.machines).toEqual([]);
    expect(existsSync(path)).toBe(true);
  });

  test('is not given up when it cannot go on here, but for --cold, which boots it with what it had written', async () => {
    const { path } = await save();
    const refuse = new VmError('bad-state', 'another version');
    const refused = await tried({ ...ends, refuse }, '--keep', 'work');
    expect(refused).toMatchObject({
      status: 1,
      machines: [],
      errors: expect.stringContaining('work cannot go on where it was: another version'),
    });
    expect(existsSync(path)).toBe(true);
    let found = '';
    const look: Guest = { run: async (machine) => ((found = await readFile(rootOf(machine), 'mine')), 0) };
    const cold = await tried(look, '--keep', 'work', '--cold');
    expect([cold.status, found], cold.errors).toEqual([0, 'mine']);
    expect(cold.machines[0]!.options.restore).toBeUndefined();
    expect(existsSync(path)).toBe(false);
  });

  test('was thrown away else: it is kept under its own name', async () => {
    const { guest, seen } = isSaved(undefined, 'debian');
    expect((await tried(guest)).errors).toContain('saved as debian ');
    expect((await seen.stop).status).toBe(0);
    expect((await catalogue.kept('debian'))!.state).toBeDefined();
  });

  test('may be so by the escape key, and by a signal if it is kept', async () => {
    const byKey = await tried({ run: (_machine, { terminal }) => (terminal.type('\x1ds'), undefined), terminal: true }, '--name', 'mine');
    expect([byKey.status, byKey.output], byKey.errors).toEqual([0, expect.stringContaining('s saves and quits')]);
    expect((await catalogue.kept('mine'))!.state).toBeDefined();
    const signal: Guest = { run: (_machine, { abort }) => (abort.abort('SIGHUP'), undefined) };
    expect((await tried(signal, '--keep', 'work')).status).toBe(129);
    expect((await catalogue.kept('work'))!.state).toBeDefined();
    await tried(signal, '--name', 'gone');
    expect(await catalogue.keptNames()).toEqual(['mine', 'work']);
  });

  test('and could not be saved goes on', async () => {
    let said = '';
    const guest: Guest = {
      run: async (machine) => {
        machine.saveError = new VmError('host-io', 'the disk is full');
        const stop = await run('stop', 'work', '--save');
        said = `${stop.status} ${stop.errors}`;
        return 2;
      },
    };
    expect((await tried(guest, '--keep', 'work')).status).toBe(2);
    expect(said).toContain('1 daybreak: the disk is full');
    expect((await catalogue.kept('work'))!.state).toBeUndefined();
  });

  test('and cannot be kept for want of a disk is tried again: a person may help', async () => {
    const kept = join(directory, 'data/kept');
    const exits: Guest = {
      terminal: true,
      run: async (machine) => {
        await writeFile(rootOf(machine), 'mine', 'mine');
        writeFileSync(kept, 'in the way');
        setTimeout(() => rmSync(kept), 500);
        return 3;
      },
    };
    const { status, errors } = await tried(exits, '--keep', 'work');
    expect(status, errors).toBe(3);
    expect(errors).toMatch(/work is not kept yet: .*data\/kept.*; it is tried again[^]*kept as work/);
    rmSync(kept, { recursive: true });
    const alone = await tried({ run: () => (writeFileSync(kept, 'in the way'), 3) }, '--keep', 'work');
    expect(alone.status).toBe(1);
    expect(alone.errors.split('is not kept yet').length - 1).toBe(5);
  });

  test('runs a command: nobody could go on with that', async () => {
    let said = '';
    const guest: Guest = { run: async () => ((said = (await run('stop', 'work', '--save')).errors), 0) };
    await tried(guest, '--keep', 'work', '--', 'true');
    expect(said).toContain('work cannot be saved: it has no root shell that somebody could go on with');
  });

  test('takes its state along when it is removed; prune spares it, and takes what a killed process left', async () => {
    const { path } = await save();
    const left = join(directory, 'data/kept/0123456789abcdef.state');
    writeFileSync(left, 'a state');
    const later = { nowMs: () => Date.now() + 2 * 86_400_000, sleep: async () => {} };
    await catalogue.prune(later, 0);
    expect([existsSync(path), existsSync(left)]).toEqual([true, false]);
    expect((await run('rm', 'work')).status).toBe(0);
    expect(readdirSync(join(directory, 'data/kept'))).toEqual([]);
  });
});
