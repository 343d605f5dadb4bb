/** The compiled runtime for tests: compiled when its sources are newer than what is there. */
import { existsSync, readFileSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildRuntime } from '../../scripts/build-runtime.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = join(ROOT, 'src/x86/runtime');
const OUTPUT = 'build/shared-test-runtime.wasm';

function upToDate(output: string): boolean {
  if (!existsSync(output)) return false;
  const { mtimeMs } = statSync(output);
  return readdirSync(SOURCES).every((name) => statSync(join(SOURCES, name)).mtimeMs < mtimeMs);
}

export async function compileRuntime(): Promise<WebAssembly.Module> {
  const output = join(ROOT, OUTPUT);
  if (!upToDate(output)) {
    // Test files run side by side: each makes its own, and the last one stays.
    const own = `build/shared-test-runtime-${process.pid}.wasm`;
    await buildRuntime('src/x86/runtime/index.ts', own);
    renameSync(join(ROOT, own), output);
  }
  return new WebAssembly.Module(readFileSync(output));
}
