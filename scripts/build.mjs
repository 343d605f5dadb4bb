// Makes dist/: the bundled command line, the page in dist/web and, where it exists, the engine's compiled runtime. Does nothing when
// dist/ is newer than all sources, unless told `--force`.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const output = join(root, 'dist/daybreak.js');
const runtime = join(root, 'src/x86/runtime/index.ts');

function newest(path) {
  const found = statSync(path);
  if (!found.isDirectory()) return found.mtimeMs;
  return readdirSync(path)
    .filter((name) => !name.endsWith('.test.ts'))
    .reduce((latest, name) => Math.max(latest, newest(join(path, name))), found.mtimeMs);
}

/** dist/web: all that a web server needs to offer the page. Whole in itself: packages are bundled, with their licences beside. */
async function buildPage(bundle) {
  const to = join(root, 'dist/web');
  mkdirSync(to, { recursive: true });
  await bundle({
    absWorkingDir: root,
    entryPoints: ['src/web/page.ts', 'src/web/worker.ts', 'src/web/page.css'],
    outdir: to,
    bundle: true,
    platform: 'browser',
    format: 'esm',
    target: 'es2023',
    minify: true,
    sourcemap: 'linked',
    logLevel: 'warning',
  });
  copyFileSync(join(root, 'src/web/index.html'), join(to, 'index.html'));
  copyFileSync(join(root, 'node_modules/@xterm/xterm/LICENSE'), join(to, 'xterm.LICENSE.txt'));
  if (existsSync(runtime)) copyFileSync(join(root, 'build/runtime.wasm'), join(to, 'runtime.wasm'));
}

/** dist/handlers.wasm: the interpreter, which its sources would otherwise make anew each time a machine starts. */
async function buildHandlers(bundle) {
  const script = join(root, 'build/make-handlers.mjs');
  await bundle({
    absWorkingDir: root,
    stdin: {
      contents: `
        import { writeFileSync } from 'node:fs';
        import { buildInterpreter } from './src/x86/interpreter/build.ts';
        import { Variants } from './src/x86/interpreter/variants.ts';
        writeFileSync(process.argv[2], buildInterpreter(new Variants()));`,
      resolveDir: root,
    },
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'warning',
  });
  execFileSync(process.execPath, [script, join(root, 'dist/handlers.wasm')]);
}

export async function build(force = false) {
  const inputs = ['src', 'scripts', 'package.json', 'package-lock.json'].map((name) => newest(join(root, name)));
  if (!force && existsSync(output) && statSync(output).mtimeMs > Math.max(...inputs)) return;
  mkdirSync(join(root, 'dist'), { recursive: true });
  if (existsSync(runtime)) {
    if (force) rmSync(join(root, 'build/runtime.wasm'), { force: true });
    const { buildRuntime } = await import('./build-runtime.mjs');
    await buildRuntime();
    copyFileSync(join(root, 'build/runtime.wasm'), join(root, 'dist/runtime.wasm'));
  }
  const { build: bundle } = await import('esbuild');
  await buildPage(bundle);
  if (existsSync(runtime)) await buildHandlers(bundle);
  // Threads: of a vCPU of KVM's, and of a machine that waits for pages.
  await bundle({
    absWorkingDir: root,
    entryPoints: ['src/node/kvm/vcpu-thread.ts', 'src/cli/away/machine-thread.ts'],
    outdir: join(root, 'dist'),
    entryNames: '[name]',
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  });
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of readdirSync(join(root, 'dist'))) if (name.startsWith('part-')) rmSync(join(root, 'dist', name));
  // The command line comes last: it is what says that all is up to date. Packages stay outside, as npm installed them.
  await bundle({
    absWorkingDir: root,
    entryPoints: ['src/cli/daybreak.ts'],
    outdir: join(root, 'dist'),
    chunkNames: 'part-[name]-[hash]',
    splitting: true,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    sourcemap: 'linked',
    banner: { js: '#!/usr/bin/env node' },
    define: { DAYBREAK_VERSION: JSON.stringify(version) },
    logLevel: 'warning',
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build(process.argv.includes('--force'));
