import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NodeFiles } from '../../node/files.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import { Catalogue, parseSnapshotName } from './catalogue.ts';
import { diffSnapshots } from './diff.ts';
import { parseSnapshot, printSnapshot, type Snapshot } from './snapshot.ts';

let directory: string;
let catalogue: Catalogue;
const clock = { nowMs: () => Date.now(), sleep: async () => {} };
const OLD = new Date(0);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-catalogue-'));
  catalogue = new Catalogue(new NodeFiles(), directory);
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** A snapshot whose files are as given; packages are known by their lists. */
async function add(name: string, day: string, files: Record<string, string>, packages: Record<string, string> = {}): Promise<Snapshot> {
  const builder = new TreeBuilder(1);
  for (const [path, text] of Object.entries(files)) {
    const data = new TextEncoder().encode(text);
    const digest = await catalogue.store.put(data);
    builder.add(path, { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 1, digest, sizeBytes: data.length }, 'test');
  }
  const tree = builder.build();
  const snapshot: Snapshot = {
    format: 1,
    name,
    day,
    tree: await catalogue.putTree(tree),
    entryCount: tree.size,
    contentBytes: 1,
    kernel: { digest: await catalogue.store.put(new TextEncoder().encode('kernel')), version: '7.2' },
    inputs: 'f'.repeat(64),
    lock: { format: 1, recipe: name, day, suites: [{ name: 'unstable', dateMs: 1, index: 'e'.repeat(64) }], packages: [], kernel: [] },
    packages: Object.entries(packages).map(([packageName, version]) => ({ name: packageName, version })),
    probes: [],
  };
  await catalogue.add(snapshot);
  return snapshot;
}

const find = (text: string) => catalogue.find(parseSnapshotName(text));

test('snapshots are found by name, day, steps back and digest', async () => {
  const first = await add('debian', '2026-10-29', { a: '1' });
  const second = await add('debian', '2026-10-30', { a: '2' });
  await add('debian/trixie', '2026-09-12', { a: '3' });
  expect((await catalogue.list(() => {})).map(({ name, day }) => `${name}@${day}`)).toEqual([
    'debian@2026-10-30',
    'debian@2026-10-29',
    'debian/trixie@2026-09-12',
  ]);
  expect((await find('debian')).day).toBe('2026-10-30');
  expect((await find('debian@today')).tree).toBe(second.tree);
  expect((await find('debian@-1')).tree).toBe(first.tree);
  expect((await find('debian@2026-10-29')).tree).toBe(first.tree);
  expect((await find(`debian@${first.tree.slice(0, 10)}`)).day).toBe('2026-10-29');
  expect((await find('debian/trixie')).day).toBe('2026-09-12');
  await expect(find('debian@-7')).rejects.toMatchObject({ code: 'not-found', message: expect.stringContaining('2026-10-30, 2026-10-29') });
  await expect(find('fedora')).rejects.toMatchObject({ message: expect.stringContaining('debian, debian/trixie') });
});

test.each(['', 'Debian', '../x', 'debian@', 'debian@yesterday', 'debian@1@2', 'a/b/c', 'debian@2026-1-1', 'debian@abc'])(
  '%j names no snapshot',
  (text) => {
    expect(() => parseSnapshotName(text)).toThrow(expect.objectContaining({ code: 'usage' }));
  },
);

test('a record that is damaged is told and left out, and the rest is there', async () => {
  await add('debian', '2026-10-29', { a: '1' });
  await add('debian', '2026-10-30', { a: '2' });
  writeFileSync(join(directory, 'snapshots/debian/2026-10-30.json'), '{');
  const bad: string[] = [];
  expect((await catalogue.list((error) => bad.push(error.message))).map(({ day }) => day)).toEqual(['2026-10-29']);
  expect(bad[0]).toContain('2026-10-30.json');
  await expect(catalogue.prune(clock, 0)).rejects.toMatchObject({ code: 'bad-image' });
});

test('any record that is cut short or has a field of another kind is refused', async () => {
  const good = JSON.parse(printSnapshot(await add('debian', '2026-10-30', { a: '1' }, { p: '1' }))) as Record<string, unknown>;
  expect(parseSnapshot('x', JSON.stringify(good)).day).toBe('2026-10-30');
  for (const key of Object.keys(good)) {
    for (const value of [undefined, 7.5, '?', [], { a: 1 }, null]) {
      if (Array.isArray(good[key]) && Array.isArray(value)) continue;
      const read = () => parseSnapshot('x', JSON.stringify({ ...good, [key]: value }));
      expect(read, `${key} = ${JSON.stringify(value)}`).toThrow(expect.objectContaining({ code: 'bad-image' }));
    }
  }
  const text = JSON.stringify(good);
  for (let end = 0; end < text.length; end += 3)
    expect(() => parseSnapshot('x', text.slice(0, end))).toThrow(expect.objectContaining({ code: 'bad-image' }));
});

test('a booted state is kept as long as its snapshot is; one of another tree, damaged or lost is none', async () => {
  const one = await add('debian', '2026-10-29', { a: '1' });
  const data = { data: new TextEncoder().encode('a state'), firstBytes: 2, tailBytes: 3 };
  await catalogue.addBooted(one, data, 2 ** 30);
  const booted = (await catalogue.booted(one))!;
  expect(booted).toEqual({
    format: 2,
    tree: one.tree,
    state: booted.state,
    sizeBytes: 7,
    memoryBytes: 2 ** 30,
    firstBytes: 2,
    tailBytes: 3,
  });
  expect((await catalogue.list(() => {})).length).toBe(1);
  const path = catalogue.store.pathOf(booted.state);
  utimesSync(path, OLD, OLD);
  expect((await catalogue.prune(clock, 0)).removed).toBe(0);
  expect(await catalogue.booted({ ...one, tree: 'a'.repeat(64) })).toBeUndefined();
  const record = join(directory, 'snapshots/debian/2026-10-29.state.json');
  for (const text of [
    '',
    'null',
    '[]',
    '{"format": 2}',
    JSON.stringify({ ...booted, format: 1 }),
    JSON.stringify({ ...booted, firstBytes: 5 }),
    JSON.stringify({ ...booted, state: '../x' }),
    JSON.stringify({ ...booted, sizeBytes: -1 }),
  ]) {
    writeFileSync(record, text);
    expect(await catalogue.booted(one)).toBeUndefined();
  }
  await catalogue.addBooted(one, data, 2 ** 30);
  await catalogue.remove(one);
  expect(readdirSync(join(directory, 'snapshots/debian'))).toEqual([]);
  utimesSync(path, OLD, OLD);
  await catalogue.prune(clock, 0);
  expect(await catalogue.store.has(booted.state)).toBe(false);
});

test('pruning keeps what any snapshot needs', async () => {
  const gone = await add('debian', '2026-10-29', { shared: 's', old: 'o' });
  const kept = await add('debian', '2026-10-30', { shared: 's', new: 'n' });
  await catalogue.remove(gone);
  for (const folder of readdirSync(join(directory, 'chunks'))) {
    for (const name of readdirSync(join(directory, 'chunks', folder))) utimesSync(join(directory, 'chunks', folder, name), OLD, OLD);
  }
  // The tree and one content.
  expect(await catalogue.prune(clock, 0)).toMatchObject({ removed: 2 });
  const tree = await catalogue.tree(kept);
  for (const [, node] of tree.entries()) if (node.type === 'file') await catalogue.store.get(node.digest);
  await catalogue.store.get(kept.kernel.digest);
});

test('pruning removes what killed processes left beside records, but nothing that may still be written', async () => {
  await add('debian', '2026-10-30', { a: 'text' });
  const left = ['2026-10-31.json.12.0.new', '2026-10-30.state.json.12.1.new', '2026-11-01.json.13.0.new'].map((name) =>
    join(directory, 'snapshots/debian', name),
  );
  for (const path of left) writeFileSync(path, '{');
  for (const path of left.slice(0, 2)) utimesSync(path, OLD, OLD);
  await catalogue.prune(clock, 0);
  expect(readdirSync(join(directory, 'snapshots/debian'))).toEqual(['2026-10-30.json', '2026-11-01.json.13.0.new']);
});

test('a difference names packages, then files with their packages, then sizes', async () => {
  const list = 'var/lib/dpkg/info/tool:amd64.list';
  const a = await add(
    'debian',
    '2026-10-29',
    { 'usr/bin/tool': 'old', 'etc/own': 'x', [list]: '/.\n/bin/tool\n', same: 's' },
    { tool: '1', gone: '1' },
  );
  const b = await add('debian', '2026-10-30', { 'usr/bin/tool': 'newer', 'usr/lib/x.py': '', [list]: '/.\n/bin/tool\n/usr/lib/x.py\n', same: 's' }, { tool: '2', fresh: '1' }); // prettier-ignore
  const sides = [a, b].map(async (one) => ({ tree: await catalogue.tree(one), packages: one.packages }));
  const diff = await diffSnapshots(await sides[0]!, await sides[1]!, catalogue.store);
  expect(diff.packages).toEqual([
    { name: 'fresh', from: undefined, to: '1' },
    { name: 'gone', from: '1', to: undefined },
    { name: 'tool', from: '1', to: '2' },
  ]);
  expect(diff.files.map(({ path, change, what, package: owner }) => [path, change, what.join(), owner])).toEqual([
    ['/etc', 'removed', '', undefined],
    ['/etc/own', 'removed', '', undefined],
    ['/usr/bin/tool', 'changed', 'content', 'tool'],
    ['/usr/lib', 'added', '', undefined],
    ['/usr/lib/x.py', 'added', '', 'tool'],
    [`/${list}`, 'changed', 'content', 'tool'],
  ]);
  expect(diff.totals).toMatchObject({ added: 2, removed: 2, changed: 2 });
  expect(diff.totals.newBytes).toBe('newer'.length + '/.\n/bin/tool\n/usr/lib/x.py\n'.length);
});
