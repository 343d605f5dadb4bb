/** What no package brings, and what the recipe's own files are. */
import { VmError } from '../../base/errors.ts';
import type { ChunkStore } from '../../storage/chunk-store.ts';
import type { TreeBuilder } from '../../storage/tree-builder.ts';
import { DEFAULT_MIRROR } from '../debian/apt-sources.ts';
import type { LoadedFile } from '../recipe/load.ts';

export interface SystemFiles {
  /** Seconds since 1970. */
  readonly time: number;
  readonly suites: readonly string[];
  readonly without: readonly string[];
  /** There is no base that has them already. */
  readonly first: boolean;
  readonly files: readonly LoadedFile[];
}

/**
 * Before packages are configured, so that their scripts find what an administrator would have set up. apt's mirror is the public one,
 * whatever the packages were fetched from: the tree is the same.
 */
export async function addSystemFiles(builder: TreeBuilder, store: ChunkStore, options: SystemFiles): Promise<void> {
  const where = 'the recipe';
  const put = async (path: string, data: Uint8Array, mode: number) => {
    const digest = await store.put(data);
    builder.add(path, { type: 'file', mode, uid: 0, gid: 0, mtime: options.time, digest, sizeBytes: data.length }, where);
  };
  const text = (path: string, content: string) => put(path, new TextEncoder().encode(content), 0o644);
  if (options.first) {
    for (const [template, place] of [
      ['usr/share/base-passwd/passwd.master', 'etc/passwd'],
      ['usr/share/base-passwd/group.master', 'etc/group'],
    ] as const) {
      const node = builder.lookup(template, where);
      if (node?.type !== 'file') throw new VmError('bad-image', `the packages lack /${template}, without which there is no usable system`);
      builder.add(place, { ...node }, where);
    }
    await text('etc/hostname', 'daybreak\n');
    await text('etc/hosts', '127.0.0.1 localhost\n127.0.1.1 daybreak\n::1 localhost ip6-localhost ip6-loopback\n');
    await text('etc/fstab', '');
    await text('etc/default/locale', 'LANG=C.UTF-8\n');
    await text(
      'etc/apt/sources.list.d/debian.sources',
      `Types: deb\nURIs: ${DEFAULT_MIRROR}\nSuites: ${options.suites.join(' ')}\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n`,
    );
    if (options.without.length > 0) {
      const lines = options.without.map((path) => `path-exclude=/${path.endsWith('/') ? `${path}*` : path}\n`);
      await text('etc/dpkg/dpkg.cfg.d/daybreak', `# What the recipe leaves out stays out when packages are upgraded.\n${lines.join('')}`);
    }
  }
  for (const { path, data, mode } of options.files) await put(path, data, mode);
}
