import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { NodeClock } from '../../node/clock.ts';
import { NodeFetch } from '../../node/fetch.ts';
import { download } from './download.ts';

let close = (): void => {};
afterEach(() => close());

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  let connections = 0;
  const server = createServer(answer).on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  close = () => (server.closeAllConnections(), server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/x`;
  return { host: { fetch: new NodeFetch(), clock: new NodeClock() }, url, connections: () => connections };
}

test('stretches one after the other come over one connection', async () => {
  const { host, url, connections } = await serve((request, response) => {
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!.map(Number);
    const head = { 'content-range': `bytes ${from}-${to}/1000000`, 'content-length': to! - from! + 1 };
    response.writeHead(206, head).end(new Uint8Array(to! - from! + 1).fill(from! / 1000));
  });
  for (const offset of [0, 5000, 90_000]) {
    const data = await download(host, { url, offset, length: 70_000, most: 70_000 });
    expect([data.length, data[0], data[69_999]]).toEqual([70_000, offset / 1000, offset / 1000]);
  }
  expect(connections()).toBe(1);
});

test('a server that sends more than was asked for, or without end, is left when there is enough', async () => {
  const { host, url } = await serve((_request, response) => {
    response.writeHead(206, { 'content-range': 'bytes 10-19/1000000' });
    const more = () => void (response.writable && response.write(new Uint8Array(100_000), () => setImmediate(more)));
    more();
  });
  expect(await download(host, { url, offset: 10, length: 10, most: 10 })).toEqual(new Uint8Array(10));
});
