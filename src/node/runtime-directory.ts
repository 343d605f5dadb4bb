/** Where a user's running programs leave their sockets: XDG_RUNTIME_DIR, /run/user/UID, or a directory of the user's own under /tmp. */
import { chmod, lstat, mkdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { VmError } from '../base/errors.ts';
import { hostError } from './files.ts';

interface Places {
  readonly uid: number | undefined;
  /** Has a directory for each user who is logged in. */
  readonly users: string;
  readonly temporary: string;
}

/**
 * Makes the directory where it is not there, for its owner alone, and gives its path. Rejects with `host-io` when somebody else owns it or
 * could write there: what lies in it would be theirs to choose.
 */
export async function openRuntimeDirectory(
  environment: Readonly<Record<string, string | undefined>>,
  { uid, users, temporary }: Places = { uid: process.getuid?.(), users: '/run/user', temporary: tmpdir() },
): Promise<string> {
  const given = environment['XDG_RUNTIME_DIR'];
  // A shell that nobody logged in to (cron, su) has no such variable, and means the same user's machines.
  const usual = `${users}/${uid}`;
  const parent = given?.startsWith('/') && (await isOwn(given, uid)) ? given : (await isOwn(usual, uid)) ? usual : undefined;
  const path = parent === undefined ? `${temporary}/daybreak-${uid ?? 'user'}` : `${parent.replace(/\/+$/, '')}/daybreak`;
  try {
    await mkdir(path, { mode: 0o700 });
    // The mask may have taken away more than was asked for.
    await chmod(path, 0o700);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw hostError('make directory', path, error);
  }
  const found = await lstat(path).catch((error: unknown) => {
    throw hostError('look at', path, error);
  });
  const wrong = !found.isDirectory()
    ? 'it is no directory'
    : uid !== undefined && found.uid !== uid
      ? `it belongs to somebody else (user ${found.uid})`
      : uid !== undefined && (found.mode & 0o022) !== 0
        ? 'others may write there (chmod 700 mends that)'
        : undefined;
  if (wrong === undefined) return path;
  throw new VmError('host-io', `${path}: ${wrong}; point XDG_RUNTIME_DIR at a directory of yours`);
}

/** Whether it is a directory that nobody else made: with the XDG variable of somebody else (su), it is not. */
async function isOwn(path: string, uid: number | undefined): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory() && (uid === undefined || found.uid === uid),
    () => false,
  );
}
