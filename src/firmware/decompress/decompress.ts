/** Unpacks whole files in memory: every compression that Linux uses for kernels and initrds, told apart by magic. */
import { VmError } from '../../base/errors.ts';
import { unpackBzip2 } from './bzip2.ts';
import { unpackGzip } from './gzip.ts';
import { unpackLz4Legacy } from './lz4.ts';
import { unpackLzmaAlone } from './lzma-alone.ts';
import { unpackLzop } from './lzop.ts';
import { type Decoder, Malformed, Output } from './output.ts';
import { unpackXz } from './xz.ts';
import { unpackZstd } from './zstd.ts';

export type Compression = 'gzip' | 'xz' | 'lzma' | 'bzip2' | 'lz4' | 'lzo' | 'zstd';

interface Format {
  readonly magic: readonly number[];
  readonly decode: Decoder;
}

const FORMATS: Readonly<Record<Compression, Format>> = {
  gzip: { magic: [0x1f, 0x8b, 0x08], decode: unpackGzip },
  xz: { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], decode: unpackXz },
  lzma: { magic: [0x5d, 0x00, 0x00], decode: unpackLzmaAlone },
  bzip2: { magic: [0x42, 0x5a, 0x68], decode: unpackBzip2 },
  lz4: { magic: [0x02, 0x21, 0x4c, 0x18], decode: unpackLz4Legacy },
  lzo: { magic: [0x89, 0x4c, 0x5a, 0x4f, 0x00], decode: unpackLzop },
  zstd: { magic: [0x28, 0xb5, 0x2f, 0xfd], decode: unpackZstd },
};

export function compressionOf(data: Uint8Array): Compression | undefined {
  const names = Object.keys(FORMATS) as Compression[];
  return names.find((name) => FORMATS[name].magic.every((byte, index) => data[index] === byte));
}

export interface DecompressOptions {
  /** What is unpacked, for errors. */
  readonly what: string;
  /** More output than this is refused. */
  readonly maximumBytes: number;
  /** When given, any other size is an error. */
  readonly expectedBytes?: number | undefined;
}

/**
 * The unpacked bytes in pieces, each of which is good until the next one is asked for. Throws `bad-image` when the data is malformed, cut off,
 * unknown or too large; that may be after some pieces.
 */
export async function* decompressPieces(
  data: Uint8Array,
  { what, maximumBytes, expectedBytes }: DecompressOptions,
): AsyncGenerator<Uint8Array, void> {
  const compression = compressionOf(data);
  if (!compression) throw new VmError('bad-image', `${what}: none of the known compressions (${Object.keys(FORMATS).join(', ')})`);
  const bad = (why: string, cause?: unknown): VmError =>
    new VmError('bad-image', `${what}: cannot be unpacked: its ${compression} data ${why}`, cause);
  if (expectedBytes !== undefined && expectedBytes > maximumBytes) {
    throw bad(`would be ${expectedBytes} bytes (at most ${maximumBytes} are accepted)`);
  }
  let total = 0;
  try {
    const unpacked = FORMATS[compression].decode(data, { maximumBytes: expectedBytes ?? maximumBytes, expectedBytes });
    for await (const piece of unpacked instanceof Uint8Array ? [unpacked] : unpacked) {
      total += piece.length;
      yield piece;
    }
  } catch (cause) {
    if (cause instanceof Malformed) throw bad(cause.message, cause);
    throw cause;
  }
  if (expectedBytes !== undefined && total !== expectedBytes) {
    throw bad(`holds ${total} bytes where ${expectedBytes} are announced`);
  }
}

/** The unpacked bytes as a whole. Throws as `decompressPieces` does. */
export async function decompress(data: Uint8Array, options: DecompressOptions): Promise<Uint8Array> {
  const output = new Output({ maximumBytes: options.maximumBytes });
  for await (const piece of decompressPieces(data, options)) output.append(piece);
  return output.take();
}
