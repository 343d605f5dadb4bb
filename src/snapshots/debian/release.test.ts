import { beforeAll, describe, expect, test } from 'vitest';
import { FakeArchive, makeSigner, type Signer } from '../testing/fake-archive.ts';
import { DEBIAN_ARCHIVE_KEYS } from './keys/archive-keys.ts';
import { readKeyring, readRelease } from './release.ts';

const NOW = Date.parse('2026-11-10T00:00:00Z');
const TEXT = `Suite: unstable\nCodename: sid\nDate: Sun, 01 Nov 2026 08:00:00 UTC\nSHA256:\n ${'a'.repeat(64)} 12 main/x\n not a line\n`;
let signer: Signer;
let archive: FakeArchive;

beforeAll(async () => {
  signer = await makeSigner();
  archive = new FakeArchive(signer);
});

const read = (text: string, keys = [signer.publicKey], now = NOW) => readRelease('InRelease', text, keys, now);

test('a signed release is read', async () => {
  const release = await read(await archive.signed(TEXT));
  expect(release).toMatchObject({
    suite: 'unstable',
    codename: 'sid',
    dateMs: Date.parse('2026-11-01T08:00:00Z'),
    validUntilMs: undefined,
    byHash: false,
  });
  expect([...release.files]).toEqual([['main/x', { sizeBytes: 12, sha256: 'a'.repeat(64) }]]);
});

describe('refused as bad-signature', () => {
  test('a changed text', async () => {
    const signed = await archive.signed(TEXT);
    await expect(read(signed.replace('12 main', '13 main'))).rejects.toMatchObject({ code: 'bad-signature' });
  });

  test('a signature by a key that is not in the keyring', async () => {
    const other = await makeSigner();
    await expect(read(await archive.signed(TEXT, other))).rejects.toMatchObject({ code: 'bad-signature' });
  });

  test('a text without a signature, such as a login page', async () => {
    await expect(read('<html>please log in</html>')).rejects.toThrow(/it is not signed/);
  });

  test('a signature that is cut short', async () => {
    const signed = await archive.signed(TEXT);
    await expect(read(signed.slice(0, -120))).rejects.toMatchObject({ code: 'bad-signature' });
  });

  test('a signature from the future: a wrong clock', async () => {
    await expect(read(await archive.signed(TEXT), [signer.publicKey], Date.parse('2025-01-01'))).rejects.toThrow(/clock is wrong/);
  });

  test('an empty keyring', async () => {
    await expect(read(await archive.signed(TEXT), [])).rejects.toMatchObject({ code: 'bad-signature' });
  });
});

test('text before or after what was signed is not looked at', async () => {
  const signed = await archive.signed(TEXT);
  await expect(read(`Suite: evil\n${signed}`)).rejects.toMatchObject({ code: 'bad-signature' });
  const release = await read(`${signed}\nSHA256:\n ${'b'.repeat(64)} 1 main/evil\n`).catch(() => undefined);
  expect(release?.files.has('main/evil') ?? false).toBe(false);
});

test('the shipped keys are Debian’s automatic and release keys of 12 and 13', async () => {
  const keys = await readKeyring([DEBIAN_ARCHIVE_KEYS]);
  expect(keys.map((key) => key.getFingerprint()).sort()).toEqual([
    '04b54c3cdca79751b16bc6b5225629df75b188bd',
    '41587f7db8c774bccf131416762f67a0b2c39de4',
    '4d64fec119c2029067d6e791f8d2585b8783d481',
    'b8b80b5b623eab6ad8775c45b7c5d7d6350947f8',
  ]);
  expect(keys.every((key) => !key.isPrivate())).toBe(true);
});

test('a keyring that cannot be read is an error', async () => {
  await expect(readKeyring([new Uint8Array([1, 2, 3])])).rejects.toMatchObject({ code: 'bad-signature' });
});
