/** One file, or a stretch of it, from a server that may break off, stall, ignore ranges or lie about lengths. */
import { concatBytes } from '../../base/bytes.ts';
import { VmError } from '../../base/errors.ts';
import type { WallClock } from '../../platform/clock.ts';
import { discard, type Fetch } from '../../platform/fetch.ts';

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
/** For one answer, of at most a few MiB: a server that drips would hold us for ever. */
const ANSWER_MS = 5 * 60_000;

export interface DownloadHost {
  readonly fetch: Fetch;
  readonly clock: WallClock;
  /** How long a server may say nothing. */
  readonly silenceMs?: number;
}

/** Who we are, to a server that wants to know. */
export interface Authorizer {
  /** What goes with a request. */
  headers(): Readonly<Record<string, string>>;
  /** The server has answered 401 with this challenge to those headers. True when it makes sense to ask again. May reject with `UnauthorizedError`. */
  challenged(headers: Readonly<Record<string, string>>, challenge: string | undefined): Promise<boolean>;
}

/** The server has answered, but with something else than the file. */
export class StatusError extends VmError {
  readonly status: number;
  constructor(url: string, status: number) {
    const nothing = status === 404 || status === 410 || status === 403;
    super(nothing ? 'not-found' : 'network', `cannot get ${url}: the server answers with status ${status}`);
    this.status = status;
  }
}

/** We cannot prove who we are: trying again changes nothing, and may lock an account. */
export class UnauthorizedError extends VmError {
  constructor(message: string) {
    super('network', message);
  }
}

export interface Download {
  readonly url: string;
  readonly offset: number;
  /** Exactly so many bytes; without it, up to the end or `most`. */
  readonly length?: number;
  readonly most: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly authorizer?: Authorizer;
  readonly signal?: AbortSignal;
}

/**
 * Tries four times, goes on from what it has. Rejects with `not-found` when the server says that there is nothing for us, `network` when it has not
 * so many bytes or there is no answer, `cancelled`.
 */
export async function download(host: DownloadHost, wanted: Download): Promise<Uint8Array> {
  const { url, length, signal } = wanted;
  let pauseMs = FIRST_PAUSE_MS;
  // What an attempt got stays, so that a line that keeps breaking comes to an end.
  const parts: Uint8Array[] = [];
  for (let attempt = 1; ; attempt++) {
    try {
      await attemptIt(host, wanted, parts);
      return concatBytes(parts);
    } catch (error) {
      if (signal?.aborted) throw new VmError('cancelled', `stopped while getting ${url}`, error);
      if (!(error instanceof VmError) || error.code !== 'network' || attempt >= ATTEMPTS) throw error;
      if (error instanceof UnauthorizedError || (error instanceof StatusError && error.status === 401)) throw error;
      // Without a length nobody can say whether the file is still the same.
      if (length === undefined) parts.length = 0;
      await host.clock.sleep(pauseMs, signal);
      pauseMs *= 2;
    }
  }
}

async function attemptIt(host: DownloadHost, wanted: Download, parts: Uint8Array[]): Promise<void> {
  const { url, offset, length, most, signal } = wanted;
  let have = parts.reduce((sum, part) => sum + part.length, 0);
  const abort = new AbortController();
  const stop = () => abort.abort();
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  const over = new AbortController();
  let late = false;
  void host.clock.sleep(ANSWER_MS, over.signal).then(() => {
    if (over.signal.aborted) return;
    late = true;
    stop();
  });
  try {
    const response = await ask(host, wanted, have, abort.signal);
    if (response.status !== 200 && response.status !== 206) {
      await discard(response);
      throw new StatusError(url, response.status);
    }
    const from = offset + have;
    if (response.offset > from) {
      await discard(response);
      throw new VmError('network', `cannot get ${url}: the server sends other bytes than those asked for`);
    }
    // A server that ignores ranges begins at the beginning.
    let skip = from - response.offset;
    for await (const piece of response.body) {
      const part = piece.subarray(Math.min(skip, piece.length)).subarray(0, most - have);
      skip -= Math.min(skip, piece.length);
      if (part.length > 0) parts.push(part.slice());
      have += part.length;
      if (have >= most) break;
    }
    if (length !== undefined && have < length)
      throw new VmError('network', `cannot get ${url}: it ended after ${offset + have} bytes, but ${offset + length} were signed for`);
  } catch (error) {
    if (late)
      throw new VmError(
        'network',
        `cannot get ${url}: the server is too slow: no whole answer within ${ANSWER_MS / 60_000} minutes`,
        error,
      );
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    over.abort();
  }
}

async function ask({ fetch, silenceMs }: DownloadHost, wanted: Download, have: number, signal: AbortSignal) {
  const { url, offset, length, authorizer } = wanted;
  const range = length === undefined ? { fresh: true } : { offset: offset + have, length: length - have };
  for (let asked = 0; ; asked++) {
    const identity = authorizer?.headers() ?? {};
    const response = await fetch.get(url, {
      ...range,
      headers: { ...wanted.headers, ...identity },
      signal,
      ...(silenceMs !== undefined && { silenceMs }),
    });
    if (response.status !== 401 || !authorizer || asked > 1) return response;
    await discard(response);
    if (!(await authorizer.challenged(identity, response.header('www-authenticate')))) return response;
  }
}
