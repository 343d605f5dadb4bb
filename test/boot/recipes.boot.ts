/** Builds of real packages in the real machine. They take minutes: everything that is Essential or required is configured each time. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NodeFiles } from '../../src/node/files.ts';
import { Catalogue } from '../../src/snapshots/catalogue/catalogue.ts';
import type { Snapshot } from '../../src/snapshots/catalogue/snapshot.ts';
import { buildDaybreak } from './daybreak.ts';

const directory = mkdtempSync(join(tmpdir(), 'daybreak-recipes-'));
const TIMEOUT_MS = 3_600_000;

beforeAll(buildDaybreak);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const MINIMAL =
  'suites = ["unstable"]\nkernel = "linux-image-cloud-amd64"\npackages = ["mount", "nano"]\nwithout = ["usr/share/doc/", "usr/share/locale/"]\n';

function recipe(name: string, text: string): string {
  const path = join(directory, `${name}.toml`);
  writeFileSync(path, text);
  return path;
}

interface Ended {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

/** `home` is where snapshots are kept. */
function daybreak(home: string, args: readonly string[]): Promise<Ended> {
  const environment = { ...process.env, XDG_DATA_HOME: join(directory, home), XDG_STATE_HOME: join(directory, home) };
  return new Promise((done) => {
    const child = spawn(process.execPath, [resolve('dist/daybreak.js'), ...args], { env: environment });
    let [output, errors] = ['', ''];
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
    child.on('close', (status) => done({ status, output, errors }));
  });
}

async function built(home: string, path: string, ...more: string[]): Promise<Snapshot> {
  const { status, output, errors } = await daybreak(home, ['build', path, '--no-probe', '--json', ...more]);
  expect(status, errors).toBe(0);
  return JSON.parse(output) as Snapshot;
}

test('a minimal system is configured by its own packages, and a second build gives the same tree', { timeout: TIMEOUT_MS }, async () => {
  const path = recipe('minimal', MINIMAL);
  const [a, b] = [await built('one', path), await built('two', path)];
  expect(b.tree).toBe(a.tree);
  expect(b).toEqual(a);
  const catalogue = new Catalogue(new NodeFiles(), join(directory, 'one/daybreak'));
  const tree = await catalogue.tree(a);
  const read = async (name: string) => {
    const node = tree.get(name);
    return node?.type === 'file' ? new TextDecoder().decode(await catalogue.store.get(node.digest)) : undefined;
  };
  const states = new Set((await read('var/lib/dpkg/status'))!.match(/^Status: .*/gm));
  expect([...states]).toEqual(['Status: install ok installed']);
  expect(await read('etc/shadow')).toMatch(/^root:/);
  expect(tree.get('etc/alternatives/awk')).toMatchObject({ type: 'symlink' });
  expect([...tree.entries()].filter(([name]) => /dpkg-new$|^daybreak-build|policy-rc/.test(name))).toEqual([]);
});

test('commands change what they change, and nothing else is different', { timeout: TIMEOUT_MS }, async () => {
  const base = await built('one', recipe('minimal', MINIMAL));
  const path = recipe('marked', `${MINIMAL}commands = ["echo made > /etc/mark", "id -u > /etc/who"]\n`);
  const marked = await built('one', path);
  const { output } = await daybreak('one', ['diff', 'minimal', 'marked', '--json']);
  const { files } = JSON.parse(output) as { files: { path: string; change: string }[] };
  expect(files.map(({ path, change }) => `${change} ${path}`)).toEqual(['added /etc/mark', 'added /etc/who']);
  expect(marked.packages).toEqual(base.packages);
});

test('a package whose script fails is named, with what it printed', { timeout: TIMEOUT_MS }, async () => {
  const broken = recipe(
    'broken',
    `${MINIMAL}[[files]]\npath = "/var/lib/dpkg/info/nano.postinst"\nmode = "0755"\ncontent = "#!/bin/sh\\necho no such luck\\nexit 3\\n"\n`,
  );
  const { status, errors } = await daybreak('one', ['build', broken, '--no-probe']);
  expect(status).toBe(1);
  expect(errors).toMatch(/the package nano could not be configured/);
  expect(errors).toMatch(/no such luck/);
});
