/** The four page-directory-pointer entries that PAE paging keeps in the processor. SDM vol. 3, 4.4.1. */
import type { Cpu } from '../cpu.ts';
import { GP } from '../faults.ts';
import * as L from '../runtime/layout.ts';

/** Bits 2–1, 8–5, and from the physical address's width on. */
const RESERVED = 0xffff_ff00_0000_01e6n;

/** Loads them from where `cr3` says; false with #GP(0) recorded and nothing loaded when one that is present is malformed. */
export function loadPdptes(cpu: Cpu, cr3: bigint): boolean {
  const { state } = cpu;
  const host = cpu.host.memory.hostOffset(Number(cr3 & 0xffff_ffe0n), 32);
  const entries = [0, 1, 2, 3].map((n) => (host < 0 ? 0n : state.u64(host + n * 8)));
  if (entries.some((entry) => entry & 1n && entry & RESERVED)) return cpu.fault(GP, 0);
  entries.forEach((entry, n) => state.setU64(L.PDPTES + n * 8, entry));
  return true;
}
