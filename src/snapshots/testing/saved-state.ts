/** A saved state of no real machine, as far as publishers and readers look into one. */
import { concatBytes } from '../../base/bytes.ts';
import { Memory, PAGE_SIZE } from '../../machine/memory.ts';
import { writeState } from '../../machine/saved-state-file.ts';
import { orderState, type OrderedState } from '../../machine/saved-state-order.ts';
import type { ByteSource } from '../../machine/saved-state.ts';
import { nodeStateCodec } from '../../node/state-codec.ts';
import { noise } from './noise.ts';

export const sourceOf = (data: Uint8Array, name = 'machine.state'): ByteSource => ({
  name,
  sizeBytes: data.length,
  read: (offset, length) => data.subarray(offset, offset + length),
});

/**
 * With `pages` pages that no compressor makes smaller, of which the last come first. `like` is a state of the same pages but for so many at the
 * beginning, with which it is to have in common what it can.
 */
export async function madeState(
  pages = 1,
  seed = 1,
  like?: { readonly state: ByteSource; readonly changed: number },
): Promise<OrderedState> {
  const codec = await nodeStateCodec();
  const memory = new Memory(Math.max(1, Math.ceil(pages / 256)) * 2 ** 20, 0);
  memory.bytes.set(noise(pages * PAGE_SIZE, seed), memory.ramOffset);
  if (like) memory.bytes.set(noise(like.changed * PAGE_SIZE, seed + 1), memory.ramOffset);
  const data = concatBytes([...writeState({ made: 'for a test', seed }, memory, codec)]);
  return orderState(sourceOf(data), [pages - 1, Math.max(0, pages - 2)], codec, like?.state);
}
