// How long it takes to go on from a saved state and to save it again, and what is in it: node scripts/saved-state-times.mjs FILE
import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build as bundle } from 'esbuild';
import { build } from './build.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const file = process.argv[2];
if (file === undefined) {
  console.error('usage: node scripts/saved-state-times.mjs FILE');
  process.exit(2);
}
await build();
mkdirSync(join(root, 'build'), { recursive: true });
const outfile = join(root, 'build/saved-state-times.mjs');
await bundle({
  absWorkingDir: root,
  stdin: {
    contents: `
      import { readFileSync } from 'node:fs';
      import { createPc } from './src/boards/pc.ts';
      import { readSavedPc } from './src/boards/pc-state.ts';
      import { NodeRandom } from './src/node/clock.ts';
      import { FileSource } from './src/node/file-source.ts';
      import { NodePace } from './src/node/pace.ts';
      import { nodeStateCodec } from './src/node/state-codec.ts';
      import { jit } from './src/x86/accelerator.ts';
      const cpuMs = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };
      let last;
      const lap = (what) => {
        const now = [performance.now(), cpuMs()];
        if (last) console.log(what.padEnd(44) + now.map((at, n) => ((at - last[n]).toFixed(0) + ' ms').padStart(10)).join(''));
        last = [performance.now(), cpuMs()];
      };
      export async function measure(file, dist) {
        console.log('step'.padEnd(44) + '      wall       CPU');
        lap();
        const module = (name) => new WebAssembly.Module(readFileSync(dist + name));
        const [runtime, handlers] = [module('runtime.wasm'), module('handlers.wasm')];
        lap('restore: the engine’s modules');
        const codec = await nodeStateCodec();
        const state = readSavedPc(new FileSource(file), codec);
        lap('restore: zstd, and the index');
        state.opened.verify();
        lap('restore: every digest');
        const { memoryBytes, cpu } = state;
        const host = { pace: new NodePace(), epochMs: Date.now(), entropy: new NodeRandom(), serial: { write() {} } };
        const accelerator = jit(runtime, cpu.name, { handlers });
        const pc = await createPc({ ...host, memoryBytes, accelerator, restore: { state, identity: 'new' } });
        pc.vcpu.run(1);
        lap('restore: machine, first instruction');
        pc.machine.run();
        await new Promise((resolve) => setTimeout(resolve, 2000));
        lap('two seconds of life');
        let bytes = 0;
        await pc.save(codec, async (data) => { for (const part of data) bytes += part.length; }, 'end');
        lap('save, to memory');
        const { pages, contents, frames } = state.opened;
        console.log(bytes + ' bytes; ' + pages.length + ' pages in use, ' + new Set(contents).size + ' contents in ' + frames.length + ' frames; ' + memoryBytes / 2 ** 20 + ' MiB of RAM');
      }`,
    resolveDir: root,
  },
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  logLevel: 'warning',
});
const { measure } = await import(pathToFileURL(outfile).href);
await measure(file, join(root, 'dist/'));
