/** A machine whose root is published and not here: contents come over HTTP when the guest asks for them. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contentBytes } from '../../src/snapshots/builder/content-bytes.ts';
import { TestPublisher } from '../../src/snapshots/testing/published.ts';
import { nginxMissing, serveDirectory, startNginx } from '../../src/snapshots/testing/web-server.ts';
import { buildDaybreak } from './daybreak.ts';
import { openSuite } from './debian.ts';
import { Scratch } from './initramfs.ts';
import { fetched } from './linux.ts';
import { debianRoot } from './tree-root.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const scratch = new Scratch();

beforeAll(buildDaybreak);
afterAll(() => scratch.remove());

interface Ended {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

function daybreak(...args: string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const places = Object.fromEntries(['CACHE', 'DATA', 'STATE'].map((what) => [`XDG_${what}_HOME`, join(scratch.directory, 'reader')]));
    const child = spawn(process.execPath, ['dist/daybreak.js', ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...places },
    });
    let [output, errors] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output, errors }));
  });
}

test('a command runs in a published system of which only what it needs is fetched', { timeout: 900_000 }, async (context) => {
  const publisher = new TestPublisher(scratch.directory);
  publisher.nowMs = Date.now();
  await fetched(context, async () => {
    const suite = await openSuite('sid');
    const { tree, store } = await debianRoot(suite, ['bash', 'coreutils', 'perl-base', 'apt'], {});
    for (const [, node] of tree.entries()) if (node.type === 'file') await publisher.catalogue.store.put(await store.get(node.digest));
    const { data } = (await suite.kernel('linux-image-cloud-amd64')).vmlinuz;
    await publisher.publish(await publisher.snapshotOf('test', '2026-11-01', tree, contentBytes(tree), data), { level: 1 });
  });
  const missing = nginxMissing();
  if (missing !== undefined) process.stderr.write(`published.test.ts: ${missing}: a server of Node's takes its place\n`);
  const web =
    missing === undefined ? await startNginx(publisher.www, join(scratch.directory, 'nginx')) : await serveDirectory(publisher.www);
  try {
    const from = ['--from', web.url, '--trust', publisher.fingerprint];
    const first = await daybreak('try', 'test', ...from, '--', 'sh', '-c', 'cat /etc/debian_version; sha256sum /usr/bin/perl; exit 7');
    expect(first.errors).not.toMatch(/daybreak:/);
    expect(first.status).toBe(7);
    const tree = await publisher.catalogue.tree((await publisher.catalogue.get('test', '2026-11-01'))!);
    const [perl, apt] = [tree.get('usr/bin/perl'), tree.get('usr/bin/apt-get')];
    expect(first.output).toContain(perl?.type === 'file' ? perl.digest : 'a file');
    const cache = join(scratch.directory, 'reader/daybreak/contents');
    const has = (digest: string) => existsSync(join(cache, digest.slice(0, 2), digest.slice(2)));
    // Nobody asked for it.
    expect(apt?.type === 'file' && has(apt.digest)).toBe(false);
    expect(perl?.type === 'file' && has(perl.digest)).toBe(true);
    const again = await daybreak('try', 'test', ...from, '--', 'true');
    expect(again).toMatchObject({ status: 0, output: '' });
  } finally {
    await web.close();
  }
});
