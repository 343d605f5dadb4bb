/** Where a saved state is cut into pieces: between its frames, so that whoever needs a page fetches no more than one of them. */
import { openState } from '../../machine/saved-state-file.ts';
import type { ByteSource, StateCodec } from '../../machine/saved-state.ts';
import type { Cut } from '../../storage/packs/pack-writer.ts';
import type { StateBytes } from '../catalogue/booted.ts';

/** What everybody needs is fetched as a whole: fewer pieces, a smaller index. */
const NEEDED_BYTES = 512 * 1024;
/** What is fetched when a page is asked for: few enough to wait for, many enough to make up for a request. */
const ASKED_BYTES = 64 * 1024;

/** Throws `bad-state` when it is no whole state. */
export function cutState(source: ByteSource, { sizeBytes, firstBytes, tailBytes }: StateBytes, codec: StateCodec): Cut {
  const { frames, described } = openState(source, codec);
  const tailAt = sizeBytes - tailBytes;
  const ends: number[] = [];
  let start = 0;
  for (const { offset, length } of [...frames, ...described]) {
    const end = offset + length;
    const most = end <= firstBytes || start >= tailAt ? NEEDED_BYTES : ASKED_BYTES;
    if (end - start < most && end !== firstBytes && end !== tailAt) continue;
    ends.push(end);
    start = end;
  }
  if (start < sizeBytes) ends.push(sizeBytes);
  return () => ends;
}
