import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../machine/testing/random.ts';
import { unpackLz4Legacy } from './lz4.ts';
import { Malformed } from './output.ts';

const MAGIC = [0x02, 0x21, 0x4c, 0x18];
const random = seededRandom(11);

interface Sequence {
  readonly literals: Uint8Array;
  /** None in a block's last sequence. */
  readonly match?: { readonly distance: number; readonly length: number };
}

/** How a length goes on that does not fit its four bits. */
const more = (length: number): number[] =>
  length < 15 ? [] : [...Array<number>(Math.floor((length - 15) / 255)).fill(255), (length - 15) % 255];

function block(sequences: readonly Sequence[]): Uint8Array {
  const parts = sequences.map(({ literals, match }) => {
    const length = (match?.length ?? 4) - 4;
    const token = (Math.min(literals.length, 15) << 4) | Math.min(length, 15);
    const tail = match ? [match.distance & 0xff, match.distance >> 8, ...more(length)] : [];
    return Buffer.concat([Uint8Array.of(token, ...more(literals.length)), literals, Uint8Array.from(tail)]);
  });
  return Buffer.concat(parts);
}

function frame(blocks: readonly Uint8Array[]): Uint8Array {
  const size = (bytes: Uint8Array): Uint8Array => new Uint8Array(Uint32Array.of(bytes.length).buffer);
  return Buffer.concat([Uint8Array.from(MAGIC), ...blocks.flatMap((bytes) => [size(bytes), bytes])]);
}

/** What a block is, byte by byte. */
function meaning(sequences: readonly Sequence[]): Uint8Array {
  const bytes = new Uint8Array(sequences.reduce((sum, { literals, match }) => sum + literals.length + (match?.length ?? 0), 0));
  let to = 0;
  for (const { literals, match } of sequences) {
    bytes.set(literals, to);
    to += literals.length;
    for (let n = 0; n < (match?.length ?? 0); n++, to++) bytes[to] = bytes[to - match!.distance]!;
  }
  return bytes;
}

const noise = (length: number): Uint8Array => Uint8Array.from({ length }, () => random(256));

const unpack = (data: Uint8Array, maximumBytes = 1 << 25): Uint8Array =>
  Buffer.concat(Array.from(unpackLz4Legacy(data, { maximumBytes }), (piece) => piece.slice()));

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.from(a).equals(b);

describe('a block of LZ4', () => {
  test('has matches at any distance, of any length, over literals of any number', () => {
    const few = [0, 1, 14, 15, 16, 17, 269, 270, 271, 3000];
    for (let round = 0; round < 30; round++) {
      const blocks: Sequence[][] = [];
      for (let n = 1 + random(3); n > 0; n--) {
        const sequences: Sequence[] = [{ literals: noise(70_000), match: { distance: 65_535, length: 4 } }];
        for (let m = random(200); m > 0; m--) {
          const distance = 1 + random([20, 300, 65_535][random(3)]!);
          sequences.push({ literals: noise(few[random(few.length)]!), match: { distance, length: 4 + few[random(few.length)]! } });
        }
        if (random(2) === 0) sequences.push({ literals: noise(5) });
        blocks.push(sequences);
      }
      const expected = Buffer.concat(blocks.map(meaning));
      expect(same(unpack(frame(blocks.map(block))), expected)).toBe(true);
    }
  });

  test('may be one sequence that is longer than the window and all the input that is taken at once', () => {
    for (const distance of [1, 3, 15, 16, 65_535]) {
      const sequences = [{ literals: noise(700_000), match: { distance, length: 5_000_000 } }, { literals: noise(300_000) }];
      expect(same(unpack(frame([block(sequences)])), meaning(sequences))).toBe(true);
    }
  });

  test('gives at most 8 MiB, and what is announced', () => {
    const whole = [{ literals: noise(1), match: { distance: 1, length: (8 << 20) - 1 } }];
    expect(unpack(frame([block(whole), block(whole)]))).toHaveLength(16 << 20);
    const larger = [{ literals: noise(1), match: { distance: 1, length: 8 << 20 } }];
    expect(() => unpack(frame([block(larger)]))).toThrow('unpacks to more than was announced');
    const literals = [{ literals: new Uint8Array((8 << 20) + 1) }];
    expect(() => unpack(frame([block(literals)]))).toThrow('unpacks to more than was announced');
    expect(() => unpack(frame([block(whole), block([{ literals: noise(1) }])]), 8 << 20)).toThrow('unpacks to more than was announced');
    expect(() => unpack(frame([Buffer.from([0xf0, more(50_000_000)].flat())]))).toThrow(Malformed);
  });

  test('refers to nothing before itself', () => {
    const first = block([{ literals: noise(100) }]);
    for (const distance of [0, 11, 65_535]) {
      const second = block([{ literals: noise(10), match: { distance, length: 4 } }]);
      expect(() => unpack(frame([first, second]))).toThrow(`refers ${distance} bytes back, before its beginning`);
    }
    expect(unpack(frame([first, block([{ literals: noise(10), match: { distance: 10, length: 4 } }])]))).toHaveLength(114);
  });

  test('is refused when it ends anywhere but behind literals or a match', () => {
    const sequences = [
      { literals: noise(300), match: { distance: 300, length: 600 } },
      { literals: noise(3), match: { distance: 1, length: 4 } },
      { literals: noise(20) },
    ];
    const bytes = block(sequences);
    // After the literals and after the match of the first sequence, of the second, and after the third's literals.
    const ends = [303, 308, 312, 314, bytes.length];
    for (let length = 1; length <= bytes.length; length++) {
      const attempt = (): Uint8Array => unpack(frame([bytes.subarray(0, length)]));
      if (ends.includes(length)) expect(same(attempt(), meaning(sequences).subarray(0, attempt().length)), `${length}`).toBe(true);
      else expect(attempt, `${length}`).toThrow('is cut off within a block');
    }
  });
});
