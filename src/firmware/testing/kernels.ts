/** Kernels made up for tests: small files that are right in every field that a loader reads. */
import { ByteWriter } from '../byte-writer.ts';

export interface MadeElf {
  readonly bits: 32 | 64;
  readonly entry: number;
  readonly segments: readonly { paddr: number; vaddr?: bigint; data: Uint8Array; memorySize?: number }[];
  readonly pvhEntry?: number;
}

/** An ELF executable with the segments' bytes one after another, and a Xen note when there is a PVH entry. */
export function makeElf({ bits, entry, segments, pvhEntry }: MadeElf): Uint8Array {
  const wide = bits === 64;
  const ehsize = wide ? 64 : 52;
  const phentsize = wide ? 56 : 32;
  const note = new ByteWriter();
  if (pvhEntry !== undefined) note.u32(4, 4, 18).text('Xen', 4).u32(pvhEntry);
  const phnum = segments.length + (note.length > 0 ? 1 : 0);
  const out = new ByteWriter()
    .u32(0x464c457f)
    .u8(wide ? 2 : 1, 1, 1)
    .zeros(9)
    .u16(2, wide ? 62 : 3)
    .u32(1);
  const word = (value: number | bigint): void => {
    if (wide) out.u32(Number(BigInt(value) & 0xffff_ffffn), Number(BigInt(value) >> 32n));
    else out.u32(Number(value));
  };
  word(entry);
  word(ehsize);
  word(0);
  out.u32(0).u16(ehsize, phentsize, phnum, 0, 0, 0);
  let offset = ehsize + phnum * phentsize;
  const header = (type: number, vaddr: bigint, paddr: number, fileSize: number, memorySize: number): void => {
    out.u32(type);
    if (wide) out.u32(7);
    for (const value of [offset, vaddr, paddr, fileSize, memorySize]) word(value);
    if (!wide) out.u32(7);
    word(4096);
    offset += fileSize;
  };
  for (const { paddr, vaddr, data, memorySize } of segments)
    header(1, vaddr ?? BigInt(paddr), paddr, data.length, memorySize ?? data.length);
  if (note.length > 0) header(4, 0n, 0, note.length, note.length);
  for (const { data } of segments) out.bytes(data);
  return out.bytes(note.toBytes()).toBytes();
}

export interface MadeBzImage {
  /** Protocol 2.15 unless given. */
  readonly version?: number;
  /** With its 4-byte trailer. */
  readonly payload?: Uint8Array;
  readonly code?: Uint8Array;
  readonly loadFlags?: number;
  readonly xloadFlags?: number;
  readonly commandLineMax?: number;
}

const SETUP_SECTORS = 2;

export function makeBzImage(made: MadeBzImage): Uint8Array {
  const code = made.code ?? new Uint8Array(1024).fill(0x90);
  const payload = made.payload ?? new Uint8Array();
  const setup = new Uint8Array((SETUP_SECTORS + 1) * 512);
  const view = new DataView(setup.buffer);
  view.setUint8(0x1f1, SETUP_SECTORS);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint16(0x200, 0x6aeb, true);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, made.version ?? 0x20f, true);
  view.setUint8(0x211, made.loadFlags ?? 1);
  view.setUint32(0x214, 0x10_0000, true);
  view.setUint32(0x22c, 0x7fff_ffff, true);
  view.setUint32(0x230, 0x20_0000, true);
  view.setUint8(0x234, 1);
  view.setUint16(0x236, made.xloadFlags ?? 1, true);
  view.setUint32(0x238, made.commandLineMax ?? 2047, true);
  view.setUint32(0x248, payload.length > 0 ? code.length : 0, true);
  view.setUint32(0x24c, payload.length, true);
  view.setBigUint64(0x258, 0x20_0000n, true);
  view.setUint32(0x260, 0x10_0000, true);
  return new ByteWriter().bytes(setup).bytes(code).bytes(payload).toBytes();
}

/** An a.out-kludge multiboot kernel: its header, then code, for 1 MiB. */
export function makeMultiboot(flags = 0x1_0003, code = new Uint8Array(256).fill(0x90)): Uint8Array {
  const magic = 0x1bad_b002;
  const base = 0x10_0000;
  const out = new ByteWriter().u32(magic, flags, -(magic + flags) >>> 0);
  out.u32(base, base, base + 32 + code.length, base + 0x1000, base + 32);
  return out.bytes(code).toBytes();
}
