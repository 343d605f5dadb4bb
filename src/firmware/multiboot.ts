/** Multiboot 1: ELF (32 or 64 bits) and a.out-kludge kernels, modules, memory map. Multiboot Specification 0.6.96. */
import { VmError } from '../base/errors.ts';
import { type BootPlan, commandLineBytes, findRoom, type KernelModule, type KernelRequest, type Load, load } from './boot-plan.ts';
import { ByteWriter } from './byte-writer.ts';
import { isElf, parseElf } from './elf.ts';
import { elfLoads } from './elf-loads.ts';
import { flat32 } from './entry-state.ts';
import { COMMAND_LINE, COMMAND_LINE_SIZE, START_INFO, START_INFO_SIZE } from './low-memory.ts';
import { E820_TYPE, EBDA, ONE_MIB } from './memory-map.ts';

const HEADER_MAGIC = 0x1bad_b002;
const LOADER_MAGIC = 0x2bad_b002;
const SEARCH = 8192;
/** Bits 0 to 15 must be understood by the loader: page-aligned modules, memory sizes, video mode (we may ignore the wish). */
const UNDERSTOOD = 0x7;
const MANDATORY = 0xffff;
const HAS_ADDRESSES = 1 << 16;
const MODULES_LIMIT = 2 ** 32;

// Flags of the information structure.
const INFO_MEMORY = 1 << 0;
const INFO_COMMAND_LINE = 1 << 2;
const INFO_MODULES = 1 << 3;
const INFO_MEMORY_MAP = 1 << 6;
const INFO_LOADER_NAME = 1 << 9;
const INFO_BYTES = 116;

export interface MultibootHeader {
  /** Offset in the file. */
  readonly offset: number;
  readonly flags: number;
}

/** The header is 4-byte aligned within the first 8 KiB. */
export function findMultibootHeader(file: Uint8Array): MultibootHeader | undefined {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  for (let offset = 0; offset + 12 <= Math.min(file.length, SEARCH); offset += 4) {
    if (view.getUint32(offset, true) !== HEADER_MAGIC) continue;
    const flags = view.getUint32(offset + 4, true);
    const checksum = view.getUint32(offset + 8, true);
    if ((HEADER_MAGIC + flags + checksum) >>> 0 === 0) return { offset, flags };
  }
  return undefined;
}

interface Image {
  readonly entry: number;
  readonly loads: readonly Load[];
  readonly end: number;
}

/** A kernel that says in its header where its bytes go. */
function addressedImage(file: Uint8Array, offset: number, name: string): Image {
  const bad = (why: string): VmError => new VmError('bad-image', `${name}: not a usable multiboot kernel: ${why}`);
  if (offset + 32 > file.length) throw bad('the file ends within its multiboot header');
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const [headerAddress, loadAddress, loadEnd, bssEnd, entry] = [12, 16, 20, 24, 28].map((at) => view.getUint32(offset + at, true));
  const start = offset - (headerAddress! - loadAddress!);
  if (start < 0 || loadAddress! > headerAddress!) throw bad('its header names a load address outside the file');
  if (loadAddress! < ONE_MIB) throw bad(`it wants to be loaded at 0x${loadAddress!.toString(16)}, below 1 MiB`);
  const size = loadEnd ? loadEnd - loadAddress! : file.length - start;
  if (size <= 0 || start + size > file.length) throw bad('its header names more bytes than the file has');
  const end = Math.max(loadAddress! + size, bssEnd!);
  if (entry! < loadAddress! || entry! >= end) throw bad(`its entry point 0x${entry!.toString(16)} is not in the kernel`);
  return { entry: entry!, loads: [load('the kernel', loadAddress!, file.subarray(start, start + size), end - loadAddress!)], end };
}

function elfImage(file: Uint8Array, name: string): Image {
  const elf = parseElf(file, name);
  return { entry: elf.entry, loads: elfLoads(elf, file, name), end: elf.end };
}

/** Modules above the kernel, each on a page of its own, lowest first. */
function placeModules(request: KernelRequest, modules: readonly KernelModule[], kernelEnd: number): Load[] {
  let next = kernelEnd;
  return modules.map(({ data }, index) => {
    const top = findRoom(request.memoryMap, data.length, next, MODULES_LIMIT);
    if (top === undefined) {
      throw new VmError(
        'usage',
        `${request.name}: there is no room for module ${index} (${data.length} bytes); give the machine more memory`,
      );
    }
    // `findRoom` answers with the highest place: there is room, so the lowest in the same range is free as well.
    const range = request.memoryMap.find(({ base, size }) => top >= base && top < base + size)!;
    const gpa = Math.ceil(Math.max(next, range.base) / 4096) * 4096;
    next = gpa + data.length;
    return load(`module ${index}`, gpa, data);
  });
}

export function planMultiboot(request: KernelRequest, header: MultibootHeader): BootPlan {
  const { kernel, name, memoryMap } = request;
  const unknown = header.flags & MANDATORY & ~UNDERSTOOD;
  if (unknown) throw new VmError('unsupported', `${name}: asks for multiboot features 0x${unknown.toString(16)}, which are not supported`);
  const addressed = (header.flags & HAS_ADDRESSES) !== 0;
  if (!addressed && !isElf(kernel)) {
    throw new VmError('bad-image', `${name}: its multiboot header has no load addresses, and it is not an ELF file`);
  }
  const image = addressed ? addressedImage(kernel, header.offset, name) : elfImage(kernel, name);
  const initrd: KernelModule[] = request.initrd ? [{ data: request.initrd, commandLine: 'initrd' }] : [];
  const modules = [...initrd, ...(request.modules ?? [])];
  const placed = placeModules(request, modules, image.end);

  // The information structure, then what it points to.
  const tail = new ByteWriter();
  const at = (): number => START_INFO + INFO_BYTES + tail.length;
  const string = (value: string): number => {
    const address = at();
    tail.bytes(new TextEncoder().encode(`${value}\0`));
    return address;
  };
  const loaderName = string('Daybreak');
  const moduleStrings = modules.map(({ commandLine }) => string(commandLine));
  tail.align(4);
  const moduleList = at();
  for (const [index, { gpa, size }] of placed.entries()) tail.u32(gpa, gpa + size, moduleStrings[index]!, 0);
  const map = at();
  for (const { base, size, kind } of memoryMap) tail.u32(20).u64(base, size).u32(E820_TYPE[kind]);
  const mapBytes = at() - map;

  const upper = memoryMap.find(({ base, kind }) => base === ONE_MIB && kind === 'ram')?.size ?? 0;
  const info = new ByteWriter()
    .u32(INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_LOADER_NAME)
    .u32(EBDA >> 10, upper / 1024, 0, COMMAND_LINE, placed.length, moduleList, 0, 0, 0, 0, mapBytes, map, 0, 0, 0, loaderName)
    .zeros(INFO_BYTES - 68)
    .bytes(tail.toBytes());
  if (info.length > START_INFO_SIZE) throw new VmError('usage', `${name}: the modules' command lines are too long for 64 KiB together`);

  const state = flat32(image.entry, { rax: LOADER_MAGIC, rbx: START_INFO });
  // As other loaders do: the first word is the kernel's own name.
  const line = commandLineBytes({ ...request, commandLine: `${name} ${request.commandLine}` }, COMMAND_LINE_SIZE - 1);
  const loads = [
    ...state.loads,
    load('the multiboot information', START_INFO, info.toBytes()),
    load('the command line', COMMAND_LINE, line),
    ...image.loads,
    ...placed,
  ];
  return { protocol: 'multiboot', loads, registers: state.registers };
}
