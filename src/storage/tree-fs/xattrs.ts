/** Extended attributes of one inode: xattr(7). */
import type { Answer } from '../../machine/backends.ts';
import { E2BIG, EEXIST, ENODATA, ENOSPC, EOPNOTSUPP, ERANGE, XATTR_CREATE, XATTR_REPLACE } from '../../machine/posix.ts';
import type { Quota } from './quota.ts';

const MAX_NAME = 255;
const MAX_VALUE_BYTES = 65_536;
/** What listxattr(2) can give. */
const MAX_NAMES_BYTES = 65_536;

/** Access lists live under `system.`: they would have to be obeyed, so they are not taken. */
export function set(xattrs: Map<string, Uint8Array>, name: string, value: Uint8Array, flags: number, quota: Quota): Answer {
  if (!/^(user|security|trusted)\../.test(name)) return -EOPNOTSUPP;
  if (name.length > MAX_NAME) return -ERANGE;
  if (value.length > MAX_VALUE_BYTES) return -E2BIG;
  const old = xattrs.get(name);
  if (flags & XATTR_CREATE && old) return -EEXIST;
  if (flags & XATTR_REPLACE && !old) return -ENODATA;
  let names = name.length + 1;
  if (!old) for (const other of xattrs.keys()) names += other.length + 1;
  if (names > MAX_NAMES_BYTES) return -ENOSPC;
  const more = value.length + (old ? -old.length : name.length);
  if (!quota.take(more)) return -ENOSPC;
  xattrs.set(name, value);
  return 0;
}

export function remove(xattrs: Map<string, Uint8Array>, name: string, quota: Quota): Answer {
  const old = xattrs.get(name);
  if (!old) return -ENODATA;
  xattrs.delete(name);
  quota.give(old.length + name.length);
  return 0;
}

/** What they are charged with. */
export function cost(xattrs: ReadonlyMap<string, Uint8Array>): number {
  let bytes = 0;
  for (const [name, value] of xattrs) bytes += name.length + value.length;
  return bytes;
}
