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

describe('a zstd frame', () => {
  /** Blocks of 128 KiB of one byte each: RFC 8878, 3.1.1.2, RLE_Block. */
  const frame = (header: readonly number[], blocks: number) => {
    const bytes = [0x28, 0xb5, 0x2f, 0xfd, ...header];
    for (let n = 0; n < blocks; n++) {
      const block = (n === blocks - 1 ? 1 : 0) | (1 << 1) | (131_072 << 3);
      bytes.push(block & 0xff, (block >> 8) & 0xff, block >> 16, 0x41);
    }
    return Uint8Array.from(bytes);
  };
  const megabyte = [0x00, 10 << 3];
  const refused = { code: 'bad-image', message: expect.stringMatching(/^x: /) };

  test('that is a bomb stops at the limit', async () => {
    expect((await decompress('x', frame(megabyte, 8), 1 << 20)).length).toBe(1 << 20);
    await expect(decompress('x', frame(megabyte, 8000), 1 << 20)).rejects.toMatchObject(refused);
  });

  test.each<[string, number[]]>([
    ['asks for a window of 256 MiB', [0x00, 18 << 3]],
    ['asks for a window of 3.75 TiB', [0x00, 0xff]],
    ['says that it has 2 GiB', [0xa0, 0, 0, 0, 0x80]],
    ['says that it has 1 GiB', [0xa0, 0, 0, 0, 0x40]],
    ['says that it has 16 EiB', [0xe0, ...Array.from({ length: 8 }, () => 0xff)]],
  ])('that %s is refused before memory is taken for it', async (_what, header) => {
    const { arrayBuffers } = process.memoryUsage();
    const bomb = frame(header, 4);
    await expect(decompress('x', bomb, 2 ** 33)).rejects.toMatchObject({ ...refused, message: expect.stringContaining('zstd window') });
    // Behind a sound one, too.
    const two = Uint8Array.from([...frame(megabyte, 1), ...bomb]);
    await expect(decompress('x', two, 2 ** 33)).rejects.toMatchObject({ ...refused, message: expect.stringContaining('zstd window') });
    expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(64 << 20);
  });

  test('may stand behind others, and behind what is to be skipped', async () => {
    const all = Uint8Array.from([...frame(megabyte, 1), 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9, ...frame(megabyte, 2)]);
    expect((await decompress('x', all, 1 << 20)).length).toBe(3 << 17);
  });
});

test('an xz bomb stops at the limit', async () => {
  // A mebibyte of zeros.
  const bomb = from64(
    '/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM7///ANldAABv/f//o7f/Rz5IFXI5YVG4kijmo4YH+e7kHoLTL8U6PAFLsX7JiopNL6MN2X+m44wjEVPgWRjFdYrid/i2lH8MasDedElk4ulcU7IE2PdEDKtfDW1G6eXDdoi3llestk3haR1v+0uIEGxCy4g/XACP0E6vJiiUcR89jyThcJ6nI1/sKMuF0ZWYin4qkfIndfcZwAaYTZj92K/VkA/EJVP49ZE2MQWlsO5vwXBNRwzRkRGqrWAdus6xJxhcWYbpZlJYvul2rFnk5VsFCPnH2q38+1Iq9+SVJQAAAAAAwva6PqJwa2AAAfUBgIBAAHmXf0exxGf7AgAAAAAEWVo=',
  );
  expect((await decompress('x', bomb, 1 << 20)).length).toBe(1 << 20);
  await expect(decompress('x', bomb, (1 << 20) - 1)).rejects.toMatchObject({ code: 'bad-image' });
});

test('what announces no compression is given as it is', async () => {
  const plain = new TextEncoder().encode('plain');
  expect(await decompress('x', plain, 100)).toEqual(plain);
  await expect(decompress('x', plain, 3)).rejects.toMatchObject({ code: 'bad-image' });
});
