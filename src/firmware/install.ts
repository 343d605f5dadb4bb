/** What firmware leaves in memory before a kernel starts: ACPI and SMBIOS tables and the BIOS data area. */
import { assert } from '../base/errors.ts';
import type { GuestMemory, RamRange } from '../machine/memory.ts';
import { buildAcpi } from './acpi/acpi.ts';
import type { BoardDescription, MemoryMapEntry } from './acpi/description.ts';
import { EBDA, GENERATION_ID, memoryMap, ONE_MIB, SMBIOS_ANCHOR, TABLES } from './memory-map.ts';
import { buildSmbios, type MachineIdentity } from './smbios.ts';

// BIOS data area: segment of the extended area, and conventional memory in KiB.
const BDA_EBDA_SEGMENT = 0x40e;
const BDA_MEMORY_KIB = 0x413;

export interface InstalledFirmware {
  /** Guest-physical address of the ACPI root pointer. */
  readonly acpiRsdp: number;
  readonly memoryMap: readonly MemoryMapEntry[];
}

/** Writes the tables into RAM below 1 MiB. Call it again after a reset: a guest may have written over them. */
export function installFirmware(
  memory: GuestMemory & { readonly ranges: readonly RamRange[] },
  board: BoardDescription,
  identity: MachineIdentity,
): InstalledFirmware {
  const put = (gpa: number, bytes: Uint8Array, end: number): void => {
    const window = memory.view(gpa, bytes.length);
    assert(window && gpa + bytes.length <= end, `firmware tables of ${bytes.length} bytes do not fit at 0x${gpa.toString(16)}`);
    window.set(bytes);
    memory.written(gpa, bytes.length);
  };
  const acpi = buildAcpi(board, TABLES);
  put(TABLES, acpi.bytes, GENERATION_ID);
  if (board.generation) put(board.generation.address, identity.generation, SMBIOS_ANCHOR);
  put(SMBIOS_ANCHOR, buildSmbios(identity, memory.ranges, SMBIOS_ANCHOR), ONE_MIB);
  memory.write16(BDA_EBDA_SEGMENT, EBDA >> 4);
  memory.write16(BDA_MEMORY_KIB, EBDA >> 10);
  return { acpiRsdp: acpi.rsdp, memoryMap: memoryMap(memory.ranges, board) };
}
