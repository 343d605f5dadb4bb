/** Numbers of the block device's protocol: VIRTIO 1.2, 5.2. */
export const SECTOR = 512;

export const F_SEG_MAX = 2;
export const F_RO = 5;
export const F_BLK_SIZE = 6;
export const F_FLUSH = 9;
export const F_TOPOLOGY = 10;
export const F_DISCARD = 13;
export const F_WRITE_ZEROES = 14;

export const T_IN = 0;
export const T_OUT = 1;
export const T_FLUSH = 4;
export const T_GET_ID = 8;
export const T_DISCARD = 11;
export const T_WRITE_ZEROES = 13;

export const S_OK = 0;
export const S_IOERR = 1;
export const S_UNSUPP = 2;

/** Type, reserved word, sector: what every request begins with. */
export const HEADER_SIZE = 16;
/** Sector, number of sectors, flags: what discard and write-zeroes carry. */
export const RANGE_SIZE = 16;
export const RANGE_UNMAP = 1;
export const ID_SIZE = 20;
export const CONFIG_SIZE = 60;

/** Sectors that one discard, and one write of zeros, may name. */
export const MAX_DISCARD_SECTORS = 0x40_0000;
export const MAX_ZERO_SECTORS = 0x8000;
export const MAX_RANGES = 16;

export interface Geometry {
  readonly sectors: number;
  /** Buffers in one request, without header and status. */
  readonly maxSegments: number;
}

/** The device-specific configuration: 5.2.4. */
export function blockConfig({ sectors, maxSegments }: Geometry): Uint8Array {
  const view = new DataView(new ArrayBuffer(CONFIG_SIZE));
  view.setBigUint64(0, BigInt(sectors), true);
  view.setUint32(12, maxSegments, true);
  view.setUint32(20, SECTOR, true);
  view.setUint8(24, 3); // a physical block is 2^3 logical ones: hosts store pages
  view.setUint16(26, 8, true); // smallest write without a read before it
  view.setUint16(34, 1, true); // request queues
  view.setUint32(36, MAX_DISCARD_SECTORS, true);
  view.setUint32(40, MAX_RANGES, true);
  view.setUint32(44, 8, true); // discards align to physical blocks
  view.setUint32(48, MAX_ZERO_SECTORS, true);
  view.setUint32(52, MAX_RANGES, true);
  view.setUint8(56, 1); // write-zeroes may unmap
  return new Uint8Array(view.buffer);
}
