/** Reads PNGs as plasma-picture writes them: RGB of 8 bits, no filters, not interlaced. PNG Specification (W3C), sections 5 and 11. */
import { inflateSync } from 'node:zlib';

const SIGNATURE = '89504e470d0a1a0a';
const [RGB, NO_FILTER] = [2, 0];

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue in one number. */
  pixel(x: number, y: number): number;
}

export function decodePng(data: Buffer): Picture {
  if (data.subarray(0, 8).toString('hex') !== SIGNATURE) throw new Error('no PNG');
  const parts: Buffer[] = [];
  let header: Buffer = Buffer.alloc(13);
  for (let at = 8; at < data.length; at += 12 + data.readUInt32BE(at)) {
    const kind = data.toString('latin1', at + 4, at + 8);
    const content = data.subarray(at + 8, at + 8 + data.readUInt32BE(at));
    if (kind === 'IHDR') header = content;
    if (kind === 'IDAT') parts.push(content);
  }
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  if (header[8] !== 8 || header[9] !== RGB || header[12] !== 0) throw new Error('another kind of PNG than expected');
  const lines = inflateSync(Buffer.concat(parts));
  const stride = 1 + 3 * width;
  if (lines.length !== stride * height) throw new Error(`${lines.length} bytes for ${width}x${height} pixels`);
  for (let y = 0; y < height; y++) if (lines[y * stride] !== NO_FILTER) throw new Error('a filtered PNG');
  return { width, height, pixel: (x, y) => lines.readUIntBE(y * stride + 1 + 3 * x, 3) };
}
