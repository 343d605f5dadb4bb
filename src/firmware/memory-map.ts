/**
 * The map of guest-physical memory that firmware hands to a kernel, and the fixed places below 1 MiB that
 * firmware itself uses. ACPI 6.5, section 15; Linux boot protocol, "Memory layout".
 */
import type { RamRange } from '../machine/memory.ts';
import type { AddressRange, BoardDescription, MemoryKind, MemoryMapEntry } from './acpi/description.ts';

/** End of conventional memory; the extended BIOS data area begins here. */
export const EBDA = 0x9_fc00;
const VIDEO = 0xa_0000;
/** ACPI and SMBIOS tables live from here up to 1 MiB, where every kernel looks for them. */
export const TABLES = 0xe_0000;
export const SMBIOS_ANCHOR = 0xf_0000;
/** The identifier that tells a guest that it is another machine now. In a page of its own. */
export const GENERATION_ID = 0xe_f000;
export const ONE_MIB = 0x10_0000;

/** What the BIOS's E820 call and PVH's memory map call each kind. */
export const E820_TYPE: Readonly<Record<MemoryKind, number>> = { ram: 1, reserved: 2, acpi: 3, nvs: 4 };

/** What is left of `ranges` without the bytes of `hole`. */
function without(ranges: readonly AddressRange[], hole: AddressRange): AddressRange[] {
  const holeEnd = hole.base + hole.size;
  return ranges.flatMap(({ base, size }) => {
    const end = base + size;
    if (holeEnd <= base || hole.base >= end) return [{ base, size }];
    const parts = [
      { base, size: hole.base - base },
      { base: holeEnd, size: end - holeEnd },
    ];
    return parts.filter((part) => part.size > 0);
  });
}

/** The map of a board with this RAM: sorted by address, without overlaps. A device's window hides the RAM under it. */
export function memoryMap(ram: readonly RamRange[], board: Pick<BoardDescription, 'pci'>): MemoryMapEntry[] {
  const reserved: AddressRange[] = [
    { base: EBDA, size: VIDEO - EBDA },
    { base: TABLES, size: ONE_MIB - TABLES },
  ];
  const ecam = board.pci?.ecam;
  if (ecam) reserved.push({ base: ecam.base, size: ecam.buses * ONE_MIB });
  let usable: AddressRange[] = without(ram, { base: VIDEO, size: TABLES - VIDEO });
  for (const hole of reserved) usable = without(usable, hole);
  const entries: MemoryMapEntry[] = [
    ...usable.map((range) => ({ ...range, kind: 'ram' as const })),
    ...reserved.map((range) => ({ ...range, kind: 'reserved' as const })),
  ];
  return entries.sort((a, b) => a.base - b.base);
}
