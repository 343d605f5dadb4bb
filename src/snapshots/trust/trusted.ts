/**
 * What a client believes, and how that grows: each role's file is taken only when those above it vouch for it and it is no older than
 * what was believed before. The Update Framework's specification 1.0, section 5: refused are rollback, freeze and mix-and-match.
 */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import { checkSignatures, parseMetadata, type MetaFile, type Root, type SnapshotRole, type Targets, type Timestamp } from './metadata.ts';

/** Files larger than this are not read at all; the others' lengths are signed for. */
export const ROOT_MAX_BYTES = 512 * 1024;
export const TIMESTAMP_MAX_BYTES = 16 * 1024;
export const METADATA_MAX_BYTES = 64 * 1024 * 1024;

export class TrustedMetadata {
  readonly #where: string;
  root: Root;
  timestamp: Timestamp | undefined;
  snapshot: SnapshotRole | undefined;
  targets: Targets | undefined;

  private constructor(where: string, root: Root) {
    this.#where = where;
    this.root = root;
  }

  /** From a root that is trusted for another reason: it was believed before, or its digest was. `where` is for messages. */
  static async from(where: string, data: Uint8Array): Promise<TrustedMetadata> {
    const file = parseMetadata(`${where}: root`, 'root', data);
    await checkSignatures(`${where}: root`, 'root', file.signed, file);
    return new TrustedMetadata(where, file.signed);
  }

  /** The next root: signed by the keys of the last one and by its own. */
  async nextRoot(data: Uint8Array): Promise<void> {
    const name = `${this.#where}: root ${this.root.version + 1}`;
    const file = parseMetadata(name, 'root', data);
    await checkSignatures(name, 'root', this.root, file);
    await checkSignatures(name, 'root', file.signed, file);
    if (file.signed.version !== this.root.version + 1)
      throw new VmError('bad-signature', `${name}: it has version ${file.signed.version}, which does not follow ${this.root.version}`);
    const same = (['timestamp', 'snapshot'] as const).every(
      (role) => this.root.roles[role].keyids.toSorted().join() === file.signed.roles[role].keyids.toSorted().join(),
    );
    // Whoever had the old keys may have signed versions so high that nothing could follow them.
    if (!same) this.timestamp = this.snapshot = undefined;
    this.root = file.signed;
  }

  /** Call when there is no newer root. */
  checkRootExpiry(nowMs: number): void {
    this.#notExpired('root', this.root.expires, nowMs);
  }

  /** False when it is what was believed before. */
  async setTimestamp(data: Uint8Array, nowMs: number): Promise<boolean> {
    const name = `${this.#where}: timestamp`;
    const file = parseMetadata(name, 'timestamp', data);
    await checkSignatures(name, 'timestamp', this.root, file);
    const before = this.timestamp;
    if (before) {
      this.#noRollback('timestamp', before.version, file.signed.version);
      this.#noRollback('snapshot', before.meta['snapshot.json'].version, file.signed.meta['snapshot.json'].version);
    }
    this.#notExpired('timestamp', file.signed.expires, nowMs);
    if (before?.version === file.signed.version) return false;
    this.timestamp = file.signed;
    return true;
  }

  /** One that was believed before: what follows must not be older. It need not be the one that is valid now. */
  async rememberSnapshot(data: Uint8Array): Promise<void> {
    const name = `${this.#where}: snapshot of last time`;
    const file = parseMetadata(name, 'snapshot', data);
    await checkSignatures(name, 'snapshot', this.root, file);
    this.snapshot = file.signed;
  }

  async setSnapshot(data: Uint8Array, nowMs: number): Promise<void> {
    const name = `${this.#where}: snapshot`;
    const vouched = this.timestamp!.meta['snapshot.json'];
    await this.#isVouchedFor('snapshot', data, vouched);
    const file = parseMetadata(name, 'snapshot', data);
    await checkSignatures(name, 'snapshot', this.root, file);
    this.#isVersion('snapshot', file.signed.version, vouched);
    if (this.snapshot) this.#noRollback('targets', this.snapshot.meta['targets.json'].version, file.signed.meta['targets.json'].version);
    this.#notExpired('snapshot', file.signed.expires, nowMs);
    this.snapshot = file.signed;
  }

  async setTargets(data: Uint8Array, nowMs: number): Promise<void> {
    const name = `${this.#where}: targets`;
    const vouched = this.snapshot!.meta['targets.json'];
    await this.#isVouchedFor('targets', data, vouched);
    const file = parseMetadata(name, 'targets', data);
    await checkSignatures(name, 'targets', this.root, file);
    this.#isVersion('targets', file.signed.version, vouched);
    this.#notExpired('targets', file.signed.expires, nowMs);
    this.targets = file.signed;
  }

  async #isVouchedFor(role: string, data: Uint8Array, vouched: MetaFile): Promise<void> {
    if (data.length === vouched.length && (await sha256(data)) === vouched.hashes.sha256) return;
    throw new VmError(
      'bad-digest',
      `${this.#where}: ${role} is not the file that was signed for: parts of different days, or damage on the way`,
    );
  }

  #isVersion(role: string, version: number, vouched: MetaFile): void {
    if (version === vouched.version) return;
    throw new VmError('bad-signature', `${this.#where}: ${role} has version ${version}, but ${vouched.version} was signed for`);
  }

  #noRollback(role: string, before: number, now: number): void {
    if (now >= before) return;
    throw new VmError(
      'bad-signature',
      `${this.#where}: it offers version ${now} of ${role}, but version ${before} was seen before: an old copy, or somebody wants to sell old for new`,
    );
  }

  #notExpired(role: string, expires: string, nowMs: number): void {
    if (nowMs < Date.parse(expires)) return;
    throw new VmError(
      'bad-signature',
      `${this.#where}: ${role} has expired at ${expires}: the publisher has not signed it anew, or somebody keeps newer states away (is this computer's clock right?)`,
    );
  }
}
