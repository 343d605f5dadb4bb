/** `daybreak try` of a snapshot, as a person runs it: resumed from a booted state that the builder made, booted, and kept. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serveDirectory } from '../../src/snapshots/testing/web-server.ts';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { fetched } from './linux.ts';
import { makeSmallSnapshot } from './small-snapshot.ts';

const directory = mkdtempSync(join(tmpdir(), 'daybreak-try-'));

beforeAll(buildDaybreak, 300_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Ended {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

function daybreakTry(args: readonly string[], input = ''): Promise<Ended> {
  return daybreakRun(directory, ['try', ...args], input);
}

/** `home` has what is kept, fetched and believed. */
function daybreakRun(home: string, args: readonly string[], input = ''): Promise<Ended> {
  return new Promise((done) => {
    const places = Object.fromEntries(['CACHE', 'DATA', 'STATE'].map((what) => [`XDG_${what}_HOME`, home]));
    const child = spawn(process.execPath, [resolve('dist/daybreak.js'), ...args], { env: { ...process.env, ...places } });
    let [output, errors] = ['', ''];
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
    child.on('close', (status) => done({ status, output, errors }));
    child.stdin.end(input);
  });
}

test('a snapshot goes on from its booted state, boots, and is kept', { timeout: 3_600_000 }, async (context) => {
  await fetched(context, async () => makeSmallSnapshot(await openSuite('sid'), directory));

  const resumed = await daybreakTry(
    ['small', '--', 'sh', '-c', 'cat /proc/uptime; date +%s; tr a-z A-Z; echo gone > /root/gone; exit 7'],
    'typed',
  );
  expect(resumed.status, resumed.errors).toBe(7);
  const [uptime, seconds, said] = resumed.output.split('\n');
  expect(uptime).toMatch(/^\d+\.\d+ /);
  // The guest's clock is the host's, though it stood still.
  expect(Math.abs(Number(seconds) - Date.now() / 1000)).toBeLessThan(300);
  expect(said).toBe('TYPED');

  // Each that goes on is another machine, and one that is kept stays the same.
  const identity = async (...args: string[]) => (await daybreakTry(['small', ...args, '--', 'cat', '/etc/machine-id'])).output;
  const identities = [await identity(), await identity(), await identity('--keep', 'other'), await identity('--keep', 'other')];
  for (const one of identities) expect(one).toMatch(/^[0-9a-f]{32}\n$/);
  expect(new Set(identities.slice(0, 3)).size).toBe(3);
  expect(identities[3]).toBe(identities[2]);

  const shell = await daybreakTry(['small', '--keep', 'work'], 'ls /root; echo mine > /root/mine\nexit 3\n');
  expect(shell.status, shell.errors).toBe(3);
  expect(shell.output).not.toContain('gone\n');
  expect(shell.errors).toContain('kept as work');
  const booted = await daybreakTry(['small', '--keep', 'work', '--', 'cat', '/root/mine']);
  expect([booted.status, booted.output], booted.errors).toEqual([0, 'mine\n']);
  // Somebody else goes on from it, over a line.
  const www = join(directory, 'www');
  const published = await daybreakRun(directory, ['publish', 'small', www, '--json']);
  const { fingerprint, packedBytes } = JSON.parse(published.output) as { fingerprint: string; packedBytes: number };
  const web = await serveDirectory(www);
  try {
    const from = ['try', 'small', '--from', web.url, '--trust', fingerprint];
    const reader = join(directory, 'reader');
    const away = await daybreakRun(reader, [...from, '--', 'sh', '-c', 'cat /proc/uptime; head -c 4 /usr/bin/perl | tail -c 3; exit 9']);
    expect(away.status, away.errors).toBe(9);
    expect(away.output).toMatch(/^\d+\.\d+ .*\nELF$/);
    expect(away.errors).not.toContain('boots:');
    const fetchedBytes = web.sentBytes;
    expect(fetchedBytes).toBeLessThan(packedBytes / 3);
    const again = await daybreakRun(reader, [...from, '--', 'true']);
    expect(again.status, again.errors).toBe(0);
    const kept = await daybreakRun(reader, [...from, '--keep', 'away', '--', 'sh', '-c', 'echo mine > /root/mine']);
    expect(kept.errors).toContain('kept as away: daybreak try small --keep away goes on with it');
    // This snapshot says not what a boot asks for, so that the first one needs its publisher.
    const look = ['try', 'small', '--keep', 'away', '--', 'cat', '/root/mine'];
    const online = await daybreakRun(reader, look);
    expect([online.status, online.output], online.errors).toEqual([0, 'mine\n']);
    web.close();
    const offline = await daybreakRun(reader, look);
    expect([offline.status, offline.output], offline.errors).toEqual([0, 'mine\n']);
    process.stderr.write(`fetched ${fetchedBytes} of ${packedBytes} published bytes\n`);
  } finally {
    web.close();
  }

  const cold = await daybreakTry(['small', '--cold', '--', 'ls', '/root']);
  expect([cold.status, cold.output], cold.errors).toEqual([0, '']);
});
