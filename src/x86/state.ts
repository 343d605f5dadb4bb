import type { SegmentName } from '../machine/vcpu.ts';
import * as L from './runtime/layout.ts';

export const SEGMENTS: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'];
export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;
export const FS = 4;
export const GS = 5;
export const LDTR = 6;
export const TR = 7;

/** Segment attributes, as in a VMCS access-rights field: SDM vol. 3, table 25-2. */
export const ATTR_ACCESSED = 1;
export const ATTR_WRITE_READ = 2;
export const ATTR_CONFORMING = 4;
export const ATTR_CODE = 8;
export const ATTR_S = 0x10;
export const ATTR_P = 0x80;
export const ATTR_L = 0x2000;
export const ATTR_DB = 0x4000;
export const ATTR_G = 0x8000;
export const ATTR_UNUSABLE = 0x10000;
export const dpl = (attributes: number): number => (attributes >> 5) & 3;

export const CR0_PE = 1;
export const CR0_MP = 2;
export const CR0_EM = 4;
export const CR0_TS = 8;
export const CR0_NE = 0x20;
export const CR0_WP = 1 << 16;
export const CR0_AM = 1 << 18;
export const CR0_PG = 1 << 31;
export const EFER_SCE = 1;
export const EFER_LME = 1 << 8;
export const EFER_LMA = 1 << 10;
export const EFER_NXE = 1 << 11;

/** Typed access to the vCPU's state in linear memory, by the addresses of layout.ts. */
export class State {
  readonly view: DataView;

  constructor(buffer: ArrayBufferLike) {
    this.view = new DataView(buffer);
  }

  u16 = (address: number): number => this.view.getUint16(address, true);
  u32 = (address: number): number => this.view.getUint32(address, true);
  i32 = (address: number): number => this.view.getInt32(address, true);
  u64 = (address: number): bigint => this.view.getBigUint64(address, true);
  setU8 = (address: number, value: number): void => this.view.setUint8(address, value);
  setU16 = (address: number, value: number): void => this.view.setUint16(address, value, true);
  setU32 = (address: number, value: number): void => this.view.setUint32(address, value, true);
  setU64 = (address: number, value: bigint): void => this.view.setBigUint64(address, value, true);

  /** Record of the instruction at an offset of a code page; 0 when it is not decoded. */
  recordAt = (codePage: number, offset: number): number => this.u32(this.u32(codePage + (offset >>> 8) * 4) + (offset & 0xff) * 4);

  gpr = (number: number): bigint => this.u64(L.GPR + number * 8);
  setGpr = (number: number, value: bigint): void => this.setU64(L.GPR + number * 8, value);
  /** Low 32 bits of a register. */
  gpr32 = (number: number): number => this.u32(L.GPR + number * 8);
  /** Writes 32 bits and clears the upper half. */
  setGpr32 = (number: number, value: number): void => this.setU64(L.GPR + number * 8, BigInt(value >>> 0));

  selector = (segment: number): number => this.u32(L.SEG_SELECTOR + segment * 4);
  setSelector = (segment: number, value: number): void => this.setU32(L.SEG_SELECTOR + segment * 4, value);
  base = (segment: number): bigint => this.u64(L.SEG_BASE + segment * 8);
  setBase = (segment: number, value: bigint): void => this.setU64(L.SEG_BASE + segment * 8, value);
  limit = (segment: number): number => this.u32(L.SEG_LIMIT + segment * 4);
  setLimit = (segment: number, value: number): void => this.setU32(L.SEG_LIMIT + segment * 4, value);
  attributes = (segment: number): number => this.u32(L.SEG_ATTR + segment * 4);
  setAttributes = (segment: number, value: number): void => this.setU32(L.SEG_ATTR + segment * 4, value);
}
