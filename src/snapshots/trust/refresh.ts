/** Brings a client's metadata up to date, and remembers what was believed for the next time. */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import type { Files } from '../../platform/files.ts';
import type { MetaFile, Target } from './metadata.ts';
import { METADATA_MAX_BYTES, ROOT_MAX_BYTES, TIMESTAMP_MAX_BYTES, TrustedMetadata } from './trusted.ts';

/** So many changes of keys are followed at once. */
const ROOTS_MAX = 256;

/** Where metadata comes from: a path within what was published. */
export interface MetadataSource {
  /** For messages. */
  readonly name: string;
  /** The file, always asked of its origin; undefined when there is none. Rejects when it is longer than `limitBytes`. */
  read(path: string, limitBytes: number): Promise<Uint8Array | undefined>;
}

export interface RefreshOptions {
  readonly files: Files;
  /** What is remembered of this source. */
  readonly directory: string;
  readonly nowMs: number;
  /** SHA-256 of the first root: what a person got from the publisher. Needed the first time. */
  readonly fingerprint?: string;
}

/** All that is published now. Rejects with `bad-signature`, `bad-digest`, `network`, `not-found` or `host-io`. */
export async function refreshTargets(source: MetadataSource, options: RefreshOptions): Promise<Readonly<Record<string, Target>>> {
  const { files, directory, nowMs } = options;
  const keep = (name: string, data: Uint8Array) => files.write(`${directory}/${name}.json`, data);
  const kept = (name: string) => files.read(`${directory}/${name}.json`);
  const trusted = await TrustedMetadata.from(source.name, await firstRoot(source, options));
  await believeAgain(trusted, kept);
  for (let count = 0; count < ROOTS_MAX; count++) {
    const data = await source.read(`metadata/${trusted.root.version + 1}.root.json`, ROOT_MAX_BYTES);
    if (!data) break;
    await trusted.nextRoot(data);
    await keep('root', data);
  }
  trusted.checkRootExpiry(nowMs);
  const timestamp = await required(source, 'metadata/timestamp.json', TIMESTAMP_MAX_BYTES);
  if (await trusted.setTimestamp(timestamp, nowMs)) await keep('timestamp', timestamp);
  const snapshot = await current(source, 'snapshot', trusted.timestamp!.meta['snapshot.json'], await kept('snapshot'));
  await trusted.setSnapshot(snapshot, nowMs);
  const targets = await current(source, 'targets', trusted.snapshot!.meta['targets.json'], await kept('targets'));
  await trusted.setTargets(targets, nowMs);
  // Both only now: what is remembered has always been believed as a whole.
  await keep('snapshot', snapshot);
  await keep('targets', targets);
  return trusted.targets!.targets;
}

async function firstRoot(source: MetadataSource, { files, directory, fingerprint }: RefreshOptions): Promise<Uint8Array> {
  const known = await files.read(`${directory}/root.json`);
  const first = await files.read(`${directory}/first-root.json`);
  if (known && first) {
    if (fingerprint !== undefined && (await sha256(first)) !== fingerprint)
      throw new VmError(
        'bad-signature',
        `${source.name}: its first root was believed to be ${await sha256(first)}, not ${fingerprint}: another publisher? If that is right, remove ${directory}`,
      );
    return known;
  }
  const data = await required(source, 'metadata/1.root.json', ROOT_MAX_BYTES);
  const digest = await sha256(data);
  if (fingerprint === undefined)
    throw new VmError(
      'bad-signature',
      `${source.name}: nothing is known of this publisher. The source says that its fingerprint is ${digest}: if the publisher says so too, by another way, add --trust ${digest}`,
    );
  if (digest !== fingerprint)
    throw new VmError('bad-signature', `${source.name}: its fingerprint is ${digest}, not ${fingerprint}: this is another publisher`);
  await TrustedMetadata.from(source.name, data);
  await files.write(`${directory}/first-root.json`, data);
  await files.write(`${directory}/root.json`, data);
  return data;
}

/** What was believed last time, as far as it can be read and is the present root's: its versions are the least that is accepted. */
async function believeAgain(trusted: TrustedMetadata, kept: (name: string) => Promise<Uint8Array | undefined>): Promise<void> {
  const long = Number.NEGATIVE_INFINITY; // Expired files still tell their version.
  try {
    const timestamp = await kept('timestamp');
    if (timestamp) await trusted.setTimestamp(timestamp, long);
    const snapshot = await kept('snapshot');
    if (snapshot) await trusted.rememberSnapshot(snapshot);
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
  }
}

/** The file that is vouched for: the one of last time when it is that. */
async function current(
  source: MetadataSource,
  role: string,
  { version, length, hashes }: MetaFile,
  before?: Uint8Array,
): Promise<Uint8Array> {
  if (before?.length === length && (await sha256(before)) === hashes.sha256) return before;
  const path = `metadata/${version}.${role}.json`;
  if (length > METADATA_MAX_BYTES)
    throw new VmError('bad-signature', `${source.name}: ${path} would have ${length} bytes, which is refused`);
  return required(source, path, length);
}

async function required(source: MetadataSource, path: string, limitBytes: number): Promise<Uint8Array> {
  const data = await source.read(path, limitBytes);
  if (data) return data;
  throw new VmError('not-found', `${source.name}: there is no ${path}: is this the address of something that daybreak published?`);
}
