/**
 * How much memory frames of zstd ask for, told by their headers alone: a decoder takes all of a frame's window at once, whatever else is in the
 * frame. RFC 8878, 3.1.1 and 3.1.2.
 */

const FRAME = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;

/**
 * The largest window of all frames in bytes, as far as the data can be walked: damage ends the walk, and is for the decoder to find.
 */
export function largestWindow(data: Uint8Array): number {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let largest = 0;
  try {
    for (let at = 0; at + 8 <= data.length;) {
      const magic = view.getUint32(at, true);
      if ((magic & ~0xf) >>> 0 === SKIPPABLE) {
        at += 8 + view.getUint32(at + 4, true);
        continue;
      }
      if (magic !== FRAME) break;
      const { windowBytes, headerBytes, checksum } = readHeader(view, at + 4);
      largest = Math.max(largest, windowBytes);
      at = endOfBlocks(view, at + 4 + headerBytes) + (checksum ? 4 : 0);
    }
  } catch (error) {
    // Beyond the end of the view.
    if (!(error instanceof RangeError)) throw error;
  }
  return largest;
}

function readHeader(view: DataView, at: number): { windowBytes: number; headerBytes: number; checksum: boolean } {
  const descriptor = view.getUint8(at);
  const singleSegment = (descriptor & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (singleSegment ? 1 : 0) : 1 << sizeFlag;
  const sizeAt = at + 1 + (singleSegment ? 0 : 1) + dictionaryBytes;
  return {
    windowBytes: singleSegment ? contentSize(view, sizeAt, sizeBytes) : windowSize(view.getUint8(at + 1)),
    headerBytes: sizeAt + sizeBytes - at,
    checksum: (descriptor & 4) !== 0,
  };
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

function contentSize(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at, true) + 256;
  if (bytes === 4) return view.getUint32(at, true);
  return Number(view.getBigUint64(at, true));
}

/** Blocks: one bit for the last, two for the kind, 21 for the size. Of a kind of one repeated byte, there is one byte. */
function endOfBlocks(view: DataView, at: number): number {
  for (;;) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    at += 3 + (((header >> 1) & 3) === 1 ? 1 : header >> 3);
    if (header & 1) return at;
  }
}
