/** A machine of a snapshot that turns out to be worth keeping while it runs, and whose system is shut down from outside. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { fetched } from './linux.ts';
import { makeSmallSnapshot } from './small-snapshot.ts';

const directory = mkdtempSync(join(tmpdir(), 'db-'));

beforeAll(buildDaybreak, 300_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function start(...args: string[]) {
  const child = spawn(process.execPath, [resolve('dist/daybreak.js'), ...args], {
    env: { ...process.env, XDG_DATA_HOME: directory, XDG_RUNTIME_DIR: directory, NO_COLOR: '1' },
  });
  let [output, errors] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
  const ended = once(child, 'close').then(([status]) => ({ status: status as number | null, output, errors }));
  return { child, output: () => output, ended };
}

const daybreak = (...args: string[]) => start(...args).ended;

/** A shell in a machine, which has written a file. */
async function shell(text: string) {
  const machine = start('try', 'small');
  machine.child.stdin.write(`echo ${text} > /root/written; echo there-$((1 + 1))\n`);
  await expect.poll(() => machine.output(), { timeout: 900_000, interval: 200 }).toContain('there-2');
  return machine;
}

test('keep and stop reach a running Debian', { timeout: 3_600_000 }, async (context) => {
  await fetched(context, async () => makeSmallSnapshot(await openSuite('sid'), directory));

  const left = await shell('left');
  expect(await daybreak('keep', 'small', 'first')).toMatchObject({
    status: 0,
    errors: expect.stringContaining('first is kept when it ends'),
  });
  left.child.stdin.end('exit 3\n');
  expect(await left.ended).toMatchObject({ status: 3, errors: expect.stringContaining('kept as first') });

  const stopped = await shell('stopped');
  expect((await daybreak('keep', 'small', 'second')).status).toBe(0);
  expect((await daybreak('ps')).output).toMatch(/^second +small@2026-11-01 +runs .* yes$/m);
  const began = performance.now();
  expect((await daybreak('stop', 'second', '--timeout', '900')).errors).toContain('second has powered off');
  console.warn(`it took ${Math.round((performance.now() - began) / 1000)} s to shut down and be kept`);
  expect(await stopped.ended).toMatchObject({ status: 0, errors: expect.stringContaining('kept as second') });

  const kept = await daybreak('ps', '--all');
  expect(kept.output).toMatch(/^first +small@2026-11-01 +kept .*\nsecond +small@2026-11-01 +kept /m);
  for (const [name, text] of [['first', 'left'], ['second', 'stopped']] as const) {
    const again = await daybreak('try', 'small', '--keep', name, '--', 'cat', '/root/written');
    expect([again.status, again.output], again.errors).toEqual([0, `${text}\n`]);
  } // prettier-ignore
  expect((await daybreak('rm', 'first', 'second')).status).toBe(0);
  expect((await daybreak('ps', '--all')).output).toBe('');
});
