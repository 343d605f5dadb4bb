/** `Fetch` on Node's http and https, with the environment's proxies (http_proxy, https_proxy, no_proxy). */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import type { Socket } from 'node:net';
import { VmError } from '../base/errors.ts';
import type { Fetch, GetOptions, GetResponse, SendOptions } from '../platform/fetch.ts';

const MAX_REDIRECTS = 5;
/** What is taken from a connection before somebody asks for it. */
const QUEUE_BYTES = 1 << 20;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export interface NodeFetchOptions {
  /** Environment to take proxies from. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** How long a server may say nothing. */
  readonly silenceMs?: number;
}

function explain(url: URL, error: unknown): VmError {
  if (error instanceof VmError) return error;
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  const reasons: Record<string, string> = {
    ENOTFOUND: `there is no host ${url.hostname}: check the address and the network`,
    EAI_AGAIN: `the name ${url.hostname} cannot be looked up: check the network`,
    ECONNREFUSED: 'the server refuses connections',
    ECONNRESET: 'the server closed the connection',
    EHOSTUNREACH: 'the server cannot be reached',
    ENETUNREACH: 'there is no network',
    ETIMEDOUT: 'the server does not answer',
  };
  const reason = reasons[code] ?? (error instanceof Error ? error.message : String(error));
  return new VmError('network', `cannot get ${url.href}: ${reason}`, error);
}

/** Whether `host` is excluded from proxies by a `no_proxy` list of names, `.suffixes` and `*`. */
export function bypassesProxy(host: string, noProxy: string): boolean {
  return noProxy.split(/[\s,]+/).some((entry) => {
    const name = entry.replace(/:\d+$/, '').replace(/^\*?\./, '');
    return name === '*' || (name !== '' && (host === name || host.endsWith(`.${name}`)));
  });
}

export class NodeFetch implements Fetch {
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #silenceMs: number;
  readonly #http = new HttpAgent({ keepAlive: true });
  readonly #https = new HttpsAgent({ keepAlive: true });

  constructor(options: NodeFetchOptions = {}) {
    this.#environment = options.environment ?? {};
    this.#silenceMs = options.silenceMs ?? 30_000;
  }

  async get(url: string, options: GetOptions = {}): Promise<GetResponse> {
    let target = parseUrl(url);
    const { offset = 0, length } = options;
    let headers: Record<string, string> = { ...options.headers };
    if (offset > 0 || length !== undefined) headers['range'] = `bytes=${offset}-${length === undefined ? '' : offset + length - 1}`;
    if (options.fresh) headers['cache-control'] = 'no-cache';
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const response = await this.#request('GET', target, { ...options, headers });
      const status = response.statusCode ?? 0;
      const { location } = response.headers;
      if (!REDIRECTS.has(status) || location === undefined) return answer(target, response, options.signal);
      response.resume();
      const next = parseUrl(location, target);
      if (target.protocol === 'https:' && next.protocol === 'http:') {
        throw new VmError('network', `${target.href} redirects to plain http (${next.href}), which is refused`);
      }
      if (next.origin !== target.origin) headers = withoutCredentials(headers);
      target = next;
    }
    throw new VmError('network', `cannot get ${url}: more than ${MAX_REDIRECTS} redirects`);
  }

  async send(method: string, url: string, options: SendOptions = {}): Promise<GetResponse> {
    const target = parseUrl(url);
    return answer(target, await this.#request(method, target, options), options.signal);
  }

  /** Closes idle connections, so that the process can end. */
  dispose(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  async #request(method: string, url: URL, options: SendOptions & Pick<GetOptions, 'silenceMs'>): Promise<IncomingMessage> {
    const proxy = this.#proxyFor(url);
    const headers: Record<string, string> = { host: url.host, 'user-agent': 'daybreak', accept: '*/*', ...options.headers };
    const { body } = options;
    if (body || method === 'POST' || method === 'PUT') headers['content-length'] = String(body?.length ?? 0);
    const common: RequestOptions = {
      method,
      headers,
      timeout: options.silenceMs ?? this.#silenceMs,
      ...(options.signal && { signal: options.signal }),
    };
    const secure = url.protocol === 'https:';
    const tunnel = proxy && secure ? await this.#tunnel(proxy, url, options.signal) : undefined;
    return new Promise((resolve, reject) => {
      const request = (() => {
        if (tunnel) {
          return httpsRequest(url, {
            ...common,
            agent: false,
            createConnection: () => tlsConnect({ socket: tunnel, servername: url.hostname }),
          });
        }
        if (proxy) {
          if (proxy.username) headers['proxy-authorization'] = credentials(proxy);
          return httpRequest({ ...common, host: bare(proxy), port: proxy.port || 80, path: url.href, agent: this.#http });
        }
        return secure ? httpsRequest(url, { ...common, agent: this.#https }) : httpRequest(url, { ...common, agent: this.#http });
      })();
      request.on('response', resolve);
      request.on('timeout', () =>
        request.destroy(new VmError('network', `cannot get ${url.href}: no answer for ${(options.silenceMs ?? this.#silenceMs) / 1000} s`)),
      );
      request.on('error', (error) => reject(options.signal?.aborted ? cancelled(url) : explain(url, error)));
      request.end(body);
    });
  }

  #proxyFor(url: URL): URL | undefined {
    const variable = (name: string) => this.#environment[name] || this.#environment[name.toUpperCase()];
    // Upper-case HTTP_PROXY is honoured too: this is no CGI program, where a client could set it.
    const proxy = variable(url.protocol === 'https:' ? 'https_proxy' : 'http_proxy') ?? variable('all_proxy');
    if (!proxy || bypassesProxy(url.hostname, variable('no_proxy') ?? '')) return undefined;
    const parsed = parseUrl(proxy.includes('://') ? proxy : `http://${proxy}`);
    if (parsed.protocol !== 'http:') {
      throw new VmError('unsupported', `the proxy ${parsed.protocol}//${parsed.host} is not supported (supported: http://)`);
    }
    return parsed;
  }

  /** A connection through an HTTP proxy's CONNECT. RFC 9110, 9.3.6. */
  #tunnel(proxy: URL, url: URL, signal: AbortSignal | undefined): Promise<Socket> {
    const authority = `${url.hostname}:${url.port || 443}`;
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        host: bare(proxy),
        port: proxy.port || 80,
        method: 'CONNECT',
        path: authority,
        headers: { host: authority, ...(proxy.username && { 'proxy-authorization': credentials(proxy) }) },
        timeout: this.#silenceMs,
        ...(signal && { signal }),
      });
      request.on('connect', (response, socket) => {
        if (response.statusCode === 200) resolve(socket);
        else {
          socket.destroy();
          reject(new VmError('network', `the proxy ${proxy.host} refuses a connection to ${authority}: status ${response.statusCode}`));
        }
      });
      request.on('timeout', () => request.destroy(new VmError('network', `the proxy ${proxy.host} does not answer`)));
      request.on('error', (error) => reject(signal?.aborted ? cancelled(url) : explain(proxy, error)));
      request.end();
    });
  }
}

function parseUrl(text: string, base?: URL): URL {
  let url: URL;
  try {
    url = new URL(text, base);
  } catch (error) {
    throw new VmError('usage', `not an address: ${text} (expected https://…)`, error);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new VmError('unsupported', `${url.protocol} addresses are not supported (supported: http, https): ${text}`);
  }
  return url;
}

function bare(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

function credentials(url: URL): string {
  const plain = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return `Basic ${Buffer.from(plain).toString('base64')}`;
}

function cancelled(url: URL): VmError {
  return new VmError('cancelled', `stopped while getting ${url.href}`);
}

function answer(url: URL, response: IncomingMessage, signal: AbortSignal | undefined): GetResponse {
  const status = response.statusCode ?? 0;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers['content-range'] ?? '');
  const offset = status === 206 && range ? Number(range[1]) : 0;
  const length = response.headers['content-length'];
  const total = status === 206 ? Number(range?.[2] ?? Number.NaN) : Number(length ?? Number.NaN);
  return {
    status,
    offset,
    totalBytes: Number.isFinite(total) ? total : undefined,
    header: (name) => [response.headers[name]].flat()[0],
    body: new Body(url, response, signal),
  };
}

function withoutCredentials({ authorization: _one, cookie: _other, ...rest }: Record<string, string>): Record<string, string> {
  return rest;
}

/**
 * The body's pieces. What has arrived before a connection breaks is given before the error: a stream's own iterator
 * would throw it away, and with it what a download could be resumed from. Listens from the beginning, so that nothing
 * is missed between the answer and its first use.
 */
class Body implements AsyncIterableIterator<Uint8Array> {
  readonly #response: IncomingMessage;
  readonly #queue: Uint8Array[] = [];
  #queued = 0;
  #ended = false;
  #failure: VmError | undefined;
  #wake = (): void => {};

  constructor(url: URL, response: IncomingMessage, signal: AbortSignal | undefined) {
    this.#response = response;
    const fail = (error: unknown) => {
      this.#failure ??= signal?.aborted ? cancelled(url) : explain(url, error);
      this.#wake();
    };
    response.on('data', (piece: Buffer) => {
      this.#queue.push(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength));
      this.#queued += piece.length;
      if (this.#queued > QUEUE_BYTES) response.pause();
      this.#wake();
    });
    response.on('end', () => {
      this.#ended = true;
      this.#wake();
    });
    response.on('error', fail);
    response.on('close', () => fail(new VmError('network', `cannot get all of ${url.href}: the connection was closed`)));
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      const piece = this.#queue.shift();
      if (piece) {
        this.#queued -= piece.length;
        if (this.#response.isPaused()) this.#response.resume();
        return { done: false, value: piece };
      }
      if (this.#ended) return { done: true, value: undefined };
      if (this.#failure) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#response.destroy();
    return { done: true, value: undefined };
  }
}
