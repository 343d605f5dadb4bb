// Compiles src/x86/runtime (AssemblyScript) to build/runtime.wasm: `node scripts/build-runtime.mjs [entry.ts output.wasm]`.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** Constant tables of the runtime start here in the engine's memory and must end below the first address of layout.ts. */
const MEMORY_BASE = 1024;

const FLAGS = (
  '--runtime stub --noAssert --optimizeLevel 3 --shrinkLevel 0 --converge --enable simd --enable threads --disableWarning 112 ' +
  `--importMemory --sharedMemory --initialMemory 1 --maximumMemory 65536 --memoryBase ${MEMORY_BASE}`
).split(' ');

/** Compiles `entry` to `output`, both relative to the project's root; throws with the compiler's messages when it fails. */
export async function buildRuntime(entry = 'src/x86/runtime/index.ts', output = 'build/runtime.wasm') {
  mkdirSync(resolve(root, dirname(output)), { recursive: true });
  const { error, stderr } = await main([entry, '--outFile', output, ...FLAGS], { readFile, writeFile, listFiles });
  if (error) throw new Error(`asc: ${error.message}\n${stderr.toString()}`);
}

function readFile(name, baseDir) {
  try {
    return readFileSync(resolve(root, baseDir, name), 'utf8');
  } catch {
    return null;
  }
}

function writeFile(name, contents, baseDir) {
  writeFileSync(resolve(root, baseDir, name), contents);
}

function listFiles(dirname, baseDir) {
  try {
    return readdirSync(resolve(root, baseDir, dirname)).filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  } catch {
    return null;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildRuntime(...process.argv.slice(2));
