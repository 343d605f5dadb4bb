/** Gets what a machine is made of: a chosen file, or what lies at an address. */
import { VmError } from '../base/errors.ts';
import { discard, type Fetch } from '../platform/fetch.ts';

export type Source = File | string;

export function nameOf(source: Source): string {
  return typeof source === 'string' ? (source.split(/[?#]/)[0]!.split('/').pop() ?? source) : source.name;
}

/** Rejects with a VmError. `progress` is told bytes so far, and all of them when known. */
export async function load(
  fetch: Fetch,
  source: Source,
  base: string,
  signal: AbortSignal,
  progress: (got: number, of: number | undefined) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  if (typeof source !== 'string') {
    return new Uint8Array(
      await source.arrayBuffer().catch((error: unknown) => {
        throw new VmError('host-io', `cannot read ${source.name}: it has changed or gone since it was chosen; choose it again`, error);
      }),
    );
  }
  const url = addressOf(source, base);
  const response = await fetch.get(url, { signal });
  if (response.status !== 200) {
    await discard(response);
    throw new VmError(
      response.status === 404 ? 'not-found' : 'network',
      `cannot get ${url}: the server answers with status ${response.status}`,
    );
  }
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let got = 0;
  for await (const part of response.body) {
    parts.push(part.slice());
    got += part.length;
    progress(got, response.totalBytes);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function addressOf(text: string, base: string): string {
  if (!URL.canParse(text, base)) throw new VmError('usage', `not an address: ${text}`);
  return new URL(text, base).href;
}
