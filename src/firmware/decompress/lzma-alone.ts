/** The .lzma format: a 13-byte header before one LZMA stream. LZMA specification, "lzma file format". */
import { LzmaDecoder } from './lzma.ts';
import { Malformed, Output, type OutputLimits } from './output.ts';

const HEADER = 13;
const ANY_LITERAL_BITS = 12;
const STEP = 1 << 20;
const UNKNOWN_SIZE = 0xffff_ffff_ffff_ffffn;

export function unpackLzmaAlone(data: Uint8Array, limits: OutputLimits): Uint8Array {
  if (data.length < HEADER) throw new Malformed('is cut off within its header');
  const announced = new DataView(data.buffer, data.byteOffset, data.length).getBigUint64(5, true);
  const size = announced === UNKNOWN_SIZE ? Infinity : Number(announced);
  if (size !== Infinity && size > limits.maximumBytes)
    throw new Malformed(`unpacks to ${size} bytes (at most ${limits.maximumBytes} are accepted)`);
  const decoder = new LzmaDecoder();
  decoder.setProperties(data[0]!, ANY_LITERAL_BITS);
  const output = new Output(limits);
  let at = decoder.start(data, HEADER);
  while (!decoder.ended && output.length < size) {
    const step = Math.min(STEP, size - output.length, output.room);
    if (step === 0) {
      // Full: only the end marker may follow, and it is read as a match that writes nothing.
      if (decoder.pendingLength > 0) throw new Malformed(`unpacks to more than ${limits.maximumBytes} bytes`);
      break;
    }
    output.reserve(step);
    at = decoder.decode(data, at, data.length, output, 0, output.length + step);
  }
  return output.take();
}
