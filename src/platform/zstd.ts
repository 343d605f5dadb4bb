/** zstd (RFC 8878) as far as publishing and patches need it; plain unpacking is `storage/decompress.ts`, which needs no host. */
export interface Zstd {
  /** One frame that tells its size. */
  compress(data: Uint8Array, level: number): Uint8Array;
  /** Undefined when the data is no frame of `sizeBytes`. */
  decompress(data: Uint8Array, sizeBytes: number): Uint8Array | undefined;
  /** One frame that only somebody who has `base` can unpack. */
  compressAgainst(base: Uint8Array, data: Uint8Array, level: number): Uint8Array;
  /** Undefined when the data is no such frame of `sizeBytes` against this base. */
  decompressAgainst(base: Uint8Array, data: Uint8Array, sizeBytes: number): Uint8Array | undefined;
}
