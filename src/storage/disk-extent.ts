/** A disk that is being made, as the parts of it that are not zero. */

export interface DiskExtent {
  /** In bytes, from the disk's beginning. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** Exactly `sizeBytes`. */
  read(): Promise<Uint8Array>;
}

export function bytesAt(offset: number, data: Uint8Array): DiskExtent {
  return { offset, sizeBytes: data.length, read: async () => data };
}

/** The same, at another place of a larger disk. */
export function movedBy(bytes: number, extents: readonly DiskExtent[]): DiskExtent[] {
  return extents.map((extent) => ({ offset: extent.offset + bytes, sizeBytes: extent.sizeBytes, read: () => extent.read() }));
}
