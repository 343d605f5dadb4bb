/** gzip (RFC 1952) by the host's own decoder, which every platform has. */
import { Malformed, type OutputLimits } from './output.ts';

export async function* unpackGzip(data: Uint8Array, { maximumBytes }: OutputLimits): AsyncGenerator<Uint8Array, void> {
  const stream = new DecompressionStream('gzip');
  const writer = stream.writable.getWriter();
  // A failure shows at the reading end; the writing end's copy of it is not news.
  const written = writer.write(data as Uint8Array<ArrayBuffer>).then(() => writer.close());
  written.catch(() => {});
  const reader = stream.readable.getReader();
  let total = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      total += value.length;
      if (total > maximumBytes) throw new Malformed(`unpacks to more than ${maximumBytes} bytes`);
      yield value;
    }
  } catch (cause) {
    if (cause instanceof Malformed) throw cause;
    throw new Malformed(`is damaged or cut off (${cause instanceof Error ? cause.message : String(cause)})`);
  } finally {
    reader.cancel().catch(() => {});
  }
}
