/** What a publisher does between days: removing what nobody needs, changing keys, renewing signatures. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { NodeFiles } from '../../node/files.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { Catalogue } from '../catalogue/catalogue.ts';
import { pull } from '../get/pull.ts';
import { StorageSource } from '../get/source.ts';
import { noise } from '../testing/noise.ts';
import { TestPublisher } from '../testing/published.ts';
import { ROLES } from '../trust/metadata.ts';
import { collect } from './collect.ts';
import { renew, rotateKey } from './rotate.ts';
import { verifyPublished } from './verify.ts';

const HOUR = 3_600_000;
// Many small steps, each with its signatures and writes that reach the disk.
vi.setConfig({ testTimeout: 120_000 });
let directory: string;
let publisher: TestPublisher;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-upkeep-'));
  publisher = new TestPublisher(directory);
  return () => rmSync(directory, { recursive: true, force: true });
});

const verify = async () =>
  verifyPublished(new StorageSource(publisher.storage), {
    ...publisher.locking,
    zstd: await nodeZstd(),
    stateCodec: await nodeStateCodec(),
    progress: () => {},
  });
const clean = (graceMs = 48 * HOUR, evenMuch = false) => collect(publisher.storage, publisher.locking, { graceMs, evenMuch });
const packs = () => readdirSync(join(publisher.www, 'packs')).length;

async function read(day = 'latest') {
  const host = await publisher.readerHost();
  return pull(new StorageSource(publisher.storage), new Catalogue(host.files, `${directory}/reader`), { name: 'debian', day }, host, {
    trustDirectory: `${directory}/trust`,
    cacheDirectory: `${directory}/cache`,
    fingerprint: publisher.fingerprint,
  });
}

describe('collect', () => {
  const shared = noise(500_000);
  beforeEach(async () => {
    await publisher.add('debian', '2026-11-01', { shared });
    await publisher.add('debian', '2026-11-02', { shared, old: noise(100_000, 2) });
    await publisher.add('debian', '2026-11-03', { shared, new: noise(100_000, 3) }, { keepDays: 1 });
  });

  test('removes what no day needs, after a while in which it was seen to be so', async () => {
    expect(await clean()).toMatchObject({ removed: 0, waiting: expect.any(Number) });
    expect(packs()).toBe(3);
    publisher.nowMs += 47 * HOUR;
    expect(await clean()).toMatchObject({ removed: 0 });
    publisher.nowMs += HOUR;
    const { removed, removedBytes } = await clean();
    expect(removed).toBeGreaterThan(3);
    expect(removedBytes).toBeGreaterThan(100_000);
    expect(packs()).toBe(2);
    expect((await verify()).problems).toEqual([]);
    expect((await read()).snapshot.day).toBe('2026-11-03');
    expect(await clean()).toMatchObject({ removed: 0, waiting: 0 });
  });

  test('removes what killed publishers left, and nothing that is not of a publisher', async () => {
    await clean(0, true);
    const left = ['publishing.lock.12.0.new', 'unreachable.json.12.1.new', 'packs/0.pack.12.2.new'];
    for (const path of [...left, 'index.html', 'mine.new']) writeFileSync(`${publisher.www}/${path}`, 'x');
    expect(await clean()).toMatchObject({ removed: 0, waiting: 3 });
    publisher.nowMs += 49 * HOUR;
    expect(await clean()).toMatchObject({ removed: 3, removedBytes: 3 });
    expect(readdirSync(publisher.www).sort()).toEqual([
      'index.html',
      'indexes',
      'metadata',
      'mine.new',
      'packs',
      'targets',
      'unreachable.json',
    ]);
  });

  test('keeps the booted states of listed days, and no others', async () => {
    const [second, third] = [
      (await publisher.catalogue.get('debian', '2026-11-02'))!,
      (await publisher.catalogue.get('debian', '2026-11-03'))!,
    ];
    await publisher.addState(second, 10, 1);
    await publisher.addState(third, 10, 2);
    await publisher.publish(second, { keepDays: 2 });
    await publisher.publish(third, { keepDays: 1 });
    await clean();
    publisher.nowMs += 48 * HOUR;
    expect((await clean()).removedBytes).toBeGreaterThan(140_000);
    expect((await verify()).problems).toEqual([]);
    expect(await new Catalogue(new NodeFiles(), `${directory}/reader`).booted((await read()).snapshot)).toBeDefined();
  });

  test('what is needed again meanwhile stays', async () => {
    await clean();
    publisher.nowMs += 24 * HOUR;
    await publisher.publish((await publisher.catalogue.get('debian', '2026-11-02'))!);
    publisher.nowMs += 24 * HOUR;
    await clean();
    expect((await verify()).problems).toEqual([]);
    expect((await verify()).days).toContain('debian@2026-11-02');
  });

  test('refuses to remove more than half, unless told to', async () => {
    await publisher.add('debian', '2026-11-04', { big: noise(2_000_000, 8) }, { keepDays: 1 });
    await publisher.add('debian', '2026-11-05', { tiny: 'text' }, { keepDays: 1 });
    await clean();
    publisher.nowMs += 48 * HOUR;
    const before = packs();
    await expect(clean()).rejects.toThrow(/\d\d % of all bytes, would be removed: nothing is/);
    expect(packs()).toBe(before);
    expect((await clean(48 * HOUR, true)).removed).toBeGreaterThan(0);
    expect((await verify()).problems).toEqual([]);
  });

  test('removes nothing where something that is needed is missing or damaged', async () => {
    await clean();
    publisher.nowMs += 48 * HOUR;
    rmSync(join(publisher.www, 'packs', readdirSync(join(publisher.www, 'packs'))[0]!));
    const left = packs();
    await clean().catch(() => {});
    const [index] = readdirSync(join(publisher.www, 'indexes'));
    rmSync(join(publisher.www, 'targets'), { recursive: true });
    await expect(clean()).rejects.toMatchObject({ code: 'not-found' });
    expect(readdirSync(join(publisher.www, 'indexes'))).toContain(index);
    expect(packs()).toBeLessThanOrEqual(left);
  });

  test('an interruption at any removal is made up for by the next run', async () => {
    await clean();
    publisher.nowMs += 48 * HOUR;
    const { storage } = publisher;
    const remove = storage.remove.bind(storage);
    let count = 0;
    storage.remove = async (path) => {
      if (!path.endsWith('.lock') && count++ === 2) throw new Error('killed');
      await remove(path);
    };
    await expect(clean()).rejects.toThrow('killed');
    storage.remove = remove;
    expect((await verify()).problems).toEqual([]);
    expect((await clean()).removed).toBeGreaterThan(0);
    expect(packs()).toBe(2);
  });
});

describe('a change of keys', () => {
  test.each(ROLES)('of %s is followed by readers, and the publisher goes on', async (role) => {
    await publisher.add('debian', '2026-11-01', { a: 'one' });
    await read();
    const before = await publisher.keys.load(role);
    await rotateKey(publisher.storage, publisher.keys, publisher.locking, role);
    expect((await publisher.keys.load(role))!.id).not.toBe(before!.id);
    expect((await verify()).problems).toEqual([]);
    await read();
    await publisher.add('debian', '2026-11-02', { a: 'two' });
    expect((await read()).snapshot.day).toBe('2026-11-02');
  });

  test.each(ROLES)('of %s that is interrupted at any write is right for readers, and finished by the next run', async (role) => {
    await publisher.add('debian', '2026-11-01', { a: 'one' });
    const { storage } = publisher;
    const write = storage.write.bind(storage);
    for (let steps = 0; ; steps++) {
      let left = steps;
      storage.write = async (path, data) => {
        if (left-- === 0) throw new Error('killed');
        await write(path, data);
      };
      const done = await rotateKey(storage, publisher.keys, publisher.locking, role).then(
        () => true,
        () => false,
      );
      storage.write = write;
      expect((await verify()).problems).toEqual([]);
      await read();
      if (done) break;
    }
    await publisher.add('debian', '2026-11-02', { a: 'two' });
    expect((await read()).snapshot.day).toBe('2026-11-02');
  });

  test.each(ROLES)('of %s that was interrupted before its key was in place is no obstacle to whatever is done next', async (role) => {
    await publisher.add('debian', '2026-11-01', { a: 'one' });
    const { keys } = publisher;
    const replace = keys.replace.bind(keys);
    for (const next of [
      () => publisher.add('debian', '2026-11-02', { a: 'two' }),
      () => renew(publisher.storage, keys, publisher.locking),
      ...ROLES.map((other) => () => rotateKey(publisher.storage, keys, publisher.locking, other)),
    ]) {
      keys.replace = async () => {
        throw new Error('killed');
      };
      await expect(rotateKey(publisher.storage, keys, publisher.locking, role)).rejects.toThrow('killed');
      keys.replace = replace;
      await next();
      expect((await verify()).problems).toEqual([]);
      await read();
    }
  });

  test('needs the root key, and says so', async () => {
    await publisher.add('debian', '2026-11-01', { a: 'one' });
    rmSync(`${publisher.keys.directory}/root.json`);
    await expect(rotateKey(publisher.storage, publisher.keys, publisher.locking, 'targets')).rejects.toThrow(/root key .* is needed/);
    await publisher.add('debian', '2026-11-02', { a: 'two' });
    expect((await read()).snapshot.day).toBe('2026-11-02');
  });
});

test('renewing keeps what is published valid, the root too', async () => {
  await publisher.add('debian', '2026-11-01', { a: 'one' });
  await read();
  for (let month = 0; month < 13; month++) {
    publisher.nowMs += 30 * 24 * HOUR;
    await expect(verify()).rejects.toThrow(/expired/);
    await renew(publisher.storage, publisher.keys, publisher.locking);
    expect((await verify()).problems).toEqual([]);
    await read();
  }
});
