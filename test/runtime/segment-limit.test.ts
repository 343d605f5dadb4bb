import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { buildRuntime } from '../../scripts/build-runtime.mjs';
import * as L from '../../src/x86/runtime/layout.ts';

const RUNTIME = 'build/segment-limit-test-runtime.wasm';
/** A refused address is not canonical, so that no access gets through; its low bits stay, for the alignment check. */
const refused = (address: bigint): boolean => BigInt.asUintN(64, address) >> 47n === 1n << 16n;
const DATA = 3;
const LIMIT = 0xfff;

let segmented: (segment: number, offset: bigint, access: number) => bigint;
beforeAll(async () => {
  await buildRuntime('src/x86/runtime/index.ts', RUNTIME);
  const module = new WebAssembly.Module(readFileSync(new URL(`../../${RUNTIME}`, import.meta.url)));
  const memory = new WebAssembly.Memory({ initial: 2000, maximum: 65536, shared: true });
  const imports: WebAssembly.Imports = {};
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = kind === 'memory' ? memory : () => 0;
  }
  segmented = new WebAssembly.Instance(module, imports).exports['segmented'] as typeof segmented;
  const state = new DataView(memory.buffer);
  state.setUint32(L.CODE_MODE, 1, true);
  state.setUint32(L.CR0, 1, true);
  state.setUint32(L.SEG_ATTR + DATA * 4, 0xc093, true);
  state.setUint32(L.SEG_LIMIT + DATA * 4, LIMIT, true);
}, 120_000);

test('every offset beyond a segment gives an address that no access gets through', () => {
  for (let beyond = 1; beyond <= 64; beyond++) {
    expect(refused(segmented(DATA, BigInt(LIMIT + beyond), 1)), `offset ${beyond} beyond`).toBe(true);
  }
});

test('the last byte of a segment is inside it, and an operand may not reach beyond', () => {
  expect(segmented(DATA, BigInt(LIMIT), 1)).toBe(BigInt(LIMIT));
  expect(refused(segmented(DATA, BigInt(LIMIT), 2))).toBe(true);
});
