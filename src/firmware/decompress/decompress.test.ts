import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { VmError } from '../../base/errors.ts';
import { seededRandom } from '../../machine/testing/random.ts';
import { packedSamples } from '../testing/packed-samples.ts';
import { sampleData } from '../testing/sample-data.ts';
import { compressionOf, decompress } from './decompress.ts';

const plain = sampleData();
const samples = Object.entries(packedSamples).map(([name, base64]) => ({ name, packed: new Uint8Array(Buffer.from(base64, 'base64')) }));
const options = { what: 'sample', maximumBytes: 1 << 20 };

/** What became of it; anything but a VmError escapes and fails the test. */
async function outcome(data: Uint8Array): Promise<Uint8Array | VmError> {
  try {
    return await decompress(data, options);
  } catch (error) {
    if (error instanceof VmError && error.code === 'bad-image') return error;
    throw error;
  }
}

describe.each(samples)('$name', ({ packed }) => {
  test('unpacks to the original', async () => {
    expect(Buffer.from(await decompress(packed, options)).equals(plain)).toBe(true);
    expect(Buffer.from(await decompress(packed, { ...options, expectedBytes: plain.length })).equals(plain)).toBe(true);
  });

  test('is refused when its size is not the one announced, or too large', async () => {
    await expect(decompress(packed, { ...options, expectedBytes: plain.length + 1 })).rejects.toThrow(/holds 6000 bytes where 6001/);
    await expect(decompress(packed, { ...options, expectedBytes: plain.length - 1 })).rejects.toThrow(VmError);
    await expect(decompress(packed, { ...options, maximumBytes: 5999 })).rejects.toThrow(VmError);
  });

  test('is refused when cut off anywhere', async () => {
    for (let length = 8; length < packed.length - 1; length += 7) {
      const result = await outcome(packed.subarray(0, length));
      // A legacy LZ4 frame has no end mark, so it may end between blocks; a checksum may be missing at the very end.
      const complete = result instanceof Uint8Array && packed.length - length <= 12;
      expect(result instanceof VmError || complete, `cut to ${length} of ${packed.length} bytes`).toBe(true);
    }
  });

  test('gives an error or some bytes, never anything else, when damaged', async () => {
    const random = seededRandom(7);
    for (let round = 0; round < 1500; round++) {
      const damaged = packed.slice();
      for (let flips = 1 + random(3); flips > 0; flips--) damaged[4 + random(packed.length - 4)] = random(256);
      await outcome(damaged);
    }
  });
});

test('tells formats apart by their first bytes', () => {
  expect(samples.map(({ packed }) => compressionOf(packed))).toEqual(['gzip', 'xz', 'xz', 'lzma', 'bzip2', 'lz4', 'lzo', 'zstd', 'zstd']);
  expect(compressionOf(plain)).toBeUndefined();
  expect(compressionOf(new Uint8Array())).toBeUndefined();
});

test('refuses what is not compressed, naming what would be', async () => {
  await expect(decompress(plain, options)).rejects.toThrow(
    'sample: none of the known compressions (gzip, xz, lzma, bzip2, lz4, lzo, zstd)',
  );
});

const tools: readonly [string, ...string[]][] = [
  ['gzip', '-c'],
  ['xz', '-c', '--check=crc32', '--x86', '--lzma2=dict=64KiB'],
  ['xz', '-c', '-0', '--check=none'],
  ['xz', '-c', '--format=lzma'],
  ['bzip2', '-1', '-c'],
  ['lz4', '-l', '-c'],
  ['lzop', '-c'],
  ['zstd', '-c', '-1'],
  ['zstd', '-c', '-19', '--long=27'],
];

function pack([command, ...args]: readonly [string, ...string[]], input: Uint8Array): Uint8Array | undefined {
  try {
    return new Uint8Array(execFileSync(command, args, { input, maxBuffer: 1 << 26, stdio: ['pipe', 'pipe', 'ignore'] }));
  } catch {
    return undefined;
  }
}

/** A stretch of real machine code: of this very Node. */
function programText(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const file = openSync(process.execPath, 'r');
  readSync(file, bytes, 0, length, 1 << 20);
  closeSync(file);
  return bytes;
}

test.each(tools.map((tool) => ({ tool, name: tool.join(' ') })))(
  'unpacks what this host’s "$name" packs, from nothing to several blocks',
  async ({ tool, name }) => {
    for (const input of [new Uint8Array(), Uint8Array.of(0xe8), new Uint8Array(300_000), plain, programText(1_500_000)]) {
      const packed = pack(tool, input);
      if (!packed) return console.log(`skipped: this host has no ${tool[0]}`);
      const unpacked = await decompress(packed, { what: name, maximumBytes: 1 << 24 });
      expect(Buffer.from(unpacked).equals(input), `${input.length} bytes`).toBe(true);
    }
    return undefined;
  },
);
