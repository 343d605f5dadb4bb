/**
 * Decompression of what archives carry: gzip (RFC 1952), xz and zstd (RFC 8878), told apart by their first bytes.
 * All input is untrusted: output is bounded, and damage of any kind is a `bad-image` error.
 */
import { Decompress as ZstdDecompress } from 'fzstd';
import xz from 'xz-decompress';
import { concatBytes, startsWith } from '../base/bytes.ts';
import { VmError } from '../base/errors.ts';
import { largestWindow } from './zstd-window.ts';

/** Zstandard's own tools refuse larger ones as well, unless they are told otherwise. */
const WINDOW_MAX_BYTES = 128 * 2 ** 20;
/** What the xz decoder takes at once. */
const PIECE_BYTES = 64 * 1024;

export type Compression = 'none' | 'gzip' | 'xz' | 'zstd';

/** The compression that the first bytes announce; `none` when they announce nothing known. */
export function compressionOf(data: Uint8Array): Compression {
  if (startsWith(data, [0x1f, 0x8b, 0x08])) return 'gzip';
  if (startsWith(data, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])) return 'xz';
  if (startsWith(data, [0x28, 0xb5, 0x2f, 0xfd])) return 'zstd';
  return 'none';
}

/**
 * The decompressed bytes piece by piece. Throws `bad-image` as soon as more than `limitBytes` come out, or the data is
 * damaged or cut short. `name` is for the message.
 */
export async function* decompressStream(name: string, data: Uint8Array, limitBytes: number): AsyncGenerator<Uint8Array> {
  const compression = compressionOf(data);
  let total = 0;
  const window = compression === 'zstd' ? largestWindow(data) : 0;
  if (window > WINDOW_MAX_BYTES)
    throw new VmError('bad-image', `${name}: it asks for a zstd window of ${window} bytes, which is refused (at most ${WINDOW_MAX_BYTES})`);
  try {
    for await (const piece of decoder(compression, data)) {
      total += piece.length;
      if (total > limitBytes) throw new VmError('bad-image', `${name}: it unpacks to more than ${limitBytes} bytes, which is refused`);
      yield piece;
    }
  } catch (error) {
    if (error instanceof VmError) throw error;
    throw new VmError('bad-image', `${name}: the ${compression} data is damaged or cut short`, error);
  }
}

/** Everything at once; see `decompressStream`. */
export async function decompress(name: string, data: Uint8Array, limitBytes: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of decompressStream(name, data, limitBytes)) pieces.push(piece);
  return concatBytes(pieces);
}

function decoder(compression: Compression, data: Uint8Array): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  switch (compression) {
    case 'none':
      return [data];
    case 'gzip':
      return drain(pieces(data).pipeThrough(new DecompressionStream('gzip') as unknown as TransformStream<Uint8Array, Uint8Array>));
    case 'xz':
      return drain(new xz.XzReadableStream(pieces(data)));
    case 'zstd':
      return unzstd(data);
  }
}

function pieces(data: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= data.length) controller.close();
      else controller.enqueue(data.subarray(at, (at += PIECE_BYTES)));
    },
  });
}

async function* drain(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        ended = true;
        return;
      }
      yield value;
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => {});
  }
}

function* unzstd(data: Uint8Array): Generator<Uint8Array> {
  const out: Uint8Array[] = [];
  let complete = false;
  const stream = new ZstdDecompress((piece, final) => {
    out.push(piece);
    if (final) complete = true;
  });
  for (let at = 0; at < data.length; at += PIECE_BYTES) {
    stream.push(data.subarray(at, at + PIECE_BYTES), at + PIECE_BYTES >= data.length);
    yield* out.splice(0);
  }
  if (!complete) throw new Error('no end of stream');
}
