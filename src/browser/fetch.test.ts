import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { discard } from '../platform/fetch.ts';
import { BrowserFetch } from './fetch.ts';

const servers: Server[] = [];

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`;
}

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const piece of body) text += decoder.decode(piece, { stream: true });
  return text;
}

test('a body comes with its status and size', async () => {
  const url = await serve((_request, response) => response.writeHead(200, { 'content-length': 5 }).end('hello'));
  const response = await new BrowserFetch().get(url);
  expect(response).toMatchObject({ status: 200, offset: 0, totalBytes: 5 });
  expect(await textOf(response.body)).toBe('hello');
});

test('a range is asked for, and the answer says where it starts', async () => {
  const url = await serve((request, response) => {
    expect(request.headers.range).toBe('bytes=3-');
    response.writeHead(206, { 'content-range': 'bytes 3-4/5' }).end('lo');
  });
  const response = await new BrowserFetch().get(url, { offset: 3 });
  expect(response).toMatchObject({ status: 206, offset: 3, totalBytes: 5 });
  expect(await textOf(response.body)).toBe('lo');
});

test('headers go along, and what is sent arrives', async () => {
  const seen: unknown[] = [];
  const url = await serve((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part)).on('end', () => {
      seen.push([request.method, request.headers['x-a'], Buffer.concat(parts).toString()]);
      response.writeHead(201, { 'x-b': 'c' }).end();
    });
  });
  await discard(await new BrowserFetch().get(url, { headers: { 'x-a': 'b' } }));
  const response = await new BrowserFetch().send('PUT', url, { headers: { 'x-a': 'd' }, body: new TextEncoder().encode('hello') });
  expect([response.status, response.header('x-b'), response.header('x-c')]).toEqual([201, 'c', undefined]);
  await discard(response);
  expect(seen).toEqual([['GET', 'b', ''], ['PUT', 'd', 'hello']]);
}); // prettier-ignore

test('a server that is not there, and a connection that breaks, are told as network', async () => {
  await expect(new BrowserFetch().get('http://127.0.0.1:9/x')).rejects.toMatchObject({ code: 'network' });
  const url = await serve((_request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('first', () => response.socket?.destroySoon());
  });
  const response = await new BrowserFetch().get(url);
  await expect(textOf(response.body)).rejects.toMatchObject({ code: 'network', message: expect.stringContaining(url) });
});

test('stopping before and while a body comes is told as cancelled', async () => {
  const url = await serve((_request, response) => void response.writeHead(200).write('x'));
  const abort = new AbortController();
  const response = await new BrowserFetch().get(url, { signal: abort.signal });
  const read = async (): Promise<void> => {
    for await (const _ of response.body) abort.abort();
  };
  await expect(read()).rejects.toMatchObject({ code: 'cancelled' });
  await expect(new BrowserFetch().get(url, { signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' });
});

test('throwing away a body that nobody wants closes the connection', async () => {
  let closed = (): void => {};
  const end = new Promise<void>((resolve) => (closed = resolve));
  const url = await serve((_request, response) => {
    response.on('close', closed);
    response.writeHead(200).write('x');
  });
  await discard(await new BrowserFetch().get(url));
  await end;
});
