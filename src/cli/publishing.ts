/** What the verbs of publishing and getting have in common. */
import { VmError } from '../base/errors.ts';
import { isSha256, sha256 } from '../base/sha256.ts';
import type { PullHost, PullOptions } from '../snapshots/get/pull.ts';
import { nodeStateCodec } from '../node/state-codec.ts';
import { nodeZstd } from '../node/zstd.ts';
import type { Host } from './host.ts';

/** Of `--trust`. Throws VmError `usage`. */
export function fingerprintOf(value: string | undefined): string | undefined {
  if (value !== undefined && !isSha256(value))
    throw new VmError('usage', `--trust ${value}: expected a publisher's fingerprint: 64 characters 0 to f`);
  return value;
}

export async function pullHost(host: Host): Promise<PullHost> {
  const { files, clock, messages, signal } = host;
  return { files, clock, zstd: await nodeZstd(), stateCodec: await nodeStateCodec(), progress: messages.progress, signal };
}

/** Where what is believed of a source, and its indexes, are kept. */
export async function pullOptions(host: Host, place: string, fingerprint: string | undefined): Promise<PullOptions> {
  const name = await sha256(new TextEncoder().encode(place.replace(/\/+$/, '')));
  return {
    trustDirectory: `${host.stateDirectory}/sources/${name.slice(0, 32)}`,
    cacheDirectory: host.cacheDirectory,
    ...(fingerprint !== undefined && { fingerprint }),
  };
}
