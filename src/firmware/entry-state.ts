/**
 * Processor states that boot protocols start a kernel in, with the GDT and page tables they live on.
 * Linux boot protocol, "32-bit" and "64-bit Boot Protocol"; Multiboot 0.6.96, 3.2; Xen's x86/HVM direct boot ABI.
 */
import type { Registers, Segment, SegmentName } from '../machine/vcpu.ts';
import { type Load, load } from './boot-plan.ts';
import { ByteWriter } from './byte-writer.ts';
import { GDT, PAGE_TABLES, STACK_TOP } from './low-memory.ts';

const CODE_SELECTOR = 0x10;
const DATA_SELECTOR = 0x18;
const TSS_SELECTOR = 0x20;

// Access rights: SDM vol. 3, table 25-2. G, D/B or L, P, S, type.
const CODE32 = 0xc09b;
const CODE64 = 0xa09b;
const DATA = 0xc093;
const BUSY_TSS32 = 0x008b;
const UNUSABLE = 0x1_0000;

const CR0_PE = 1n << 0n;
const CR0_ET = 1n << 4n;
const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
const RFLAGS_RESERVED = 1n << 1n;

/** What is not zero among the general registers. */
export type Gprs = Partial<Record<'rax' | 'rcx' | 'rdx' | 'rbx' | 'rsp' | 'rbp' | 'rsi' | 'rdi', number>>;
const GPR_ORDER = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'] as const;

/** A flat descriptor with these access rights. SDM vol. 3, figure 3-8. */
function descriptor(attributes: number, limit: number): [number, number] {
  const high = ((attributes & 0xff) << 8) | (((attributes >> 12) & 0xf) << 20) | (limit & 0xf_0000);
  return [limit & 0xffff, high >>> 0];
}

function gdtBytes(code: number): Uint8Array {
  const out = new ByteWriter().u64(0, 0);
  out.u32(...descriptor(code, 0xf_ffff), ...descriptor(DATA, 0xf_ffff), ...descriptor(BUSY_TSS32, 0x67));
  return out.toBytes();
}

const flat = (selector: number, attributes: number): Segment => ({ selector, base: 0n, limit: 0xffff_ffff, attributes });

function segments(code: number): Record<SegmentName, Segment> {
  const data = (): Segment => flat(DATA_SELECTOR, DATA);
  return {
    es: data(),
    cs: flat(CODE_SELECTOR, code),
    ss: data(),
    ds: data(),
    fs: data(),
    gs: data(),
    ldtr: { selector: 0, base: 0n, limit: 0, attributes: UNUSABLE },
    tr: { selector: TSS_SELECTOR, base: 0n, limit: 0x67, attributes: BUSY_TSS32 },
  };
}

function common(entry: number, gprs: Gprs, code: number): Omit<Registers, 'cr0' | 'cr3' | 'cr4' | 'efer'> {
  const gpr = GPR_ORDER.map((name) => BigInt(gprs[name] ?? (name === 'rsp' ? STACK_TOP : 0)));
  return {
    gpr: [...gpr, ...Array.from({ length: 8 }, () => 0n)],
    rip: BigInt(entry),
    rflags: RFLAGS_RESERVED,
    segments: segments(code),
    gdtr: { base: BigInt(GDT), limit: gdtBytes(code).length - 1 },
    idtr: { base: 0n, limit: 0 },
    cr2: 0n,
  };
}

export interface EntryState {
  readonly loads: readonly Load[];
  readonly registers: Registers;
}

/** 32-bit protected mode, flat segments, paging and interrupts off. */
export function flat32(entry: number, gprs: Gprs): EntryState {
  const registers = { ...common(entry, gprs, CODE32), cr0: CR0_PE | CR0_ET, cr3: 0n, cr4: 0n, efer: 0n };
  return { loads: [load('the GDT', GDT, gdtBytes(CODE32))], registers };
}

const PRESENT_WRITABLE = 0x3;
const LARGE_PAGE = 0x80;
const PAGE = 4096;

/** Page tables that map the first 4 GiB onto themselves in pages of 2 MiB. */
function identityMap(): Uint8Array {
  const bytes = new Uint8Array(6 * PAGE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, (PAGE_TABLES + PAGE) | PRESENT_WRITABLE, true);
  for (let gib = 0; gib < 4; gib++) view.setUint32(PAGE + gib * 8, (PAGE_TABLES + (2 + gib) * PAGE) | PRESENT_WRITABLE, true);
  for (let page = 0; page < 4 * 512; page++) view.setUint32(2 * PAGE + page * 8, page * 2 ** 21 + (PRESENT_WRITABLE | LARGE_PAGE), true);
  return bytes;
}

/** 64-bit mode over identity-mapped page tables of the first 4 GiB; interrupts off. */
export function long64(entry: number, gprs: Gprs): EntryState {
  const registers = {
    ...common(entry, gprs, CODE64),
    cr0: CR0_PE | CR0_ET | CR0_PG,
    cr3: BigInt(PAGE_TABLES),
    cr4: CR4_PAE,
    efer: EFER_LME | EFER_LMA,
  };
  return { loads: [load('the GDT', GDT, gdtBytes(CODE64)), load('the page tables', PAGE_TABLES, identityMap())], registers };
}
