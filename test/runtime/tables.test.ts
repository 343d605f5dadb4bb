/** Where the compiler of the runtime puts its constant tables: below the engine's state. */
import { expect, test } from 'vitest';
import * as L from '../../src/x86/runtime/layout.ts';
import { compileRuntime } from '../engine/runtime.ts';

test('the runtime’s constant tables end below the state', { timeout: 300_000 }, async () => {
  const module = await compileRuntime();
  const memory = new WebAssembly.Memory({ initial: 2048, maximum: 65536, shared: true });
  const imports: Record<string, Record<string, WebAssembly.ImportValue>> = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = kind === 'memory' ? memory : () => 0;
  }
  await WebAssembly.instantiate(module, imports);
  const end = new Uint8Array(memory.buffer).findLastIndex((byte) => byte !== 0) + 1;
  expect(end).toBeGreaterThan(1024);
  expect(end).toBeLessThanOrEqual(L.STATE);
});
