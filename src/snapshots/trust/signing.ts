/** The publisher's side of the metadata: makes and signs the files of the roles. */
import { VmError } from '../../base/errors.ts';
import { sha256 } from '../../base/sha256.ts';
import { canonicalBytes } from './canonical-json.ts';
import type { PublicKey, SigningKey } from './keys.ts';
import { ROLES, SPEC_VERSION, type MetaFile, type Role, type RoleKeys, type RoleTypes, type Root, type Target } from './metadata.ts';

const DAY_MS = 86_400_000;
/** How long a signature counts: the shorter, the sooner a reader notices that newer states are kept away. */
export const LIFETIME_DAYS: Readonly<Record<Role, number>> = { root: 365, targets: 90, snapshot: 30, timestamp: 7 };

/** A key of each role. The root's is needed only to change keys and once a year. */
export type RoleKeyring = Readonly<Record<Exclude<Role, 'root'>, SigningKey>> & {
  readonly root?: SigningKey;
  /** Keys that sign as well: those that a root to come will name. */
  readonly also?: Partial<Record<Role, SigningKey>>;
};

export async function signedFile<R extends Role>(body: RoleTypes[R], keys: readonly SigningKey[]): Promise<Uint8Array> {
  const data = canonicalBytes(body);
  const signatures = [];
  for (const key of new Map(keys.map((one) => [one.id, one])).values()) signatures.push({ keyid: key.id, sig: await key.sign(data) });
  return new TextEncoder().encode(`${JSON.stringify({ signatures, signed: body }, undefined, 1)}\n`);
}

function head<R extends Role>(
  _type: R,
  version: number,
  nowMs: number,
): { _type: R; spec_version: string; version: number; expires: string } {
  const expires = new Date(nowMs + LIFETIME_DAYS[_type] * DAY_MS).toISOString().replace(/\.\d+Z$/, 'Z');
  return { _type, spec_version: SPEC_VERSION, version, expires };
}

/** `before` is what it follows: its key signs too, since readers know no other. */
export async function makeRoot(keys: RoleKeyring, nowMs: number, before?: { root: Root; key: SigningKey }): Promise<Uint8Array> {
  if (!keys.root) throw new VmError('not-found', 'the root key is needed to sign a new root, and is not among the keys');
  const used = ROLES.map((role) => [role, keys[role]!] as const);
  const body: Root = {
    ...head('root', (before?.root.version ?? 0) + 1, nowMs),
    consistent_snapshot: true,
    keys: Object.fromEntries(used.map(([, key]): [string, PublicKey] => [key.id, key.publicKey])),
    roles: Object.fromEntries(used.map(([role, key]): [Role, RoleKeys] => [role, { keyids: [key.id], threshold: 1 }])) as Root['roles'],
  };
  return signedFile(body, before ? [before.key, keys.root] : [keys.root]);
}

function signers(keys: RoleKeyring, role: Exclude<Role, 'root'>): SigningKey[] {
  const more = keys.also?.[role];
  return more ? [keys[role], more] : [keys[role]];
}

export interface SignedState {
  readonly targets: Uint8Array;
  readonly snapshot: Uint8Array;
  readonly timestamp: Uint8Array;
}

async function describe(version: number, data: Uint8Array): Promise<MetaFile> {
  return { version, length: data.length, hashes: { sha256: await sha256(data) } };
}

/** All three, with one version. */
export async function signTargets(
  targets: Readonly<Record<string, Target>>,
  version: number,
  keys: RoleKeyring,
  nowMs: number,
): Promise<SignedState> {
  const list = await signedFile({ ...head('targets', version, nowMs), targets }, signers(keys, 'targets'));
  const snapshot = await signedFile(
    { ...head('snapshot', version, nowMs), meta: { 'targets.json': await describe(version, list) } },
    signers(keys, 'snapshot'),
  );
  return { targets: list, snapshot, timestamp: await signTimestamp(snapshot, version, version, keys, nowMs) };
}

export async function signTimestamp(
  snapshot: Uint8Array,
  snapshotVersion: number,
  version: number,
  keys: RoleKeyring,
  nowMs: number,
): Promise<Uint8Array> {
  const meta = { 'snapshot.json': await describe(snapshotVersion, snapshot) };
  return signedFile({ ...head('timestamp', version, nowMs), meta }, signers(keys, 'timestamp'));
}
