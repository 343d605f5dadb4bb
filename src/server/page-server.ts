/**
 * An HTTP server for this computer's own browser: the page, and under /files/ the files of one directory. It only reads.
 * Pages of other sites cannot read what it answers, as long as no name of theirs can be made to mean this computer (DNS
 * rebinding): so it answers only those who call it by an address of this computer.
 */
import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, sep } from 'node:path';
import { VmError } from '../base/errors.ts';

const HOST = '127.0.0.1';
const FILES = '/files/';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.map': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
};

export interface PageServerOptions {
  /** The page: dist/web. */
  readonly page: string;
  /** What `/files/` offers; absent: nothing. */
  readonly files?: string;
  /** 0: any that is free. */
  readonly port: number;
}

export interface PageServer {
  readonly url: string;
  /** Closes all connections. */
  close(): Promise<void>;
}

/** Rejects with a VmError when a directory is missing or the port is taken. */
export async function servePage({ page, files, port }: PageServerOptions): Promise<PageServer> {
  const roots = { page: await directory(page), files: files === undefined ? undefined : await directory(files) };
  const server = createServer((request, response) => {
    void answer(roots, request, response).catch(() => response.destroy());
  });
  await listen(server, port);
  return {
    url: `http://${HOST}:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function directory(path: string): Promise<string> {
  const real = await realpath(path).catch(() => undefined);
  if (real === undefined || !(await stat(real)).isDirectory()) throw new VmError('not-found', `there is no directory ${path}`);
  return real;
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'another program uses it; try --port 0' : error.message;
      reject(new VmError('host-io', `cannot listen on port ${port}: ${reason}`, error));
    });
    server.listen(port, HOST, resolve);
  });
}

interface Roots {
  readonly page: string;
  readonly files: string | undefined;
}

async function answer(roots: Roots, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const refuse = (status: number, text: string): void => {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...(status === 405 && { allow: 'GET, HEAD' }) });
    response.end(`${text}\n`);
  };
  if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/i.test(request.headers.host ?? '')) return refuse(403, 'call this server localhost');
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'only GET and HEAD');
  const found = await find(roots, request.url ?? '/');
  if (!found) return refuse(404, 'not found');
  const { path, size } = found;
  const range = rangeOf(request.headers.range, size);
  response.writeHead(range ? 206 : 200, {
    'content-type': TYPES[extname(path)] ?? 'application/octet-stream',
    'content-length': range ? size - range : size,
    'accept-ranges': 'bytes',
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    ...(range && { 'content-range': `bytes ${range}-${size - 1}/${size}` }),
  });
  if (request.method === 'HEAD' || size === 0) return void response.end();
  const stream = createReadStream(path, { start: range ?? 0, end: size - 1 });
  stream.on('error', () => response.destroy());
  response.on('close', () => stream.destroy());
  stream.pipe(response);
}

/** The file that an address names: never one outside its root, whatever links and dots say. */
async function find({ page, files }: Roots, url: string): Promise<{ path: string; size: number } | undefined> {
  let path: string;
  try {
    path = decodeURIComponent(new URL(url, `http://${HOST}`).pathname);
  } catch {
    return undefined;
  }
  if (path.includes('\0')) return undefined;
  const inFiles = path.startsWith(FILES);
  const root = inFiles ? files : page;
  if (root === undefined) return undefined;
  const wanted = inFiles ? path.slice(FILES.length) : path === '/' ? 'index.html' : path.slice(1);
  const real = await realpath(join(root, wanted)).catch(() => undefined);
  if (!real?.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined;
  const info = await stat(real);
  return info.isFile() ? { path: real, size: info.size } : undefined;
}

/** Where a range that goes to the end begins; others are answered with the whole, as RFC 9110, 14.2 allows. */
function rangeOf(header: string | undefined, size: number): number | undefined {
  const match = /^bytes=(\d+)-$/.exec(header ?? '');
  const from = match ? Number(match[1]) : size;
  return from < size ? from : undefined;
}
