/**
 * Signed metadata in the form of The Update Framework, version 1.0 of its specification: four roles, of which `root` says
 * whose keys count for which role, `targets` lists what is published, `snapshot` says which `targets` is valid, and `timestamp`
 * which `snapshot`, for a short time. All of it is read from anywhere: everything is checked.
 */
import { VmError } from '../../base/errors.ts';
import { isSha256 } from '../../base/sha256.ts';
import { canonicalBytes } from './canonical-json.ts';
import { isSignedBy, keyId, type PublicKey } from './keys.ts';

export const ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const;
export type Role = (typeof ROLES)[number];

export const SPEC_VERSION = '1.0.31';

interface Common<R extends Role> {
  readonly _type: R;
  readonly spec_version: string;
  readonly version: number;
  /** `2026-11-30T00:00:00Z` */
  readonly expires: string;
}

export interface RoleKeys {
  readonly keyids: readonly string[];
  readonly threshold: number;
}

export interface Root extends Common<'root'> {
  readonly consistent_snapshot: boolean;
  readonly keys: Readonly<Record<string, PublicKey>>;
  readonly roles: Readonly<Record<Role, RoleKeys>>;
}

/** A metadata file that another one vouches for. */
export interface MetaFile {
  readonly version: number;
  readonly length: number;
  readonly hashes: { readonly sha256: string };
}

export interface Timestamp extends Common<'timestamp'> {
  readonly meta: { readonly 'snapshot.json': MetaFile };
}

export interface SnapshotRole extends Common<'snapshot'> {
  readonly meta: { readonly 'targets.json': MetaFile };
}

export interface Target {
  readonly length: number;
  readonly hashes: { readonly sha256: string };
  readonly custom?: Readonly<Record<string, unknown>>;
}

export interface Targets extends Common<'targets'> {
  readonly targets: Readonly<Record<string, Target>>;
}

export interface Signature {
  readonly keyid: string;
  readonly sig: string;
}

export interface Signed<T> {
  readonly signed: T;
  readonly signatures: readonly Signature[];
}

export interface RoleTypes {
  root: Root;
  targets: Targets;
  snapshot: SnapshotRole;
  timestamp: Timestamp;
}

type Fields = Record<string, unknown>;

/** Reads one role's file, without looking at signatures. `where` is for messages. Throws VmError `bad-signature`. */
export function parseMetadata<R extends Role>(where: string, role: R, data: Uint8Array): Signed<RoleTypes[R]> {
  const bad = (what: string, cause?: unknown): never => {
    throw new VmError('bad-signature', `${where}: not ${role} metadata: ${what}`, cause);
  };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
  } catch (error) {
    bad('it is no JSON', error);
  }
  const { signed, signatures } = fields(value) ?? bad('it is no JSON object');
  const body = fields(signed) ?? bad('nothing is signed');
  if (body['_type'] !== role) bad(`it is that of the role ${String(body['_type'])}`);
  if (!/^1\.\d/.test(String(body['spec_version']))) bad(`its form is version ${String(body['spec_version'])} (supported: 1)`);
  if (!isCount(body['version']) || body['version'] === 0) bad('it has no version');
  if (typeof body['expires'] !== 'string' || Number.isNaN(Date.parse(body['expires']))) bad('it has no date of expiry');
  if (role === 'root') checkRoot(body, bad);
  if (role === 'timestamp') checkMeta(body, 'snapshot.json', bad);
  if (role === 'snapshot') checkMeta(body, 'targets.json', bad);
  if (role === 'targets') checkTargets(body, bad);
  const list = Array.isArray(signatures) ? signatures : bad('it has no signatures');
  if (!list.every((one: unknown) => typeof fields(one)?.['keyid'] === 'string' && typeof fields(one)?.['sig'] === 'string'))
    bad('a signature has no key or no value');
  return { signed: body as unknown as RoleTypes[R], signatures: list as Signature[] };
}

type Refuse = (what: string) => never;

function checkRoot(body: Fields, bad: Refuse): void {
  if (body['consistent_snapshot'] !== true) bad('it is not for consistent snapshots, which are all that is supported');
  const keys = fields(body['keys']) ?? bad('it has no keys');
  for (const key of Object.values(keys)) {
    const value = fields(fields(key)?.['keyval'])?.['public'];
    if (typeof value !== 'string') bad('a key has no value');
  }
  const roles = fields(body['roles']) ?? bad('it has no roles');
  for (const role of ROLES) {
    const { keyids, threshold } = fields(roles[role]) ?? bad(`it has no role ${role}`);
    if (!Array.isArray(keyids) || !keyids.every((id) => typeof id === 'string')) bad(`the role ${role} has no keys`);
    if (!isCount(threshold) || threshold === 0) bad(`the role ${role} needs no signature`);
  }
}

function checkMeta(body: Fields, name: string, bad: Refuse): void {
  const file = fields(fields(body['meta'])?.[name]) ?? bad(`it does not name ${name}`);
  if (!isCount(file['version']) || !isFile(file)) bad(`its entry of ${name} has no version, length or digest`);
}

function checkTargets(body: Fields, bad: Refuse): void {
  const targets = fields(body['targets']) ?? bad('it has no targets');
  for (const [path, target] of Object.entries(targets)) {
    if (!isFile(fields(target) ?? {})) bad(`the entry ${JSON.stringify(path.slice(0, 200))} has no length or digest`);
  }
}

function isFile(file: Fields): boolean {
  const digest = fields(file['hashes'])?.['sha256'];
  return isCount(file['length']) && typeof digest === 'string' && isSha256(digest);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function fields(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

/** Whether enough of the keys that `root` gives to a role have signed. Rejects with `bad-signature`. */
export async function checkSignatures(where: string, role: Role, root: Root, file: Signed<RoleTypes[Role]>): Promise<void> {
  const { keyids, threshold } = root.roles[role];
  const data = canonicalBytes(file.signed);
  const by = new Set<string>();
  for (const { keyid, sig } of file.signatures) {
    const key = keyids.includes(keyid) && Object.hasOwn(root.keys, keyid) ? root.keys[keyid] : undefined;
    if (!key || by.has(keyid) || key.keytype !== 'ed25519' || key.scheme !== 'ed25519' || (await keyId(key)) !== keyid) continue;
    if (await isSignedBy(key, sig, data)) by.add(keyid);
  }
  if (by.size < threshold) {
    throw new VmError(
      'bad-signature',
      `${where}: ${by.size} of the ${threshold} signatures that the role ${role} needs are right: it was changed on the way, or signed by others`,
    );
  }
}
