/** gzip (RFC 1952) by the host's own decoder, which every platform has. */
import { Malformed, Output, type OutputLimits } from './output.ts';

export async function unpackGzip(data: Uint8Array, limits: OutputLimits): Promise<Uint8Array> {
  const output = new Output(limits);
  const stream = new DecompressionStream('gzip');
  const writer = stream.writable.getWriter();
  // A failure shows at the reading end; the writing end's copy of it is not news.
  const written = writer.write(data as Uint8Array<ArrayBuffer>).then(() => writer.close());
  written.catch(() => {});
  const reader = stream.readable.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return output.take();
      output.append(value);
    }
  } catch (cause) {
    if (cause instanceof Malformed) {
      reader.cancel().catch(() => {});
      throw cause;
    }
    throw new Malformed(`is damaged or cut off (${cause instanceof Error ? cause.message : String(cause)})`);
  }
}
