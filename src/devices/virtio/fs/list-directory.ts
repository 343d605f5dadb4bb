/** READDIR and READDIRPLUS: struct fuse_dirent, and fuse_direntplus, which has the attributes, too. */
import type { FileSystemBackend } from '../../../machine/backends.ts';
import { S_IFMT } from '../../../machine/posix.ts';
import type { Message } from './message.ts';
import { DIRENT_HEADER, ENTRY_SIZE, OUT_HEADER } from './wire.ts';

/** Three bytes for each unit of the longest name. */
const MAX_NAME = 3 * 255;

/** Fills at most `size` bytes of the answer; gives how many, or a negated errno. */
export function listDirectory(m: Message, fs: FileSystemBackend, cookie: number, size: number, plus: boolean): number {
  const limit = Math.min(size, m.room);
  const head = (plus ? ENTRY_SIZE : 0) + DIRENT_HEADER;
  let at = 0;
  const answer = fs.list(m.nodeid, cookie, (name, ino, next) => {
    // The name is written before its length is known: there has to be room in the buffer, if not in the guest's.
    if (at + head + MAX_NAME > m.answer.length - OUT_HEADER) return false;
    const length = m.putName(at + head, name);
    const end = at + ((head + length + 7) & ~7);
    if (end > limit) return false;
    const attributes = fs.attributes(ino);
    if (!attributes) return true;
    if (plus) {
      // `.` and `..` are listed, and not looked up.
      const known = name === '.' || name === '..';
      m.putEntry(at, known ? undefined : attributes);
      if (!known) fs.retain(ino);
    }
    const entry = at + head - DIRENT_HEADER;
    m.putU64(entry, ino);
    m.putU64(entry + 8, next);
    m.putU32(entry + 16, length);
    m.putU32(entry + 20, (attributes.mode & S_IFMT) >>> 12);
    m.answer.fill(0, OUT_HEADER + at + head + length, OUT_HEADER + end);
    at = end;
    return true;
  });
  return answer < 0 ? answer : at;
}
