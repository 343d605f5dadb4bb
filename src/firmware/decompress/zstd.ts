/** Zstandard (RFC 8878). */
import { decompress } from 'fzstd';
import { Malformed, type OutputLimits } from './output.ts';

export function unpackZstd(data: Uint8Array, { expectedBytes, maximumBytes }: OutputLimits): Uint8Array {
  try {
    return decompress(data, new Uint8Array(expectedBytes ?? maximumBytes));
  } catch (cause) {
    throw new Malformed(`is damaged or cut off (${cause instanceof Error ? cause.message : String(cause)})`);
  }
}
