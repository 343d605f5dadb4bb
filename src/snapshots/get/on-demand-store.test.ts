import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test, vi } from 'vitest';
import { sha256 } from '../../base/sha256.ts';
import { NodeFetch } from '../../node/fetch.ts';
import { NodeFiles } from '../../node/files.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import { FileChunkStore } from '../../storage/file-chunk-store.ts';
import { noise } from '../testing/noise.ts';
import { TestPublisher } from '../testing/published.ts';
import { serveDirectory, type WebServer } from '../testing/web-server.ts';
import { LayeredStore, OnDemandStore, RecordingStore } from './on-demand-store.ts';
import { listPublished, openDay } from './pull.ts';
import { openSource } from './open-source.ts';

let directory: string;
let publisher: TestPublisher;
let web: WebServer;
let cache: FileChunkStore;

const FILES = { small: 'text', other: 'more text', large: noise(3_000_000), program: noise(200_000, 2), last: noise(150_000, 3) };
const digestOf = (name: keyof typeof FILES) => {
  const content = FILES[name];
  return sha256(typeof content === 'string' ? new TextEncoder().encode(content) : content);
};

// Writes reach the disk, which may be slow.
vi.setConfig({ testTimeout: 60_000 });

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-demand-'));
  publisher = new TestPublisher(directory);
  await publisher.add('debian', '2026-11-01', FILES, { order: [await digestOf('program'), await digestOf('small')] });
  web = await serveDirectory(publisher.www);
  cache = new FileChunkStore(new NodeFiles(), `${directory}/cache/contents`);
  return () => {
    web.close();
    rmSync(directory, { recursive: true, force: true });
  };
});

async function open(local = new MemoryChunkStore()) {
  const files = new NodeFiles();
  const { clock } = publisher;
  const source = openSource({ files, fetch: new NodeFetch(), clock }, web.url);
  const host = { files, clock, zstd: await nodeZstd(), stateCodec: await nodeStateCodec(), progress: () => {} };
  const options = { trustDirectory: `${directory}/trust`, cacheDirectory: `${directory}/cache`, fingerprint: publisher.fingerprint };
  const [day] = await listPublished(source, host, options);
  const here = new LayeredStore(local, cache);
  const opened = await openDay(source, day!, here, host, options);
  return { ...opened, here, store: new OnDemandStore(here, opened.index, opened.fetcher) };
}

const packRequests = () => web.requests.filter((path) => path.startsWith('packs/')).length;

test('a content is fetched when it is asked for, with what shares its frame, and then it is here', async () => {
  const { store } = await open();
  const before = packRequests();
  expect(new TextDecoder().decode(await store.get(await digestOf('small')))).toBe('text');
  expect(await cache.has(await digestOf('other'))).toBe(true);
  expect(await cache.has(await digestOf('large'))).toBe(false);
  expect(packRequests()).toBe(before + 1);
  await store.get(await digestOf('other'));
  expect(packRequests()).toBe(before + 1);
  expect(await sha256(await store.get(await digestOf('large')))).toBe(await digestOf('large'));
});

test('who asks for the same at the same time waits for one request', async () => {
  const { store } = await open();
  const before = packRequests();
  const digest = await digestOf('program');
  await Promise.all([store.get(digest), store.get(digest), store.get(digest)]);
  expect(packRequests()).toBe(before + 1);
});

test('what is on this computer is not fetched, nor what another process has put into the cache', async () => {
  const local = new MemoryChunkStore();
  await local.put(FILES.program);
  const first = await open(local);
  const before = packRequests();
  await first.store.get(await digestOf('program'));
  expect(packRequests()).toBe(before);
  await first.store.get(await digestOf('last'));
  const second = await open();
  const then = packRequests();
  await second.store.get(await digestOf('last'));
  expect(packRequests()).toBe(then);
});

test('the recorded order comes first in the packs, and is fetched ahead', async () => {
  const { store, here, manifest } = await open();
  const order = new TextDecoder()
    .decode(await here.get(manifest.order!))
    .split('\n')
    .filter(Boolean);
  expect(order).toEqual([await digestOf('program'), await digestOf('small')]);
  await store.fetchAhead(order, new AbortController().signal);
  expect(await cache.has(await digestOf('program'))).toBe(true);
  expect(await cache.has(await digestOf('large'))).toBe(false);
});

test('damage on the way is an error, not a content', async () => {
  const { store } = await open();
  web.misbehave = (path, _request, response) => path.startsWith('packs/') && !!response.writeHead(200).end(noise(4_000_000, 9));
  await expect(store.get(await digestOf('large'))).rejects.toMatchObject({ code: 'bad-digest' });
  web.misbehave = () => false;
  expect((await store.get(await digestOf('large'))).length).toBe(3_000_000);
});

test('the cache keeps to a size, and what it has lost is fetched again', async () => {
  const { store } = await open();
  await store.get(await digestOf('large'));
  const later = { ...publisher.clock, nowMs: () => Date.now() + 2 * 3_600_000 };
  await cache.prune(later, () => false, 1_000_000, 3_600_000);
  expect(await cache.has(await digestOf('large'))).toBe(false);
  expect((await store.get(await digestOf('large'))).length).toBe(3_000_000);
});

test('a recording store notes what is asked for, once, in order', async () => {
  const inner = new MemoryChunkStore();
  const [a, b] = [await inner.put(noise(1)), await inner.put(noise(2))];
  const store = new RecordingStore(inner);
  for (const digest of [b, a, b]) await store.get(digest);
  expect(store.order).toEqual([b, a]);
});
