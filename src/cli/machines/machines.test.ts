import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { main } from '../main.ts';
import { testHost, type FakeMachine } from '../testing/fakes.ts';
import { formatAge } from '../verbs/ps.ts';

let directory: string;
let kernel: string;

beforeEach(() => {
  // Short, since a socket's path is.
  directory = mkdtempSync(join(tmpdir(), 'db-'));
  kernel = join(directory, 'vmlinuz');
  writeFileSync(kernel, 'K');
  return () => rmSync(directory, { recursive: true, force: true });
});

async function run(...args: string[]) {
  const { host, terminal, errors } = testHost(directory);
  const status = await main(host, args);
  return { status, output: terminal.output, errors: errors.text };
}

/** A machine that runs until something ends it. */
async function boot(...args: string[]) {
  let machine: FakeMachine | undefined;
  const { host, errors } = testHost(directory, (started) => (machine = started));
  const ended = main(host, ['boot', '--kernel', kernel, ...args]).then((status) => ({ status, errors: errors.text }));
  await Promise.race([ended, expect.poll(() => machine, { timeout: 30_000 }).toBeDefined()]);
  return { ended, machine: machine! };
}

describe('ps', () => {
  test('shows the machines that run, for people and for programs', async () => {
    expect((await run('ps')).errors).toContain('no machine runs (daybreak ps --all shows those that are kept)');
    const [first, second] = [await boot('--memory', '64'), await boot('--name', 'mine', '--memory', '2G')];
    const { status, output } = await run('ps');
    expect(status).toBe(0);
    const [head, ...rows] = output.trimEnd().split('\n');
    expect(head).toMatch(/^NAME +OF +STATE +SINCE +ACCEL +MEMORY +PID +KEPT$/);
    expect(rows.map((row) => row.split(/ {2,}/))).toEqual([
      ['boot', 'vmlinuz', 'runs', '0 s', 'jit', '64 MiB', String(process.pid), 'no'],
      ['mine', 'vmlinuz', 'runs', '0 s', 'jit', '2 GiB', String(process.pid), 'no'],
    ]);
    const lines = (await run('ps', '--json')).output.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      expect.objectContaining({
        name: 'boot',
        state: 'running',
        memoryBytes: 64 << 20,
        startedAt: '2026-11-02T00:00:00.000Z',
        kept: false,
      }),
      expect.objectContaining({ name: 'mine', accelerator: 'jit', verb: 'boot', of: 'vmlinuz', pid: process.pid }),
    ]);
    for (const { machine } of [first, second]) machine.end({ kind: 'poweroff' });
    expect([(await first.ended).status, (await second.ended).status]).toEqual([0, 0]);
    expect((await run('ps')).output).toBe('');
  });

  test('a name that is taken or none is refused before anything starts', async () => {
    const { machine, ended } = await boot('--name', 'mine');
    expect(await (await boot('--name', 'mine')).ended).toMatchObject({ status: 2, errors: expect.stringContaining('daybreak stop mine') });
    expect(await run('boot', '--kernel', kernel, '--name', '../x')).toMatchObject({
      status: 2,
      errors: expect.stringContaining('--name ../x'),
    });
    machine.end({ kind: 'poweroff' });
    await ended;
  });

  test('where there can be no socket, the machine runs all the same, and says so', async () => {
    const { host, errors } = testHost(directory, (machine) => machine.end({ kind: 'poweroff' }));
    const runtimeDirectory = async () => join(directory, 'x'.repeat(120));
    expect(await main({ ...host, runtimeDirectory }, ['boot', '--kernel', kernel])).toBe(0);
    expect(errors.text).toContain('daybreak ps will not show this machine');
  });

  test('tells an age by its largest unit', () => {
    expect([-5, 59_999, 60_000, 3_600_000, 86_400_000 * 3.9].map(formatAge)).toEqual(['0 s', '59 s', '1 min', '1 h', '3 d']);
  });
});

describe('stop', () => {
  test('presses the power button, waits for the guest to shut down, and tells both sides', async () => {
    const { machine, ended } = await boot();
    machine.onPowerButton = () => setTimeout(() => machine.end({ kind: 'poweroff' }), 50);
    expect(await run('stop', 'boot')).toMatchObject({ status: 0, output: '', errors: 'boot has powered off\n' });
    expect(await ended).toMatchObject({ status: 0, errors: 'daybreak stop asks the guest to power off\n' });
    expect(machine.pressed).toBe(1);
  });

  test('pulls the plug when the guest does not power off in time, or does not listen at all', async () => {
    const deaf = await boot();
    expect((await run('stop', 'boot', '--timeout', '1')).errors).toContain(
      'boot is ended, as by pulling the plug: its system does not listen to the power button',
    );
    expect(deaf.machine.pressed).toBeGreaterThan(1);
    const stubborn = await boot();
    stubborn.machine.onPowerButton = () => {};
    expect((await run('stop', 'boot', '--timeout', '1')).errors).toContain('it did not power off within 1 s');
    const ended = [deaf.ended, stubborn.ended, (await boot('--name', 'b')).ended];
    expect((await run('stop', 'b', '--now')).errors).toContain('b is ended, as by pulling the plug\n');
    expect((await Promise.all(ended)).map(({ status }) => status)).toEqual([0, 0, 0]);
  });

  test('ends several, named by name or process, tells what is wrong with one, and goes on', async () => {
    const [a, b] = [await boot('--name', 'a'), await boot('--name', 'b')];
    const { status, errors } = await run('stop', 'a', 'x', 'b', '--now');
    expect(status).toBe(1);
    expect(errors).toContain('no machine "x" runs (there is a, b)');
    await Promise.all([a.ended, b.ended]);
    const c = await boot('--name', 'c');
    expect((await run('stop', String(process.pid), '--now')).status).toBe(0);
    await c.ended;
    expect(await run('stop', '--all')).toMatchObject({ status: 0, errors: 'no machine runs\n' });
    expect((await run('stop', 'c')).errors).toContain('no machine "c" runs (none runs)');
  });

  test('saves instead, where that is wanted', async () => {
    const { machine, ended } = await boot('--name', 'a');
    machine.saveError = new Error('the disk is full');
    const to = join(directory, 'a.state');
    expect(await run('stop', 'a', '--save', to)).toMatchObject({ status: 1, errors: expect.stringContaining('the disk is full') });
    machine.saveError = undefined;
    expect((await run('stop', 'a', '--save', to)).errors).toContain(`a is saved to ${to} (1.2 MB)`);
    expect([machine.saved, (await ended).status]).toEqual([[to], 0]);
  });

  test.each([[[]], [['a', '--all']], [['a', '--timeout', 'soon']], [['a', '--now', '--timeout', '1']]])(
    '%j is wrong usage',
    async (args) => {
      expect((await run('stop', ...args)).status).toBe(2);
    },
  );
});

test('keep and rm say what they are not for', async () => {
  const { machine, ended } = await boot();
  expect(await run('keep', 'boot')).toMatchObject({ status: 1, errors: expect.stringContaining('whose disks are yours') });
  expect(await run('keep', 'boot', '../x')).toMatchObject({ status: 2, errors: expect.stringContaining('is no name') });
  expect(await run('rm', 'boot')).toMatchObject({ status: 1, errors: expect.stringContaining('boot runs, and nothing of it is kept') });
  expect(await run('rm', '../../x')).toMatchObject({
    status: 1,
    errors: expect.stringContaining('no kept machine "../../x" (there are none)'),
  });
  expect((await run('keep')).status).toBe(2);
  expect((await run('rm')).status).toBe(2);
  machine.end({ kind: 'poweroff' });
  await ended;
});
