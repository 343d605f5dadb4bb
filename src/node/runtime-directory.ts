/** Where a user's running programs leave their sockets: XDG_RUNTIME_DIR, or a directory of the user's own under /tmp. */
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { VmError } from '../base/errors.ts';
import { hostError } from './files.ts';

/**
 * Makes the directory where it is not there, for its owner alone, and gives its path. Rejects with `host-io` when somebody else owns it or
 * could write there: what lies in it would be theirs to choose.
 */
export async function openRuntimeDirectory(
  environment: Readonly<Record<string, string | undefined>>,
  uid: number | undefined = process.getuid?.(),
  fallback: string = tmpdir(),
): Promise<string> {
  const given = environment['XDG_RUNTIME_DIR'];
  const inGiven = given?.startsWith('/') === true && (await isDirectory(given));
  const path = inGiven ? `${given.replace(/\/+$/, '')}/daybreak` : `${fallback}/daybreak-${uid ?? 'user'}`;
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

async function isDirectory(path: string): Promise<boolean> {
  return lstat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
