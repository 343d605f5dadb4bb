/** ELF program headers of an untrusted kernel, 32 and 64 bits, x86, little-endian. System V gABI, chapters 4 and 5. */
import { VmError } from '../base/errors.ts';

const MAGIC = 0x464c_457f;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const EM_386 = 3;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
/** Far more than any kernel has; keeps the work bounded. */
const MAX_PROGRAM_HEADERS = 256;
/** What fits a guest's physical addresses here; also keeps sums exact. */
const ADDRESS_LIMIT = 2 ** 40;

export interface ElfSegment {
  readonly index: number;
  /** Virtual address. Only meant for comparing: low 53 bits are exact when it is below 2^53. */
  readonly vaddr: bigint;
  readonly paddr: number;
  /** Where its bytes are in the file. */
  readonly offset: number;
  readonly fileSize: number;
  readonly memorySize: number;
}

/** A stretch of the file. */
interface Stretch {
  readonly offset: number;
  readonly size: number;
}

export interface Elf {
  readonly bits: 32 | 64;
  /** Physical entry address. */
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
  /** Lowest and one past the highest physical address loaded. */
  readonly start: number;
  readonly end: number;
  readonly notes: readonly Stretch[];
}

export const isElf = (file: Uint8Array): boolean =>
  file.length >= 4 && new DataView(file.buffer, file.byteOffset, 4).getUint32(0, true) === MAGIC;

interface Layout {
  readonly headerSize: number;
  readonly phoff: number;
  readonly phentsize: number;
  readonly phnum: number;
}

/**
 * Reads header and program headers; every offset and size is checked against the file. Of the file its beginning is enough, headers
 * included, if its size is given. Throws `bad-image`.
 */
export function parseElf(file: Uint8Array, name: string, fileBytes = file.length): Elf {
  const bad = (why: string): VmError => new VmError('bad-image', `${name}: not a usable ELF kernel: ${why}`);
  if (!isElf(file)) throw bad('it does not begin with 7f 45 4c 46');
  if (file.length < 52) throw bad(`the file ends within its header, after ${file.length} bytes`);
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const elfClass = file[4]!;
  if (elfClass !== 1 && elfClass !== 2) throw bad(`class ${elfClass} is neither 32-bit (1) nor 64-bit (2)`);
  if (file[5] !== ELFDATA2LSB) throw bad('it is not little-endian');
  const bits = elfClass === 1 ? 32 : 64;
  if (bits === 64 && file.length < 64) throw bad(`the file ends within its header, after ${file.length} bytes`);
  const word = (offset: number): bigint => (bits === 32 ? BigInt(view.getUint32(offset, true)) : view.getBigUint64(offset, true));

  const type = view.getUint16(16, true);
  const machine = view.getUint16(18, true);
  if (type !== ET_EXEC && type !== ET_DYN) throw bad(`type ${type} is not an executable (2 or 3)`);
  if (machine !== EM_386 && machine !== EM_X86_64) throw bad(`it is for machine ${machine}, not for x86 (3 or 62)`);
  const layout: Layout =
    bits === 32
      ? { headerSize: 32, phoff: Number(word(28)), phentsize: view.getUint16(42, true), phnum: view.getUint16(44, true) }
      : { headerSize: 56, phoff: Number(word(32)), phentsize: view.getUint16(54, true), phnum: view.getUint16(56, true) };
  const { headerSize, phoff, phentsize, phnum } = layout;
  if (phnum === 0) throw bad('it has no program headers (a relocatable object or a stripped file?)');
  if (phnum > MAX_PROGRAM_HEADERS) throw bad(`${phnum} program headers are more than the ${MAX_PROGRAM_HEADERS} supported`);
  if (phentsize < headerSize) throw bad(`a program header of ${phentsize} bytes is too small (${headerSize} needed)`);
  if (phoff + phnum * phentsize > file.length) throw bad(`its program headers at offset ${phoff} lie beyond the end of the file`);

  const segments: ElfSegment[] = [];
  const notes: Stretch[] = [];
  for (let index = 0; index < phnum; index++) {
    const at = phoff + index * phentsize;
    const kind = view.getUint32(at, true);
    if (kind !== PT_LOAD && kind !== PT_NOTE) continue;
    const [offsetAt, vaddrAt, paddrAt, filesizeAt, memsizeAt] = bits === 32 ? [4, 8, 12, 16, 20] : [8, 16, 24, 32, 40];
    const offset = Number(word(at + offsetAt!));
    const fileSize = Number(word(at + filesizeAt!));
    const memorySize = Number(word(at + memsizeAt!));
    const paddr = Number(word(at + paddrAt!));
    if (offset + fileSize > fileBytes) throw bad(`program header ${index} names bytes beyond the end of the file`);
    if (kind === PT_NOTE) {
      notes.push({ offset, size: fileSize });
      continue;
    }
    if (memorySize < fileSize) throw bad(`segment ${index} is smaller in memory (${memorySize}) than in the file (${fileSize})`);
    if (paddr + memorySize > ADDRESS_LIMIT) throw bad(`segment ${index} ends beyond physical address 2^40`);
    if (memorySize > 0) segments.push({ index, vaddr: word(at + vaddrAt!), paddr, offset, fileSize, memorySize });
  }
  if (segments.length === 0) throw bad('it has nothing to load');
  const byAddress = segments.toSorted((a, b) => a.paddr - b.paddr);
  for (const [i, { index, paddr, memorySize }] of byAddress.entries()) {
    const next = byAddress[i + 1];
    if (next && paddr + memorySize > next.paddr) throw bad(`segments ${index} and ${next.index} overlap in memory`);
  }

  const entry = physicalEntry(word(24), segments);
  if (entry === undefined) throw bad(`its entry point 0x${word(24).toString(16)} lies in no loaded segment`);
  const start = Math.min(...segments.map((segment) => segment.paddr));
  const end = Math.max(...segments.map((segment) => segment.paddr + segment.memorySize));
  return { bits, entry, segments, start, end, notes };
}

/** Linux gives a physical entry point, other kernels a virtual one. */
function physicalEntry(entry: bigint, segments: readonly ElfSegment[]): number | undefined {
  const within = (base: bigint, size: number): boolean => entry >= base && entry < base + BigInt(size);
  if (segments.some(({ paddr, memorySize }) => within(BigInt(paddr), memorySize))) return Number(entry);
  const virtual = segments.find(({ vaddr, memorySize }) => within(vaddr, memorySize));
  return virtual && Number(entry - virtual.vaddr) + virtual.paddr;
}

const aligned = (size: number): number => Math.ceil(size / 4) * 4;

/** The descriptor of the first note with this owner and type, if any. */
export function findNote(elf: Elf, file: Uint8Array, owner: string, type: number): Uint8Array | undefined {
  for (const { offset, size: length } of elf.notes) {
    const notes = file.subarray(offset, offset + length);
    const view = new DataView(notes.buffer, notes.byteOffset, notes.length);
    for (let at = 0; at + 12 <= notes.length;) {
      const nameSize = view.getUint32(at, true);
      const size = view.getUint32(at + 4, true);
      const data = at + 12 + aligned(nameSize);
      if (data + size > notes.length) break;
      const name = String.fromCharCode(...notes.subarray(at + 12, at + 12 + Math.min(nameSize, 32)));
      if (view.getUint32(at + 8, true) === type && name === `${owner}\0`) return notes.subarray(data, data + size);
      at = data + aligned(size);
    }
  }
  return undefined;
}
