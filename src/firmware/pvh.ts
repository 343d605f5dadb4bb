/** PVH direct boot: an ELF kernel with a Xen note names its 32-bit entry. Xen's x86/HVM direct boot ABI, start_info.h. */
import { VmError } from '../base/errors.ts';
import { type BootPlan, commandLineBytes, type KernelRequest, load, placeInitrd } from './boot-plan.ts';
import { ByteWriter } from './byte-writer.ts';
import { type Elf, findNote } from './elf.ts';
import { elfLoads } from './elf-loads.ts';
import { flat32 } from './entry-state.ts';
import { COMMAND_LINE, COMMAND_LINE_SIZE, START_INFO } from './low-memory.ts';
import { E820_TYPE } from './memory-map.ts';

const XEN_ELFNOTE_PHYS32_ENTRY = 18;
const START_MAGIC = 0x336e_c578;
const START_INFO_BYTES = 56;
const MODULE_BYTES = 32;
const INITRD_MAX = 0x8000_0000;

/** The physical 32-bit entry point, when the kernel has one. */
export function pvhEntry(elf: Elf, file: Uint8Array): number | undefined {
  const note = findNote(elf, file, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY);
  if (!note || note.length < 4) return undefined;
  return new DataView(note.buffer, note.byteOffset, note.length).getUint32(0, true);
}

export function planPvh(request: KernelRequest, elf: Elf, entry: number): BootPlan {
  if (!elf.segments.some(({ paddr, memorySize }) => entry >= paddr && entry < paddr + memorySize)) {
    throw new VmError('bad-image', `${request.name}: its PVH entry 0x${entry.toString(16)} lies in no loaded segment`);
  }
  const initrd = placeInitrd(request, elf.end, INITRD_MAX);
  const modules = START_INFO + START_INFO_BYTES;
  const map = modules + MODULE_BYTES;
  const info = new ByteWriter()
    .u32(START_MAGIC, 1, 0, initrd ? 1 : 0)
    .u64(initrd ? modules : 0, COMMAND_LINE, request.acpiRsdp ?? 0, map)
    .u32(request.memoryMap.length, 0)
    .u64(initrd?.gpa ?? 0, initrd?.size ?? 0, 0, 0);
  for (const { base, size, kind } of request.memoryMap) info.u64(base, size).u32(E820_TYPE[kind], 0);

  const state = flat32(entry, { rbx: START_INFO });
  const loads = [
    ...state.loads,
    load('the PVH start info', START_INFO, info.toBytes()),
    load('the command line', COMMAND_LINE, commandLineBytes(request, COMMAND_LINE_SIZE - 1)),
    ...elfLoads(elf, request.kernel, request.name),
    ...(initrd ? [initrd] : []),
  ];
  return { protocol: 'pvh', loads, registers: state.registers };
}
