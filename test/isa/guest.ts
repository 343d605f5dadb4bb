/**
 * The world around a case in the engine: 4-level page tables that map what runner.c maps, descriptor tables like
 * those of Linux, and an IDT whose gates lead to HLT, so that an exception ends the run with its frame on a stack.
 */
import type { Memory } from '../../src/machine/memory.ts';
import { CODE_FILL, CODE_LOW, CODE_SIZE, DATA_LOW, DATA_SIZE, END_16, END_32, END_LOW, HIGH, PAGE } from '../native/layout.ts';

/** Guest-physical places. */
const GDT = 0x1000;
const IDT = 0x2000;
const TSS = 0x3000;
const STUBS = 0x4000;
const STACK = 0x5000;
const LDT = 0x6000;
const TABLES = 0x10000;
export const CODE_GPA = 0x40000;
export const DATA_GPA = 0x50000;
const END_GPA = 0x60000;

/** The system's pages in the upper half, out of user mode's reach. */
const KERNEL = 0xffff_8000_0000_0000n;
export const STACK_TOP_GPA = STACK + PAGE;
/** Linear address of the HLT for vector 0. */
export const STUB_BASE = KERNEL + BigInt(STUBS);
const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;
const NO_EXECUTE = 1n << 63n;

const GDT_LIMIT = 0x7f;
const TSS_LIMIT = 0x67;
const LDT_LIMIT = 15;

/** Access byte, and G, D, L, AVL in the upper nibble of the second: as Linux writes them. */
const KERNEL_CODE_32 = 0xc09b;
const KERNEL_CODE = 0xa09b;
const KERNEL_DATA = 0xc093;
const USER_CODE_32 = 0xc0fb;
const USER_DATA = 0xc0f3;
const USER_CODE = 0xa0fb;
const LDT_CODE_16 = 0x00fb;
const LDT_DATA_16 = 0x00f3;
const TSS_BUSY = 0x008b;
const LDT_SEGMENT = 0x0082;
/** Linux's 0x78, whose limit tells the processor's number: expand-down, read-only. */
const CPU_NUMBER = 0x40f5;
const CPU_NUMBER_AT = 0x78;

const field = (value: number | bigint, shift: number): bigint => BigInt(value) << BigInt(shift);

function descriptor(attributes: number, base: bigint, limit: number): bigint {
  return (
    field(limit & 0xffff, 0) | field(base & 0xff_ffffn, 16) | field(attributes & 0xff, 40) |
    field((limit >> 16) & 15, 48) | field(attributes >> 12, 52) | field((base >> 24n) & 0xffn, 56)
  ); // prettier-ignore
}

/** Segment registers as they are after loading a selector from these tables. */
export interface LoadedSegment {
  readonly selector: number;
  readonly base: bigint;
  readonly limit: number;
  readonly attributes: number;
}

const flat = (selector: number, attributes: number): LoadedSegment => ({ selector, base: 0n, limit: 0xffff_ffff, attributes });
export const SEGMENTS = {
  code64: flat(0x33, USER_CODE),
  code32: flat(0x23, USER_CODE_32),
  data: flat(0x2b, USER_DATA),
  code16: { selector: 0x07, base: BigInt(CODE_LOW), limit: CODE_SIZE - 1, attributes: LDT_CODE_16 },
  data16: { selector: 0x0f, base: BigInt(DATA_LOW), limit: DATA_SIZE - 1, attributes: LDT_DATA_16 },
  tr: { selector: 0x40, base: KERNEL + BigInt(TSS), limit: TSS_LIMIT, attributes: TSS_BUSY },
  ldtr: { selector: 0x50, base: KERNEL + BigInt(LDT), limit: LDT_LIMIT, attributes: LDT_SEGMENT },
} as const;

export const TABLE_REGISTERS = {
  gdtr: { base: KERNEL + BigInt(GDT), limit: GDT_LIMIT },
  idtr: { base: KERNEL + BigInt(IDT), limit: 0xfff },
} as const;

/** PE MP ET NE WP AM PG; PAE PGE OSFXSR OSXMMEXCPT FSGSBASE OSXSAVE; SCE LME LMA NXE. */
export const CONTROL_REGISTERS = { cr0: 0x8005_0033n, cr4: 0x5_06a0n, cr3: BigInt(TABLES), efer: 0xd01n } as const;

class Tables {
  readonly #memory: Memory;
  #next = TABLES + PAGE;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  map(linear: bigint, gpa: number, flags: bigint): void {
    let table = TABLES;
    for (const shift of [39n, 30n, 21n]) {
      const entry = table + Number((linear >> shift) & 0x1ffn) * 8;
      if (this.#read(entry) === 0n) {
        this.#write(entry, BigInt(this.#next) | PRESENT | WRITABLE | USER);
        this.#next += PAGE;
      }
      table = Number(this.#read(entry) & 0xf_ffff_f000n);
    }
    this.#write(table + Number((linear >> 12n) & 0x1ffn) * 8, BigInt(gpa) | PRESENT | flags);
  }

  #read(gpa: number): bigint {
    return this.#memory.data.getBigUint64(this.#memory.hostOffset(gpa, 8), true);
  }

  #write(gpa: number, value: bigint): void {
    this.#memory.data.setBigUint64(this.#memory.hostOffset(gpa, 8), value, true);
  }
}

/** Fills fresh guest memory (at least 1 MiB). */
export function buildGuest(memory: Memory): void {
  const tables = new Tables(memory);
  for (let gpa = 0; gpa < TABLES; gpa += PAGE) tables.map(KERNEL + BigInt(gpa), gpa, WRITABLE);
  for (const base of [0, HIGH]) {
    const map = (linear: number, gpa: number, flags: bigint): void => tables.map(BigInt(base + linear), gpa, flags | USER);
    for (let at = 0; at < CODE_SIZE; at += PAGE) map(CODE_LOW + at, CODE_GPA + at, base ? WRITABLE : 0n);
    for (const page of [0, 1, 2, 4]) {
      map(DATA_LOW + page * PAGE, DATA_GPA + page * PAGE, NO_EXECUTE | (page === 2 ? 0n : WRITABLE));
    }
    map(END_LOW, END_GPA, 0n);
  }

  const bytes = (gpa: number, length: number): Uint8Array => memory.view(gpa, length)!;
  const long = (gpa: number, value: bigint): void => memory.data.setBigUint64(memory.hostOffset(gpa, 8), value, true);
  const FLAT = 0xfffff;
  [0, KERNEL_CODE_32, KERNEL_CODE, KERNEL_DATA, USER_CODE_32, USER_DATA, USER_CODE].forEach((attributes, i) => {
    if (i > 0) long(GDT + 8 * i, descriptor(attributes, 0n, FLAT));
  });
  for (const { selector, base, limit, attributes } of [SEGMENTS.tr, SEGMENTS.ldtr]) {
    long(GDT + selector, descriptor(attributes, base, limit));
    long(GDT + selector + 8, base >> 32n);
  }
  long(GDT + CPU_NUMBER_AT, descriptor(CPU_NUMBER, 0n, 0));
  [SEGMENTS.code16, SEGMENTS.data16].forEach(({ base, limit, attributes }, i) => long(LDT + 8 * i, descriptor(attributes, base, limit)));
  long(TSS + 4, KERNEL + BigInt(STACK_TOP_GPA)); // RSP0
  long(TSS + 0x60, BigInt(TSS_LIMIT + 1) << 48n); // no I/O bitmap

  for (let vector = 0; vector < 256; vector++) {
    const offset = STUB_BASE + BigInt(vector);
    const callable = vector === 3 || vector === 4 ? 3n : 0n;
    long(
      IDT + 16 * vector,
      (offset & 0xffffn) | (0x10n << 16n) | ((0x8en | (callable << 5n)) << 40n) | (((offset >> 16n) & 0xffffn) << 48n),
    );
    long(IDT + 16 * vector + 8, offset >> 32n);
  }
  bytes(STUBS, 256).fill(0xf4);
  bytes(CODE_GPA, CODE_SIZE).fill(CODE_FILL);
  bytes(END_GPA, PAGE).fill(CODE_FILL);
  for (const at of [0, END_32, END_16]) bytes(END_GPA + at, 2).set([0x0f, 0x0b]); // UD2
}
