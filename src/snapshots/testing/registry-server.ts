/** A real container registry, where there is one, and a front for it that wants tokens. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { freePort, untilItAnswers } from './web-server.ts';

/** Why there is no registry here; undefined when there is. */
export function registryMissing(): string | undefined {
  return spawnSync('docker-registry', ['--version']).status === 0
    ? undefined
    : 'docker-registry is not installed (its Debian package has that name)';
}

export interface RegistryServer {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** Removes blobs that no manifest names. */
  collectGarbage(): void;
  close(): Promise<void>;
}

export interface RegistryServerOptions {
  /** Whether manifests may be removed. */
  readonly deletes: boolean;
  /** Only `me` with the password `secret` is let in. */
  readonly password?: boolean;
}

export async function startRegistry(work: string, { deletes, password = false }: RegistryServerOptions): Promise<RegistryServer> {
  const port = await freePort();
  mkdirSync(work, { recursive: true });
  // bcrypt of "secret".
  writeFileSync(join(work, 'htpasswd'), 'me:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n');
  const config = join(work, 'config.yml');
  writeFileSync(
    config,
    JSON.stringify({
      version: '0.1',
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(work, 'data') }, delete: { enabled: deletes } },
      http: { addr: `127.0.0.1:${port}`, secret: 'a test' },
      ...(password && { auth: { htpasswd: { realm: 'tests', path: join(work, 'htpasswd') } } }),
    }),
  );
  const server = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => server.on('exit', () => resolve()));
  await untilItAnswers(`http://127.0.0.1:${port}/v2/`);
  return {
    host: `127.0.0.1:${port}`,
    collectGarbage() {
      const { status, stderr } = spawnSync('docker-registry', ['garbage-collect', config], { encoding: 'utf8' });
      if (status !== 0) throw new Error(stderr);
    },
    close() {
      server.kill();
      return ended;
    },
  };
}

export interface TokenFront {
  readonly host: string;
  /** What tokens were given for, in order. */
  readonly scopes: string[];
  /** Tokens that were given so far are good no more. */
  expire(): void;
  close(): void;
}

/** Lets through who brings a token that is good for the method. Anybody gets one to pull, `me` with `secret` one to push. */
export async function startTokenFront(registry: RegistryServer): Promise<TokenFront> {
  const tokens = new Map<string, string>();
  const server = createServer((request, response) => {
    const url = new URL(request.url!, `http://${front.host}`);
    if (url.pathname === '/token') return give(url, request, response);
    const repository = /^\/v2\/(.+)\/(manifests|blobs|tags)\//.exec(url.pathname)?.[1];
    const action = request.method === 'GET' || request.method === 'HEAD' ? 'pull' : 'push';
    const scope = tokens.get(/^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '');
    if (!scope?.split(':')[2]?.split(',').includes(action)) {
      const wanted = `repository:${repository}:${action === 'push' ? 'pull,push' : 'pull'}`;
      const challenge = `Bearer realm="http://${front.host}/token",service="tests",scope="${wanted}"`;
      return void request.resume().on('end', () => response.writeHead(401, { 'www-authenticate': challenge }).end());
    }
    const { authorization: _, ...headers } = request.headers;
    const [hostname, port] = registry.host.split(':');
    const onward = httpRequest({ hostname, port, path: request.url, method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  function give(url: URL, request: IncomingMessage, response: ServerResponse): void {
    const scope = url.searchParams.get('scope') ?? '';
    const known = request.headers.authorization === `Basic ${Buffer.from('me:secret').toString('base64')}`;
    if (request.headers.authorization !== undefined && !known) return void response.writeHead(401).end('{}');
    const token = crypto.randomUUID();
    tokens.set(token, known ? scope : scope.replace(/[^:]*$/, 'pull'));
    front.scopes.push(tokens.get(token)!);
    response.writeHead(200).end(JSON.stringify({ token }));
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const front: TokenFront = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    scopes: [],
    expire: () => tokens.clear(),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
  return front;
}
