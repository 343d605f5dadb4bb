import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import { NodeFetch } from '../../node/fetch.ts';
import { NodeFiles } from '../../node/files.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { madeState } from '../testing/saved-state.ts';
import type { Zstd } from '../../platform/zstd.ts';
import { Catalogue } from '../catalogue/catalogue.ts';
import { noise } from '../testing/noise.ts';
import { TestPublisher } from '../testing/published.ts';
import { nginxMissing, serveDirectory, startNginx, type WebServer } from '../testing/web-server.ts';
import { pruneCache } from './cache.ts';
import { pull } from './pull.ts';
import { openSource } from './open-source.ts';

let zstd: Zstd;
let directory: string;
let publisher: TestPublisher;
let web: WebServer;
let catalogue: Catalogue;

const LARGE = noise(6_000_000);
const DAY_ONE = { a: 'text', large: LARGE, program: noise(200_000, 2), empty: '' };

// Writes reach the disk, which may be slow.
vi.setConfig({ testTimeout: 60_000 });

beforeAll(async () => {
  zstd = await nodeZstd();
});

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-pull-'));
  publisher = new TestPublisher(directory);
  catalogue = new Catalogue(new NodeFiles(), `${directory}/reader`);
  await publisher.add('debian', '2026-11-01', DAY_ONE);
  web = await serveDirectory(publisher.www);
  return () => {
    web.close();
    rmSync(directory, { recursive: true, force: true });
  };
});

async function get(
  name = 'debian',
  day = 'latest',
  more: { from?: string; signal?: AbortSignal; silenceMs?: number; answerMs?: number; files?: NodeFiles; state?: boolean } = {},
) {
  const files = more.files ?? new NodeFiles();
  // Pauses between attempts end at once; the limit for a whole answer never comes.
  const sleep = (ms: number, signal?: AbortSignal) =>
    ms < 60_000
      ? Promise.resolve()
      : new Promise<void>((done) => {
          signal?.addEventListener('abort', () => done());
          if (more.answerMs !== undefined) setTimeout(done, more.answerMs);
        });
  const clock = { nowMs: () => publisher.nowMs, sleep };
  const source = openSource({ files, fetch: new NodeFetch({ silenceMs: more.silenceMs ?? 5000 }), clock }, more.from ?? web.url);
  const host = { files, clock, zstd, stateCodec: await nodeStateCodec(), progress: () => {}, ...(more.signal && { signal: more.signal }) };
  return pull(source, catalogue, { name, day }, host, {
    trustDirectory: `${directory}/trust`,
    cacheDirectory: `${directory}/cache`,
    fingerprint: publisher.fingerprint,
    ...(more.state !== undefined && { state: more.state }),
  });
}

async function isWhole(day = '2026-11-01'): Promise<boolean> {
  const snapshot = (await catalogue.get('debian', day))!;
  for (const [, node] of (await catalogue.tree(snapshot)).entries()) if (node.type === 'file') await catalogue.store.get(node.digest);
  await catalogue.store.get(snapshot.kernel.digest);
  return true;
}

/** Nothing is in the list, and no file in the store is what its name does not say. */
async function isConsistent(): Promise<boolean> {
  const chunks = `${directory}/reader/chunks`;
  for (const folder of existsSync(chunks) ? readdirSync(chunks) : []) {
    for (const name of readdirSync(join(chunks, folder)))
      expect(await sha256(readFileSync(join(chunks, folder, name)))).toBe(folder + name);
  }
  return (await catalogue.days('debian', () => {})).length === 0;
}

test('a pulled day is the one that was published, and says what it took', async () => {
  const result = await get();
  expect(result.snapshot).toEqual(await publisher.catalogue.get('debian', '2026-11-01'));
  expect(result).toMatchObject({ reusedBytes: 0, known: false, patched: 0 });
  expect(result.totalBytes).toBe(LARGE.length + 200_000 + 4);
  expect(result.fetchedBytes).toBeGreaterThan(LARGE.length);
  expect(await isWhole()).toBe(true);
  expect(await get()).toMatchObject({ known: true, fetchedBytes: 0, reusedBytes: result.totalBytes });
});

describe('a booted state', () => {
  const addDay = async (day: string, seed: number) => {
    const snapshot = await publisher.snapshot('debian', day, { a: day });
    await publisher.addState(snapshot, 100, seed);
    await publisher.publish(snapshot);
    return publisher.catalogue.booted(snapshot);
  };

  test('comes along, as it was published', async () => {
    const booted = await addDay('2026-11-02', 1);
    const { snapshot, fetchedBytes, totalBytes } = await get();
    expect(await catalogue.booted(snapshot)).toEqual(booted);
    expect((await catalogue.store.get(booted!.state)).length).toBe(booted!.sizeBytes);
    expect(fetchedBytes).toBeGreaterThan(400_000);
    expect(totalBytes).toBe(10);
    expect(await get()).toMatchObject({ known: true, fetchedBytes: 0 });
  });

  test('stays where it is when it is not wanted, and from then on, until it is', async () => {
    await addDay('2026-11-02', 1);
    const first = await get('debian', 'latest', { state: false });
    expect(first.fetchedBytes).toBeLessThan(100_000);
    await addDay('2026-11-03', 2);
    const second = await get();
    expect(await catalogue.booted(second.snapshot)).toBeUndefined();
    expect(await get('debian', 'latest', { state: true })).toMatchObject({ known: false });
    expect(await catalogue.booted(second.snapshot)).toBeDefined();
    await addDay('2026-11-04', 3);
    expect(await catalogue.booted((await get()).snapshot)).toBeDefined();
  });

  test('is fetched but for what the one of an earlier day has, too', async () => {
    await addDay('2026-11-02', 1);
    const first = await get();
    const snapshot = await publisher.snapshot('debian', '2026-11-03', { a: 'b' });
    const state = (await catalogue.bootedBytes(first.snapshot))!.source;
    await publisher.catalogue.addBooted(snapshot, await madeState(100, 1, { state, changed: 5 }), 2 ** 30);
    await publisher.publish(snapshot);
    const booted = (await publisher.catalogue.booted(snapshot))!;
    const second = await get();
    expect(await catalogue.booted(second.snapshot)).toEqual(booted);
    expect(await catalogue.store.get(booted.state)).toEqual(await publisher.catalogue.store.get(booted.state));
    expect(first.fetchedBytes).toBeGreaterThan(400_000);
    // What comes first, the frame that has changed, and what may lie in a piece with it.
    expect(second.fetchedBytes).toBeLessThan(0.6 * first.fetchedBytes);
    expect(readdirSync(`${directory}/cache/pieces`).flatMap((one) => readdirSync(`${directory}/cache/pieces/${one}`))).toEqual([]);
    // Where that is gone, it is fetched whole.
    await catalogue.store.remove(booted.state);
    await catalogue.store.remove((await catalogue.booted(first.snapshot))!.state);
    expect((await get('debian', 'latest', { state: true })).fetchedBytes).toBeGreaterThan(400_000);
    expect(await catalogue.booted(second.snapshot)).toEqual(booted);
  });
});

test('a directory serves as well as a server', async () => {
  await get('debian', '2026-11-01', { from: publisher.www });
  expect(await isWhole()).toBe(true);
});

test.skipIf(nginxMissing())(`a day comes from a real nginx${nginxMissing() ? ` (skipped: ${nginxMissing()})` : ''}`, async () => {
  const nginx = await startNginx(publisher.www, `${directory}/nginx`);
  try {
    await get('debian', 'latest', { from: nginx.url });
    expect(await isWhole()).toBe(true);
    const changed = DAY_ONE.program.slice();
    changed.set(noise(100, 7), 50_000);
    await publisher.add('debian', '2026-11-02', { ...DAY_ONE, program: changed, note: 'new' });
    const { fetchedBytes, patched, snapshot } = await get('debian', 'latest', { from: nginx.url });
    expect(snapshot.day).toBe('2026-11-02');
    expect(patched).toBe(1);
    expect(fetchedBytes).toBeLessThan(20_000);
  } finally {
    await nginx.close();
  }
});

test('the next day costs what has changed, by a patch where that is smaller', async () => {
  const { totalBytes } = await get();
  const changed = DAY_ONE.program.slice();
  changed.set(noise(100, 7), 50_000);
  await publisher.add('debian', '2026-11-02', { ...DAY_ONE, program: changed, note: 'new' });
  const second = await get();
  expect(second.snapshot.day).toBe('2026-11-02');
  expect(second.reusedBytes).toBe(totalBytes - 200_000);
  expect(second.patched).toBe(1);
  expect(second.fetchedBytes).toBeLessThan(20_000);
  expect(await isWhole('2026-11-02')).toBe(true);
});

test('a base that has gone bad here makes no harm: the content itself is fetched', async () => {
  await get();
  const digest = await sha256(DAY_ONE.program);
  writeFileSync(`${directory}/reader/chunks/${digest.slice(0, 2)}/${digest.slice(2)}`, noise(200_000, 9));
  const changed = DAY_ONE.program.slice();
  changed.set(noise(100, 7), 50_000);
  await publisher.add('debian', '2026-11-02', { ...DAY_ONE, program: changed });
  expect(await get()).toMatchObject({ patched: 0 });
  expect(await isWhole('2026-11-02')).toBe(true);
});

test('what an interrupted pull got is not fetched again', async () => {
  await publisher.add('debian', '2026-11-01', { ...DAY_ONE, more: noise(9_000_000, 5) });
  const abort = new AbortController();
  let packs = 0;
  web.misbehave = (path, _request, response) => {
    // The first comes; the others never do.
    if (!path.startsWith('packs/') || ++packs < 3) return false;
    setTimeout(() => abort.abort(), 300);
    response.writeHead(206, { 'content-range': 'bytes 0-999/1000' }).write('x');
    return true;
  };
  await expect(get('debian', 'latest', { signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' });
  expect(await isConsistent()).toBe(true);
  web.misbehave = () => false;
  const { fetchedBytes } = await get();
  expect(fetchedBytes).toBeLessThan(13_000_000);
  expect(await isWhole()).toBe(true);
});

test('what an interrupted pull got goes when nobody goes on with it, and indexes that nobody asks for', async () => {
  const left = (name: string) => {
    const inside = join(directory, 'cache', name);
    return existsSync(inside) ? readdirSync(inside, { recursive: true, withFileTypes: true }).filter((one) => one.isFile()) : [];
  };
  let packs = 0;
  // The record and the tree come, and one stretch more.
  web.misbehave = (path) => path.startsWith('packs/') && ++packs > 2;
  const abort = new AbortController();
  const pulling = get('debian', 'latest', { signal: abort.signal });
  pulling.catch(() => {});
  await vi.waitUntil(() => left('pieces').length > 0, { timeout: 30_000 });
  abort.abort();
  await expect(pulling).rejects.toMatchObject({ code: 'cancelled' });
  web.misbehave = () => false;
  const later = (days: number) => ({ ...publisher.clock, nowMs: () => Date.now() + days * 86_400_000 });
  const prune = (days: number) => pruneCache(new NodeFiles(), later(days), `${directory}/cache`);
  expect(await prune(0.9)).toEqual({ removed: 0, removedBytes: 0 });
  expect((await prune(1.1)).removed).toBeGreaterThan(0);
  expect(left('pieces')).toEqual([]);
  expect(left('indexes').length).toBe(1);
  expect((await prune(31)).removed).toBe(1);
  await get();
  expect(await isWhole()).toBe(true);
});

test('a full disk at any write ends a pull with the reason, and leaves a consistent store for the next', async () => {
  const full = new NodeFiles();
  for (let room = 0; ; room++) {
    let left = room;
    full.write = async (path, data) => {
      if (left-- <= 0) throw new VmError('host-io', `cannot write ${path}: the disk is full`);
      await new NodeFiles().write(path, data);
    };
    catalogue = new Catalogue(full, `${directory}/reader`);
    const error = await get('debian', 'latest', { files: full }).then(
      () => undefined,
      (failure: unknown) => failure,
    );
    catalogue = new Catalogue(new NodeFiles(), `${directory}/reader`);
    if (!error) break;
    expect(error).toMatchObject({ code: 'host-io', message: expect.stringContaining('the disk is full') });
    expect(await isConsistent()).toBe(true);
  }
  expect(await isWhole()).toBe(true);
});

test('what is not published is not there, and the message says what is', async () => {
  await expect(get('fedora')).rejects.toThrow(/has no fedora \(it has debian\)/);
  await expect(get('debian', '2026-10-01')).rejects.toThrow(/has no debian@2026-10-01 \(it has 2026-11-01\)/);
  await expect(get('debian', 'latest', { from: `${web.url}/nowhere` })).rejects.toMatchObject({ code: 'not-found' });
});

describe('a server that', () => {
  const answer =
    (change: (data: Uint8Array) => Uint8Array, matching = /^packs\//, lengthOf?: (length: number) => number): WebServer['misbehave'] =>
    (path, request, response) => {
      if (!matching.test(path)) return false;
      const data = change(readFileSync(join(publisher.www, path)));
      const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
      const from = range ? Number(range[1]) : 0;
      const to = range?.[2] ? Number(range[2]) + 1 : data.length;
      response.writeHead(range ? 206 : 200, {
        ...(range && { 'content-range': `bytes ${from}-${to - 1}/${data.length}` }),
        ...(lengthOf && { 'content-length': lengthOf(to - from) }),
      });
      response.end(data.subarray(from, to));
      return true;
    };

  test('ignores ranges is good enough', async () => {
    web.misbehave = (path, _request, response) => {
      if (!path.startsWith('packs/')) return false;
      response.writeHead(200).end(readFileSync(join(publisher.www, path)));
      return true;
    };
    await get();
    expect(await isWhole()).toBe(true);
  });

  test('breaks off again and again is good enough, as long as something comes each time', async () => {
    let breaks = 0;
    web.misbehave = (path, request, response) => {
      const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
      if (!path.startsWith('packs/') || !range || ++breaks % 2 === 0) return false;
      const data = readFileSync(join(publisher.www, path)).subarray(Number(range[1]), Number(range[2]) + 1);
      response.writeHead(206, { 'content-range': `bytes ${range[1]}-${range[2]}/*`, 'content-length': data.length });
      response.write(data.subarray(0, data.length >> 1), () => response.destroy());
      return true;
    };
    await get();
    expect(await isWhole()).toBe(true);
  });

  test.each<[string, WebServer['misbehave'], RegExp, string]>([
    ['changes a pack', answer((data) => data.map((byte, at) => (at === 5000 ? byte ^ 1 : byte))), /pack.*damaged/, 'bad-digest'],
    ['swaps a pack', answer((data) => noise(data.length, 77)), /damaged, cut short or another one/, 'bad-digest'],
    ['cuts a pack short', answer((data) => data.subarray(0, 1000)), /it ended after \d+ bytes, but \d+ were signed for/, 'network'],
    [
      'sends an index of other bytes',
      answer((data) => data.map((byte) => byte ^ 1), /^indexes\//),
      /not what was signed for/,
      'bad-digest',
    ],
    [
      'sends too much of an index',
      answer((data) => Buffer.concat([data, data]), /^indexes\//),
      /is longer than the \d+ bytes/,
      'bad-signature',
    ],
    ['sends another manifest', answer((data) => data.map((byte) => byte ^ 1), /^targets\//), /not what was signed for/, 'bad-digest'],
    [
      'sends other lists',
      answer((data) => data.map((byte) => byte ^ 1), /targets\.json$/),
      /not the file that was signed for/,
      'bad-digest',
    ],
    [
      'promises more of a pack than it has',
      (path, request, response) => {
        if (!path.startsWith('packs/')) return false;
        const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')!;
        const length = Number(range[2]) - Number(range[1]) + 1;
        response.writeHead(206, { 'content-range': `bytes ${range[1]}-${range[2]}/*`, 'content-length': length });
        response.write(new Uint8Array(10), () => response.destroy());
        return true;
      },
      /the connection was closed|closed the connection/,
      'network',
    ],
    [
      'says that a pack is shorter than it is',
      answer(
        (data) => data,
        /^packs\//,
        (length) => length >> 1,
      ),
      /it ended after \d+ bytes, but \d+ were signed for/,
      'network',
    ],
    [
      'redirects in a circle',
      (path, _request, response) => path.startsWith('packs/') && !!response.writeHead(302, { location: `/${path}` }).end(),
      /redirects/,
      'network',
    ],
    [
      'redirects to a file of this computer',
      (path, _request, response) => path.startsWith('packs/') && !!response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
      /file: addresses are not supported/,
      'unsupported',
    ],
    [
      'sends a timestamp without end',
      (path, _request, response) => {
        if (path !== 'metadata/timestamp.json') return false;
        const more = () => void (response.writable && response.write(new Uint8Array(100_000), () => setImmediate(more)));
        more();
        return true;
      },
      /is longer than/,
      'bad-signature',
    ],
    [
      'sends headers without end',
      (path, _request, response) => {
        if (!path.startsWith('packs/')) return false;
        response.socket?.end(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(1_000_000)}`);
        return true;
      },
      /cannot get .*Header overflow/,
      'network',
    ],
    [
      'speaks another protocol',
      (path, _request, response) => path.startsWith('packs/') && !!response.socket?.end('SSH-2.0-x\r\n'),
      /cannot get .*Parse Error/,
      'network',
    ],
    ['sends an endless root', answer(() => Buffer.alloc(600_000, 32), /1\.root\.json$/), /is longer than/, 'bad-signature'],
    [
      'has lost a pack',
      (path, _request, response) => path.startsWith('packs/') && !!response.writeHead(404).end(),
      /status 404/,
      'not-found',
    ],
    ['fails', (path, _request, response) => path.startsWith('packs/') && !!response.writeHead(500).end(), /status 500/, 'network'],
    [
      'sends other bytes than those asked for',
      (path, _request, response) =>
        path.startsWith('packs/') && !!response.writeHead(206, { 'content-range': 'bytes 9999999-10000000/20000000' }).end('x'),
      /other bytes than those asked for/,
      'network',
    ],
  ])('%s is refused: the error says why, and nothing of it is kept', async (_what, misbehave, message, code) => {
    web.misbehave = misbehave;
    const error = await get().then(
      () => undefined,
      (failure: unknown) => failure,
    );
    expect(error).toMatchObject({ name: 'VmError', code, message: expect.stringMatching(message) });
    expect(await isConsistent()).toBe(true);
    web.misbehave = () => false;
    await get();
    expect(await isWhole()).toBe(true);
  });

  test('sends a byte now and then is given up', async () => {
    web.misbehave = (path, _request, response) => {
      if (!path.startsWith('packs/')) return false;
      response.writeHead(206, { 'content-range': 'bytes 0-999999/1000000' });
      const drip = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(drip));
      return true;
    };
    await expect(get('debian', 'latest', { answerMs: 300 })).rejects.toMatchObject({
      code: 'network',
      message: expect.stringContaining('the server is too slow'),
    });
    expect(await isConsistent()).toBe(true);
  });

  test('stalls is given up', async () => {
    web.misbehave = (path, _request, response) => {
      if (!path.startsWith('packs/')) return false;
      response.writeHead(206, { 'content-range': 'bytes 0-999/1000' });
      response.write('x');
      return true;
    };
    await expect(get('debian', 'latest', { silenceMs: 100 })).rejects.toMatchObject({ code: 'network' });
    expect(await isConsistent()).toBe(true);
  });
});
