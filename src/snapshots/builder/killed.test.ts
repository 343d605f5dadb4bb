/** Builds that are killed, at random points, as a power cut or an impatient person would. */
import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { NodeFiles } from '../../node/files.ts';
import { Catalogue } from '../catalogue/catalogue.ts';
import { FakeArchive, makeSigner, MINIMAL_PACKAGES } from '../testing/fake-archive.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const KILLS = 8;

test('a build that is killed anywhere leaves whole contents and no snapshot, and the next one is as if nothing had been', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'daybreak-killed-'));
  const program = join(ROOT, `build/killed-${process.pid}.mjs`);
  const archive = new FakeArchive(await makeSigner());
  try {
    const many = Array.from({ length: 300 }, (_, i) => ({ path: `./usr/share/many/${i}`, content: `content ${i} `.repeat(500) }));
    await archive.publish({ packages: [...MINIMAL_PACKAGES, { name: 'many', entries: many }] });
    const mirror = await archive.listen();
    await build({
      absWorkingDir: ROOT,
      entryPoints: ['src/snapshots/testing/build-process.ts'],
      outfile: program,
      bundle: true,
      packages: 'external',
      platform: 'node',
      format: 'esm',
    });
    writeFileSync(join(directory, 'mine.toml'), 'suites = ["unstable"]\nkernel = "linux-image-cloud-amd64"\npackages = ["many"]\n');
    const key = archive.signer.publicKey.armor();
    const run = (home: string, killAfterMs?: number) =>
      new Promise<string | undefined>((done, fail) => {
        const child = spawn(process.execPath, [program, mirror, home, join(directory, 'mine.toml'), key], {
          stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        });
        let tree: string | undefined;
        child.on('message', (message) => {
          if (message !== 'started') tree = String(message);
          else if (killAfterMs !== undefined) setTimeout(() => child.kill('SIGKILL'), killAfterMs);
        });
        child.on('error', fail);
        child.on('exit', () => done(tree));
      });
    const before = performance.now();
    const whole = await run(join(directory, 'whole'));
    const tookMs = performance.now() - before;
    expect(whole).toMatch(/^[0-9a-f]{64}$/);

    const home = join(directory, 'cut');
    const catalogue = new Catalogue(new NodeFiles(), join(home, 'data'));
    for (let kill = 0; kill < KILLS; kill++) {
      const finished = await run(home, (tookMs * kill) / KILLS);
      for (const snapshot of await catalogue.list((error) => expect.fail(error.message))) await catalogue.tree(snapshot);
      expectWhole(join(home, 'data/chunks'));
      if (finished) break;
    }
    expect(await run(home)).toBe(whole);
    expect((await catalogue.list(() => {})).map(({ tree }) => tree)).toEqual([whole]);
  } finally {
    archive.close();
    rmSync(program, { force: true });
    rmSync(directory, { recursive: true, force: true });
  }
});

/** Every content has the digest that is its name. */
function expectWhole(chunks: string): void {
  for (const folder of list(chunks)) {
    for (const name of list(join(chunks, folder)).filter((one) => !one.endsWith('.new'))) {
      expect(createHash('sha256').update(readFileSync(join(chunks, folder, name))).digest('hex')).toBe(folder + name); // prettier-ignore
    }
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
