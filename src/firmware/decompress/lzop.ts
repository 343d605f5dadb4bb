/** lzop files: a header, then blocks of LZO1X. lzop 1.04's file format; Linux's lib/decompress_unlzo reads the same subset. */
import { unpackLzo1x } from './lzo1x.ts';
import { Malformed, Output, type OutputLimits } from './output.ts';

const MAGIC_BYTES = 9;
const FLAG_ADLER32_DATA = 0x01;
const FLAG_ADLER32_PACKED = 0x02;
const FLAG_CRC32_DATA = 0x100;
const FLAG_CRC32_PACKED = 0x200;
const FLAG_FILTER = 0x800;
const FILTER_SINCE = 0x0940;
const BLOCK_MAX = 64 << 20;

export function unpackLzop(data: Uint8Array, limits: OutputLimits): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const need = (at: number, count: number): void => {
    if (at + count > data.length) throw new Malformed('is cut off');
  };
  need(0, MAGIC_BYTES + 25);
  const version = view.getUint16(MAGIC_BYTES);
  let at = MAGIC_BYTES + 4; // version, library version
  if (version >= FILTER_SINCE) at += 2; // version needed to extract
  const method = data[at++]!;
  if (method < 1 || method > 3) throw new Malformed(`uses method ${method}, which is not supported`);
  if (version >= FILTER_SINCE) at++; // level
  const flags = view.getUint32(at);
  at += 4;
  if (flags & FLAG_FILTER) throw new Malformed('uses a filter, which is not supported');
  at += version >= FILTER_SINCE ? 12 : 8; // mode, modification time
  need(at, 1);
  at += 1 + data[at]! + 4; // name, header checksum

  const dataChecks = (flags & FLAG_ADLER32_DATA ? 4 : 0) + (flags & FLAG_CRC32_DATA ? 4 : 0);
  const packedChecks = (flags & FLAG_ADLER32_PACKED ? 4 : 0) + (flags & FLAG_CRC32_PACKED ? 4 : 0);
  const output = new Output(limits);
  for (;;) {
    need(at, 4);
    const size = view.getUint32(at);
    at += 4;
    if (size === 0) return output.take();
    need(at, 4);
    const packed = view.getUint32(at);
    if (packed > size || size > BLOCK_MAX) throw new Malformed(`has a block of ${packed} bytes that unpacks to ${size}`);
    at += 4 + dataChecks + (packed < size ? packedChecks : 0);
    need(at, packed);
    output.reserve(size);
    if (packed === size) output.append(data.subarray(at, at + packed));
    else {
      unpackLzo1x(data.subarray(at, at + packed), output.bytes.subarray(output.length, output.length + size));
      output.length += size;
    }
    at += packed;
  }
}
