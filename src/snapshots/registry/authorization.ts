/**
 * Who we are, to a registry: it answers 401 and says how to prove it. By name and password (RFC 7617), or by a token that another server
 * gives for them, or to anybody. Distribution's "Token Authentication Specification" and "OAuth 2".
 */
import { concatBytes } from '../../base/bytes.ts';
import type { GetResponse } from '../../platform/fetch.ts';
import { UnauthorizedError, type Authorizer, type DownloadHost } from '../get/download.ts';
import { isLoopback, type RepositoryReference } from './reference.ts';

export interface RegistryCredentials {
  readonly username: string;
  readonly password: string;
  /** In place of a password, for a server of tokens. */
  readonly identityToken?: string;
}

export interface RegistryHost extends DownloadHost {
  /** What is known for a registry, as `docker login` names it. */
  readonly registryCredentials?: (registry: string) => Promise<RegistryCredentials | undefined>;
}

const TOKEN_MAX_BYTES = 1 << 20;

export class RegistryAuthorizer implements Authorizer {
  readonly #host: RegistryHost;
  readonly #reference: RepositoryReference;
  /** What tokens are asked for: a new one is good for all that was needed before. */
  readonly #actions: Set<string>;
  #header: string | undefined;
  #asking: Promise<string | undefined> | undefined;

  constructor(host: RegistryHost, reference: RepositoryReference, actions: readonly string[]) {
    this.#host = host;
    this.#reference = reference;
    this.#actions = new Set(actions);
  }

  headers(): Readonly<Record<string, string>> {
    return this.#header === undefined ? {} : { authorization: this.#header };
  }

  /** Rejects with `network` when the server of tokens gives none. */
  async challenged(headers: Readonly<Record<string, string>>, challenge: string | undefined): Promise<boolean> {
    // Another request, at the same time, has been through this.
    if (headers['authorization'] !== this.#header) return true;
    this.#asking ??= this.#answer(challenge ?? '').finally(() => (this.#asking = undefined));
    const header = await this.#asking;
    if (header === undefined) return false;
    this.#header = header;
    return header !== headers['authorization'];
  }

  async #answer(challenge: string): Promise<string | undefined> {
    const scheme = /^\s*(\w+)/.exec(challenge)?.[1]?.toLowerCase();
    const known = await this.#host.registryCredentials?.(this.#reference.registry);
    if (scheme === 'basic') return known && basic(known);
    if (scheme !== 'bearer') return undefined;
    const values = parametersOf(challenge);
    const { place, repository } = this.#reference;
    const realm = URL.canParse(values['realm'] ?? '') ? new URL(values['realm']!) : undefined;
    if (!realm || !/^https?:$/.test(realm.protocol))
      throw new UnauthorizedError(`${place}: the registry does not say where its tokens are given`);
    const plain = realm.protocol === 'http:' && !isLoopback(realm.hostname);
    if (known && plain && this.#reference.url.startsWith('https:'))
      throw new UnauthorizedError(`${place}: the registry wants the password sent without TLS, to ${realm.host}: that is refused`);
    for (const action of scopedActions(values['scope'], repository)) this.#actions.add(action);
    const query = new URLSearchParams({ scope: `repository:${repository}:${[...this.#actions].join(',')}` });
    if (values['service'] !== undefined) query.set('service', values['service']);
    return `Bearer ${await this.#token(realm, query, known)}`;
  }

  async #token(realm: URL, query: URLSearchParams, known: RegistryCredentials | undefined): Promise<string> {
    const { fetch } = this.#host;
    const headers: Record<string, string> = {};
    let response: GetResponse;
    if (known?.identityToken !== undefined) {
      const form = new URLSearchParams(query);
      for (const [key, value] of Object.entries({
        grant_type: 'refresh_token',
        client_id: 'daybreak',
        refresh_token: known.identityToken,
      }))
        form.set(key, value);
      headers['content-type'] = 'application/x-www-form-urlencoded';
      response = await fetch.send('POST', realm.href, { headers, body: new TextEncoder().encode(form.toString()) });
    } else {
      if (known) headers['authorization'] = basic(known);
      const url = new URL(realm);
      for (const [key, value] of query) url.searchParams.append(key, value);
      response = await fetch.get(url.href, { headers, fresh: true });
    }
    const text = new TextDecoder().decode(await bodyOf(response, TOKEN_MAX_BYTES));
    const { place, registry } = this.#reference;
    if (response.status !== 200)
      throw new UnauthorizedError(
        `${place}: ${realm.host} gives no token (status ${response.status}): ${known ? `are name and password for ${registry} right?` : loginHint(registry)}`,
      );
    const { token, access_token: other } = parseObject(text);
    const found = typeof token === 'string' ? token : other;
    if (typeof found !== 'string' || !/^[\x21-\x7e]+$/.test(found))
      throw new UnauthorizedError(`${place}: what ${realm.host} gives is no token`);
    return found;
  }
}

export function loginHint(registry: string): string {
  return `docker login ${registry}, or set DAYBREAK_REGISTRY_USERNAME and DAYBREAK_REGISTRY_PASSWORD`;
}

function basic({ username, password }: RegistryCredentials): string {
  const bytes = new TextEncoder().encode(`${username}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** `Bearer realm="…",service="…"`. RFC 9110, 11.2. */
function parametersOf(challenge: string): Record<string, string | undefined> {
  const found = challenge.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g);
  return Object.fromEntries([...found].map(([, key, quoted, bare]) => [key!.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? bare]));
}

function scopedActions(scope: string | undefined, repository: string): string[] {
  const prefix = `repository:${repository}:`;
  const mine = scope?.split(' ').find((one) => one.startsWith(prefix));
  return mine?.slice(prefix.length).split(',').filter((action) => /^[a-z*]+$/.test(action)) ?? []; // prettier-ignore
}

/** All of a body that should be small. */
export async function bodyOf(response: GetResponse, mostBytes: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body) {
    size += part.length;
    if (size > mostBytes) break;
    parts.push(part.slice());
  }
  return concatBytes(parts);
}

/** The object that JSON text stands for; an empty one when it is something else. */
export function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
