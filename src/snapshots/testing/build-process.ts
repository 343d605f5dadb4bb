/** A build in a process of its own, so that it can be killed. Arguments: mirror, directory, recipe, armoured key. */
import { NodeFetch } from '../../node/fetch.ts';
import { NodeFiles } from '../../node/files.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { buildSnapshot } from '../builder/build.ts';
import { Catalogue } from '../catalogue/catalogue.ts';
import { readKeyring } from '../debian/release.ts';
import { loadRecipe } from '../recipe/load.ts';
import { fakeBuildMachine } from './fake-build-machine.ts';

const [mirror, directory, recipe, key] = process.argv.slice(2) as [string, string, string, string];
const files = new NodeFiles();
const catalogue = new Catalogue(files, `${directory}/data`);
process.send?.('started');
const { snapshot } = await buildSnapshot(
  {
    files,
    fetch: new NodeFetch(),
    clock: {
      nowMs: () => Date.parse('2026-11-02T00:00:00Z'),
      sleep: (ms, aborted) => new Promise((done) => (ms < 60_000 ? setTimeout(done, 0) : aborted?.addEventListener('abort', () => done()))),
    },
    log: () => {},
    progress: () => {},
    consoleLog: () => {},
    stateCodec: nodeStateCodec,
    startMachine: fakeBuildMachine({}),
  },
  catalogue,
  await loadRecipe(files, directory, recipe),
  {
    archive: {
      mirror,
      keyring: await readKeyring([key]),
      strict: false,
      allowOlder: false,
      offline: false,
      cacheDirectory: `${directory}/cache`,
      stateDirectory: `${directory}/state`,
    },
  },
);
process.send?.(snapshot.tree);
process.exit(0);
