/** Against a server that speaks S3's protocol. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import S3rver from 's3rver';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { NodeFetch } from '../../node/fetch.ts';
import { NodeFiles } from '../../node/files.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { Catalogue } from '../catalogue/catalogue.ts';
import { pull } from '../get/pull.ts';
import { openSource } from '../get/open-source.ts';
import { StorageSource } from '../get/source.ts';
import { noise } from '../testing/noise.ts';
import { TestPublisher } from '../testing/published.ts';
import { collect } from './collect.ts';
import { publishSnapshot } from './publish.ts';
import { openS3 } from './s3-storage.ts';
import { verifyPublished } from './verify.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let directory: string;
let server: S3rver;
let environment: Record<string, string>;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-s3-'));
  server = new S3rver({
    port: 0,
    address: '127.0.0.1',
    silent: true,
    directory: join(directory, 's3'),
    configureBuckets: [{ name: 'days', configs: [] }],
  });
  const { port } = await server.run();
  // The keys that s3rver knows.
  environment = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER', AWS_ENDPOINT_URL: `http://127.0.0.1:${port}` };
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

test('files are written, listed in any number, created once, and removed', async () => {
  const storage = openS3('s3://days/files', environment);
  for (const name of ['a', 'b & c']) await storage.write(`list/${name}`, noise(10));
  expect(await storage.list('list')).toEqual([
    { path: 'list/a', sizeBytes: 10 },
    { path: 'list/b & c', sizeBytes: 10 },
  ]);
  expect(await storage.read('list/a')).toEqual(noise(10));
  expect(await storage.read('list/none')).toBeUndefined();
  expect(await storage.sizeOf('list/a')).toBe(10);
  expect(await storage.create('list/a', noise(1))).toBe(false);
  expect(await storage.create('list/new', noise(1))).toBe(true);
  await storage.remove('list/new');
  expect(await storage.sizeOf('list/new')).toBeUndefined();
});

test('a day is published, verified, pulled over plain HTTP, and cleaned up after', async () => {
  const publisher = new TestPublisher(directory);
  const storage = openS3('s3://days/daily', environment);
  const host = {
    files: new NodeFiles(),
    ...publisher.locking,
    zstd: await nodeZstd(),
    stateCodec: await nodeStateCodec(),
    progress: () => {},
  };
  const publish = async (day: string, content: Uint8Array) =>
    publishSnapshot(
      host,
      storage,
      publisher.keys,
      publisher.catalogue,
      await publisher.snapshot('debian', day, { shared: noise(900_000), content }),
      {
        level: 1,
        keepDays: 1,
      },
    );
  const { fingerprint } = await publish('2026-11-01', noise(300_000, 2));
  await publish('2026-11-02', noise(300_000, 3));
  expect(await verifyPublished(new StorageSource(storage), host, fingerprint)).toMatchObject({ days: ['debian@2026-11-02'], problems: [] });
  const source = openSource({ ...host, fetch: new NodeFetch() }, `${environment['AWS_ENDPOINT_URL']}/days/daily`);
  const options = { trustDirectory: `${directory}/trust`, cacheDirectory: `${directory}/cache`, fingerprint };
  const reader = new Catalogue(host.files, `${directory}/reader`);
  expect((await pull(source, reader, { name: 'debian', day: 'latest' }, host, options)).totalBytes).toBe(1_200_000);
  await collect(storage, publisher.locking, { graceMs: 0, evenMuch: false });
  expect((await verifyPublished(new StorageSource(storage), host, fingerprint)).problems).toEqual([]);
});

test.each<[string, Record<string, string>, RegExp]>([
  ['s3://days', {}, /Set AWS_ACCESS_KEY_ID/],
  ['s3://Days!', {}, /expected s3:\/\/BUCKET/],
  ['s3://days/../x', {}, /expected s3:\/\/BUCKET/],
])('%s with %j is wrong usage', (place, some, message) => {
  expect(() => openS3(place, some)).toThrow(message);
});

test('a bucket that is not there, a wrong key, and no server are told apart', async () => {
  await expect(openS3('s3://other', environment).write('x', noise(1))).rejects.toThrow(/PUT x is refused: .*bucket does not exist/);
  await expect(openS3('s3://days', { ...environment, AWS_ACCESS_KEY_ID: 'NOBODY' }).write('x', noise(1))).rejects.toThrow(
    /check the access key/,
  );
  await expect(openS3('s3://days', { ...environment, AWS_ENDPOINT_URL: 'http://127.0.0.1:1' }).read('x')).rejects.toMatchObject({
    code: 'network',
  });
});
