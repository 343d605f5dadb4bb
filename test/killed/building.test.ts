/** Builds that are killed: there are whole contents and no snapshot, and the next one goes on or begins anew, to the same end. */
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, test } from 'vitest';
import { NodeFiles } from '../../src/node/files.ts';
import { UNFINISHED } from '../../src/platform/files.ts';
import { Catalogue } from '../../src/snapshots/catalogue/catalogue.ts';
import { FakeArchive, makeSigner, MINIMAL_PACKAGES } from '../../src/snapshots/testing/fake-archive.ts';
import { Killable, KILLS, filesIn, random, scratch } from './killable.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Each takes longer than one of the other tests'. */
const TIMES = Math.ceil(KILLS / 2);

test(
  `a build that is killed at any step is as if it had not been, and the next one comes to the same end (${TIMES} times)`,
  { timeout: 10_000 * TIMES },
  async () => {
    const directory = scratch();
    const program = join(ROOT, `build/killed-${process.pid}.mjs`);
    const archive = new FakeArchive(await makeSigner());
    try {
      const many = Array.from({ length: 100 }, (_, i) => ({ path: `./usr/share/many/${i}`, content: `content ${i} `.repeat(500) }));
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
      const recipe = join(directory, 'mine.toml');
      writeFileSync(recipe, 'suites = ["unstable"]\nkernel = "linux-image-cloud-amd64"\npackages = ["many"]\n');
      const key = archive.signer.publicKey.armor();
      const below = random();
      const builder = new Killable(join(directory, 'person'), below, {}, program);
      let homes = 0;
      const newHome = () => {
        const home = join(directory, String(homes++));
        return { home, args: [mirror, home, recipe, key], catalogue: new Catalogue(new NodeFiles(), join(home, 'data')) };
      };
      const treesOf = async (catalogue: Catalogue): Promise<string[]> => {
        const found = await catalogue.list((error) => expect.fail(error.message));
        for (const snapshot of found) await catalogue.tree(snapshot);
        return found.map(({ tree }) => tree);
      };

      let at = newHome();
      expect(await builder.run(...at.args)).toMatchObject({ status: 0 });
      const whole = await treesOf(at.catalogue);
      expect(whole).toHaveLength(1);
      at = newHome();
      for (let kills = 0; kills < TIMES;) {
        const { status, errors } = await builder.runAndKill(...at.args);
        expect(status ?? 0, errors).toBe(0);
        if (status === undefined) kills++;
        for (const tree of await treesOf(at.catalogue)) expect(tree).toBe(whole[0]);
        expectWhole(join(at.home, 'data/chunks'));
        builder.expectNothingElse();
        if (status === undefined && below(3) > 0) continue;
        expect(await builder.run(...at.args)).toMatchObject({ status: 0 });
        expect(await treesOf(at.catalogue)).toEqual(whole);
        rmSync(at.home, { recursive: true });
        at = newHome();
      }
    } finally {
      archive.close();
      rmSync(program, { force: true });
      rmSync(directory, { recursive: true, force: true });
    }
  },
);

/** Every content has the digest that is its name. */
function expectWhole(chunks: string): void {
  for (const path of filesIn(chunks).filter((one) => !UNFINISHED.test(one))) {
    expect(createHash('sha256').update(readFileSync(join(chunks, path))).digest('hex')).toBe(path.replace('/', '')); // prettier-ignore
  }
}
