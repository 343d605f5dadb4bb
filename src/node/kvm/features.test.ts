import { expect, test } from 'vitest';
import { featuresOf } from './features.ts';

/** struct kvm_cpuid2 of entries: leaf, subleaf, eax, ebx, ecx, edx. */
function cpuid(...entries: number[][]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 + 40 * entries.length));
  view.setUint32(0, entries.length, true);
  entries.forEach(([leaf, subleaf, ...registers], n) => {
    view.setUint32(8 + 40 * n, leaf!, true);
    view.setUint32(12 + 40 * n, subleaf!, true);
    registers.forEach((value, i) => view.setUint32(20 + 40 * n + 4 * i, value, true));
  });
  return new Uint8Array(view.buffer);
}

test('features have the names that Linux gives them, and their place where they have none', () => {
  const data = cpuid([1, 0, 0, 0, (1 << 12) | (1 << 28), 1 << 25], [7, 0, 0, (1 << 5) | (1 << 13), 0, 0], [7, 1, 0x8000_0000, 0, 0, 0]);
  expect(featuresOf(data)).toEqual(['fma', 'avx', 'sse', 'avx2', 'cpuid 7.0 ebx bit 13', 'cpuid 7.1 eax bit 31']);
});

test('what AMD repeats of leaf 1 is named once', () => {
  expect(featuresOf(cpuid([0x8000_0001, 0, 0, 0, 0x20, 0x0100_0001 | (1 << 29) | (1 << 20)]))).toEqual(['lzcnt', 'nx', 'lm']);
});
