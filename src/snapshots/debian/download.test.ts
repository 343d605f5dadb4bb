import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync, mkdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sha256 } from '../../base/sha256.ts';
import { NodeFiles } from '../../node/files.ts';
import type { Fetch } from '../../platform/fetch.ts';
import { Downloader } from './download.ts';

const NOW = Date.now();
const HOUR_MS = 3_600_000;
const SIZE = 1000;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const noNetwork = () => Promise.reject(new Error('no network'));
const nothing: Fetch = { get: noNetwork, send: noNetwork };
const downloader = (): Downloader =>
  new Downloader({ files: new NodeFiles(), fetch: nothing, clock: { nowMs: () => NOW, sleep: async () => {} } }, directory, true);

/** A cached file of SIZE bytes, last used so long ago; answers its digest. */
async function file(content: number, hours: number, under = ''): Promise<string> {
  const data = new Uint8Array(SIZE).fill(content);
  const digest = await sha256(data);
  mkdirSync(join(directory, under), { recursive: true });
  const path = join(directory, under, digest);
  writeFileSync(path, data);
  const time = new Date(NOW - hours * HOUR_MS);
  utimesSync(path, time, time);
  return digest;
}

const left = (): string[] => readdirSync(directory).filter((name) => name !== 'partial');

describe('pruning', () => {
  test('removes what was used longest ago, and no more than it must', async () => {
    const [old, older, young] = [await file(1, 5), await file(2, 50), await file(3, 3)];
    await downloader().prune(2 * SIZE);
    expect(left().sort()).toEqual([old, young].sort());
    await downloader().prune(2 * SIZE - 1);
    expect(left()).toEqual([young]);
    expect(left()).not.toContain(older);
  });

  test('counts a use from the cache as a use', async () => {
    const [used, unused] = [await file(1, 50), await file(2, 5)];
    expect(await downloader().cached(used)).toHaveLength(SIZE);
    await downloader().prune(SIZE);
    expect(left()).toEqual([used]);
    expect(left()).not.toContain(unused);
  });

  test('leaves what this run needs, however large it is and long it takes', async () => {
    const needed = [await file(1, 50), await file(2, 60)];
    const here = downloader();
    await here.hold(needed);
    for (const digest of needed) utimesSync(join(directory, digest), 0, 0);
    await here.prune(0);
    expect(left().sort()).toEqual(needed.toSorted());
  });

  test('leaves what another process said an hour ago at most that it needs', async () => {
    const [theirs, nobodys] = [await file(1, 50), await file(2, 2)];
    await downloader().hold([theirs]);
    await downloader().prune(0);
    expect(left()).toEqual([theirs]);
    expect(left()).not.toContain(nobodys);
  });

  test('two at once do no harm', async () => {
    for (let n = 0; n < 20; n++) await file(n, 100 - n);
    await Promise.all([downloader().prune(5 * SIZE), downloader().prune(5 * SIZE)]);
    expect(left().length).toBeLessThanOrEqual(5);
  });

  test('removes downloads that nobody resumed for a week', async () => {
    await file(1, 24 * 8, 'partial');
    const waiting = await file(2, 24 * 6, 'partial');
    await downloader().prune(0);
    expect(readdirSync(join(directory, 'partial'))).toEqual([waiting]);
  });

  test('an empty cache is fine, and so is holding what is not there', async () => {
    await downloader().hold(['0'.repeat(64)]);
    await downloader().prune(0);
    expect(statSync(directory).isDirectory()).toBe(true);
    expect(left()).toEqual([]);
  });
});
