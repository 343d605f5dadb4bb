/** Getting bytes from servers. */

export interface GetOptions {
  /** Asks for the bytes from here on; the answer says where it really starts. */
  readonly offset?: number;
  /** Asks for so many bytes only. A server may send more all the same. */
  readonly length?: number;
  readonly signal?: AbortSignal;
  /** How long the server may say nothing; the host has a time of its own. */
  readonly silenceMs?: number;
  /** Asks caches on the way to look at the origin again. */
  readonly fresh?: boolean;
  /** In small letters. What authorizes does not follow a redirect to another origin. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface GetResponse {
  /** The final status after redirects: 200, 206, 404… */
  readonly status: number;
  /** Where `body` starts within the resource: 0, or the offset asked for when the server honours it. */
  readonly offset: number;
  /** Size of the whole resource when the server says so. */
  readonly totalBytes: number | undefined;
  /** A header of the answer, by its name in small letters. */
  header(name: string): string | undefined;
  /** The body as sent, one time. Rejects with a VmError `network` when the connection breaks. Leaving it early closes the connection. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface SendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal;
}

export interface Fetch {
  /**
   * Follows a few redirects. Rejects with VmError `network` when there is no answer within a while, with `cancelled` when aborted.
   * A caller that does not want the body must still end it, by `discard`.
   */
  get(url: string, options?: GetOptions): Promise<GetResponse>;
  /** Any other request than a plain GET. Redirects are not followed. Otherwise as `get`. */
  send(method: 'DELETE' | 'HEAD' | 'POST' | 'PUT', url: string, options?: SendOptions): Promise<GetResponse>;
}

/** Ends a response whose body nobody wants. */
export async function discard(response: GetResponse): Promise<void> {
  await response.body[Symbol.asyncIterator]().return?.();
}
