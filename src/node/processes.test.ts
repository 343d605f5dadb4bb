import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { NodeProcesses } from './processes.ts';

const LINUX = existsSync('/proc/self/stat');

test.skipIf(!LINUX)(`a process that was killed is over, and one that runs is not${LINUX ? '' : ' (skipped: no /proc)'}`, async () => {
  const here = await NodeProcesses.open();
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const [boot, , start] = here.own.split('-');
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const name = `${boot}-${child.pid}-${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  expect(await here.isOver(name)).toBe(false);
  expect(await here.isOver(here.own)).toBe(false);
  // The number of a process that runs, but of one that began at another time.
  expect(await here.isOver(`${boot}-${child.pid}-${BigInt(start!) + 7n}`)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(await here.isOver(name)).toBe(true);
});

test('nothing is said of processes of other computers, and of what names none', async () => {
  const here = await NodeProcesses.open();
  for (const name of [`${'0'.repeat(32)}-1-1`, '', 'x', '1', `${here.own}0x`, '../1-1-1']) expect(await here.isOver(name)).toBe(false);
});

test('each process has a name of its own, which says nothing of where it is', async () => {
  const { own } = await NodeProcesses.open();
  expect(own).toMatch(/^[0-9a-f]{32}-\d+-\d+$|^[0-9a-f-]{36}$/);
  expect((await NodeProcesses.open()).own === own).toBe(LINUX);
});
