/** `Files` on Node's fs. */
import { link, open, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { VmError } from '../base/errors.ts';
import type { Appender, FileInfo, Files, Hole } from '../platform/files.ts';

const REMEDIES: Record<string, string> = {
  ENOSPC: 'the disk is full: free some space, or choose a place on another disk (for the cache: XDG_CACHE_HOME)',
  EDQUOT: 'the disk quota is used up: free some space, or choose a place on another disk (for the cache: XDG_CACHE_HOME)',
  EACCES: 'permission denied: check who owns it, or choose another place (for the cache: XDG_CACHE_HOME)',
  EPERM: 'operation not permitted: check who owns it',
  EROFS: 'the file system is read-only: choose a place that can be written (for the cache: XDG_CACHE_HOME)',
  EISDIR: 'it is a directory, a file was expected',
  ENOTDIR: 'a part of the path is a file, a directory was expected',
  EMFILE: 'too many open files: raise the limit (ulimit -n)',
  ENFILE: 'too many open files on this system',
  EIO: 'the device reports an input/output error',
};

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}

/** A `host-io` error that says what was tried on which path, and what would help. */
export function hostError(action: string, path: string, error: unknown): VmError {
  if (error instanceof VmError) return error;
  const code = codeOf(error);
  const reason = REMEDIES[code] ?? (error instanceof Error ? error.message : String(error));
  return new VmError(
    code === 'ENOENT' ? 'not-found' : 'host-io',
    `cannot ${action} ${path}: ${code === 'ENOENT' ? 'it does not exist' : reason}`,
    error,
  );
}

async function optional<T>(action: string, path: string, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw hostError(action, path, error);
  }
}

async function required<T>(action: string, path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw hostError(action, path, error);
  }
}

export class NodeFiles implements Files {
  #serial = 0;

  async read(path: string): Promise<Uint8Array | undefined> {
    const data = await optional('read', path, readFile(path));
    return data && new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }

  async info(path: string): Promise<FileInfo | undefined> {
    const found = await optional('look at', path, stat(path));
    return found && { sizeBytes: found.size, mtimeMs: found.mtimeMs, directory: found.isDirectory() };
  }

  async list(path: string): Promise<string[]> {
    return ((await optional('list', path, readdir(path))) ?? []).sort();
  }

  async makeDirectory(path: string): Promise<void> {
    await required('make directory', path, () => mkdir(path, { recursive: true }));
  }

  async write(path: string, data: Uint8Array | AsyncIterable<Uint8Array | Hole>): Promise<void> {
    const temporary = `${path}.${process.pid}.${this.#serial++}.new`;
    try {
      const file = await this.append(temporary, 0);
      try {
        if (data instanceof Uint8Array) await file.write(data);
        else for await (const part of data) await ('holeBytes' in part ? file.skip(part.holeBytes) : file.write(part));
      } finally {
        await file.close();
      }
      await required('write', path, () => rename(temporary, path));
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw error;
    }
  }

  async create(path: string, data: Uint8Array, secret = false): Promise<boolean> {
    const temporary = `${path}.${process.pid}.${this.#serial++}.new`;
    try {
      await this.makeDirectory(dirname(path));
      await required('write', path, () => writeFile(temporary, data, { mode: secret ? 0o600 : 0o666, flag: 'wx', flush: true }));
      // A link, unlike a rename, replaces nothing.
      await link(temporary, path);
      return true;
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      throw hostError('write', path, error);
    } finally {
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  async append(path: string, offset: number): Promise<Appender> {
    await this.makeDirectory(dirname(path));
    const handle = await required('write', path, async () => {
      const handle = await open(path, offset === 0 ? 'w' : 'r+');
      if (offset > 0) await handle.truncate(offset);
      return handle;
    });
    let at = offset;
    let closed = false;
    return {
      write: (data) =>
        required('write', path, async () => {
          for (let done = 0; done < data.length;) {
            const { bytesWritten } = await handle.write(data, done, data.length - done, at);
            done += bytesWritten;
            at += bytesWritten;
          }
        }),
      skip: (bytes) => {
        at += bytes;
        return required('write', path, () => handle.truncate(at));
      },
      close: async () => {
        if (closed) return;
        closed = true;
        await required('write', path, async () => {
          try {
            await handle.datasync();
          } finally {
            await handle.close();
          }
        });
      },
    };
  }

  async rename(from: string, to: string): Promise<void> {
    await required('rename', from, () => rename(from, to));
  }

  async touch(path: string): Promise<boolean> {
    const now = new Date();
    return utimes(path, now, now).then(
      () => true,
      // What is not ours may be there.
      () => this.info(path).then(Boolean, () => false),
    );
  }

  async remove(path: string): Promise<void> {
    await required('remove', path, () => rm(path, { recursive: true, force: true }));
  }
}
