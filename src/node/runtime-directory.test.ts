import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { openRuntimeDirectory } from './runtime-directory.ts';

let scratch: string;
const uid = process.getuid?.();

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'daybreak-run-'));
  return () => rmSync(scratch, { recursive: true, force: true });
});

const places = () => ({ uid, users: `${scratch}/users`, temporary: scratch });
const modeOf = (path: string) => statSync(path).mode & 0o777;

describe.skipIf(uid === undefined)('the runtime directory', () => {
  test('is in XDG_RUNTIME_DIR, for its owner alone, and found again', async () => {
    const path = await openRuntimeDirectory({ XDG_RUNTIME_DIR: `${scratch}/` });
    expect(path).toBe(`${scratch}/daybreak`);
    expect(modeOf(path)).toBe(0o700);
    expect(await openRuntimeDirectory({ XDG_RUNTIME_DIR: scratch })).toBe(path);
  });

  test.each([[undefined], ['relative'], ['/nowhere/at/all']])('is a directory of the user where XDG_RUNTIME_DIR is %j', async (given) => {
    const path = await openRuntimeDirectory({ XDG_RUNTIME_DIR: given }, places());
    expect(path).toBe(`${scratch}/daybreak-${uid}`);
    expect(modeOf(path)).toBe(0o700);
  });

  test('is that of the user’s session where the variable is missing, or is somebody else’s', async () => {
    mkdirSync(`${scratch}/users/${uid}`, { recursive: true });
    expect(await openRuntimeDirectory({}, places())).toBe(`${scratch}/users/${uid}/daybreak`);
    // Another user with these variables gets a directory elsewhere, which here is not theirs.
    const given = { XDG_RUNTIME_DIR: `${scratch}/users/${uid}` };
    await expect(openRuntimeDirectory(given, { ...places(), uid: uid! + 1 })).rejects.toThrow(
      `${scratch}/daybreak-${uid! + 1}: it belongs`,
    );
  });

  test('is refused when it is a link, a file, somebody else’s, or open to others', async () => {
    const path = `${scratch}/daybreak-${uid}`;
    const opened = () => openRuntimeDirectory({}, places());
    mkdirSync(join(scratch, 'elsewhere'));
    symlinkSync(join(scratch, 'elsewhere'), path);
    await expect(opened()).rejects.toThrow('it is no directory; point XDG_RUNTIME_DIR at a directory of yours');
    rmSync(path);
    writeFileSync(path, '');
    await expect(opened()).rejects.toThrow('it is no directory');
    rmSync(path);
    mkdirSync(path);
    chmodSync(path, 0o777);
    await expect(opened()).rejects.toThrow('others may write there');
    chmodSync(path, 0o700);
    const other = `${scratch}/daybreak-${uid! + 1}`;
    mkdirSync(other, { mode: 0o700 });
    await expect(openRuntimeDirectory({}, { ...places(), uid: uid! + 1 })).rejects.toThrow(`belongs to somebody else (user ${uid})`);
  });
});
