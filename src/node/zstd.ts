/** `Zstd` by the reference implementation, compiled to WebAssembly: Node 20 has none of its own. */
import type { Zstd } from '../platform/zstd.ts';
import { zstdPackage } from './zstd-package.ts';

export async function nodeZstd(): Promise<Zstd> {
  const { compress, compressUsingDict, decompress, createCCtx, createDCtx, decompressUsingDict, freeCCtx, freeDCtx } = await zstdPackage();
  return {
    compress: (data, level) => compress(data, level),
    decompress(data, sizeBytes) {
      // The package makes as much room as the frame says.
      if (zstdContentSize(data) !== sizeBytes) return undefined;
      try {
        const content = decompress(data);
        return content.length === sizeBytes ? content : undefined;
      } catch {
        return undefined;
      }
    },
    compressAgainst(base, data, level) {
      const context = createCCtx();
      try {
        return compressUsingDict(context, data, base, level);
      } finally {
        freeCCtx(context);
      }
    },
    decompressAgainst(base, data, sizeBytes) {
      if (zstdContentSize(data) !== sizeBytes) return undefined;
      const context = createDCtx();
      try {
        return decompressUsingDict(context, data, base);
      } catch {
        return undefined;
      } finally {
        freeDCtx(context);
      }
    },
  };
}

/** What a frame says its content has; undefined when it does not say. RFC 8878, 3.1.1.1. */
export function zstdContentSize(data: Uint8Array): number | undefined {
  if (data.length < 6) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (view.getUint32(0, true) !== 0xfd2fb528) return undefined;
  const descriptor = data[4]!;
  const single = (descriptor >> 5) & 1;
  const at = 5 + (single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!;
  const width = [single, 2, 4, 8][descriptor >> 6]!;
  if (width === 0 || data.length < at + width) return undefined;
  if (width === 1) return data[at];
  if (width === 2) return view.getUint16(at, true) + 256;
  return width === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}
