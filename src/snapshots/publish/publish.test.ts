import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { openState } from '../../machine/saved-state-file.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { StorageSource } from '../get/source.ts';
import { noise } from '../testing/noise.ts';
import { TestPublisher } from '../testing/published.ts';
import { sourceOf } from '../testing/saved-state.ts';
import { Repository } from './repository.ts';
import { verifyPublished } from './verify.ts';

let publisher: TestPublisher;
let www: string;

// Writes reach the disk, which may be slow.
vi.setConfig({ testTimeout: 60_000 });

beforeEach(() => {
  const directory = mkdtempSync(join(tmpdir(), 'daybreak-publish-'));
  publisher = new TestPublisher(directory);
  www = publisher.www;
  return () => rmSync(directory, { recursive: true, force: true });
});

const verify = async (fingerprint?: string) =>
  verifyPublished(
    new StorageSource(publisher.storage),
    { clock: publisher.clock, zstd: await nodeZstd(), stateCodec: await nodeStateCodec(), progress: () => {} },
    fingerprint,
  );
const packs = () => readdirSync(join(www, 'packs')).sort();
const DAY_ONE = { a: 'text', b: noise(3_000_000), c: noise(100_000, 2), empty: '' };

test('what is published verifies, and its keys are secret', async () => {
  const { fingerprint, packedBytes } = await publisher.add('debian', '2026-11-01', DAY_ONE);
  expect(await verify(fingerprint)).toMatchObject({ days: ['debian@2026-11-01'], problems: [], packedBytes, fingerprint });
  expect(packedBytes).toBeGreaterThan(3_100_000);
  expect(statSync(`${publisher.keys.directory}/root.json`).mode & 0o777).toBe(0o600);
  await expect(verify('a'.repeat(64))).rejects.toThrow(/this is another publisher/);
});

test('a second day adds what is new, and patches for what replaced something', async () => {
  const first = await publisher.add('debian', '2026-11-01', DAY_ONE);
  const before = packs();
  const changed = DAY_ONE.c.slice();
  changed.set(noise(100, 7), 50_000);
  const second = await publisher.add('debian', '2026-11-02', { ...DAY_ONE, c: changed, d: 'new' });
  expect(second.patchCount).toBe(1);
  expect(second.packedBytes).toBeLessThan(first.packedBytes / 10);
  expect(packs().filter((one) => before.includes(one))).toEqual(before);
  expect(await verify()).toMatchObject({ days: ['debian@2026-11-02', 'debian@2026-11-01'], problems: [] });
  const repository = (await Repository.open(publisher.storage))!;
  expect((await repository.manifest('debian/2026-11-02.json')).indexes.length).toBe(2);
});

test('publishing the same again changes nothing but the signature', async () => {
  const snapshot = await publisher.snapshot('debian', '2026-11-01', DAY_ONE);
  expect((await publisher.publish(snapshot)).known).toBe(false);
  const before = packs();
  expect(await publisher.publish(snapshot)).toMatchObject({ known: true, packedBytes: 0 });
  expect(packs()).toEqual(before);
  expect(await verify()).toMatchObject({ problems: [] });
});

describe('a booted state', () => {
  const manifest = async () => (await Repository.open(publisher.storage))!.manifest('debian/2026-11-01.json');

  test('is published in pieces between its frames: what is needed first by itself, of the rest little at a time', async () => {
    const snapshot = await publisher.snapshot('debian', '2026-11-01', { a: 'text' });
    await publisher.addState(snapshot, 400);
    await publisher.publish(snapshot);
    const { state } = await manifest();
    const { format: _, tree: __, ...bytes } = (await publisher.catalogue.booted(snapshot))!;
    expect(state).toEqual(bytes);
    const { index } = await (await Repository.open(publisher.storage))!.index();
    const ends: number[] = [];
    for (const { sizeBytes } of index.locate(bytes.state)!) ends.push((ends.at(-1) ?? 0) + sizeBytes);
    expect(ends).toContain(bytes.firstBytes);
    expect(ends).toContain(bytes.sizeBytes - bytes.tailBytes);
    const { frames } = openState(sourceOf(await publisher.catalogue.store.get(bytes.state)), await nodeStateCodec());
    const frameEnds = new Set(frames.map(({ offset, length }) => offset + length));
    for (const end of ends.slice(0, -1)) expect(frameEnds).toContain(end);
    expect(ends.length).toBeGreaterThan(20);
    expect(await verify()).toMatchObject({ problems: [] });
  });

  test('can be left out, and comes again when it is there', async () => {
    const snapshot = await publisher.snapshot('debian', '2026-11-01', { a: 'text' });
    await publisher.addState(snapshot, 10);
    await publisher.publish(snapshot, { state: false });
    expect((await manifest()).state).toBeUndefined();
    expect((await publisher.publish(snapshot)).known).toBe(false);
    expect((await manifest()).state).toBeDefined();
  });

  test('that is none is not published, and nothing changes for readers', async () => {
    const snapshot = await publisher.snapshot('debian', '2026-11-01', { a: 'text' });
    await publisher.publish(snapshot);
    await publisher.catalogue.addBooted(snapshot, { data: noise(1000), firstBytes: 1, tailBytes: 1 }, 2 ** 30);
    await expect(publisher.publish(snapshot)).rejects.toThrow(
      'the booted state of debian@2026-11-01 cannot be published (it is not a saved state of Daybreak): daybreak build makes it anew',
    );
    expect((await manifest()).state).toBeUndefined();
  });
});

test('many days do not make the index endless', async () => {
  for (let day = 1; day <= 20; day++) {
    await publisher.add('debian', `2026-11-${String(day).padStart(2, '0')}`, {
      a: 'text',
      [`f${day}`]: `of day ${day}`,
      ...(day > 1 && { f1: 'of day 1' }),
    });
  }
  const all: Record<string, string> = { a: 'text' };
  for (let day = 1; day <= 20; day++) all[`f${day}`] = `of day ${day}`;
  await publisher.add('debian', '2026-11-21', all);
  const repository = (await Repository.open(publisher.storage))!;
  expect((await repository.manifest('debian/2026-11-21.json')).indexes.length).toBe(1);
  expect((await verify()).problems).toEqual([]);
}, 60_000);

test('only so many days are kept in the list, if that is asked for', async () => {
  for (const day of ['2026-11-01', '2026-11-02']) await publisher.add('debian', day, { a: day });
  const { withdrawn } = await publisher.add('debian', '2026-11-03', { a: 'three' }, { keepDays: 2 });
  expect(withdrawn).toEqual(['debian/2026-11-01.json']);
  expect((await verify()).days).toEqual(['debian@2026-11-03', 'debian@2026-11-02']);
});

test('a publisher with other keys is refused, and so is a second one at the same time', async () => {
  await publisher.add('debian', '2026-11-01', { a: 'one' });
  const root = readFileSync(join(www, 'metadata/1.root.json'));
  rmSync(publisher.keys.directory, { recursive: true });
  await expect(publisher.add('debian', '2026-11-02', { a: 'two' })).rejects.toThrow(/the key of the role targets is missing/);
  await publisher.keys.ringForNew();
  await expect(publisher.add('debian', '2026-11-02', { a: 'two' })).rejects.toThrow(/not the one it was published with/);
  expect(readFileSync(join(www, 'metadata/1.root.json'))).toEqual(root);
  writeFileSync(join(www, 'publishing.lock'), JSON.stringify({ id: 'x', timeMs: publisher.nowMs - 60_000 }));
  await expect(publisher.add('debian', '2026-11-02', { a: 'two' })).rejects.toThrow(/another publisher is at work/);
});

test('the lock of a killed publisher ends by itself', async () => {
  await publisher.add('debian', '2026-11-01', { a: 'one' });
  writeFileSync(join(www, 'publishing.lock'), JSON.stringify({ id: 'x', timeMs: publisher.nowMs - 3_600_000 }));
  await publisher.add('debian', '2026-11-02', { a: 'two' });
  expect(readdirSync(www)).not.toContain('publishing.lock');
});

test('the lock of a process of this computer that is over ends at once', async () => {
  const lock = (process: string) =>
    writeFileSync(join(www, 'publishing.lock'), JSON.stringify({ id: 'x', timeMs: publisher.nowMs, process }));
  publisher.locking.processes.isOver = async (name) => name === 'killed';
  await publisher.add('debian', '2026-11-01', { a: 'one' });
  lock('at work');
  await expect(publisher.add('debian', '2026-11-02', { a: 'two' })).rejects.toThrow(/another publisher is at work/);
  lock('killed');
  await publisher.add('debian', '2026-11-02', { a: 'two' });
  expect(readdirSync(www)).not.toContain('publishing.lock');
});

test('no copy stays of a secret key whose maker was killed', async () => {
  await publisher.add('debian', '2026-11-01', { a: 'one' });
  const { directory } = publisher.keys;
  for (const name of ['root.json.12.0.new', 'targets.next.json.12.0.new']) writeFileSync(join(directory, name), 'secret');
  await publisher.add('debian', '2026-11-02', { a: 'two' });
  // What has no name yet may still get one.
  expect(readdirSync(directory)).toEqual(['root.json', 'snapshot.json', 'targets.json', 'targets.next.json.12.0.new', 'timestamp.json']);
});

test('an interruption at any write leaves the old state, and the next run finishes', async () => {
  await publisher.add('debian', '2026-11-01', DAY_ONE);
  const snapshot = await publisher.snapshot('debian', '2026-11-02', { ...DAY_ONE, d: noise(50_000, 3) });
  const { storage } = publisher;
  const write = storage.write.bind(storage);
  for (let steps = 0; ; steps++) {
    let left = steps;
    storage.write = async (path, data) => {
      if (left-- === 0) throw new Error('killed');
      await write(path, data);
    };
    const ended = await publisher.publish(snapshot).then(
      () => true,
      (error: Error) => error.message !== 'killed',
    );
    storage.write = write;
    const { days, problems } = await verify();
    expect(problems).toEqual([]);
    expect(days.length).toBe(ended ? 2 : 1);
    if (ended) {
      expect(steps).toBeGreaterThan(3);
      return;
    }
  }
});

describe('verify finds', () => {
  beforeEach(async () => {
    await publisher.add('debian', '2026-11-01', DAY_ONE);
  });
  const damage = (directory: string, change: (data: Uint8Array) => Uint8Array) => {
    const path = join(www, directory, readdirSync(join(www, directory))[0]!);
    writeFileSync(path, change(readFileSync(path)));
  };

  test.each<[string, string, (data: Uint8Array) => Uint8Array]>([
    ['a changed pack', 'packs', (data) => data.map((byte, at) => (at === 5000 ? byte ^ 1 : byte))],
    ['a pack that is cut short', 'packs', (data) => data.subarray(0, -1)],
    ['a changed index', 'indexes', (data) => data.map((byte, at) => (at === 50 ? byte ^ 1 : byte))],
    ['a changed manifest', 'targets/debian', (data) => data.map((byte, at) => (at === 50 ? byte ^ 1 : byte))],
  ])('%s', async (_what, directory, change) => {
    damage(directory, change);
    const { problems } = await verify();
    expect(problems.join('\n')).toMatch(/not what was signed for/);
  });

  test('a missing pack', async () => {
    rmSync(join(www, 'packs', packs()[0]!));
    expect((await verify()).problems.join('\n')).toMatch(/\.pack is missing/);
  });

  test('a signature whose time is over', async () => {
    publisher.nowMs += 8 * 86_400_000;
    await expect(verify()).rejects.toThrow(/timestamp has expired/);
  });
});
