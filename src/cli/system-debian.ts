/** What this computer's own Debian, if it is one, knows of Debian's archive. */
import type { Files } from '../platform/files.ts';
import { mirrorFromSources } from '../snapshots/debian/apt-sources.ts';

const KEYRINGS = ['/usr/share/keyrings/debian-archive-keyring.pgp', '/usr/share/keyrings/debian-archive-keyring.gpg'];

/** The mirror that this system's apt uses, if it is a Debian. */
export async function systemMirror(files: Files): Promise<string | undefined> {
  const directory = '/etc/apt/sources.list.d';
  const names = (await files.list(directory)).filter((name) => /\.(list|sources)$/.test(name));
  const found: [string, string][] = [];
  for (const path of ['/etc/apt/sources.list', ...names.map((name) => `${directory}/${name}`)]) {
    const data = await files.read(path).catch(() => undefined);
    if (data) found.push([path, new TextDecoder().decode(data)]);
  }
  return mirrorFromSources(found);
}

/** The archive keys that this system trusts, if it is a Debian. */
export async function systemKeyring(files: Files): Promise<Uint8Array[]> {
  for (const path of KEYRINGS) {
    const data = await files.read(path).catch(() => undefined);
    if (data) return [data];
  }
  return [];
}
