/** The framework's own client for JavaScript reads what we publish: the form is the specification's, not only ours. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Updater } from 'tuf-js';
import { NodeClock } from '../../node/clock.ts';
import { rotateKey } from '../publish/rotate.ts';
import { TestPublisher } from '../testing/published.ts';
import { serveDirectory } from '../testing/web-server.ts';

test('tuf-js finds and verifies a day, after a change of keys too', { timeout: 60_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'daybreak-tuf-'));
  const publisher = new TestPublisher(directory);
  publisher.nowMs = Date.now();
  await publisher.add('debian/trixie', '2026-11-01', { a: 'text' });
  const web = await serveDirectory(publisher.www);
  try {
    const client = join(directory, 'client');
    mkdirSync(client);
    writeFileSync(join(client, 'root.json'), readFileSync(join(publisher.www, 'metadata/1.root.json')));
    const look = async (): Promise<string> => {
      const urls = { metadataBaseUrl: `${web.url}/metadata`, targetBaseUrl: `${web.url}/targets` };
      const updater = new Updater({ metadataDir: client, targetDir: client, ...urls });
      await updater.refresh();
      const info = (await updater.getTargetInfo('debian/trixie/2026-11-01.json'))!;
      return readFileSync(await updater.downloadTarget(info, join(client, 'day.json')), 'utf8');
    };
    expect(JSON.parse(await look())).toMatchObject({ name: 'debian/trixie', day: '2026-11-01' });
    for (const role of ['timestamp', 'root'] as const)
      await rotateKey(publisher.storage, publisher.keys, { ...publisher.locking, clock: new NodeClock() }, role);
    expect(JSON.parse(await look())).toMatchObject({ name: 'debian/trixie', day: '2026-11-01' });
    const list = join(publisher.www, 'metadata/timestamp.json');
    writeFileSync(list, readFileSync(list, 'utf8').replace(/"version": (\d+)/, '"version": 9'));
    await expect(look()).rejects.toThrow();
  } finally {
    web.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
