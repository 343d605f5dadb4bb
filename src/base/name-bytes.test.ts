import { expect, test } from 'vitest';
import { decodeName, encodedName, encodeName } from './name-bytes.ts';

test('names of any bytes go to strings and back, and text is text', () => {
  let seed = 5;
  const random = (below: number): number => (seed = (seed * 48_271) % 0x7fff_ffff) % below;
  for (let i = 0; i < 2000; i++) {
    const bytes = Uint8Array.from(
      { length: random(12) },
      () => [random(128), 0xc3, 0xa4, 0xed, 0xb2, 0x80 + random(128), 0xf0][random(7)]!,
    );
    const into = new Uint8Array(64);
    const length = encodeName(decodeName(bytes), into, 3);
    expect([...into.subarray(3, 3 + length)]).toEqual([...bytes]);
    expect([...encodedName(decodeName(bytes))]).toEqual([...bytes]);
  }
  expect(decodeName(new TextEncoder().encode('ä€😀'))).toBe('ä€😀');
});
