/** LZO1X: one block. Instruction set as in Linux's Documentation/staging/lzo.rst, version 0 of the bit stream. */
import { Malformed } from './output.ts';

const M2_MAX_DISTANCE = 0x800;
const M4_DISTANCE = 0x4000;

/** Unpacks a block into exactly `out`. */
export function unpackLzo1x(data: Uint8Array, out: Uint8Array): void {
  let at = 0;
  let to = 0;

  const byte = (): number => {
    const value = data[at++];
    if (value === undefined) throw new Malformed('is cut off');
    return value;
  };
  /** A length of all ones (zero here) goes on: 255 for each zero byte, then the rest. */
  const longLength = (base: number): number => {
    let length = base;
    let more = byte();
    while (more === 0) {
      length += 255;
      more = byte();
    }
    return length + more;
  };
  const copyLiterals = (count: number): void => {
    if (at + count > data.length) throw new Malformed('is cut off within literals');
    if (to + count > out.length) throw new Malformed('unpacks to more than was announced');
    out.set(data.subarray(at, at + count), to);
    at += count;
    to += count;
  };
  const copyMatch = (distance: number, length: number): void => {
    if (distance > to) throw new Malformed(`refers ${distance} bytes back, before its beginning`);
    if (to + length > out.length) throw new Malformed('unpacks to more than was announced');
    for (let i = 0; i < length; i++, to++) out[to] = out[to - distance]!;
  };

  // How many literals came just before: what a code below 16 means depends on it. 4 stands for four or more.
  let literals = 0;
  if (data.length > 0 && data[0]! > 17) {
    literals = byte() - 17;
    copyLiterals(literals);
    if (literals > 4) literals = 4;
  }
  for (;;) {
    const code = byte();
    let trailing = code & 3;
    if (code >= 64) {
      const length = code >= 128 ? 5 + ((code >> 5) & 3) : 3 + ((code >> 5) & 1);
      copyMatch((byte() << 3) + ((code >> 2) & 7) + 1, length);
    } else if (code >= 32) {
      const length = 2 + (code & 31 || longLength(31));
      const low = byte();
      const distance = (byte() << 6) + (low >> 2) + 1;
      copyMatch(distance, length);
      trailing = low & 3;
    } else if (code >= 16) {
      const length = 2 + (code & 7 || longLength(7));
      const low = byte();
      const distance = M4_DISTANCE + ((code & 8) << 11) + (byte() << 6) + (low >> 2);
      if (distance === M4_DISTANCE) break; // the end of the block
      copyMatch(distance, length);
      trailing = low & 3;
    } else if (literals === 0) {
      copyLiterals(3 + (code || longLength(15)));
      literals = 4;
      continue;
    } else if (literals < 4) {
      copyMatch((byte() << 2) + (code >> 2) + 1, 2);
    } else {
      copyMatch((byte() << 2) + (code >> 2) + M2_MAX_DISTANCE + 1, 3);
    }
    literals = trailing;
    if (trailing > 0) copyLiterals(trailing);
  }
  if (to !== out.length) throw new Malformed(`holds ${to} bytes where ${out.length} are announced`);
}
