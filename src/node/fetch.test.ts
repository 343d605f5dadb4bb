import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { discard } from '../platform/fetch.ts';
import { bypassesProxy, NodeFetch } from './fetch.ts';

const servers: Server[] = [];

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<{ url: string; server: Server }> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
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
  const { url } = await serve((_request, response) => response.end('hello'));
  const response = await new NodeFetch().get(`${url}/x`);
  expect(response).toMatchObject({ status: 200, offset: 0 });
  expect(await textOf(response.body)).toBe('hello');
});

test('a range is asked for, and the answer says where it starts', async () => {
  const { url } = await serve((request, response) => {
    expect(request.headers.range).toBe('bytes=3-');
    response.writeHead(206, { 'content-range': 'bytes 3-4/5' }).end('lo');
  });
  const response = await new NodeFetch().get(url, { offset: 3 });
  expect(response).toMatchObject({ status: 206, offset: 3, totalBytes: 5 });
  expect(await textOf(response.body)).toBe('lo');
});

test('redirects are followed, but not for ever', async () => {
  const { url } = await serve((request, response) => {
    if (request.url === '/end') response.end('there');
    else response.writeHead(302, { location: request.url === '/once' ? '/end' : '/loop' }).end();
  });
  expect(await textOf((await new NodeFetch().get(`${url}/once`)).body)).toBe('there');
  await expect(new NodeFetch().get(`${url}/loop`)).rejects.toMatchObject({
    code: 'network',
    message: expect.stringContaining('redirects'),
  });
});

test('what arrived before the connection broke is given before the error', async () => {
  const { url } = await serve((_request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('first', () => response.socket?.destroySoon());
  });
  const response = await new NodeFetch().get(url);
  let got = '';
  const read = async () => {
    for await (const piece of response.body) got += new TextDecoder().decode(piece);
  };
  await expect(read()).rejects.toMatchObject({ code: 'network' });
  expect(got).toBe('first');
});

test('a body that is read slowly arrives whole', async () => {
  const size = 8 << 20;
  const { url } = await serve((_request, response) => response.end(new Uint8Array(size)));
  const response = await new NodeFetch().get(url);
  let got = 0;
  for await (const piece of response.body) {
    got += piece.length;
    if (got % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(got).toBe(size);
});

test('a body that nobody wants can be thrown away', async () => {
  const { url } = await serve((_request, response) => response.end('x'));
  await discard(await new NodeFetch().get(url));
});

test('stopping while a body comes is told as cancelled', async () => {
  const { url } = await serve((_request, response) => void response.writeHead(200).write('x'));
  const abort = new AbortController();
  const response = await new NodeFetch().get(url, { signal: abort.signal });
  const read = async () => {
    for await (const _ of response.body) abort.abort();
  };
  await expect(read()).rejects.toMatchObject({ code: 'cancelled' });
});

describe('errors', () => {
  test.each([
    ['not an address', 'nonsense', 'usage'],
    ['another scheme', 'ftp://x.example/y', 'unsupported'],
    ['a port where nobody listens', 'http://127.0.0.1:9/x', 'network'],
  ])('%s', async (_what, url, code) => {
    await expect(new NodeFetch().get(url)).rejects.toMatchObject({ code });
  });

  test('a server that says nothing is given up', async () => {
    const { url } = await serve(() => {});
    await expect(new NodeFetch({ silenceMs: 50 }).get(url)).rejects.toMatchObject({
      code: 'network',
      message: expect.stringContaining('no answer'),
    });
  });
});

describe('proxies', () => {
  test('plain http goes through http_proxy with the whole address', async () => {
    const { url } = await serve((request, response) => response.end(`proxied ${request.url} ${request.headers['proxy-authorization']}`));
    const fetch = new NodeFetch({ environment: { http_proxy: url.replace('//', '//me:secret@') } });
    const response = await fetch.get('http://mirror.example/debian');
    expect(await textOf(response.body)).toBe(`proxied http://mirror.example/debian Basic ${Buffer.from('me:secret').toString('base64')}`);
  });

  test('https goes through a tunnel, and a refusal is told', async () => {
    const asked: string[] = [];
    const { url, server } = await serve((_request, response) => response.end());
    server.on('connect', (request, socket) => {
      asked.push(request.url ?? '');
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
    const fetch = new NodeFetch({ environment: { https_proxy: url } });
    await expect(fetch.get('https://mirror.example/x')).rejects.toThrow(/refuses a connection to mirror\.example:443: status 403/);
    expect(asked).toEqual(['mirror.example:443']);
  });

  test('a tunnel’s other end must prove who it is', async () => {
    const plain = await serve((_request, response) => response.end('no TLS here'));
    const { url, server } = await serve((_request, response) => response.end());
    server.on('connect', (_request, socket) => {
      const onward = connect(Number(new URL(plain.url).port), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        onward.pipe(socket).pipe(onward);
      });
      onward.on('error', () => socket.destroy());
      socket.on('error', () => onward.destroy());
    });
    await expect(new NodeFetch({ environment: { https_proxy: url } }).get('https://mirror.example/x')).rejects.toMatchObject({
      code: 'network',
    });
  });

  test.each([
    ['mirror.example', 'mirror.example', true],
    ['a.mirror.example', 'mirror.example', true],
    ['a.mirror.example', '.mirror.example', true],
    ['a.mirror.example', '*.mirror.example', true],
    ['othermirror.example', 'mirror.example', false],
    ['x', '*', true],
    ['x', 'a, x:80', true],
    ['x', '', false],
  ])('%s with no_proxy %j: %s', (host, list, bypassed) => {
    expect(bypassesProxy(host, list)).toBe(bypassed);
  });
});

test('what authorizes stays with its origin when a redirect leads elsewhere', async () => {
  const seen: (string | undefined)[] = [];
  const note = (request: IncomingMessage) => seen.push(request.headers.authorization);
  const other = await serve((request, response) => (note(request), response.end('there')));
  const { url } = await serve((request, response) => {
    note(request);
    response.writeHead(307, { location: request.url === '/a' ? '/b' : other.url }).end();
  });
  await discard(await new NodeFetch().get(`${url}/a`, { headers: { authorization: 'Bearer x' } }));
  expect(seen).toEqual(['Bearer x', 'Bearer x', undefined]);
});

test('what is sent arrives with its length, and a redirect is an answer', async () => {
  const { url } = await serve((request, response) => {
    request.resume().on('end', () => response.writeHead(308, { location: '/x', got: request.headers['content-length'] }).end());
  });
  const response = await new NodeFetch().send('PUT', url, { body: new Uint8Array(5) });
  expect([response.status, response.header('location'), response.header('got')]).toEqual([308, '/x', '5']);
  await discard(response);
});
