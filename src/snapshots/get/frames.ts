/** Gets frames out of packs: what lies together is fetched together. */
import { VmError } from '../../base/errors.ts';
import type { Zstd } from '../../platform/zstd.ts';
import { PIECE_MAX_BYTES, type Frame } from '../../storage/packs/pack-index.ts';
import { packFile } from '../publish/manifest.ts';
import type { Source } from './source.ts';

/** A gap up to this is fetched along: it costs less than a request. */
const GAP_BYTES = 64 * 1024;

/** A stretch of a pack, and the frames in it that are wanted. */
export interface Stretch {
  readonly pack: string;
  readonly offset: number;
  readonly length: number;
  readonly frames: readonly Frame[];
}

/** In the order in which each pack is first needed. */
export function stretchesOf(frames: Iterable<Frame>): Stretch[] {
  const packs = new Map<string, Set<Frame>>();
  for (const frame of frames) {
    const known = packs.get(frame.pack.digest);
    if (known) known.add(frame);
    else packs.set(frame.pack.digest, new Set([frame]));
  }
  const found: Stretch[] = [];
  for (const [pack, wanted] of packs) {
    let open: { pack: string; offset: number; length: number; frames: Frame[] } | undefined;
    for (const frame of [...wanted].sort((a, b) => a.offset - b.offset)) {
      if (open && frame.offset - (open.offset + open.length) <= GAP_BYTES) {
        open.length = Math.max(open.length, frame.offset + frame.length - open.offset);
        open.frames.push(frame);
      } else {
        open = { pack, offset: frame.offset, length: frame.length, frames: [frame] };
        found.push(open);
      }
    }
  }
  return found;
}

/** The packed bytes of each frame. */
export async function fetchStretch(source: Source, stretch: Stretch, signal?: AbortSignal): Promise<Map<Frame, Uint8Array>> {
  const data = await source.range(packFile(stretch.pack), stretch.offset, stretch.length, signal);
  return new Map(
    stretch.frames.map((frame) => {
      const start = frame.offset - stretch.offset;
      return [frame, data.subarray(start, start + frame.length)];
    }),
  );
}

/** Unpacks a frame of pieces. Throws `bad-digest`: only damage or malice makes it fail. */
export function unpackFrame(source: Source, frame: Frame, data: Uint8Array, zstd: Zstd): Uint8Array {
  const raw = frame.rawBytes > PIECE_MAX_BYTES ? undefined : zstd.decompress(data, frame.rawBytes);
  if (raw) return raw;
  throw new VmError(
    'bad-digest',
    `${source.name}/${packFile(frame.pack.digest)}: at ${frame.offset} it is not what was published: the pack is damaged, cut short or another one`,
  );
}
