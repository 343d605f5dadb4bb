/** Tiny userlands: busybox, a script as /init, and what else a test wants in there. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryChunkStore } from '../../src/storage/chunk-store.ts';
import { toInitramfs } from '../../src/snapshots/debian/image.ts';
import { TreeBuilder } from '../../src/storage/tree-builder.ts';

const SET_UP = `export PATH=/bin
/bin/busybox --install /bin
mkdir -p /dev /proc /sys
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
`;

/** An initramfs whose /init is `script`, run by busybox's shell with busybox's programs and /dev, /proc and /sys mounted. */
export async function initramfs(
  busybox: Uint8Array,
  script: string,
  files: Readonly<Record<string, Uint8Array>> = {},
): Promise<Uint8Array> {
  const store = new MemoryChunkStore();
  const builder = new TreeBuilder(0);
  const put = async (path: string, mode: number, data: Uint8Array): Promise<void> => {
    builder.add(path, { type: 'file', mode, uid: 0, gid: 0, mtime: 0, digest: await store.put(data), sizeBytes: data.length }, 'the test');
  };
  await put('bin/busybox', 0o755, busybox);
  await put('init', 0o755, new TextEncoder().encode(`#!/bin/busybox sh\n${SET_UP}${script}`));
  for (const [path, data] of Object.entries(files)) await put(path, 0o644, data);
  return toInitramfs(builder.build(), store);
}

/** A directory for the files of one test file. */
export class Scratch {
  readonly directory = mkdtempSync(join(tmpdir(), 'daybreak-boot-'));

  write(name: string, data: Uint8Array): string {
    const path = join(this.directory, name);
    writeFileSync(path, data);
    return path;
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
