/** Where boot protocols put what they hand over: conventional memory that no kernel is loaded to. */
export const GDT = 0x500;
export const BOOT_PARAMS = 0x7000;
/** Six pages: PML4, PDPT and four page directories. */
export const PAGE_TABLES = 0x9000;
export const STACK_TOP = 0x9000;
/** PVH start info, multiboot information and what they point to. */
export const START_INFO = 0x1_0000;
export const START_INFO_SIZE = 0x1_0000;
export const COMMAND_LINE = 0x2_0000;
export const COMMAND_LINE_SIZE = 0x1_0000;
