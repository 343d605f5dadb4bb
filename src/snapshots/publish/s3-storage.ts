/**
 * Publishing to an S3 store: Amazon's, or one that speaks its protocol. The bucket is there already, and is made readable by its owner; readers
 * need nothing but its address over HTTP. Amazon S3 API reference: GetObject, HeadObject, PutObject, ListObjectsV2, DeleteObject.
 */
import { AwsClient } from 'aws4fetch';
import { VmError } from '../../base/errors.ts';
import type { Storage, StoredFile } from './storage.ts';

export interface S3Options {
  readonly bucket: string;
  /** Before every path; without slashes at its ends, or empty. */
  readonly prefix: string;
  /** The store's address, without the bucket. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** How long an answer may take: the largest upload is 4 MiB. */
const ANSWER_MS = 5 * 60_000;

export class S3Storage implements Storage {
  readonly name: string;
  readonly #client: AwsClient;
  readonly #bucketUrl: string;
  readonly #prefix: string;

  constructor({ bucket, prefix, endpoint, region, accessKeyId, secretAccessKey, sessionToken }: S3Options) {
    this.name = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`;
    this.#client = new AwsClient({
      accessKeyId,
      secretAccessKey,
      region,
      service: 's3',
      retries: 3,
      ...(sessionToken !== undefined && { sessionToken }),
    });
    this.#bucketUrl = `${endpoint.replace(/\/+$/, '')}/${bucket}`;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    const response = await this.#ask('GET', path, [404]);
    return response.status === 404 ? undefined : new Uint8Array(await response.arrayBuffer());
  }

  async sizeOf(path: string): Promise<number | undefined> {
    const response = await this.#ask('HEAD', path, [404]);
    return response.status === 404 ? undefined : Number(response.headers.get('content-length'));
  }

  /** S3 shows an object when all of it has arrived. */
  async write(path: string, data: Uint8Array): Promise<void> {
    await this.#ask('PUT', path, [], data, { 'cache-control': cacheControl(path) });
  }

  /** The store refuses the second of two, where it knows `If-None-Match`; asking before helps where it does not. */
  async create(path: string, data: Uint8Array): Promise<boolean> {
    if ((await this.sizeOf(path)) !== undefined) return false;
    const response = await this.#ask('PUT', path, [409, 412], data, { 'if-none-match': '*' });
    return response.ok;
  }

  async list(directory: string): Promise<StoredFile[]> {
    const found: StoredFile[] = [];
    let token: string | undefined;
    do {
      const query = new URLSearchParams({ 'list-type': '2', prefix: `${this.#prefix}${directory}/` });
      if (token !== undefined) query.set('continuation-token', token);
      const xml = await (await this.#ask('GET', `?${query}`, [])).text();
      for (const [, entry] of xml.matchAll(/<Contents>([\s\S]*?)<\/Contents>/g)) {
        const [key, size] = [textOf(entry!, 'Key'), textOf(entry!, 'Size')];
        if (key?.startsWith(this.#prefix) && size !== undefined)
          found.push({ path: key.slice(this.#prefix.length), sizeBytes: Number(size) });
      }
      token = textOf(xml, 'NextContinuationToken');
    } while (token !== undefined);
    return found;
  }

  async remove(path: string): Promise<void> {
    await this.#ask('DELETE', path, [404]);
  }

  async #ask(
    method: string,
    path: string,
    allowed: readonly number[],
    body?: Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const url = path.startsWith('?') ? `${this.#bucketUrl}${path}` : `${this.#bucketUrl}/${this.#prefix}${path}`;
    let response: Response;
    try {
      response = await this.#client.fetch(url, {
        method,
        headers,
        signal: AbortSignal.timeout(ANSWER_MS),
        ...(body && { body: body as Uint8Array<ArrayBuffer> }),
      });
    } catch (error) {
      throw new VmError('network', `${this.name}: cannot reach ${new URL(url).host}: check the network and AWS_ENDPOINT_URL`, error);
    }
    if (response.ok || allowed.includes(response.status)) return response;
    const why = textOf(await response.text().catch(() => ''), 'Message') ?? `status ${response.status}`;
    const hint = response.status === 403 ? ': check the access key, and what it may do with this bucket' : '';
    throw new VmError('network', `${this.name}: ${method} ${path} is refused: ${why.slice(0, 200)}${hint}`);
  }
}

/** Lists that change are asked for every time; all else is named by its content or its version. */
function cacheControl(path: string): string {
  return path === 'metadata/timestamp.json' || path.endsWith('.lock') ? 'no-cache' : 'public, max-age=31536000, immutable';
}

function textOf(xml: string, tag: string): string | undefined {
  const inside = new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(xml)?.[1];
  return inside?.replace(/&(lt|gt|quot|apos|amp);/g, (_all, name: string) => ({ lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' })[name]!);
}

/** `s3://BUCKET[/PREFIX]`, with what the environment says, as Amazon's own tools have it. Throws VmError `usage`. */
export function openS3(place: string, environment: Readonly<Record<string, string | undefined>>): S3Storage {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/([\w./-]*?))?\/*$/.exec(place);
  if (!match || match[2]?.split('/').includes('..')) throw new VmError('usage', `${place}: expected s3://BUCKET or s3://BUCKET/PREFIX`);
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = environment;
  if (!accessKeyId || !secretAccessKey)
    throw new VmError('usage', `${place}: who publishes there? Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`);
  const region = environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'] || 'us-east-1';
  return new S3Storage({
    bucket: match[1]!,
    prefix: match[2] ?? '',
    endpoint: environment['AWS_ENDPOINT_URL'] || `https://s3.${region}.amazonaws.com`,
    region,
    accessKeyId,
    secretAccessKey,
    ...(sessionToken && { sessionToken }),
  });
}
