import { expect, test } from 'vitest';
import { nodeStateCodec } from './state-codec.ts';
import { nodeZstd } from './zstd.ts';

test('whoever asks for zstd again does not spoil it for the others', async () => {
  const text = new TextEncoder().encode('text '.repeat(100));
  const first = await nodeStateCodec();
  const packed = first.compress(text);
  const second = await nodeZstd();
  await nodeStateCodec();
  expect(first.decompress(second.compress(text, 19))).toEqual(text);
  expect(first.decompress(packed)).toEqual(text);
  expect(second.decompressAgainst(text, second.compressAgainst(text, text, 3), text.length)).toEqual(text);
});
