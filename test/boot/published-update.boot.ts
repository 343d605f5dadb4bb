/** What a day's update costs a reader: packages of Debian testing, then of unstable, unpacked, published, and pulled over HTTP. */
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { NodeFetch } from '../../src/node/fetch.ts';
import { NodeFiles } from '../../src/node/files.ts';
import { nodeZstd } from '../../src/node/zstd.ts';
import { contentBytes } from '../../src/snapshots/builder/content-bytes.ts';
import { Catalogue } from '../../src/snapshots/catalogue/catalogue.ts';
import { pull } from '../../src/snapshots/get/pull.ts';
import { openSource } from '../../src/snapshots/get/open-source.ts';
import { TestPublisher } from '../../src/snapshots/testing/published.ts';
import { serveDirectory } from '../../src/snapshots/testing/web-server.ts';
import { openSuite } from './debian.ts';
import { Scratch } from './initramfs.ts';
import { fetched } from './linux.ts';
import { debianRoot } from './tree-root.ts';

const PACKAGES = ['apt', 'bash', 'coreutils', 'curl', 'git', 'perl', 'python3', 'systemd', 'udev'];
const scratch = new Scratch();

afterAll(() => scratch.remove());

test('from testing to unstable, an update fetches what has changed', { timeout: 1_800_000 }, async (context) => {
  const publisher = new TestPublisher(scratch.directory);
  publisher.nowMs = Date.now();
  const web = await serveDirectory(publisher.www);
  const host = { files: new NodeFiles(), clock: publisher.clock, zstd: await nodeZstd(), progress: () => {} };
  const source = openSource({ ...host, fetch: new NodeFetch() }, web.url);
  const catalogue = new Catalogue(host.files, join(scratch.directory, 'reader'));
  const publish = async (suite: string, day: string) => {
    const { tree, store } = await fetched(context, async () => debianRoot(await openSuite(suite), PACKAGES, {}));
    for (const [, node] of tree.entries()) if (node.type === 'file') await publisher.catalogue.store.put(await store.get(node.digest));
    const kernel = new TextEncoder().encode('none is booted');
    const published = await publisher.publish(await publisher.snapshotOf('debian', day, tree, contentBytes(tree), kernel), { level: 9 });
    const result = await pull(source, catalogue, { name: 'debian', day }, host, {
      trustDirectory: join(scratch.directory, 'trust'),
      cacheDirectory: join(scratch.directory, 'cache'),
      fingerprint: publisher.fingerprint,
    });
    const { totalBytes, reusedBytes, fetchedBytes, patched } = result;
    process.stderr.write(
      `${suite}: ${JSON.stringify({ totalBytes, reusedBytes, fetchedBytes, patched, packedBytes: published.packedBytes, patches: published.patchCount })}\n`,
    );
    return result;
  };
  try {
    const first = await publish('testing', '2026-11-01');
    const second = await publish('sid', '2026-11-02');
    expect(second.reusedBytes).toBeGreaterThan(0);
    expect(second.fetchedBytes).toBeLessThan(first.fetchedBytes / 2);
  } finally {
    web.close();
  }
});
