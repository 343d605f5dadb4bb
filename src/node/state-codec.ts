/** zstd and SHA-256 for saved states. Node 20 has no zstd of its own: the reference implementation, compiled to WebAssembly, it is. */
import { createHash } from 'node:crypto';
import type { StateCodec } from '../machine/saved-state.ts';
import { zstdPackage } from './zstd-package.ts';

/** Measured on an idle Linux: level 3 makes a state 5 % smaller and takes 40 % longer. */
const LEVEL = 1;

/** `level` of zstd's compression: higher for what is written once and read often. */
export async function nodeStateCodec(level = LEVEL): Promise<StateCodec> {
  const { compress, decompress } = await zstdPackage();
  return {
    compress: (data) => compress(data, level),
    decompress: (data) => decompress(data),
    sha256: (data) => createHash('sha256').update(data).digest(),
  };
}
