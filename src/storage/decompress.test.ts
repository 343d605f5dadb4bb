import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { VmError } from '../base/errors.ts';
import { decompress } from './decompress.ts';

const TEXT = 'hello hello hello hello\n';
const from64 = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
const SAMPLES: [string, Uint8Array][] = [
  ['gzip', new Uint8Array(gzipSync(TEXT))],
  ['xz', from64('/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AAXAAxdADQZSe6N6VYKwSGwAABsFO0bO2i7kQABKBjXg7duH7bzfQEAAAAABFla')],
  ['zstd', from64('KLUv/QRYbQAAOGhlbGxvIAoBAJlLEah8Lqg=')],
];

describe.each(SAMPLES)('%s', (_name, data) => {
  test('unpacks to what was packed', async () => {
    expect(new TextDecoder().decode(await decompress('x', data, 1000))).toBe(TEXT);
  });

  test('cut short is a bad-image error that names the file', async () => {
    for (let length = 6; length < data.length; length++) {
      await expect(decompress('x.deb', data.subarray(0, length), 1000)).rejects.toMatchObject({
        code: 'bad-image',
        message: expect.stringMatching(/^x\.deb: /),
      });
    }
  });

  test('more output than allowed is refused', async () => {
    await expect(decompress('x', data, TEXT.length - 1)).rejects.toMatchObject({ code: 'bad-image' });
  });

  test('damage never gives another failure than a VmError', async () => {
    for (let at = 6; at < data.length; at++) {
      const damaged = data.slice();
      damaged[at]! ^= 0x5a;
      await decompress('x', damaged, 1 << 20).catch((error) => expect(error).toBeInstanceOf(VmError));
    }
  });
});

test('a bomb stops at the limit', async () => {
  const bomb = new Uint8Array(gzipSync(new Uint8Array(64 << 20)));
  await expect(decompress('bomb', bomb, 1 << 20)).rejects.toMatchObject({ code: 'bad-image' });
});

test('what announces no compression is given as it is', async () => {
  const plain = new TextEncoder().encode('plain');
  expect(await decompress('x', plain, 100)).toEqual(plain);
  await expect(decompress('x', plain, 3)).rejects.toMatchObject({ code: 'bad-image' });
});
