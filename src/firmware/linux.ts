/**
 * Linux boot protocol: boot_params ("zero page"), command line, initrd, and the 32-bit or 64-bit entry of a
 * bzImage or of the vmlinux inside it. Linux boot protocol; Documentation/arch/x86/zero-page.rst.
 */
import type { MemoryMapEntry } from './acpi/description.ts';
import { type BootPlan, commandLineBytes, type KernelRequest, type Load, load, placeInitrd } from './boot-plan.ts';
import { type BzImage, SETUP_HEADER } from './bzimage.ts';
import type { Elf } from './elf.ts';
import { elfLoads } from './elf-loads.ts';
import { flat32, long64 } from './entry-state.ts';
import { BOOT_PARAMS, COMMAND_LINE, COMMAND_LINE_SIZE } from './low-memory.ts';
import { E820_TYPE } from './memory-map.ts';

const BOOT_PARAMS_SIZE = 4096;
const ENTRY_64 = 0x200;
// Offsets in boot_params.
const ORIG_VIDEO_MODE = 0x06;
const ORIG_VIDEO_COLS = 0x07;
const ORIG_VIDEO_LINES = 0x0e;
const ORIG_VIDEO_ISVGA = 0x0f;
const ORIG_VIDEO_POINTS = 0x10;
const ACPI_RSDP_ADDR = 0x70;
const E820_ENTRIES = 0x1e8;
const BOOT_FLAG = 0x1fe;
const HEADER_MAGIC = 0x202;
const VERSION = 0x206;
const TYPE_OF_LOADER = 0x210;
const LOADFLAGS = 0x211;
const CODE32_START = 0x214;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const CMD_LINE_PTR = 0x228;
const KERNEL_ALIGNMENT = 0x230;
const E820_TABLE = 0x2d0;
const E820_MAX = 128;

const UNDEFINED_LOADER = 0xff;
const LOADED_HIGH = 1 << 0;
const TEXT_MODE_3 = 3;

/** What a vmlinux without a bzImage around it is assumed to be like: any current kernel's values. */
const BARE = { initrdMax32: 0x37ff_ffff, initrdMax64: 0x7fff_ffff, commandLineMax: 2047, version: 0x20c };

interface Handover {
  readonly request: KernelRequest;
  /** Undefined for a vmlinux that came without one. */
  readonly header: Uint8Array | undefined;
  readonly codeStart: number;
  readonly initrd: Load | undefined;
}

/** The 4096 bytes of boot_params. */
function bootParams({ request, header, codeStart, initrd }: Handover): Uint8Array {
  const bytes = new Uint8Array(BOOT_PARAMS_SIZE);
  const view = new DataView(bytes.buffer);
  if (header) {
    bytes.set(header.subarray(0, E820_TABLE - SETUP_HEADER), SETUP_HEADER);
  } else {
    view.setUint16(BOOT_FLAG, 0xaa55, true);
    view.setUint32(HEADER_MAGIC, 0x5372_6448, true);
    view.setUint16(VERSION, BARE.version, true);
    view.setUint32(KERNEL_ALIGNMENT, 0x100_0000, true);
  }
  bytes[TYPE_OF_LOADER] = UNDEFINED_LOADER;
  bytes[LOADFLAGS] = bytes[LOADFLAGS]! | LOADED_HIGH;
  view.setUint32(CODE32_START, codeStart, true);
  view.setUint32(CMD_LINE_PTR, COMMAND_LINE, true);
  if (initrd) {
    view.setUint32(RAMDISK_IMAGE, initrd.gpa, true);
    view.setUint32(RAMDISK_SIZE, initrd.size, true);
  }
  if (request.acpiRsdp !== undefined) view.setBigUint64(ACPI_RSDP_ADDR, BigInt(request.acpiRsdp), true);
  if (request.textScreen) {
    bytes[ORIG_VIDEO_MODE] = TEXT_MODE_3;
    bytes[ORIG_VIDEO_COLS] = 80;
    bytes[ORIG_VIDEO_LINES] = 25;
    bytes[ORIG_VIDEO_ISVGA] = 1;
    view.setUint16(ORIG_VIDEO_POINTS, 16, true);
  }
  writeE820(view, request.memoryMap);
  return bytes;
}

function writeE820(view: DataView, map: readonly MemoryMapEntry[]): void {
  const entries = map.slice(0, E820_MAX);
  view.setUint8(E820_ENTRIES, entries.length);
  for (const [index, { base, size, kind }] of entries.entries()) {
    const at = E820_TABLE + index * 20;
    view.setBigUint64(at, BigInt(base), true);
    view.setBigUint64(at + 8, BigInt(size), true);
    view.setUint32(at + 16, E820_TYPE[kind], true);
  }
}

interface Kernel {
  readonly bits: 32 | 64;
  readonly entry: number;
  readonly loads: readonly Load[];
  readonly end: number;
}

function plan(request: KernelRequest, kernel: Kernel, image: BzImage | undefined): BootPlan {
  const initrdMax = image?.initrdMax ?? (kernel.bits === 32 ? BARE.initrdMax32 : BARE.initrdMax64);
  const initrd = placeInitrd(request, kernel.end, Math.min(initrdMax + 1, 2 ** 32));
  const commandLineMax = Math.min(image?.commandLineMax ?? BARE.commandLineMax, COMMAND_LINE_SIZE - 1);
  const params = bootParams({ request, header: image?.header, codeStart: image?.loadAddress ?? kernel.entry, initrd });
  const state = kernel.bits === 64 ? long64(kernel.entry, { rsi: BOOT_PARAMS }) : flat32(kernel.entry, { rsi: BOOT_PARAMS });
  const loads = [
    ...state.loads,
    load('boot_params', BOOT_PARAMS, params),
    load('the command line', COMMAND_LINE, commandLineBytes(request, commandLineMax)),
    ...kernel.loads,
    ...(initrd ? [initrd] : []),
  ];
  return { protocol: kernel.bits === 64 ? 'linux64' : 'linux32', loads, registers: state.registers };
}

/** A bzImage that unpacks itself in the guest. */
export function planBzImage(request: KernelRequest, image: BzImage): BootPlan {
  const bits = image.has64BitEntry ? 64 : 32;
  const kernel: Kernel = {
    bits,
    entry: image.loadAddress + (bits === 64 ? ENTRY_64 : 0),
    loads: [load('the kernel', image.loadAddress, image.body)],
    end: image.loadAddress + image.initSize,
  };
  return plan(request, kernel, image);
}

/**
 * A vmlinux, entered as its own decompressor would; `file` is its bytes, or the first of them, and `image` the bzImage it came from. No KASLR,
 * no relocations needed.
 */
export function planVmlinux(request: KernelRequest, elf: Elf, file: Uint8Array, image: BzImage | undefined): BootPlan {
  const end = image ? Math.max(elf.end, image.loadAddress + image.initSize) : elf.end;
  return plan(request, { bits: elf.bits, entry: elf.entry, loads: elfLoads(elf, file, request.name), end }, image);
}
