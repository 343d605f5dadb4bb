// Compiles src/x86/runtime (AssemblyScript) to build/runtime.wasm: `node scripts/build-runtime.mjs [entry.ts output.wasm]`.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** Constant tables of the runtime start here in the engine's memory and must end below the first address of layout.ts. */
const MEMORY_BASE = 1024;

const FLAGS = (
  '--runtime stub --debug --noAssert --optimizeLevel 3 --shrinkLevel 0 --converge --enable simd --enable threads --disableWarning 112 ' +
  `--importMemory --sharedMemory --initialMemory 1 --maximumMemory 65536 --memoryBase ${MEMORY_BASE}`
).split(' ');

const SOURCES = join(root, 'src/x86/runtime');
const PRODUCT = { entry: 'src/x86/runtime/index.ts', output: 'build/runtime.wasm' };

/** Latest change of the sources and of this script, in milliseconds. */
function changed() {
  const times = readdirSync(SOURCES, { recursive: true }).map((name) => statSync(join(SOURCES, name)).mtimeMs);
  return Math.max(statSync(fileURLToPath(import.meta.url)).mtimeMs, ...times);
}

/** Written as a whole: several tests may want the same file at once. */
function replaceFile(path, write) {
  const part = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  write(part);
  renameSync(part, path);
}

/**
 * Compiles `entry` to `output`, both relative to the project's root, unless it is newer than all sources; rejects with the
 * compiler's messages when it fails. Compiling takes seconds, so another output of the product's entry is a copy.
 */
export async function buildRuntime(entry = PRODUCT.entry, output = PRODUCT.output) {
  const path = resolve(root, output);
  const since = new Date();
  if (existsSync(path) && statSync(path).mtimeMs > changed()) return;
  mkdirSync(dirname(path), { recursive: true });
  if (entry === PRODUCT.entry && output !== PRODUCT.output) {
    await buildRuntime();
    const product = resolve(root, PRODUCT.output);
    replaceFile(path, (part) => {
      const { atime, mtime } = statSync(product);
      copyFileSync(product, part);
      utimesSync(part, atime, mtime);
    });
    return;
  }
  const files = new Map();
  const { error, stderr } = await main([entry, '--outFile', output, ...FLAGS], {
    readFile,
    writeFile: (name, contents) => files.set(name, contents),
    listFiles,
  });
  if (error) throw new Error(`asc: ${error.message}\n${stderr.toString()}`);
  replaceFile(path, (part) => {
    writeFileSync(part, files.get(output));
    // A source that was changed meanwhile is newer than this.
    utimesSync(part, since, since);
  });
}

function readFile(name, baseDir) {
  try {
    return readFileSync(resolve(root, baseDir, name), 'utf8');
  } catch {
    return null;
  }
}

function listFiles(dirname, baseDir) {
  try {
    return readdirSync(resolve(root, baseDir, dirname)).filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  } catch {
    return null;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildRuntime(...process.argv.slice(2));
