import { expect, test } from 'vitest';
import { missingFeatures, NEEDED } from './wasm-features.ts';

test('an engine that runs the machine lacks nothing', () => {
  expect(missingFeatures((module) => WebAssembly.validate(module)).map(({ name }) => name)).toEqual([]);
});

test.each(NEEDED.map((feature) => [feature.name, feature] as const))('without %s, that is what is missing', (_name, feature) => {
  expect(missingFeatures((module) => module.join() !== feature.module.join())).toEqual([feature]);
});

test('each module is refused when its last instruction is another', () => {
  // They are valid for what they name, not because anything goes.
  for (const { module } of NEEDED) {
    const damaged = Uint8Array.from(module);
    damaged[damaged.length - 2] = 0xff;
    expect(WebAssembly.validate(damaged)).toBe(false);
  }
});
