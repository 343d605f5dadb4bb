/** The address space of a test case, the same natively (runner.c) and in the engine. */
export const PAGE = 4096;

/** Two pages of code, filled with INT3 around the case. Read and execute below, also writable at `HIGH`. */
export const CODE_LOW = 0x1000_0000;
export const CODE_SIZE = 2 * PAGE;
export const CODE_FILL = 0xcc;

/** Where the jump behind a case's code goes. */
export const END_LOW = 0x1001_0000;
/** Offset of the landing place for 32-bit code; 64-bit code lands at 0, 16-bit code at `END_16`. */
export const END_32 = 0x10;
export const END_16 = 0x20;

/** Data pages in order: writable, writable, read-only, unmapped, writable; unmapped on both sides. */
export const DATA_LOW = 0x2000_0000;
export const DATA_SIZE = 5 * PAGE;
export const READ_ONLY_PAGE = 2;
export const GUARD_PAGE = 3;
export const LAST_PAGE = 4;

/** Added to a low address: a second mapping of the same pages, out of reach of 32 bits. */
export const HIGH = 0x5a5a_4000_0000;

/** Changes of code bytes are reported at these offsets, behind the data's. */
export const CODE_IN_CHANGES = 0x8000;

/** Selectors of the flat segments of 64- and 32-bit cases (those of Linux) and of the LDT's two for 16-bit cases. */
export const SELECTORS = { code64: 0x33, code32: 0x23, data: 0x2b, code16: 0x07, data16: 0x0f } as const;
