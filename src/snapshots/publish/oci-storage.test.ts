/** Against a real registry. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { sha256 } from '../../base/sha256.ts';
import { NodeClock } from '../../node/clock.ts';
import { NodeFetch } from '../../node/fetch.ts';
import { NodeFiles } from '../../node/files.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { nodeZstd } from '../../node/zstd.ts';
import { Catalogue } from '../catalogue/catalogue.ts';
import { openSource } from '../get/open-source.ts';
import { pull } from '../get/pull.ts';
import type { RegistryCredentials, RegistryHost } from '../registry/authorization.ts';
import { noise } from '../testing/noise.ts';
import { TestPublisher } from '../testing/published.ts';
import { registryMissing, startRegistry, startTokenFront, type RegistryServer, type TokenFront } from '../testing/registry-server.ts';
import { collect } from './collect.ts';
import { PublishingLock } from './lock.ts';
import { OciStorage } from './oci-storage.ts';
import { publishSnapshot } from './publish.ts';
import { verifyPublished } from './verify.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const missing = registryMissing();
if (missing !== undefined) process.stderr.write(`oci-storage.test.ts: skipped: ${missing}\n`);
const skopeoMissing =
  spawnSync('skopeo', ['--version']).status === 0 ? undefined : 'skopeo is not installed (its Debian package has that name)';
if (skopeoMissing !== undefined) process.stderr.write(`oci-storage.test.ts: copying is skipped: ${skopeoMissing}\n`);

const me: RegistryCredentials = { username: 'me', password: 'secret' };
const hostOf = (credentials?: RegistryCredentials): RegistryHost => ({
  fetch: new NodeFetch(),
  clock: new NodeClock(),
  registryCredentials: async () => credentials,
});

let directory: string;
let server: RegistryServer;
let closed: RegistryServer;
let front: TokenFront;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-oci-'));
  if (missing !== undefined) return;
  server = await startRegistry(join(directory, 'open'), { deletes: true });
  closed = await startRegistry(join(directory, 'closed'), { deletes: false, password: true });
  front = await startTokenFront(server);
});
afterAll(async () => {
  front?.close();
  await Promise.all([server?.close(), closed?.close()]);
  rmSync(directory, { recursive: true, force: true });
});

/** A publisher, and what it and a reader do, in a repository of its own. */
class Case {
  readonly publisher = new TestPublisher(mkdtempSync(join(directory, 'case-')));
  readonly place: string;
  readonly storage: OciStorage;
  readonly #host: RegistryHost;
  fingerprint = '';

  constructor(registry: string, repository: string, credentials?: RegistryCredentials) {
    this.place = `oci://${registry}/${repository}`;
    this.#host = hostOf(credentials);
    this.storage = new OciStorage(this.#host, this.place, 20);
  }

  async #work() {
    return {
      files: new NodeFiles(),
      ...this.publisher.locking,
      zstd: await nodeZstd(),
      stateCodec: await nodeStateCodec(),
      progress: () => {},
    };
  }

  async publish(day: string, content: Uint8Array, keepDays?: number) {
    const snapshot = await this.publisher.snapshot('debian', day, { shared: noise(900_000), content });
    const options = { level: 1, ...(keepDays !== undefined && { keepDays }) };
    const { publisher, storage } = this;
    this.fingerprint = (
      await publishSnapshot(await this.#work(), storage, publisher.keys, publisher.catalogue, snapshot, options)
    ).fingerprint;
  }

  source(credentials?: RegistryCredentials) {
    return openSource({ ...hostOf(credentials), files: new NodeFiles() }, this.place);
  }

  async verify(credentials?: RegistryCredentials) {
    return verifyPublished(this.source(credentials), await this.#work(), this.fingerprint);
  }

  async pull(credentials?: RegistryCredentials) {
    const place = mkdtempSync(join(directory, 'reader-'));
    const options = { trustDirectory: `${place}/trust`, cacheDirectory: `${place}/cache`, fingerprint: this.fingerprint };
    const catalogue = new Catalogue(new NodeFiles(), `${place}/data`);
    return pull(this.source(credentials), catalogue, { name: 'debian', day: 'latest' }, await this.#work(), options);
  }

  collect(graceMs = 0) {
    return collect(this.storage, this.publisher.locking, { graceMs, evenMuch: false });
  }
}

const onDisk = (path: string) => {
  const digest = /[0-9a-f]{64}/.exec(path)![0];
  return existsSync(join(directory, 'open/data/docker/registry/v2/blobs/sha256', digest.slice(0, 2), digest, 'data'));
};

describe.skipIf(missing !== undefined)('a registry', () => {
  test('holds files by name and by content, creates once, lists and removes', async () => {
    const storage = new OciStorage(hostOf(), `oci://${server.host}/files`, 20);
    const data = noise(10);
    const pack = `packs/${await sha256(data)}.pack`;
    await storage.write('metadata/1.root.json', noise(20));
    await storage.write('metadata/1.root.json', noise(30));
    await storage.write(pack, data);
    expect(await storage.read('metadata/1.root.json')).toEqual(noise(30));
    expect(await storage.read(pack)).toEqual(data);
    expect([await storage.sizeOf(pack), await storage.sizeOf('metadata/2.root.json')]).toEqual([10, undefined]);
    expect(await storage.create('publishing.lock', noise(1))).toBe(true);
    expect(await storage.create('publishing.lock', noise(2))).toBe(false);
    await storage.remove('publishing.lock');
    expect(await storage.sizeOf('publishing.lock')).toBeUndefined();
    const later = new OciStorage(hostOf(), `oci://${server.host}/files`, 20);
    expect(await later.list('metadata')).toEqual([{ path: 'metadata/1.root.json', sizeBytes: 30 }]);
    expect(await later.list('packs')).toEqual([{ path: pack, sizeBytes: 10 }]);
    expect(await later.list('targets')).toEqual([]);
  });

  test('that ends between an upload and its list has not what was uploaded', async () => {
    const place = `oci://${server.host}/ended`;
    const data = noise(10);
    const pack = `packs/${await sha256(data)}.pack`;
    await new OciStorage(hostOf(), place, 20).write(pack, data);
    const next = new OciStorage(hostOf(), place, 20);
    expect(await next.sizeOf(pack)).toBeUndefined();
    await next.write(pack, data);
    await next.write('metadata/timestamp.json', noise(5));
    expect(await new OciStorage(hostOf(), place, 20).sizeOf(pack)).toBe(10);
  });

  test('has days published, verified, pulled, and cleaned up after, and its own cleaning takes nothing that is needed', async () => {
    const one = new Case(server.host, 'daily/days');
    await one.publish('2026-11-01', noise(300_000, 2), 1);
    await one.publish('2026-11-02', noise(300_000, 3), 1);
    await one.publish('2026-11-03', noise(300_000, 4), 1);
    server.collectGarbage();
    expect(await one.verify()).toMatchObject({ days: ['debian@2026-11-03'], problems: [] });
    expect((await one.pull()).totalBytes).toBe(1_200_000);
    const before = (await one.storage.list('packs')).map(({ path }) => path);
    expect(before.map(onDisk)).toEqual([true, true, true]);
    const { removed } = await one.collect();
    expect(removed).toBeGreaterThan(2);
    expect(one.storage.remark).toBeUndefined();
    server.collectGarbage();
    const after = (await one.storage.list('packs')).map(({ path }) => path);
    expect(before.map(onDisk)).toEqual(before.map((path) => after.includes(path)));
    expect(after).toHaveLength(2);
    expect((await one.verify()).problems).toEqual([]);
    await one.publish('2026-11-04', noise(300_000, 2));
    expect(await one.verify()).toMatchObject({ days: ['debian@2026-11-04', 'debian@2026-11-03'], problems: [] });
  });

  test('that lets nobody remove anything is told of, and forgets by overwriting', async () => {
    const one = new Case(closed.host, 'days', me);
    await one.publish('2026-11-01', noise(300_000, 2), 1);
    await one.publish('2026-11-02', noise(300_000, 3), 1);
    expect((await one.collect()).removed).toBeGreaterThan(2);
    expect(one.storage.remark).toContain('lets nobody remove manifests');
    expect(await one.collect()).toMatchObject({ removed: 0 });
    expect((await one.verify(me)).problems).toEqual([]);
    expect((await one.pull(me)).totalBytes).toBe(1_200_000);
  });

  test('that wants a password says so to who has none, and to who has a wrong one', async () => {
    const one = new Case(closed.host, 'private');
    await expect(one.publish('2026-11-01', noise(10))).rejects.toThrow(/docker login 127\.0\.0\.1:\d+, or set DAYBREAK_REGISTRY_USERNAME/);
    await expect(one.pull()).rejects.toThrow(/may you do that there/);
    await expect(one.pull({ username: 'me', password: 'wrong' })).rejects.toMatchObject({ code: 'network' });
  });

  test('that wants tokens gets them: anybody reads, who may writes, and a token that has ended is renewed', async () => {
    const one = new Case(front.host, 'tokens', me);
    await one.publish('2026-11-01', noise(300_000, 2));
    expect(new Set(front.scopes)).toEqual(new Set(['repository:tokens:pull,push']));
    front.expire();
    front.scopes.length = 0;
    expect((await one.pull()).totalBytes).toBe(1_200_000);
    expect(front.scopes).toEqual(['repository:tokens:pull']);
    front.expire();
    await one.publish('2026-11-02', noise(300_000, 3));
    const nobody = new Case(front.host, 'tokens');
    await expect(nobody.storage.write('metadata/timestamp.json', noise(3))).rejects.toThrow(/docker login/);
    const wrong = new Case(front.host, 'tokens', { username: 'me', password: 'wrong' });
    await expect(wrong.storage.write('metadata/timestamp.json', noise(3))).rejects.toThrow(/are name and password for .* right/);
  });

  test('is copied whole by who copies all tags', async ({ skip }) => {
    skip(skopeoMissing !== undefined, skopeoMissing);
    const one = new Case(server.host, 'copied');
    await one.publish('2026-11-01', noise(300_000, 2));
    const tls = ['--src-tls-verify=false', '--dest-tls-verify=false'];
    const password = ['--dest-creds', 'me:secret'];
    const sync = ['sync', ...tls, ...password, '--src', 'docker', '--dest', 'docker', `${server.host}/copied`, closed.host];
    expect(spawnSync('skopeo', sync, { encoding: 'utf8' })).toMatchObject({ status: 0 });
    const copy = new Case(closed.host, 'copied', me);
    copy.fingerprint = one.fingerprint;
    expect(await copy.verify(me)).toMatchObject({ days: ['debian@2026-11-01'], problems: [] });
  });

  test('has one publisher at a time, of two that begin at once too', async () => {
    const place = `oci://${server.host}/lock`;
    const taking = [1, 2, 3].map(() =>
      PublishingLock.take(new OciStorage(hostOf(), place, 500), { ...new TestPublisher(directory).locking, clock: new NodeClock() }),
    );
    const taken = (await Promise.allSettled(taking)).filter(({ status }) => status === 'fulfilled');
    expect(taken).toHaveLength(1);
  });

  test('with something else in it is told from one with nothing', async () => {
    const source = openSource({ ...hostOf(), files: new NodeFiles() }, `oci://${server.host}/nothing`);
    expect(await source.read('metadata/1.root.json', 1000)).toBeUndefined();
    const url = `http://${server.host}/v2/other`;
    const body = new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] })); // prettier-ignore
    const headers = { 'content-type': 'application/vnd.oci.image.index.v1+json' };
    const put = await new NodeFetch().send('PUT', `${url}/manifests/metadata.1.root.json`, { body, headers });
    expect(put.status).toBe(201);
    const other = openSource({ ...hostOf(), files: new NodeFiles() }, `oci://${server.host}/other`);
    await expect(other.read('metadata/1.root.json', 1000)).rejects.toThrow(/not what daybreak publishes|is refused/);
  });
});

describe('a repository', () => {
  test.each(['oci://', 'oci://host', 'oci://host/Upper', 'oci://host/a//b', 'oci://host/../x', 'oci://ho st/x'])(
    'cannot be named %s',
    (place) => {
      expect(() => new OciStorage(hostOf(), place)).toThrow(/expected oci:\/\/HOST\/REPOSITORY/);
    },
  );

  test('that is not there is a clear error', async () => {
    const host = { ...hostOf(), clock: { nowMs: Date.now, sleep: async () => {} } };
    const refused = { code: 'network', message: expect.stringContaining('cannot get http://127.0.0.1:1/v2/x/manifests/a') };
    await expect(new OciStorage(host, 'oci://127.0.0.1:1/x').read('a')).rejects.toMatchObject(refused);
  });
});
