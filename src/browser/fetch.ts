/** `Fetch` on the browser's own, which follows redirects and decides what other origins allow. */
import { VmError } from '../base/errors.ts';
import type { Fetch, GetOptions, GetResponse, SendOptions } from '../platform/fetch.ts';

export class BrowserFetch implements Fetch {
  get(url: string, { offset = 0, length, signal, fresh, headers }: GetOptions = {}): Promise<GetResponse> {
    const range = offset > 0 || length !== undefined ? { range: `bytes=${offset}-${length === undefined ? '' : offset + length - 1}` } : {};
    return request(url, { headers: { ...headers, ...range }, ...(fresh && { cache: 'no-cache' }) }, signal);
  }

  send(method: string, url: string, { headers, body, signal }: SendOptions = {}): Promise<GetResponse> {
    return request(
      url,
      { method, redirect: 'manual', ...(headers && { headers }), ...(body && { body: body as Uint8Array<ArrayBuffer> }) },
      signal,
    );
  }
}

async function request(url: string, init: RequestInit, signal: AbortSignal | undefined): Promise<GetResponse> {
  const response = await fetch(url, { ...init, ...(signal && { signal }) }).catch((error: unknown) => {
    throw failure(url, error, signal, 'no answer, or a site that does not let this page read it (CORS)');
  });
  const { status, headers } = response;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '');
  // What the server compressed for the way has another length than what comes out here.
  const whole = headers.has('content-encoding') ? Number.NaN : Number(headers.get('content-length') ?? Number.NaN);
  const total = status === 206 ? Number(range?.[2] ?? Number.NaN) : whole;
  return {
    status,
    offset: status === 206 && range ? Number(range[1]) : 0,
    totalBytes: Number.isFinite(total) ? total : undefined,
    header: (name) => headers.get(name) ?? undefined,
    body: bodyOf(url, response, signal),
  };
}

/** Streams are not iterable in every browser; and a generator that nobody has begun would not close the connection. */
function bodyOf(url: string, response: Response, signal: AbortSignal | undefined): AsyncIterableIterator<Uint8Array> {
  const reader = response.body?.getReader();
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      try {
        const read = await reader?.read();
        return read?.value ? { done: false, value: read.value } : { done: true, value: undefined };
      } catch (error) {
        throw failure(url, error, signal, 'the connection was closed');
      }
    },
    async return() {
      await reader?.cancel().catch(() => {});
      return { done: true, value: undefined };
    },
  };
}

function failure(url: string, error: unknown, signal: AbortSignal | undefined, reason: string): VmError {
  return signal?.aborted
    ? new VmError('cancelled', `stopped while getting ${url}`, error)
    : new VmError('network', `cannot get ${url}: ${reason}`, error);
}
