/** The little archive behind the initramfs that tells /init what to do in this run. */
import { concatBytes } from '../../base/bytes.ts';
import { writeCpio } from '../../storage/cpio.ts';
import { MemoryChunkStore } from '../../storage/chunk-store.ts';
import { TreeBuilder } from '../../storage/tree-builder.ts';
import { RUN_DIRECTORY } from './init-script.ts';

/** What differs from run to run. */
export interface RunOptions {
  /** A command and its arguments instead of a shell. */
  readonly command?: readonly string[];
  /** The host terminal's size, for when the console device cannot tell. */
  readonly size?: { readonly columns: number; readonly rows: number };
  /** The host terminal's type. */
  readonly term?: string;
  /** No person at the console: no echo, and lines end with LF alone. */
  readonly plain?: boolean;
}

/** Names below `RUN_DIRECTORY`, and contents. */
export function runFiles({ command, size, term, plain }: RunOptions): (readonly [name: string, content: string])[] {
  const files: (readonly [string, string])[] = [];
  if (command) files.push(['command', command.map((word) => `${word}\0`).join('')]);
  if (size) files.push(['size', `${size.rows} ${size.columns}\n`]);
  if (term && /^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$/.test(term)) files.push(['term', `${term}\n`]);
  if (plain) files.push(['plain', '']);
  return files;
}

/** A cpio archive to be appended to the initramfs. */
export async function runArchive(options: RunOptions): Promise<Uint8Array> {
  const store = new MemoryChunkStore();
  const builder = new TreeBuilder(0);
  for (const [name, content] of runFiles(options)) {
    const data = new TextEncoder().encode(content);
    const digest = await store.put(data);
    const path = `${RUN_DIRECTORY}/${name}`;
    builder.add(path, { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, digest, sizeBytes: data.length }, 'run archive');
  }
  const pieces: Uint8Array[] = [];
  for await (const piece of writeCpio(builder.build(), store)) pieces.push(piece);
  return concatBytes(pieces);
}
