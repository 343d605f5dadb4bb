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

test('a frame is unpacked only to the size that it tells and that was expected', async () => {
  const zstd = await nodeZstd();
  const text = new TextEncoder().encode('text '.repeat(100));
  const packed = zstd.compress(text, 3);
  expect(zstd.decompress(packed, text.length)).toEqual(text);
  expect(zstd.decompress(packed, text.length + 1)).toBeUndefined();
  for (let length = 0; length < packed.length; length++) expect(zstd.decompress(packed.subarray(0, length), text.length)).toBeUndefined();
  for (let at = 0; at < packed.length; at++) {
    const damaged = packed.slice();
    damaged[at]! ^= 0xff;
    expect(zstd.decompress(damaged, text.length)?.length ?? text.length).toBe(text.length);
  }
});
