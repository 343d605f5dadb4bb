import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { Memory, PAGE_SIZE } from '../../machine/memory.ts';
import { openState } from '../../machine/saved-state-file.ts';
import { StatePages } from '../../machine/saved-state-supply.ts';
import { FileChunkStore } from '../../storage/file-chunk-store.ts';
import { TestPublisher } from '../testing/published.ts';
import { findDay } from './day.ts';
import { openSource } from './open-source.ts';
import { PieceSource, PublishedState, type TakePiece } from './published-state.ts';
import { listPublished, openDay } from './pull.ts';
import { NodeFetch } from '../../node/fetch.ts';

const PAGES = 400;
let directory: string;
let publisher: TestPublisher;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-published-state-'));
  publisher = new TestPublisher(directory);
  const snapshot = await publisher.snapshot('debian', '2026-11-01', { a: 'text' });
  await publisher.addState(snapshot, PAGES);
  await publisher.publish(snapshot);
  return () => rmSync(directory, { recursive: true, force: true });
});

/** The state of a reader with an empty cache; `taken` are pieces that it had to wait for. */
async function opened(change: (state: { sizeBytes: number; firstBytes: number }) => object = () => ({})) {
  const host = await publisher.readerHost();
  const source = openSource({ ...host, fetch: new NodeFetch() }, publisher.www);
  const options = { trustDirectory: `${directory}/trust`, cacheDirectory: `${directory}/cache`, fingerprint: publisher.fingerprint };
  const day = findDay(source.name, await listPublished(source, host, options), { name: 'debian', day: 'latest' });
  const store = new FileChunkStore(host.files, `${directory}/cache/contents`);
  const { manifest, index, fetcher } = await openDay(source, day, store, host, options);
  const whole = await publisher.catalogue.store.get(manifest.state!.state);
  const taken: string[] = [];
  const take: TakePiece = ({ digest }) => {
    taken.push(digest);
    let at = 0;
    for (const piece of index.locate(manifest.state!.state)!) {
      if (piece.digest === digest) return whole.slice(at, at + piece.sizeBytes);
      at += piece.sizeBytes;
    }
    throw new Error('it is no piece of the state');
  };
  const before = fetcher.counts.fetchedBytes;
  const bytes = { ...manifest.state!, ...change(manifest.state!) };
  const published = await PublishedState.open('the booted state', bytes, { index, fetcher, store }, () => {});
  const state = new PieceSource(published.parts, take);
  return { state, taken, whole, bytes, published, fetchedBytes: fetcher.counts.fetchedBytes - before };
}

test('what a machine needs first is here before it goes on, and nothing else', async () => {
  const { state, taken, whole, bytes, fetchedBytes } = await opened();
  expect(fetchedBytes).toBeLessThan(bytes.firstBytes + bytes.tailBytes + 1000);
  const codec = await nodeStateCodec();
  const memory = new Memory(2 * 2 ** 20, 0);
  memory.onAbsence = () => {};
  memory.supplyFrom(new StatePages(openState(state, codec), memory.sizeBytes, 'state'));
  for (const page of [PAGES - 1, PAGES - 2]) memory.view(page * PAGE_SIZE, PAGE_SIZE);
  expect(taken).toEqual([]);
  memory.view(100 * PAGE_SIZE, PAGE_SIZE);
  expect(taken.length).toBe(1);
  memory.bringAll();
  const known = new Memory(2 * 2 ** 20, 0);
  const all = { name: 'all', sizeBytes: whole.length, read: (offset: number, length: number) => whole.subarray(offset, offset + length) };
  known.supplyFrom(new StatePages(openState(all, codec), known.sizeBytes, 'all'));
  expect(Buffer.compare(memory.bytes.subarray(memory.ramOffset), known.bytes.subarray(known.ramOffset))).toBe(0);
  // Once each: neighbours are asked for one after the other.
  expect(new Set(taken).size).toBe(taken.length);
});

test('any stretch of it is what was published', async () => {
  const { state, whole } = await opened();
  for (const [offset, length] of [
    [0, whole.length],
    [1, 0],
    [16, 70_000],
    [whole.length - 1, 1],
    [65_000, 300_000],
  ] as const) {
    expect(Buffer.compare(state.read(offset, length), whole.subarray(offset, offset + length))).toBe(0);
  }
  for (const [offset, length] of [
    [-1, 1],
    [0, whole.length + 1],
    [whole.length, 1],
  ] as const)
    expect(() => state.read(offset, length)).toThrow(expect.objectContaining({ code: 'bad-state' }));
});

test('a piece that is asked for is fetched, and the rest where all of it is wanted', async () => {
  const { published, whole } = await opened();
  const { pieces, needed } = published.parts;
  const at = pieces.findIndex(({ digest }) => !needed.has(digest));
  const from = pieces.slice(0, at).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const { digest, sizeBytes } = pieces[at]!;
  expect(Buffer.compare(await published.piece(digest), whole.subarray(from, from + sizeBytes))).toBe(0);
  const seen: string[] = [];
  await published.complete((done, total) => seen.push(`${done}/${total}`));
  expect(seen.at(-1)).toBe(`${pieces.length}/${pieces.length}`);
  rmSync(publisher.www, { recursive: true });
  for (const piece of pieces) expect((await published.piece(piece.digest)).length).toBe(piece.sizeBytes);
});

test('a second run finds what the first has fetched', async () => {
  await opened();
  expect((await opened()).fetchedBytes).toBe(0);
});

test('a manifest that tells another size is refused', async () => {
  await expect(opened(({ sizeBytes }) => ({ sizeBytes: sizeBytes + 1 }))).rejects.toThrow('not in the index as it should be');
  await expect(opened(() => ({ state: 'a'.repeat(64) }))).rejects.toThrow('not in the index as it should be');
});
