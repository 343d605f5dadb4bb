/** A registry that answers what it should not. The right answers are those of a real one, in `oci-storage.test.ts`. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { NodeFetch } from '../../node/fetch.ts';
import type { RegistryHost } from './authorization.ts';
import { parseRepository } from './reference.ts';
import { Registry } from './registry.ts';

const ARTIFACT = 'application/vnd.daybreak.files.v1';

async function registry(answer: (request: IncomingMessage, response: ServerResponse) => void, host: Partial<RegistryHost> = {}) {
  const server = createServer((request, response) => void request.resume().on('end', () => answer(request, response)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const place = `oci://127.0.0.1:${(server.address() as AddressInfo).port}/days`;
  const clock = { nowMs: () => 0, sleep: (_ms: number, signal?: AbortSignal) => new Promise<void>((done) => (signal ? signal.addEventListener('abort', () => done()) : done())) }; // prettier-ignore
  return {
    one: new Registry({ fetch: new NodeFetch(), clock, ...host }, parseRepository(place), ['pull']),
    [Symbol.dispose]: () => (server.closeAllConnections(), server.close()),
  };
}

test.each<[string, string, RegExp]>([
  ['no JSON', 'hello', /its manifest is of another type/],
  ['an image', '{"schemaVersion": 2, "layers": []}', /its manifest is of another type/],
  ['no layers', `{"artifactType": "${ARTIFACT}"}`, /has no layers/],
  ['a layer without a digest', `{"artifactType": "${ARTIFACT}", "layers": [{"size": 1}]}`, /a layer is bad/],
  ['no end', 'x'.repeat(5 << 20), /longer than 4 MiB/],
])('a manifest with %s is refused', async (_what, text, message) => {
  const { one, [Symbol.dispose]: close } = await registry((_request, response) => void response.end(text));
  await expect(one.files('metadata.1.root.json')).rejects.toMatchObject({ code: 'bad-image', message: expect.stringMatching(message) });
  close();
});

test.each<[string, (request: IncomingMessage, response: ServerResponse) => void, RegExp]>([
  ['says nothing of where to upload to', (request, response) => void response.writeHead(request.method === 'HEAD' ? 404 : 202).end(), /where to upload/],
  ['wants tokens of nowhere', (_request, response) => void response.writeHead(401, { 'www-authenticate': 'Bearer realm="file:///x"' }).end(), /does not say where its tokens/],
  ['wants something unheard of', (_request, response) => void response.writeHead(401, { 'www-authenticate': 'Dance' }).end(), /status 401.*docker login/],
  ['gives tokens that are none', (request, response) => void (request.url!.startsWith('/token') ? response.end('{"token": "a\\nb"}') : response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end()), /is no token/],
  ['is always busy', (_request, response) => void response.writeHead(503).end('{"errors": [{"code": "BUSY", "message": "later"}]}'), /refused/],
])('one that %s is a clear error', async (_what, answer, message) => {
  const { one, [Symbol.dispose]: close } = await registry(answer);
  await expect(one.upload('0'.repeat(64), new Uint8Array(1))).rejects.toMatchObject({ code: 'network', message: expect.stringMatching(message) });
  close();
}); // prettier-ignore

test('a password is not sent to a server of tokens elsewhere without TLS', async () => {
  const asked: string[] = [];
  const challenge = { 'www-authenticate': 'Bearer realm="http://tokens.example/token"' };
  const body = { [Symbol.asyncIterator]: async function* () {} } as AsyncIterable<Uint8Array>;
  const response = { status: 401, offset: 0, totalBytes: 0, header: (name: string) => challenge[name as 'www-authenticate'], body: body as never };
  const fetch = { get: async (url: string) => (asked.push(url), response), send: async () => response };
  const clock = { nowMs: () => 0, sleep: async () => new Promise<void>(() => {}) };
  const host = { fetch, clock, registryCredentials: async () => ({ username: 'me', password: 'secret' }) };
  const one = new Registry(host, parseRepository('oci://days.example/x'), ['pull']);
  await expect(one.files('a')).rejects.toThrow(/without TLS, to tokens.example/);
  expect(asked).toEqual(['https://days.example/v2/x/manifests/a']);
}); // prettier-ignore
