/**
 * A suite's InRelease file: what was signed, by whom, when, and which index has which digest.
 * https://wiki.debian.org/DebianRepository/Format, RFC 9580 section 7 (cleartext signatures).
 */
import { readCleartextMessage, readKeys, verify, type Key } from 'openpgp';
import { VmError } from '../../base/errors.ts';
import { isSha256 } from '../../base/sha256.ts';
import { fieldOf } from './control.ts';

export interface IndexFile {
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface Release {
  readonly suite: string;
  readonly codename: string;
  readonly dateMs: number;
  readonly validUntilMs: number | undefined;
  readonly byHash: boolean;
  readonly files: ReadonlyMap<string, IndexFile>;
}

/** Keys that may sign an archive; `armored` and `binary` are OpenPGP certificates. Earlier ones win over later copies. */
export async function readKeyring(sources: readonly (string | Uint8Array)[]): Promise<Key[]> {
  const keys = new Map<string, Key>();
  for (const source of sources) {
    let found: Key[];
    try {
      found = await (typeof source === 'string' ? readKeys({ armoredKeys: source }) : readKeys({ binaryKeys: source }));
    } catch (error) {
      throw new VmError('bad-signature', `the keyring cannot be read: ${error instanceof Error ? error.message : String(error)}`, error);
    }
    for (const key of found) if (!keys.has(key.getFingerprint())) keys.set(key.getFingerprint(), key);
  }
  return [...keys.values()];
}

/**
 * The release, after one signature by a key of the keyring has been verified. Only what was signed is looked at.
 * Throws `bad-signature`; `name` is for messages.
 */
export async function readRelease(name: string, text: string, keyring: readonly Key[], nowMs: number): Promise<Release> {
  return parseRelease(name, await verifiedText(name, text, keyring, nowMs));
}

async function verifiedText(name: string, text: string, keyring: readonly Key[], nowMs: number): Promise<string> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new VmError('bad-signature', `${name}: ${why}`, cause);
  };
  if (!text.startsWith('-----BEGIN PGP SIGNED MESSAGE-----')) {
    refuse('it is not signed: the server sent something else (a login page of the network, perhaps), or the mirror is broken');
  }
  const message = await readCleartextMessage({ cleartextMessage: text }).catch((error) => refuse('its signature is malformed', error));
  const result = await verify({ message, verificationKeys: [...keyring], date: new Date(nowMs) }).catch((error) =>
    refuse('its signature cannot be checked', error),
  );
  const reasons: string[] = [];
  for (const signature of result.signatures) {
    try {
      await signature.verified;
      return result.data;
    } catch (error) {
      reasons.push(`${signature.keyID.toHex()}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return refuse(
    `no signature by a key of Debian's archive verifies (${reasons.join('; ') || 'it has none'}): ` +
      `the file was changed on the way, is not Debian's, is signed by a key newer than those known here, or this computer's clock is wrong`,
  );
}

function parseRelease(name: string, text: string): Release {
  const dateMs = Date.parse(fieldOf(text, 'Date') ?? '');
  if (!Number.isFinite(dateMs)) throw new VmError('bad-image', `${name}: it has no readable Date`);
  const validUntil = fieldOf(text, 'Valid-Until');
  const validUntilMs = validUntil === undefined ? undefined : Date.parse(validUntil);
  if (Number.isNaN(validUntilMs)) throw new VmError('bad-image', `${name}: it has no readable Valid-Until`);
  const files = new Map<string, IndexFile>();
  for (const line of (fieldOf(text, 'SHA256') ?? '').split('\n')) {
    const [digest, size, path] = line.trim().split(/\s+/);
    if (path === undefined || digest === undefined || !isSha256(digest) || !/^\d{1,12}$/.test(size ?? '')) continue;
    files.set(path, { sizeBytes: Number(size), sha256: digest });
  }
  return {
    suite: fieldOf(text, 'Suite') ?? '',
    codename: fieldOf(text, 'Codename') ?? '',
    dateMs,
    validUntilMs,
    byHash: fieldOf(text, 'Acquire-By-Hash') === 'yes',
    files,
  };
}
