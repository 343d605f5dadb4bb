import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { NodeFiles } from '../node/files.ts';
import { runProgram } from '../node/run-program.ts';
import { registryCredentials } from './registry-credentials.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'daybreak-credentials-'));
  mkdirSync(join(home, '.docker'));
  return () => rmSync(home, { recursive: true, force: true });
});

const ask = (registry: string, environment: Record<string, string> = {}) =>
  registryCredentials(
    { files: new NodeFiles(), environment, homeDirectory: home, run: (program, ...rest) => runProgram(join(home, program), ...rest) },
    registry,
  );
const config = (value: unknown) => writeFileSync(join(home, '.docker/config.json'), JSON.stringify(value));
const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });

test('the environment comes first, then what docker login and podman login have left', async () => {
  expect(await ask('localhost:5000')).toBeUndefined();
  config({ auths: { 'localhost:5000': auth('me:se:cret'), 'https://index.docker.io/v1/': auth('hub:word') } });
  expect(await ask('localhost:5000')).toEqual({ username: 'me', password: 'se:cret' });
  expect(await ask('docker.io')).toEqual({ username: 'hub', password: 'word' });
  expect(await ask('example.org')).toBeUndefined();
  const environment = { DAYBREAK_REGISTRY_USERNAME: 'you', DAYBREAK_REGISTRY_PASSWORD: 'word' };
  expect(await ask('localhost:5000', environment)).toEqual({ username: 'you', password: 'word' });
  mkdirSync(join(home, '.config/containers'), { recursive: true });
  writeFileSync(join(home, '.config/containers/auth.json'), JSON.stringify({ auths: { 'example.org': auth('pod:man') } }));
  expect(await ask('example.org')).toEqual({ username: 'pod', password: 'man' });
});

test('a token in place of a password is taken, and a helper is asked', async () => {
  config({
    auths: { 'a.example': { ...auth('me:'), identitytoken: 'abc' }, 'b.example': {} },
    credsStore: 'store',
    credHelpers: { 'c.example': 'none' },
  });
  expect(await ask('a.example')).toEqual({ username: 'me', password: '', identityToken: 'abc' });
  await expect(ask('b.example')).rejects.toThrow(/cannot run .*docker-credential-store/);
  const helper = join(home, 'docker-credential-store');
  writeFileSync(helper, '#!/bin/sh\nread host; echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"$host\\"}"\n');
  chmodSync(helper, 0o755);
  expect(await ask('b.example')).toEqual({ username: 'get', password: 'b.example' });
  writeFileSync(join(home, 'docker-credential-none'), '#!/bin/sh\necho credentials not found in native keychain; exit 1\n', {
    mode: 0o755,
  });
  expect(await ask('c.example')).toBeUndefined();
});

test.each(['no JSON', '[]', '{"auths": {"x": {"auth": "%"}}}', '{"auths": {"x": {"auth": "bm9jb2xvbg=="}}}'])(
  'a file with %s in it counts as nothing',
  async (text) => {
    writeFileSync(join(home, '.docker/config.json'), text);
    expect(await ask('x')).toBeUndefined();
  },
);
