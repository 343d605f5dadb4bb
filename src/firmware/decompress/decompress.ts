/** Unpacks whole files in memory: every compression that Linux uses for kernels and initrds, told apart by magic. */
import { VmError } from '../../base/errors.ts';
import { unpackBzip2 } from './bzip2.ts';
import { unpackGzip } from './gzip.ts';
import { unpackLz4Legacy } from './lz4.ts';
import { unpackLzmaAlone } from './lzma-alone.ts';
import { unpackLzop } from './lzop.ts';
import { type Decoder, Malformed, type OutputLimits } from './output.ts';
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

/** The unpacked bytes. Throws `bad-image` when the data is malformed, cut off, unknown or too large. */
export async function decompress(data: Uint8Array, { what, maximumBytes, expectedBytes }: DecompressOptions): Promise<Uint8Array> {
  const compression = compressionOf(data);
  if (!compression) throw new VmError('bad-image', `${what}: none of the known compressions (${Object.keys(FORMATS).join(', ')})`);
  const bad = (why: string, cause?: unknown): VmError =>
    new VmError('bad-image', `${what}: cannot be unpacked: its ${compression} data ${why}`, cause);
  if (expectedBytes !== undefined && expectedBytes > maximumBytes) {
    throw bad(`would be ${expectedBytes} bytes (at most ${maximumBytes} are accepted)`);
  }
  const limits: OutputLimits = { maximumBytes: expectedBytes ?? maximumBytes, expectedBytes };
  let unpacked: Uint8Array;
  try {
    unpacked = await FORMATS[compression].decode(data, limits);
  } catch (cause) {
    if (cause instanceof Malformed) throw bad(cause.message, cause);
    throw cause;
  }
  if (expectedBytes !== undefined && unpacked.length !== expectedBytes) {
    throw bad(`holds ${unpacked.length} bytes where ${expectedBytes} are announced`);
  }
  return unpacked;
}
