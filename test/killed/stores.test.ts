/** A publisher to a store over the network that is killed at any request: before the store has it, with half of it sent, or before the answer comes. */
import { rmSync, symlinkSync } from 'node:fs';
import { createServer, request as ask, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import S3rver from 's3rver';
import { beforeAll, expect, test } from 'vitest';
import { NodeClock } from '../../src/node/clock.ts';
import { NodeFetch } from '../../src/node/fetch.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { nodeZstd } from '../../src/node/zstd.ts';
import { OciSource } from '../../src/snapshots/get/oci-source.ts';
import { StorageSource, type Source } from '../../src/snapshots/get/source.ts';
import { openS3 } from '../../src/snapshots/publish/s3-storage.ts';
import { verifyPublished } from '../../src/snapshots/publish/verify.ts';
import { noise } from '../../src/snapshots/testing/noise.ts';
import { TestPublisher } from '../../src/snapshots/testing/published.ts';
import { registryMissing, startRegistry } from '../../src/snapshots/testing/registry-server.ts';
import { buildDaybreak } from '../boot/daybreak.ts';
import { Killable, KILLS, random, scratch } from './killable.ts';

/** Each takes several times as long as one of a directory; in a registry, whoever takes the lock waits three seconds. */
const TIMES = { s3: Math.ceil(KILLS / 3), registry: Math.ceil(KILLS / 16) };

const missing = registryMissing();
if (missing !== undefined) process.stderr.write(`stores.test.ts: the registry is skipped: ${missing}\n`);

beforeAll(buildDaybreak);

type Moment = 'before' | 'half' | 'after';

/** Hands requests on to the store, but for the one that is counted to. */
class Front {
  readonly #server: Server;
  readonly #store: number;
  /** Requests since `killAt`. */
  seen = 0;
  #at = 0;
  #moment: Moment = 'before';
  #kill = (): void => {};

  constructor(store: number) {
    this.#store = store;
    this.#server = createServer((request, response) => this.#handOn(request, response));
  }

  /** Gives its host and port. */
  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** Resolves when that request is there; 0 is none. */
  killAt(request: number, moment: Moment): Promise<void> {
    [this.seen, this.#at, this.#moment] = [0, request, moment];
    return new Promise((done) => (this.#kill = done));
  }

  #handOn(request: IncomingMessage, response: ServerResponse): void {
    const counted = ++this.seen === this.#at;
    if (counted && this.#moment === 'before') return this.#kill();
    const { method, url, headers } = request;
    const onward = ask({ host: '127.0.0.1', port: this.#store, method, path: url, headers }, (answer) => {
      if (counted) return void answer.resume().on('end', this.#kill);
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.on('error', () => onward.destroy());
    if (!counted || this.#moment === 'after' || !(Number(headers['content-length']) > 1)) return void request.pipe(onward);
    request.once('data', (part: Buffer) => {
      onward.write(part.subarray(0, part.length >> 1), () => {
        onward.destroy();
        this.#kill();
      });
    });
  }
}

/** What `daybreak` calls a place in a store, and how to look into it. */
interface Store {
  readonly place: string;
  readonly environment: Record<string, string>;
  readonly source: Source;
}

/** Kills publishers to the store behind `front` so many times. */
async function killPublishers(times: number, directory: string, front: Front, { place, environment, source }: Store): Promise<void> {
  const below = random();
  const daybreak = new Killable(directory, below, environment);
  const publisher = new TestPublisher(directory);
  symlinkSync(join(directory, 'publisher'), daybreak.dataDirectory);
  const reading = { clock: new NodeClock(), zstd: await nodeZstd(), stateCodec: await nodeStateCodec(), progress: () => {} };
  const verify = async () => {
    const { days, problems } = await verifyPublished(source, reading);
    expect(problems).toEqual([]);
    return days.join();
  };
  const text = (day: number) => new Date(Date.UTC(2026, 0, day)).toISOString().slice(0, 10);
  const newDay = (day: number) => publisher.snapshot('debian', text(day), { a: 'text', large: noise(300_000), day: text(day) });
  await newDay(1);
  void front.killAt(0, 'before');
  expect(await daybreak.run('publish', 'debian', place)).toMatchObject({ status: 0 });
  let requests = front.seen;
  let day = 1;
  for (let kills = 0; kills < times;) {
    await newDay(++day);
    const [before, after] = [await verify(), `debian@${text(day)}`];
    for (let ended: number | undefined; ended === undefined;) {
      const due = front.killAt(1 + below(requests), (['before', 'half', 'after'] as const)[below(3)]!);
      const { status, errors } = await daybreak.runUntil(due, 'publish', 'debian', place, '--keep-days', '1');
      expect(status ?? 0, errors).toBe(0);
      if (status === undefined) kills++;
      const now = await verify();
      expect([before, after]).toContain(now);
      daybreak.expectNothingElse();
      if (status === 0) expect(now).toBe(after);
      if (status !== undefined || below(3) === 0) ended = status ?? 1;
    }
    void front.killAt(0, 'before');
    expect(await daybreak.run('publish', 'debian', place, '--keep-days', '1')).toMatchObject({ status: 0 });
    expect(await verify()).toBe(after);
    requests = Math.max(requests, front.seen);
  }
}

const END = 'leaves the old days or the new ones';

test(`a publisher to an S3 store that is killed ${END} (${TIMES.s3} times)`, { timeout: 10_000 * TIMES.s3 }, async () => {
  const directory = scratch();
  const store = new S3rver({
    port: 0,
    address: '127.0.0.1',
    silent: true,
    directory: join(directory, 's3'),
    configureBuckets: [{ name: 'days', configs: [] }],
  });
  const { port } = await store.run();
  const front = new Front(port);
  const keys = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' };
  try {
    await killPublishers(TIMES.s3, directory, front, {
      place: 's3://days/daily',
      environment: { ...keys, AWS_ENDPOINT_URL: `http://${await front.listen()}` },
      source: new StorageSource(openS3('s3://days/daily', { ...keys, AWS_ENDPOINT_URL: `http://127.0.0.1:${port}` })),
    });
  } finally {
    front.close();
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

test.skipIf(missing)(
  `a publisher to a registry that is killed ${END} (${missing ? `skipped: ${missing}` : `${TIMES.registry} times`})`,
  { timeout: 40_000 * TIMES.registry },
  async () => {
    const directory = scratch();
    const registry = await startRegistry(join(directory, 'registry'), { deletes: true });
    const front = new Front(Number(registry.host.split(':')[1]));
    const host = { fetch: new NodeFetch(), clock: new NodeClock(), registryCredentials: async () => undefined };
    try {
      await killPublishers(TIMES.registry, directory, front, {
        place: `oci://${await front.listen()}/days`,
        environment: {},
        source: new OciSource(host, `oci://${registry.host}/days`),
      });
    } finally {
      front.close();
      await registry.close();
      rmSync(directory, { recursive: true, force: true });
    }
  },
);
