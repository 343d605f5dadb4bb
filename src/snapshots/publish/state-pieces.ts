/**
 * Where a saved state is cut into pieces: between its frames, so that whoever needs a page fetches no more than one of them. Behind what every
 * machine needs, frames say themselves where a piece ends, so that frames that two states have in common give pieces that they have in common.
 */
import { openState } from '../../machine/saved-state-file.ts';
import type { ByteSource, StateCodec } from '../../machine/saved-state.ts';
import type { StateBytes } from '../catalogue/booted.ts';

/** What everybody needs is fetched as a whole: fewer pieces, a smaller index. */
const NEEDED_BYTES = 512 * 1024;
/** What is fetched when a page is asked for: few enough to wait for, many enough to make up for a request. */
const ASKED_BYTES = 64 * 1024;
/** One of so many frames is a piece's last: pieces have three on average, some 60 KiB. */
const LAST_OF = 4;

/** Ends of the pieces, ascending. Throws `bad-state` when it is no whole state. */
export function cutState(source: ByteSource, { sizeBytes, firstBytes, tailBytes }: StateBytes, codec: StateCodec): number[] {
  const { frames, described } = openState(source, codec);
  const tailAt = sizeBytes - tailBytes;
  const ends: number[] = [];
  let start = 0;
  for (const { offset, length, digest } of [...frames, ...described]) {
    const end = offset + length;
    const needed = end <= firstBytes || start >= tailAt;
    const full = end - start >= (needed ? NEEDED_BYTES : ASKED_BYTES);
    if (!full && (needed || digest[0]! % LAST_OF !== 0) && end !== firstBytes && end !== tailAt) continue;
    ends.push(end);
    start = end;
  }
  if (start < sizeBytes) ends.push(sizeBytes);
  return ends;
}
