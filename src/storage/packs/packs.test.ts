import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { sha256 } from '../../base/sha256.ts';
import { nodeZstd, zstdContentSize } from '../../node/zstd.ts';
import type { Zstd } from '../../platform/zstd.ts';
import { decompress } from '../decompress.ts';
import { decodeSegment, EMPTY_SHA256, encodeSegment, PACK_MAX_BYTES, PackIndex, PIECE_MAX_BYTES } from './pack-index.ts';
import { PackWriter } from './pack-writer.ts';

let zstd: Zstd;
let packs: Map<string, Uint8Array>;
beforeAll(async () => {
  zstd = await nodeZstd();
});
beforeEach(() => {
  packs = new Map();
});

/** Bytes that no compressor makes smaller. */
function noise(length: number, seed = 1): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24);
}

async function write(contents: readonly Uint8Array[], known = new PackIndex()) {
  const writer = new PackWriter(zstd, 3, known, async (digest, data) => void packs.set(digest, data));
  const digests: string[] = [];
  for (const data of contents) {
    const digest = await sha256(data);
    digests.push(digest);
    await writer.add(digest, data);
  }
  return { digests, segment: await writer.finish() };
}

async function read(index: PackIndex, digest: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (const { frame, offset, sizeBytes } of index.locate(digest)!) {
    const pack = packs.get(frame.pack.digest)!;
    const raw = await decompress('frame', pack.subarray(frame.offset, frame.offset + frame.length), frame.rawBytes);
    parts.push(raw.subarray(offset, offset + sizeBytes));
  }
  return Buffer.concat(parts);
}

test('contents of all sizes come back, by an index that was written and read', async () => {
  const sizes = [1, 10, 70_000, PIECE_MAX_BYTES, PIECE_MAX_BYTES + 1, 9 * PIECE_MAX_BYTES + 5];
  const { digests, segment } = await write(sizes.map((size, n) => noise(size, n + 1)));
  const index = new PackIndex();
  index.add(decodeSegment('index', encodeSegment(segment!)));
  for (const [n, digest] of digests.entries()) {
    expect(await sha256(await read(index, digest))).toBe(digest);
    expect(index.locate(digest)!.length).toBe(Math.ceil(sizes[n]! / PIECE_MAX_BYTES));
  }
  expect(index.locate(EMPTY_SHA256)).toEqual([]);
  expect(index.locate('0'.repeat(64))).toBeUndefined();
  for (const [digest, data] of packs) {
    expect(await sha256(data)).toBe(digest);
    expect(data.length).toBeLessThanOrEqual(PACK_MAX_BYTES);
  }
});

test('small contents share a frame, and what is known is not written again', async () => {
  const small = Array.from({ length: 50 }, (_, n) => new TextEncoder().encode(`content ${n}`));
  const { segment } = await write(small);
  expect(new Set(segment!.pieces.map(({ frame }) => frame)).size).toBe(1);
  const index = new PackIndex();
  index.add(segment!);
  expect((await write(small, index)).segment).toBeUndefined();
  const { segment: more } = await write([...small, noise(100)], index);
  expect(more!.pieces.length).toBe(1);
});

test('the same contents give the same packs', async () => {
  await write([noise(5000), noise(3_000_000, 2)]);
  const first = [...packs.keys()];
  packs.clear();
  await write([noise(5000), noise(3_000_000, 2)]);
  expect([...packs.keys()]).toEqual(first);
});

test('a patch makes one content of another, and of nothing else', () => {
  const base = noise(300_000);
  const next = base.slice();
  next.set(noise(500, 9), 100_000);
  const patch = zstd.compressAgainst(base, next, 9);
  expect(patch.length).toBeLessThan(2000);
  expect(zstdContentSize(patch)).toBe(next.length);
  expect(Buffer.compare(zstd.decompressAgainst(base, patch, next.length)!, next)).toBe(0);
  expect(zstd.decompressAgainst(base, patch, next.length + 1)).toBeUndefined();
  expect(zstd.decompressAgainst(base, patch.subarray(0, 100), next.length)).toBeUndefined();
  expect(Buffer.compare(zstd.decompressAgainst(noise(10), patch, next.length) ?? base, next)).not.toBe(0);
});

describe('a damaged index', () => {
  test('that is cut short at any place is refused', async () => {
    const { segment } = await write([noise(2_500_000), noise(10, 2), noise(20, 3)]);
    const data = encodeSegment(segment!);
    for (let length = 0; length < data.length; length += 3) {
      expect(() => decodeSegment('index', data.subarray(0, length))).toThrow(/index: not an index of packs/);
    }
    expect(() => decodeSegment('index', Buffer.concat([data, new Uint8Array(1)]))).toThrow(/behind its end/);
  });

  test('with any byte changed is refused or is an index all the same', async () => {
    const { segment } = await write([noise(2_500_000), noise(10, 2)]);
    const data = encodeSegment(segment!);
    for (let at = 0; at < data.length; at++) {
      const changed = data.slice();
      changed[at]! ^= 0xff;
      try {
        decodeSegment('index', changed);
      } catch (error) {
        expect(error).toMatchObject({ name: 'VmError', code: 'bad-image' });
      }
    }
  });
});
