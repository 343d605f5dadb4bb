/** A published machine on its second day, as a person has it: kept, saved, gone on with when the server is away; and a server that stalls. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serveDirectory, type WebServer } from '../../src/snapshots/testing/web-server.ts';
import { buildDaybreak, startDaybreak, type Running } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { fetched } from './linux.ts';
import { makeShellSnapshot } from './small-shell.ts';

const directory = mkdtempSync(join(tmpdir(), 'db-'));
const started: Running[] = [];
const LONG = { timeout: 600_000, interval: 100 };
let web: WebServer | undefined;

beforeAll(buildDaybreak, 300_000);
afterAll(() => {
  for (const { child } of started) child.kill('SIGKILL');
  web?.close();
  rmSync(directory, { recursive: true, force: true });
});

function start(home: string, ...args: string[]): Running {
  const places = Object.fromEntries(['CACHE', 'DATA', 'STATE'].map((what) => [`XDG_${what}_HOME`, join(directory, home)]));
  const running = startDaybreak(args, { ...places, XDG_RUNTIME_DIR: directory });
  started.push(running);
  return running;
}

const daybreak = (home: string, ...args: string[]) => start(home, ...args).ended;

test(
  'a published machine is kept, saved and gone on with, and a server that stalls holds up nobody',
  { timeout: 1_800_000 },
  async (context) => {
    await fetched(context, async () => makeShellSnapshot(await openSuite('sid'), join(directory, 'publisher')));
    const published = await daybreak('publisher', 'publish', 'shell', join(directory, 'www'), '--json');
    const { fingerprint } = JSON.parse(published.output) as { fingerprint: string };
    web = await serveDirectory(join(directory, 'www'));
    const from = ['--from', web.url, '--trust', fingerprint];

    // A page of memory, or a file, that does not come.
    const stalled = start('reader', 'try', 'shell', ...from);
    stalled.child.stdin.write('echo here-$((1 + 1))\n');
    await expect.poll(() => stalled.output(), LONG).toContain('here-2');
    web.misbehave = () => true;
    stalled.child.stdin.write('md5sum /usr/bin/{a,b,c}* | wc -l\n');
    await expect.poll(() => stalled.errors(), LONG).toContain(`waiting for ${web.url}: `);
    expect((await daybreak('reader', 'ps')).output).toMatch(/^shell +shell@2026-11-01 +runs /m);
    web.misbehave = () => false;
    await expect.poll(() => stalled.errors(), LONG).toContain(`${web.url} answers again`);
    await expect.poll(() => stalled.output(), LONG).toMatch(/^\d{2,}\r?$/m);
    web.misbehave = () => true;
    stalled.child.stdin.write('md5sum /usr/bin/{d,e,f}* | wc -l\n');
    await expect.poll(() => stalled.errors().split('waiting for').length, LONG).toBe(3);
    const began = performance.now();
    stalled.child.kill('SIGTERM');
    expect((await stalled.ended).status).toBe(143);
    expect(performance.now() - began).toBeLessThan(10_000);
    web.misbehave = () => false;

    // Saved in its session. What it will run without the server is here by then.
    const first = start('reader', 'try', 'shell', ...from, '--name', 'first');
    first.child.stdin.write('cd /tmp; x=42; echo mine > /root/mine; md5sum /usr/bin/* >/root/sums; echo there-$((1 + 1))\n');
    await expect.poll(() => first.output(), LONG).toContain('there-2');
    const saved = await daybreak('reader', 'stop', 'first', '--save');
    expect([saved.status, saved.errors]).toEqual([0, expect.stringContaining('daybreak try shell --keep first goes on where it was')]);
    expect((await first.ended).errors).toContain('saved as first ');
    expect((await daybreak('reader', 'ps', '--all')).output).toMatch(/^first +shell@2026-11-01 +saved /m);
    web.close();
    const again = start('reader', 'try', 'shell', '--keep', 'first');
    again.child.stdin.write('echo "x is $x in $PWD: $(cat /root/mine)"; echo $(( $(date +%s) / 1000 ))\nexit 3\n');
    const { status, output, errors } = await again.ended;
    expect(status, errors).toBe(3);
    expect(output).toContain('x is 42 in /tmp: mine');
    // Its clock is ours, to a quarter of an hour.
    const seconds = Number(/^(\d{7})\r?$/m.exec(output)?.[1]);
    expect(Math.abs(seconds - Date.now() / 1_000_000)).toBeLessThan(2);
    expect(errors).toContain('kept as first');

    const tar = join(directory, 'first.tar');
    const exported = await daybreak('reader', 'export', 'first', tar);
    // Not all of it was ever fetched.
    expect([exported.status, exported.errors]).toEqual([
      1,
      expect.stringContaining('first needs something of shell@2026-11-01 that was never fetched'),
    ]);
  },
);
