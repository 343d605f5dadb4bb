import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { concatBytes } from '../base/bytes.ts';
import { MemoryChunkStore } from './chunk-store.ts';
import { writeCpio } from './cpio.ts';
import { TreeBuilder } from './tree-builder.ts';

const meta = { uid: 0, gid: 0, mtime: 1_700_000_000 };

async function sample(): Promise<Uint8Array> {
  const store = new MemoryChunkStore();
  const builder = new TreeBuilder(meta.mtime);
  const data = new TextEncoder().encode('hello\n');
  const digest = await store.put(data);
  builder.add('dir/file', { type: 'file', ...meta, mode: 0o4755, uid: 3, gid: 4, digest, sizeBytes: data.length }, 't');
  builder.link('dir/again', 'dir/file', 't');
  builder.add('empty', { type: 'file', ...meta, mode: 0o600, digest: await store.put(new Uint8Array()), sizeBytes: 0 }, 't');
  builder.add('link', { type: 'symlink', ...meta, mode: 0o777, target: 'dir/file' }, 't');
  builder.add('null', { type: 'char', ...meta, mode: 0o666, major: 1, minor: 3 }, 't');
  builder.add('fifo', { type: 'fifo', ...meta, mode: 0o644 }, 't');
  const pieces: Uint8Array[] = [];
  for await (const piece of writeCpio(builder.build(), store)) pieces.push(piece);
  return concatBytes(pieces);
}

/** A second, independent reading of the format. */
function parse(archive: Uint8Array) {
  const text = new TextDecoder('latin1').decode(archive);
  const entries: { name: string; fields: number[]; content: string }[] = [];
  for (let at = 0; at < text.length;) {
    expect(text.slice(at, at + 6)).toBe('070701');
    const fields = Array.from({ length: 13 }, (_, i) => Number.parseInt(text.slice(at + 6 + i * 8, at + 14 + i * 8), 16));
    const nameEnd = at + 110 + fields[11]!;
    const dataStart = (nameEnd + 3) & ~3;
    entries.push({ name: text.slice(at + 110, nameEnd - 1), fields, content: text.slice(dataStart, dataStart + fields[6]!) });
    at = (dataStart + fields[6]! + 3) & ~3;
  }
  return entries;
}

test('entries have types, modes, owners, devices; parents come before children; the trailer is last', async () => {
  const entries = parse(await sample());
  expect(entries.map(({ name }) => name)).toEqual(['.', 'dir', 'dir/again', 'dir/file', 'empty', 'fifo', 'link', 'null', 'TRAILER!!!']);
  const of = (name: string) => entries.find((entry) => entry.name === name)!;
  expect(of('dir').fields[1]).toBe(0o040755);
  expect(of('dir/file').fields.slice(1, 4)).toEqual([0o104755, 3, 4]);
  expect(of('link')).toMatchObject({ content: 'dir/file' });
  expect(of('null').fields.slice(9, 11)).toEqual([1, 3]);
  expect(of('fifo').fields[1]).toBe(0o010644);
});

test('hard links share an inode, count two, and the content stands once, with the last', async () => {
  const entries = parse(await sample());
  const [first, last] = ['dir/again', 'dir/file'].map((name) => entries.find((entry) => entry.name === name)!);
  expect(first!.fields[0]).toBe(last!.fields[0]);
  expect([first!.fields[4], last!.fields[4]]).toEqual([2, 2]);
  expect([first!.content, last!.content]).toEqual(['', 'hello\n']);
});

test('the same tree gives the same bytes', async () => {
  expect(await sample()).toEqual(await sample());
});

test('content that is not what the tree says is an error', async () => {
  const store = new MemoryChunkStore();
  const builder = new TreeBuilder(0);
  const digest = await store.put(new Uint8Array(5));
  builder.add('x', { type: 'file', ...meta, mode: 0o644, digest, sizeBytes: 6 }, 't');
  const drain = async () => {
    for await (const _ of writeCpio(builder.build(), store));
  };
  await expect(drain()).rejects.toMatchObject({ code: 'bad-digest' });
});

const hasCpio = spawnSync('cpio', ['--version']).status === 0;

test.skipIf(!hasCpio)('GNU cpio unpacks it to the same files', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'daybreak-cpio-'));
  try {
    execFileSync('cpio', ['-id', '--quiet', '--no-absolute-filenames', 'dir/*', 'empty', 'link'], {
      cwd: directory,
      input: await sample(),
    });
    expect(readFileSync(join(directory, 'link'), 'utf8')).toBe('hello\n');
    expect(statSync(join(directory, 'dir/again')).ino).toBe(statSync(join(directory, 'dir/file')).ino);
    expect(statSync(join(directory, 'empty')).size).toBe(0);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
