import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NodeFiles } from '../node/files.ts';
import { FileChunkStore } from './file-chunk-store.ts';

let directory: string;
let store: FileChunkStore;
const bytes = (text: string) => new TextEncoder().encode(text);
const clock = { nowMs: () => Date.now(), sleep: async () => {} };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-chunks-'));
  store = new FileChunkStore(new NodeFiles(), directory);
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const fileOf = (digest: string) => join(directory, digest.slice(0, 2), digest.slice(2));
const age = (digest: string) => utimesSync(fileOf(digest), new Date(0), new Date(0));

test('gives back what was put, to every process that opens the directory', async () => {
  const digest = await store.put(bytes('content'));
  expect(digest).toBe(createHash('sha256').update('content').digest('hex'));
  const other = new FileChunkStore(new NodeFiles(), directory);
  expect(await other.has(digest)).toBe(true);
  expect(new TextDecoder().decode(await other.get(digest))).toBe('content');
});

test('refuses a chunk that has gone bad, and takes it anew', async () => {
  const digest = await store.put(bytes('content'));
  writeFileSync(fileOf(digest), 'c0ntent');
  await expect(store.get(digest)).rejects.toMatchObject({ code: 'bad-digest' });
  await expect(store.get(digest)).rejects.toMatchObject({ code: 'not-found' });
  await store.put(bytes('content'));
  expect(await store.get(digest)).toEqual(bytes('content'));
});

test('a chunk cut short is replaced when somebody puts it again', async () => {
  const digest = await store.put(bytes('content'));
  writeFileSync(fileOf(digest), 'con');
  await store.put(bytes('content'));
  expect(await store.get(digest)).toEqual(bytes('content'));
});

test('makes no path of what is no digest', async () => {
  await expect(store.get('../../etc/passwd')).rejects.toMatchObject({ code: 'bad-digest' });
  await expect(store.has(`..${'0'.repeat(62)}`)).rejects.toMatchObject({ code: 'bad-digest' });
});

test('prunes what nobody needs, oldest first, down to a size, and nothing that was used today', async () => {
  const [old, older, needed, fresh] = await Promise.all(['old', 'older', 'needed', 'fresh'].map((text) => store.put(bytes(text))));
  for (const digest of [old!, older!, needed!]) age(digest);
  utimesSync(fileOf(old!), new Date(1000), new Date(1000));
  expect(await store.prune(clock, (digest) => digest === needed, 4)).toEqual({ removed: 1, removedBytes: 5, keptBytes: 14 });
  expect(await store.has(older!)).toBe(false);
  expect(await store.prune(clock, (digest) => digest === needed)).toMatchObject({ removed: 1 });
  expect(await Promise.all([old!, needed!, fresh!].map((digest) => store.has(digest)))).toEqual([false, true, true]);
});

test('asking for a chunk to be stored again keeps it from being pruned', async () => {
  const digest = await store.put(bytes('content'));
  age(digest);
  await store.put(bytes('content'));
  expect(await store.prune(clock, () => false)).toMatchObject({ removed: 0 });
});

test('a chunk that is asked for at the very moment in which it would be pruned stays', async () => {
  const digest = await store.put(bytes('content'));
  const files = new NodeFiles();
  for (const moment of ['info', 'rename'] as const) {
    age(digest);
    const pruning = new NodeFiles();
    let asked: boolean | undefined;
    let times = 0;
    pruning[moment] = (async (path: string, to: string) => {
      // Of info, the second: when it is looked at again.
      const now = path === fileOf(digest) && ++times === (moment === 'info' ? 2 : 1);
      if (moment === 'rename' && now) asked = await store.has(digest);
      const result: unknown = moment === 'info' ? await files.info(path) : await files.rename(path, to);
      if (moment === 'info' && now) asked = await store.has(digest);
      return result;
    }) as never;
    expect(await new FileChunkStore(pruning, directory).prune(clock, () => false)).toMatchObject({ removed: 0, keptBytes: 7 });
    expect(asked).toBe(true);
    expect(await store.get(digest)).toEqual(bytes('content'));
  }
});

test('a chunk that was just taken away is not there for who asks, nor for who stores it again', async () => {
  const digest = await store.put(bytes('content'));
  age(digest);
  const pruning = new NodeFiles();
  const files = new NodeFiles();
  let asked: boolean | undefined;
  pruning.remove = async (path) => {
    asked = await store.has(digest);
    await store.put(bytes('content'));
    await files.remove(path);
  };
  expect(await new FileChunkStore(pruning, directory).prune(clock, () => false)).toMatchObject({ removed: 1 });
  expect(asked).toBe(false);
  expect(await store.get(digest)).toEqual(bytes('content'));
});

test('prunes what a killed process left behind, also when it had written nothing yet, but no file that may still grow', async () => {
  const digest = await store.put(bytes('content'));
  age(digest);
  const left = ['.1.0.new', '.1.1.new', '.2.0.new'].map((end) => fileOf(digest) + end);
  left.forEach((path, n) => writeFileSync(path, n === 1 ? 'con' : ''));
  for (const path of left.slice(0, 2)) utimesSync(path, new Date(0), new Date(0));
  expect(await store.prune(clock, () => false, 7)).toEqual({ removed: 2, removedBytes: 3, keptBytes: 7 });
  expect(left.map((path) => existsSync(path))).toEqual([false, false, true]);
  expect(await store.has(digest)).toBe(true);
});

test('processes that write at once, and are killed anywhere, leave only whole chunks', async () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const script = join(directory, '..', `${directory.split('/').at(-1)}.mjs`);
  await build({
    absWorkingDir: root,
    stdin: {
      contents: `
        import { NodeFiles } from './src/node/files.ts';
        import { FileChunkStore } from './src/storage/file-chunk-store.ts';
        const store = new FileChunkStore(new NodeFiles(), process.argv[2]);
        for (let i = 0; ; i++) { await store.put(new Uint8Array(20_000 + i).fill(i)); if (i === 3) process.send('going'); }`,
      resolveDir: root,
    },
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
  });
  try {
    const writers = [0, 1, 2, 3].map(
      (index) =>
        new Promise<void>((done) => {
          const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
          child.once('message', () => setTimeout(() => child.kill('SIGKILL'), index * 7));
          child.once('exit', () => done());
        }),
    );
    await Promise.all(writers);
  } finally {
    rmSync(script, { force: true });
  }
  let whole = 0;
  for (const folder of readdirSync(directory)) {
    for (const name of readdirSync(join(directory, folder))) {
      const path = join(directory, folder, name);
      if (name.endsWith('.new')) {
        utimesSync(path, new Date(0), new Date(0));
        continue;
      }
      whole++;
      expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(folder + name);
    }
  }
  expect(whole).toBeGreaterThan(3);
  await store.prune(clock, () => true);
  expect(readdirSync(directory).flatMap((folder) => readdirSync(join(directory, folder)).filter((name) => name.endsWith('.new')))).toEqual(
    [],
  );
  expect(statSync(directory).isDirectory()).toBe(true);
});
