/** LZ4's legacy frame, as Linux uses for kernels: blocks of at most 8 MiB, each after its size. LZ4 frame format 1.6.4. */
import { Malformed, Output, type OutputLimits } from './output.ts';

const MAGIC = 0x184c_2102;
const BLOCK_MAX = 8 << 20;
const MIN_MATCH = 4;

export function unpackLz4Legacy(data: Uint8Array, limits: OutputLimits): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const output = new Output(limits);
  let at = 4;
  while (at + 4 <= data.length) {
    const size = view.getUint32(at, true);
    at += 4;
    if (size === MAGIC) continue; // frames may follow one another
    if (size === 0 || at + size > data.length) throw new Malformed(`is cut off: a block of ${size} bytes begins at ${at}`);
    if (limits.expectedBytes === undefined) output.reserve(Math.min(BLOCK_MAX, output.room));
    const end = Math.min(output.bytes.length, output.length + BLOCK_MAX);
    output.length = unpackBlock(data, at, at + size, output.bytes, output.length, end);
    at += size;
  }
  return output.take();
}

/**
 * One block: sequences of literals and a match within the block. Answers the new end of the output. Bytes are copied by fours where
 * there is room for what that copies too many, which later ones overwrite.
 */
function unpackBlock(data: Uint8Array, from: number, end: number, out: Uint8Array, start: number, limit: number): number {
  const source = new DataView(data.buffer, data.byteOffset, data.length);
  const target = new DataView(out.buffer, out.byteOffset, out.length);
  const roomy = out.length - 4;
  const readable = data.length - 4;
  let at = from;
  let to = start;
  while (at < end) {
    const token = data[at++]!;
    let literals = token >> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (at >= end) throw new Malformed('is cut off within a length');
        more = data[at++]!;
        literals += more;
      } while (more === 255);
    }
    if (at + literals > end) throw new Malformed('is cut off within literals');
    if (to + literals > limit) throw new Malformed('unpacks to more than was announced');
    if (literals > 64) out.set(data.subarray(at, at + literals), to);
    else if (to + literals <= roomy && at + literals <= readable) {
      for (let i = 0; i < literals; i += 4) target.setInt32(to + i, source.getInt32(at + i));
    } else for (let i = 0; i < literals; i++) out[to + i] = data[at + i]!;
    at += literals;
    to += literals;
    if (at === end) return to; // the last sequence has no match

    if (at + 2 > end) throw new Malformed('is cut off within an offset');
    const distance = data[at]! | (data[at + 1]! << 8);
    at += 2;
    if (distance === 0 || distance > to - start) throw new Malformed(`refers ${distance} bytes back, before its beginning`);
    let length = token & 15;
    if (length === 15) {
      let more: number;
      do {
        if (at >= end) throw new Malformed('is cut off within a length');
        more = data[at++]!;
        length += more;
      } while (more === 255);
    }
    length += MIN_MATCH;
    if (to + length > limit) throw new Malformed('unpacks to more than was announced');
    if (distance >= length && length > 64) out.copyWithin(to, to - distance, to - distance + length);
    else if (distance >= 4 && to + length <= roomy) {
      for (let i = 0; i < length; i += 4) target.setInt32(to + i, target.getInt32(to - distance + i));
    } else for (let i = 0; i < length; i++) out[to + i] = out[to - distance + i]!;
    to += length;
  }
  return to;
}
