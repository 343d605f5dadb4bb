/** What a day's update costs a reader: packages of Debian testing, then of unstable, unpacked, published, and pulled over HTTP. */
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { NodeFetch } from '../../src/node/fetch.ts';
import { contentBytes } from '../../src/snapshots/builder/content-bytes.ts';
import { Catalogue } from '../../src/snapshots/catalogue/catalogue.ts';
import { pull } from '../../src/snapshots/get/pull.ts';
import { openSource } from '../../src/snapshots/get/open-source.ts';
import { TestPublisher } from '../../src/snapshots/testing/published.ts';
import { serveDirectory } from '../../src/snapshots/testing/web-server.ts';
import { openSuite } from './debian.ts';
import { Scratch } from './initramfs.ts';
import { fetched } from './linux.ts';
import { debianRoot, type Root } from './tree-root.ts';

/** A simulated day: 26 packages whose versions differ between testing and unstable, of 22 MB. */
const DAY = [
  ...['python3', 'python3-minimal', 'python3.14', 'python3.14-minimal', 'libpython3-stdlib', 'libpython3.14'],
  ...['libpython3.14-minimal', 'libpython3.14-stdlib', 'apt', 'libapt-pkg7.0', 'iproute2', 'libnss3', 'libx11-6', 'libx11-data'],
  ...['libx11-xcb1', 'curl', 'libcurl4t64', 'libcurl4-gnutls', 'cups-client', 'cups-common', 'libcups2t64', 'libpcre2-8-0'],
  ...['libpcre2-16-0', 'tar', 'libqalculate23', 'libarchive13t64'],
];
const PACKAGES = ['apt', 'bash', 'coreutils', 'curl', 'git', 'perl', 'python3', 'systemd', 'udev'];
const scratch = new Scratch();

afterAll(() => scratch.remove(), 300_000);

/** Publishes days, and pulls each as a reader who has the one before. */
async function reader(directory: string) {
  const publisher = new TestPublisher(directory);
  publisher.nowMs = Date.now();
  const web = await serveDirectory(publisher.www);
  const host = await publisher.readerHost();
  const source = openSource({ ...host, fetch: new NodeFetch() }, web.url);
  const catalogue = new Catalogue(host.files, join(directory, 'reader'));
  return {
    close: () => web.close(),
    async next(what: string, day: string, { tree, store }: Root) {
      for (const [, node] of tree.entries()) if (node.type === 'file') await publisher.catalogue.store.put(await store.get(node.digest));
      const kernel = new TextEncoder().encode('none is booted');
      const published = await publisher.publish(await publisher.snapshotOf('debian', day, tree, contentBytes(tree), kernel), { level: 9 });
      const result = await pull(source, catalogue, { name: 'debian', day }, host, {
        trustDirectory: join(directory, 'trust'),
        cacheDirectory: join(directory, 'cache'),
        fingerprint: publisher.fingerprint,
      });
      const { totalBytes, reusedBytes, fetchedBytes, patched } = result;
      const told = { totalBytes, reusedBytes, fetchedBytes, patched, packedBytes: published.packedBytes, patches: published.patchCount };
      process.stderr.write(`${what}: ${JSON.stringify(told)}\n`);
      return result;
    },
  };
}

test('from testing to unstable, an update fetches what has changed', { timeout: 1_800_000 }, async (context) => {
  const { next, close } = await reader(join(scratch.directory, 'update'));
  const root = (suite: string) => fetched(context, async () => debianRoot(await openSuite(suite), PACKAGES, {}));
  try {
    const first = await next('testing', '2026-11-01', await root('testing'));
    const second = await next('sid', '2026-11-02', await root('sid'));
    expect(second.reusedBytes).toBeGreaterThan(0);
    expect(second.fetchedBytes).toBeLessThan(first.fetchedBytes / 2);
  } finally {
    close();
  }
});

test('a day on which 26 packages have changed costs a reader less than these packages', { timeout: 1_800_000 }, async (context) => {
  const { next, close } = await reader(join(scratch.directory, 'day'));
  try {
    const [before, after] = [await fetched(context, () => openSuite('testing')), await fetched(context, () => openSuite('sid'))];
    const changed = new Map<string, Awaited<ReturnType<typeof after.package>>>();
    for (const name of DAY) changed.set(name, await after.package(name));
    const packageBytes = [...changed.values()].reduce((sum, { deb }) => sum + deb.length, 0);
    const mixed = {
      async *packages(wanted: readonly string[]) {
        for await (const one of before.packages(wanted)) yield changed.get(one.found.name) ?? one;
      },
    };
    await next('the day before', '2026-11-01', await debianRoot(before, DAY, {}));
    const day = await next('the day', '2026-11-02', await debianRoot(mixed, DAY, {}));
    process.stderr.write(`${DAY.length} packages of ${packageBytes} bytes\n`);
    expect(day.fetchedBytes).toBeGreaterThan(0);
    expect(day.fetchedBytes).toBeLessThan(packageBytes);
  } finally {
    close();
  }
});
