/** A repository of a container registry: manifests by tag, blobs by digest. OCI Distribution Specification 1.1; Image Specification 1.1, "Manifest". */
import { VmError } from '../../base/errors.ts';
import { isSha256, sha256 } from '../../base/sha256.ts';
import { discard, type GetResponse, type SendOptions } from '../../platform/fetch.ts';
import { download, StatusError, UnauthorizedError } from '../get/download.ts';
import { bodyOf, loginHint, parseObject, RegistryAuthorizer, type RegistryHost } from './authorization.ts';
import type { RepositoryReference } from './reference.ts';

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
/** Others too: a registry that may not give what it has says that it has nothing. */
const ACCEPTED = [
  MANIFEST_TYPE,
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
].join(', ');
const ARTIFACT_TYPE = 'application/vnd.daybreak.files.v1';
const FILE_TYPE = 'application/vnd.daybreak.file.v1';
const TITLE = 'org.opencontainers.image.title';
/** Image Specification, "Guidance for an empty descriptor". */
const EMPTY = new TextEncoder().encode('{}');
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
/** Registries take 4 MiB. */
const MANIFEST_MAX_BYTES = 4 << 20;
const ANSWER_MAX_BYTES = 4 << 20;
const TAGS_A_PAGE = 1000;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;

export interface RegistryFile {
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface FilesManifest {
  /** SHA-256 of the manifest itself. */
  readonly digest: string;
  readonly files: readonly RegistryFile[];
}

/** Every method rejects with `network` when the registry refuses or cannot be reached. Digests are SHA-256 in hexadecimal. */
export class Registry {
  readonly name: string;
  readonly #host: RegistryHost;
  readonly #reference: RepositoryReference;
  readonly #authorizer: RegistryAuthorizer;
  #hasEmpty = false;

  constructor(host: RegistryHost, reference: RepositoryReference, actions: readonly string[]) {
    this.#host = host;
    this.#reference = reference;
    this.name = reference.place;
    this.#authorizer = new RegistryAuthorizer(host, reference, actions);
  }

  /** What a tag names. Undefined when there is no such tag, or no such repository. Rejects with `bad-image` when it is something else. */
  async files(tag: string): Promise<FilesManifest | undefined> {
    const where = `${this.name}:${tag}`;
    const data = await this.#download(`manifests/${tag}`, 0, undefined, MANIFEST_MAX_BYTES + 1, { accept: ACCEPTED });
    if (!data) return undefined;
    const bad = (what: string): never => {
      throw new VmError('bad-image', `${where}: not what daybreak publishes: ${what}`);
    };
    if (data.length > MANIFEST_MAX_BYTES) bad('its manifest is longer than 4 MiB');
    const manifest = parseObject(new TextDecoder().decode(data));
    if (manifest['artifactType'] !== ARTIFACT_TYPE) bad('its manifest is of another type');
    if (!Array.isArray(manifest['layers'])) return bad('its manifest has no layers');
    const files = manifest['layers'].flatMap((layer: unknown): RegistryFile[] => {
      const { mediaType, digest, size, annotations } = (layer ?? {}) as Record<string, unknown>;
      if (mediaType === EMPTY_TYPE) return [];
      const path = (annotations as Record<string, unknown> | undefined)?.[TITLE];
      const found = typeof digest === 'string' && digest.startsWith('sha256:') ? digest.slice(7) : '';
      if (typeof path !== 'string' || !isSha256(found) || !Number.isSafeInteger(size) || (size as number) < 0) return bad('a layer is bad');
      return [{ path, digest: found, sizeBytes: size as number }];
    });
    return { digest: await sha256(data), files };
  }

  /** Makes the tag name these files, whose blobs are there; without any, it says that there are none. Readers see the old or the new. */
  async putFiles(tag: string, files: readonly RegistryFile[]): Promise<string> {
    if (!this.#hasEmpty) await this.upload(await sha256(EMPTY), EMPTY);
    this.#hasEmpty = true;
    const empty = { mediaType: EMPTY_TYPE, digest: `sha256:${await sha256(EMPTY)}`, size: EMPTY.length };
    const layers = files.map(({ path, digest, sizeBytes }) => ({
      mediaType: FILE_TYPE,
      digest: `sha256:${digest}`,
      size: sizeBytes,
      annotations: { [TITLE]: path },
    }));
    const manifest = {
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      artifactType: ARTIFACT_TYPE,
      config: empty,
      layers: layers.length > 0 ? layers : [empty],
      // A manifest has a digest of its own, so that removing it removes no other tag.
      annotations: { 'org.daybreak.tag': tag },
    };
    const body = new TextEncoder().encode(JSON.stringify(manifest));
    await this.#ask('PUT', `manifests/${tag}`, [201], { body, headers: { 'content-type': MANIFEST_TYPE } });
    return sha256(body);
  }

  /** False when the registry does not let us. */
  async removeManifest(digest: string): Promise<boolean> {
    const response = await this.#send('DELETE', `${this.#reference.url}/manifests/sha256:${digest}`, {});
    const text = new TextDecoder().decode(await bodyOf(response, ANSWER_MAX_BYTES));
    if (response.status === 202 || response.status === 200 || response.status === 204 || response.status === 404) return true;
    if ([400, 401, 403, 405].includes(response.status)) return false;
    throw this.#refused('DELETE', `manifests/sha256:${digest}`, response.status, text);
  }

  /** `length` bytes of a blob, or all up to `most`. Undefined when it is not there. */
  blob(digest: string, offset: number, length: number | undefined, most: number, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#download(`blobs/sha256:${digest}`, offset, length, most, {}, signal);
  }

  /** Nothing is sent when the registry has it. */
  async upload(digest: string, data: Uint8Array): Promise<void> {
    const { status } = await this.#ask('HEAD', `blobs/sha256:${digest}`, [200, 301, 302, 303, 307, 308, 404], {});
    if (status !== 404) return;
    const begun = await this.#ask('POST', 'blobs/uploads/', [202], {});
    const location = begun.header('location');
    if (location === undefined || !URL.canParse(location, this.#reference.url))
      throw new VmError('network', `${this.name}: the registry does not say where to upload to`);
    const url = new URL(location, `${this.#reference.url}/blobs/uploads/`).href;
    await this.#ask('PUT', `${url}${url.includes('?') ? '&' : '?'}digest=sha256:${digest}`, [201], {
      body: data,
      headers: { 'content-type': 'application/octet-stream' },
    });
  }

  async tags(): Promise<string[]> {
    const found: string[] = [];
    let path: string | undefined = `tags/list?n=${TAGS_A_PAGE}`;
    while (path !== undefined) {
      const url: string = path.startsWith('tags/') ? `${this.#reference.url}/${path}` : path;
      const response = await this.#get(url);
      if (!response) return found;
      const { tags } = parseObject(response.text);
      if (Array.isArray(tags)) found.push(...tags.filter((tag): tag is string => typeof tag === 'string'));
      const next: string | undefined = /<([^>]+)>;\s*rel="?next"?/.exec(response.link ?? '')?.[1];
      const following: URL | undefined = next !== undefined && URL.canParse(next, url) ? new URL(next, url) : undefined;
      // Whoever follows elsewhere would show its token there.
      path = following && following.origin === new URL(url).origin && following.href !== url ? following.href : undefined;
    }
    return found;
  }

  async #get(url: string): Promise<{ text: string; link: string | undefined } | undefined> {
    for (let asked = 0; ; asked++) {
      const headers = this.#authorizer.headers();
      const response = await this.#host.fetch.get(url, { headers, fresh: true });
      const text = new TextDecoder().decode(await bodyOf(response, ANSWER_MAX_BYTES));
      if (response.status === 200) return { text, link: response.header('link') };
      if (response.status === 404) return undefined;
      const again =
        response.status === 401 && asked < 2 && (await this.#authorizer.challenged(headers, response.header('www-authenticate')));
      if (!again) throw this.#refused('GET', url, response.status, text);
    }
  }

  async #download(
    path: string,
    offset: number,
    length: number | undefined,
    most: number,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const wanted = { url: `${this.#reference.url}/${path}`, offset, most, headers, authorizer: this.#authorizer };
    try {
      return await download(this.#host, { ...wanted, ...(length !== undefined && { length }), ...(signal && { signal }) });
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      if (error.status === 404 || error.status === 410) return undefined;
      throw error.status === 401 || error.status === 403 ? this.#refused('GET', path, error.status, '') : error;
    }
  }

  /** Tries again when the registry is busy or the line breaks: each request may be made twice. */
  async #ask(method: 'HEAD' | 'POST' | 'PUT', path: string, expected: readonly number[], options: SendOptions): Promise<GetResponse> {
    const url = path.startsWith('http') ? path : `${this.#reference.url}/${path}`;
    let pauseMs = FIRST_PAUSE_MS;
    for (let attempt = 1; ; attempt++) {
      let refused: VmError;
      let busy = true;
      try {
        const response = await this.#send(method, url, options);
        if (expected.includes(response.status)) {
          await discard(response);
          return response;
        }
        const text = new TextDecoder().decode(await bodyOf(response, ANSWER_MAX_BYTES));
        refused = this.#refused(method, path, response.status, text);
        busy = response.status >= 500 || response.status === 429;
      } catch (error) {
        if (!(error instanceof VmError) || error.code !== 'network' || error instanceof UnauthorizedError) throw error;
        refused = error;
      }
      if (!busy || attempt >= ATTEMPTS) throw refused;
      await this.#host.clock.sleep(pauseMs);
      pauseMs *= 2;
    }
  }

  async #send(method: 'DELETE' | 'HEAD' | 'POST' | 'PUT', url: string, options: SendOptions): Promise<GetResponse> {
    const own = new URL(url).origin === new URL(this.#reference.url).origin;
    for (let asked = 0; ; asked++) {
      const identity = own ? this.#authorizer.headers() : {};
      const response = await this.#host.fetch.send(method, url, { ...options, headers: { ...options.headers, ...identity } });
      if (response.status !== 401 || !own || asked > 1) return response;
      if (!(await this.#authorizer.challenged(identity, response.header('www-authenticate')))) return response;
      await discard(response);
    }
  }

  #refused(method: string, path: string, status: number, text: string): VmError {
    const [first] = [parseObject(text)['errors']].flat() as (Record<string, unknown> | undefined)[];
    const why = [first?.['code'], first?.['message']].filter((part) => typeof part === 'string').join(': ') || `status ${status}`;
    const hint = status === 401 || status === 403 ? `: may you do that there? ${loginHint(this.#reference.registry)}` : '';
    const what = path.replace(/\?.*$/, '').replace(this.#reference.url, '');
    return new VmError('network', `${this.name}: ${method} ${what} is refused: ${why.slice(0, 200)}${hint}`);
  }
}
