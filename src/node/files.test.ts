import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NodeFiles } from './files.ts';

let directory: string;
const files = new NodeFiles();
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array | undefined) => data && new TextDecoder().decode(data);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-files-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

test('what is written can be read; parents are made', async () => {
  const path = join(directory, 'a/b/c');
  await files.write(path, bytes('content'));
  expect(text(await files.read(path))).toBe('content');
  expect(await files.info(path)).toMatchObject({ sizeBytes: 7, directory: false });
  expect(await files.list(join(directory, 'a/b'))).toEqual(['c']);
});

test('what is not there is undefined, empty, or nothing to remove', async () => {
  const path = join(directory, 'nothing');
  expect(await files.read(path)).toBeUndefined();
  expect(await files.info(path)).toBeUndefined();
  expect(await files.list(path)).toEqual([]);
  await files.remove(path);
});

test('a write that fails half-way leaves the old file and nothing else', async () => {
  const path = join(directory, 'x');
  await files.write(path, bytes('old'));
  const broken = (async function* pieces() {
    yield bytes('new');
    throw new Error('broken');
  })();
  await expect(files.write(path, broken)).rejects.toThrow('broken');
  expect(text(await files.read(path))).toBe('old');
  expect(readdirSync(directory)).toEqual(['x']);
});

test('appending goes on at the offset and cuts off what is behind it', async () => {
  const path = join(directory, 'x');
  writeFileSync(path, '0123456789');
  const file = await files.append(path, 4);
  await file.write(bytes('ab'));
  await file.close();
  await file.close();
  expect(text(await files.read(path))).toBe('0123ab');
});

describe('errors name the path and what would help', () => {
  test.skipIf(!existsSync('/dev/full'))('a full disk', async () => {
    const file = await files.append('/dev/full', 0);
    await expect(file.write(bytes('x'))).rejects.toMatchObject({
      code: 'host-io',
      message: expect.stringMatching(/\/dev\/full: the disk is full: free some space/),
    });
    await file.close().catch(() => {});
  });

  test('a file where a directory is needed', async () => {
    writeFileSync(join(directory, 'x'), '');
    await expect(files.write(join(directory, 'x/y'), bytes(''))).rejects.toMatchObject({
      code: 'host-io',
      message: expect.stringContaining(join(directory, 'x')),
    });
  });

  test('a directory where a file is wanted', async () => {
    await expect(files.read(directory)).rejects.toMatchObject({ code: 'host-io', message: expect.stringContaining('it is a directory') });
  });

  test.skipIf(process.getuid?.() === 0)('a missing permission', async () => {
    mkdirSync(join(directory, 'locked'));
    chmodSync(join(directory, 'locked'), 0o500);
    await expect(files.write(join(directory, 'locked/x'), bytes(''))).rejects.toThrow(/permission denied/);
  });
});
