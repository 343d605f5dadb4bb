/** A web server over a directory that can be told to misbehave, and a real one where there is nginx. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';

export interface WebServer {
  readonly url: string;
  /** Paths asked for, with the range when there was one. */
  readonly requests: string[];
  /** Of contents. */
  sentBytes: number;
  /** True when it has answered. */
  misbehave: (path: string, request: IncomingMessage, response: ServerResponse) => boolean;
  close(): void;
}

export async function serveDirectory(directory: string): Promise<WebServer> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').slice(1);
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    web.requests.push(range ? `${path}@${range[1]}` : path);
    if (web.misbehave(path, request, response)) return;
    const data = contentOf(directory, path);
    if (!data) return void response.writeHead(404).end('not here');
    const from = range ? Number(range[1]) : 0;
    const to = Math.min(data.length, range?.[2] ? Number(range[2]) + 1 : data.length);
    const head = range ? { 'content-range': `bytes ${from}-${to - 1}/${data.length}` } : {};
    web.sentBytes += to - from;
    response.writeHead(range ? 206 : 200, { ...head, 'content-length': to - from }).end(data.subarray(from, to));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const web: WebServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    sentBytes: 0,
    misbehave: () => false,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return web;
}

export function contentOf(directory: string, path: string): Buffer | undefined {
  try {
    return readFileSync(join(directory, path));
  } catch {
    return undefined;
  }
}

/** Why nginx cannot be used here; undefined when it can. */
export function nginxMissing(): string | undefined {
  return spawnSync('nginx', ['-v']).status === 0 ? undefined : 'nginx is not installed (Debian package nginx-light)';
}

export async function freePort(): Promise<number> {
  const probe = createTcpServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  return port;
}

/** Resolves when the server answers anything. */
export async function untilItAnswers(url: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const answered = await new Promise<boolean>((resolve) => {
      get(url, (response) => resolve((response.resume(), true))).on('error', () => resolve(false));
    });
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no answer from ${url}`);
}

/** A real nginx over `directory`, with all that it writes in `work`. */
export async function startNginx(directory: string, work: string): Promise<{ url: string; close: () => Promise<void> }> {
  const port = await freePort();
  mkdirSync(work, { recursive: true });
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${work}/${name};`).join('\n');
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  writeFileSync(
    join(work, 'nginx.conf'),
    `${user} daemon off; master_process off; pid ${work}/pid; error_log ${work}/error.log;
    events {} http { access_log off; ${places} server { listen 127.0.0.1:${port}; root ${directory}; } }`,
  );
  const nginx = spawn('nginx', ['-c', join(work, 'nginx.conf'), '-p', work, '-e', join(work, 'error.log')], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => nginx.on('exit', () => resolve()));
  const url = `http://127.0.0.1:${port}`;
  await untilItAnswers(url);
  return {
    url,
    close: () => {
      nginx.kill();
      return ended;
    },
  };
}
