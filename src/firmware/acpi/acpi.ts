/** All ACPI tables of a board as one block of bytes for a fixed place in guest memory. ACPI 6.5, section 5.2. */
import { assert } from '../../base/errors.ts';
import { dsdtBody } from './dsdt.ts';
import type { BoardDescription } from './description.ts';
import * as tables from './tables.ts';

export interface AcpiBlock {
  readonly bytes: Uint8Array;
  /** Guest-physical address of the RSDP; it is also where the block begins. */
  readonly rsdp: number;
}

const RSDP_SIZE = 36;
const ALIGNMENT = 64; // what the FACS needs

/** Builds the tables for a block at `base`, a multiple of 64 below 4 GiB. */
export function buildAcpi(board: BoardDescription, base: number): AcpiBlock {
  assert(base % ALIGNMENT === 0, 'ACPI tables need an alignment of 64');
  assert(board.cpus >= 1 && board.cpus <= 255, 'the MADT here names 1 to 255 processors');
  const parts: { readonly address: number; readonly bytes: Uint8Array }[] = [];
  let next = base + Math.ceil(RSDP_SIZE / ALIGNMENT) * ALIGNMENT;
  const place = (bytes: Uint8Array): number => {
    const address = next;
    parts.push({ address, bytes });
    next += Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT;
    return address;
  };

  const facs = place(tables.facs());
  const dsdt = place(tables.dsdt(dsdtBody(board)));
  const listed = [place(tables.fadt(board, facs, dsdt)), place(tables.madt(board))];
  if (board.hpet !== undefined) listed.push(place(tables.hpet(board.hpet)));
  if (board.pci?.ecam) listed.push(place(tables.mcfg(board.pci.ecam)));
  const rsdt = place(tables.rsdt(listed));
  const xsdt = place(tables.xsdt(listed));
  parts.push({ address: base, bytes: tables.rsdp(rsdt, xsdt) });

  const bytes = new Uint8Array(next - base);
  for (const part of parts) bytes.set(part.bytes, part.address - base);
  return { bytes, rsdp: base };
}
