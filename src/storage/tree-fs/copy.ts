/** copy_file_range(2), page by page within the file system: the bytes never go through the guest. */
import type { Answer, FileSystemBackend, NotYet } from '../../machine/backends.ts';
import { EINVAL } from '../../machine/posix.ts';

/** At most so much in one call; the guest's kernel asks again. */
const MAX_COPY = 4 * 2 ** 20;
const STEP = 65_536;

interface Place {
  readonly ino: number;
  readonly offset: number;
}

export function copyRange(fs: FileSystemBackend, from: Place, to: Place, length: number): Answer | NotYet {
  if (length < 0) return -EINVAL;
  const end = Math.min(length, MAX_COPY);
  const overlaps = from.ino === to.ino && Math.abs(from.offset - to.offset) < length;
  if (overlaps) return -EINVAL;
  const buffer = new Uint8Array(Math.min(STEP, end));
  let done = 0;
  while (done < end) {
    const part = buffer.subarray(0, Math.min(STEP, end - done));
    const count = fs.read(from.ino, from.offset + done, part.length, (at, bytes) => part.set(bytes, at));
    if (typeof count !== 'number' || count < 0) return done > 0 ? done : count;
    if (count === 0) return done;
    const written = fs.write(to.ino, to.offset + done, count, (at, into) => into.set(part.subarray(at, at + into.length)));
    if (typeof written !== 'number' || written < 0) return done > 0 ? done : written;
    done += count;
  }
  return done;
}
