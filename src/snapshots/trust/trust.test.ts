import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { sha256 } from '../../base/sha256.ts';
import { NodeFiles } from '../../node/files.ts';
import { canonicalJson } from './canonical-json.ts';
import { generateKey, isSignedBy, loadKey, type SigningKey } from './keys.ts';
import { parseMetadata, type Role, type Root, type Target } from './metadata.ts';
import { refreshTargets } from './refresh.ts';
import { makeRoot, signedFile, signTargets, signTimestamp, type RoleKeyring } from './signing.ts';

const NOW = Date.parse('2026-11-01T00:00:00Z');
const DAY = 86_400_000;
let directory: string;
let keys: RoleKeyring & { root: SigningKey };
let published: Map<string, Uint8Array>;
let fingerprint: string;

async function newKeys(): Promise<RoleKeyring & { root: SigningKey }> {
  return { root: await generateKey(), targets: await generateKey(), snapshot: await generateKey(), timestamp: await generateKey() };
}

async function target(content: string): Promise<Target> {
  return { length: content.length, hashes: { sha256: await sha256(new TextEncoder().encode(content)) } };
}

async function publish(version: number, content: string, by = keys, now = NOW): Promise<void> {
  const state = await signTargets({ 'debian/day.json': await target(content) }, version, by, now);
  published.set(`metadata/${version}.targets.json`, state.targets);
  published.set(`metadata/${version}.snapshot.json`, state.snapshot);
  published.set('metadata/timestamp.json', state.timestamp);
}

const refresh = (nowMs = NOW, print: string | undefined = fingerprint, from = published) =>
  refreshTargets(
    { name: 'the source', read: async (path) => from.get(path) },
    { files: new NodeFiles(), directory, nowMs, ...(print !== undefined && { fingerprint: print }) },
  );

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'daybreak-trust-'));
  keys = await newKeys();
  published = new Map([['metadata/1.root.json', await makeRoot(keys, NOW)]]);
  fingerprint = await sha256(published.get('metadata/1.root.json')!);
  await publish(1, 'one');
  return () => rmSync(directory, { recursive: true, force: true });
});

test('a key signs, and what it did not sign is not signed', async () => {
  const key = await generateKey();
  const again = await loadKey(key.publicKey.keyval.public, key.secret);
  const data = new TextEncoder().encode('text');
  const signature = await again.sign(data);
  expect(again.id).toBe(key.id);
  expect(await isSignedBy(key.publicKey, signature, data)).toBe(true);
  expect(await isSignedBy(key.publicKey, signature, data.slice(1))).toBe(false);
  expect(await isSignedBy(key.publicKey, 'zz', data)).toBe(false);
  expect(await isSignedBy((await generateKey()).publicKey, signature, data)).toBe(false);
});

test('canonical JSON sorts keys and escapes two characters only', () => {
  expect(canonicalJson({ b: [1, true, null], a: 'x"\\\n' })).toBe('{"a":"x\\"\\\\\n","b":[1,true,null]}');
  expect(() => canonicalJson({ a: 1.5 })).toThrow(/no number/);
});

test('what the publisher signed is believed, and the next state too', async () => {
  expect(await refresh()).toEqual({ 'debian/day.json': await target('one') });
  await publish(2, 'two');
  expect(await refresh(NOW, undefined)).toEqual({ 'debian/day.json': await target('two') });
});

describe('the first time', () => {
  test('nothing is believed without a fingerprint, and the message tells it', async () => {
    await expect(
      refreshTargets({ name: 'the source', read: async (path) => published.get(path) }, { files: new NodeFiles(), directory, nowMs: NOW }),
    ).rejects.toThrow(`--trust ${fingerprint}`);
  });

  test('another publisher is refused, and remembered by nobody', async () => {
    await expect(refresh(NOW, 'a'.repeat(64))).rejects.toThrow(/this is another publisher/);
    expect(await refresh()).toBeTruthy();
    await expect(refresh(NOW, 'a'.repeat(64))).rejects.toThrow(/was believed to be/);
  });
});

describe('attacks', () => {
  test('rollback: an older state than one that was seen is refused', async () => {
    const old = new Map(published);
    await publish(2, 'two');
    await refresh();
    await expect(refresh(NOW, fingerprint, old)).rejects.toThrow(/version 1 of timestamp, but version 2 was seen before/);
  });

  test('rollback by whoever has the timestamp key alone is refused', async () => {
    await publish(2, 'two');
    await refresh();
    published.set('metadata/timestamp.json', await signTimestamp(published.get('metadata/1.snapshot.json')!, 1, 3, keys, NOW));
    await expect(refresh()).rejects.toThrow(/version 1 of snapshot, but version 2 was seen/);
    // A snapshot that says it is new, and names the old list.
    const list = published.get('metadata/1.targets.json')!;
    const meta = { 'targets.json': { version: 1, length: list.length, hashes: { sha256: await sha256(list) } } };
    const forged = await signedFile(
      { ...parseMetadata('', 'snapshot', published.get('metadata/2.snapshot.json')!).signed, version: 3, meta },
      [keys.snapshot],
    );
    published.set('metadata/3.snapshot.json', forged);
    published.set('metadata/timestamp.json', await signTimestamp(forged, 3, 4, keys, NOW));
    await expect(refresh()).rejects.toThrow(/version 1 of targets, but version 2 was seen/);
  });

  test('freeze: a state whose time is over is refused', async () => {
    await refresh();
    await expect(refresh(NOW + 8 * DAY)).rejects.toThrow(/timestamp has expired at 2026-11-08T00:00:00Z/);
    published.set('metadata/timestamp.json', await signTimestamp(published.get('metadata/1.snapshot.json')!, 1, 2, keys, NOW + 8 * DAY));
    expect(await refresh(NOW + 8 * DAY)).toBeTruthy();
    await expect(refresh(NOW + 400 * DAY)).rejects.toThrow(/root has expired/);
  });

  test.each(['snapshot', 'targets'] as const)(
    'freeze: the role %s, whose time is over, is refused though the timestamp is new',
    async (role) => {
      // Both from long ago, so that only the timestamp's time is not over; the snapshot's ends first.
      await publish(2, 'two', keys, role === 'snapshot' ? NOW - 40 * DAY : NOW - 100 * DAY);
      const snapshot = published.get('metadata/2.snapshot.json')!;
      const again =
        role === 'snapshot'
          ? snapshot
          : await signedFile({ ...parseMetadata('', 'snapshot', snapshot).signed, expires: '2027-01-01T00:00:00Z' }, [keys.snapshot]);
      published.set('metadata/2.snapshot.json', again);
      published.set('metadata/timestamp.json', await signTimestamp(again, 2, 2, keys, NOW));
      await expect(refresh()).rejects.toThrow(new RegExp(`${role} has expired`));
    },
  );

  test.each(['1.root', 'timestamp', '1.snapshot', '1.targets'])('%s without a signature is refused', async (name) => {
    const path = `metadata/${name}.json`;
    const { signed } = JSON.parse(new TextDecoder().decode(published.get(path))) as { signed: unknown };
    const bare = new TextEncoder().encode(JSON.stringify({ signed, signatures: [] }));
    published.set(path, bare);
    // Its digest is what was signed for, as far as that can be had without its own key.
    if (name === '1.root') fingerprint = await sha256(bare);
    if (name === '1.snapshot') published.set('metadata/timestamp.json', await signTimestamp(bare, 1, 1, keys, NOW));
    if (name === '1.targets') {
      const body = parseMetadata('', 'snapshot', published.get('metadata/1.snapshot.json')!).signed;
      const meta = { 'targets.json': { version: 1, length: bare.length, hashes: { sha256: await sha256(bare) } } };
      const snapshot = await signedFile({ ...body, meta }, [keys.snapshot]);
      published.set('metadata/1.snapshot.json', snapshot);
      published.set('metadata/timestamp.json', await signTimestamp(snapshot, 1, 1, keys, NOW));
    }
    await expect(refresh()).rejects.toThrow(/0 of the 1 signatures/);
  });

  test('mix-and-match: a list of another day is refused', async () => {
    const old = published.get('metadata/1.targets.json')!;
    await publish(2, 'two');
    published.set('metadata/2.targets.json', old);
    await expect(refresh()).rejects.toThrow(/targets is not the file that was signed for/);
    await publish(2, 'two');
    published.set('metadata/2.snapshot.json', published.get('metadata/1.snapshot.json')!);
    await expect(refresh()).rejects.toThrow(/snapshot is not the file that was signed for/);
  });

  test.each(['targets', 'snapshot', 'timestamp'] as const)('the role %s signed by another key is refused', async (role) => {
    const forged = { ...keys, [role]: await generateKey() };
    await publish(2, 'two', forged);
    await expect(refresh()).rejects.toThrow(new RegExp(`0 of the 1 signatures that the role ${role} needs`));
  });

  test('one signature that is given twice counts once', async () => {
    const root = parseMetadata('', 'root', published.get('metadata/1.root.json')!).signed;
    const two: Root = { ...root, version: 2, roles: { ...root.roles, timestamp: { ...root.roles.timestamp, threshold: 2 } } };
    published.set('metadata/2.root.json', await signedFile(two, [keys.root]));
    const file = parseMetadata('', 'timestamp', published.get('metadata/timestamp.json')!);
    const twice = JSON.stringify({ ...file, signatures: [...file.signatures, ...file.signatures] });
    published.set('metadata/timestamp.json', new TextEncoder().encode(twice));
    await expect(refresh()).rejects.toThrow(/1 of the 2 signatures/);
  });
});

describe('a change of keys', () => {
  test('is followed when the old root key signs it, and the old keys count no more', async () => {
    await refresh();
    const next = await newKeys();
    const root = parseMetadata('', 'root', published.get('metadata/1.root.json')!).signed;
    published.set('metadata/2.root.json', await makeRoot(next, NOW, { root, key: keys.root }));
    await publish(2, 'old keys');
    await expect(refresh()).rejects.toThrow(/0 of the 1 signatures/);
    await publish(2, 'new keys', next);
    expect(await refresh()).toEqual({ 'debian/day.json': await target('new keys') });
  });

  test('is refused when somebody else signs it, or a version is left out', async () => {
    await refresh();
    const thief = await newKeys();
    const root = parseMetadata('', 'root', published.get('metadata/1.root.json')!).signed;
    published.set('metadata/2.root.json', await makeRoot(thief, NOW, { root, key: thief.root }));
    await expect(refresh()).rejects.toThrow(/0 of the 1 signatures that the role root needs/);
    published.set('metadata/2.root.json', await makeRoot(keys, NOW, { root: { ...root, version: 4 }, key: keys.root }));
    await expect(refresh()).rejects.toThrow(/it has version 5, which does not follow 1/);
  });

  test('makes an end of versions that a thief of keys pushed up', async () => {
    await publish(1_000_000, 'the thief');
    await refresh();
    const next = { ...keys, timestamp: await generateKey(), snapshot: await generateKey() };
    const root = parseMetadata('', 'root', published.get('metadata/1.root.json')!).signed;
    published.set('metadata/2.root.json', await makeRoot(next, NOW, { root, key: keys.root }));
    await publish(3, 'ours', next);
    expect(await refresh()).toEqual({ 'debian/day.json': await target('ours') });
  });
});

test.each<[Role, string, (body: Record<string, unknown>) => unknown]>([
  ['root', 'it has no keys', (body) => ({ ...body, keys: 1 })],
  ['root', 'consistent snapshots', (body) => ({ ...body, consistent_snapshot: false })],
  ['root', 'it is that of the role targets', (body) => ({ ...body, _type: 'targets' })],
  ['root', 'the role root needs no signature', (body) => ({ ...body, roles: { root: { keyids: [], threshold: 0 } } })],
  ['root', 'its form is version 2.0', (body) => ({ ...body, spec_version: '2.0' })],
  ['timestamp', 'no version, length or digest', (body) => ({ ...body, meta: { 'snapshot.json': { version: -1 } } })],
  ['timestamp', 'no date of expiry', (body) => ({ ...body, expires: 'never' })],
  ['targets', 'has no length or digest', (body) => ({ ...body, targets: { x: { length: 1 } } })],
])('malformed metadata of %s is refused: %s', (role, message, change) => {
  const sample = { root: '1.root', timestamp: 'timestamp', targets: '1.targets', snapshot: '1.snapshot' }[role];
  const { signed, signatures } = JSON.parse(new TextDecoder().decode(published.get(`metadata/${sample}.json`))) as {
    signed: Record<string, unknown>;
    signatures: unknown;
  };
  const data = new TextEncoder().encode(JSON.stringify({ signed: change(signed), signatures }));
  expect(() => parseMetadata('a file', role, data)).toThrow(message);
});

test.each(['', '{', '[]', 'null', '{"signed":{}}'])('%j is no metadata', (text) => {
  expect(() => parseMetadata('a file', 'root', new TextEncoder().encode(text))).toThrow(/a file: not root metadata/);
});
