import { mkdtempSync, rmSync, writeFileSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Piece } from '../storage/packs/pack-index.ts';
import { TestPublisher } from '../snapshots/testing/published.ts';
import { Repository } from '../snapshots/publish/repository.ts';
import { PieceWaiter } from './piece-waiter.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const thread = join(ROOT, `build/piece-thread-${process.pid}.mjs`);
/** A server in a thread of its own: this one stands still while it waits. */
const SERVER = `
  const { createServer } = require('node:http');
  const { readFileSync } = require('node:fs');
  const { parentPort, workerData: { directory, corrupt } } = require('node:worker_threads');
  const server = createServer((request, response) => {
    const [, from, to] = /bytes=(\\d+)-(\\d+)/.exec(request.headers.range);
    const data = readFileSync(directory + request.url).subarray(+from, +to + 1);
    if (corrupt) data[10] ^= 1;
    response.writeHead(206, { 'content-range': 'bytes ' + from + '-' + to + '/*' }).end(data);
  }).listen(0, '127.0.0.1', () => parentPort.postMessage('http://127.0.0.1:' + server.address().port, []));`;

let directory: string;
let publisher: TestPublisher;
let pieces: readonly Piece[];
let waiter: PieceWaiter | undefined;
let server: Worker | undefined;

beforeAll(async () => {
  await build({
    absWorkingDir: ROOT,
    entryPoints: ['src/cli/piece-thread.ts'],
    outfile: thread,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
  });
}, 60_000);
afterAll(() => rmSync(thread, { force: true }));

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-pieces-'));
  publisher = new TestPublisher(directory);
  const snapshot = await publisher.snapshot('debian', '2026-11-01', { a: 'text' });
  await publisher.addState(snapshot, 100);
  await publisher.publish(snapshot);
  const { index } = await (await Repository.open(publisher.storage))!.index();
  pieces = index.locate((await publisher.catalogue.booted(snapshot))!.state)!;
});

afterEach(async () => {
  await waiter?.close();
  await server?.terminate();
  rmSync(directory, { recursive: true, force: true });
});

function open(place: string): PieceWaiter {
  return (waiter = new PieceWaiter({ place, directory: `${directory}/contents` }, pathToFileURL(thread)));
}

function serve(corrupt: boolean): Promise<string> {
  server = new Worker(SERVER, { eval: true, workerData: { directory: publisher.www, corrupt } });
  return new Promise((resolve) => server!.once('message', resolve));
}

const digestOf = async (data: Uint8Array) => Buffer.from(await crypto.subtle.digest('SHA-256', data.slice())).toString('hex');

test('a piece comes while the thread stands still, from a server once, and then from the cache', async () => {
  const one = open(await serve(false));
  for (const piece of pieces) expect(await digestOf(one.take(piece))).toBe(piece.digest);
  const { fetchedBytes } = one;
  expect(fetchedBytes).toBeGreaterThan(400_000);
  for (const piece of pieces) expect(await digestOf(one.take(piece))).toBe(piece.digest);
  expect(one.fetchedBytes).toBe(fetchedBytes);
});

test('a piece comes from a directory', async () => {
  expect(await digestOf(open(publisher.www).take(pieces[1]!))).toBe(pieces[1]!.digest);
});

test('what is damaged on the way, gone, or not to be reached is an error that says so', async () => {
  const damaged = open(await serve(true));
  expect(() => damaged.take(pieces[0]!)).toThrow(expect.objectContaining({ code: 'bad-digest' }));
  await damaged.close();
  const path = join(publisher.www, 'packs', `${pieces[0]!.frame.pack.digest}.pack`);
  const data = readFileSync(path);
  rmSync(path);
  const missing = open(publisher.www);
  expect(() => missing.take(pieces[0]!)).toThrow(/the machine cannot go on without a page of its memory: .* is missing/);
  writeFileSync(path, data);
  expect(missing.take(pieces[0]!).length).toBe(pieces[0]!.sizeBytes);
});
