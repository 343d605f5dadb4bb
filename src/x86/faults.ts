/** Exception vectors. SDM vol. 3, table 6-1. */
export const DE = 0;
export const DB = 1;
export const NMI = 2;
export const BP = 3;
export const OVERFLOW = 4;
export const BR = 5;
export const UD = 6;
export const NM = 7;
export const DOUBLE_FAULT = 8;
export const TS = 10;
export const NP = 11;
export const SS = 12;
export const GP = 13;
export const PAGE_FAULT = 14;
export const MF = 16;
export const ALIGNMENT = 17;
export const XM = 19;
/** Not a vector: the x87, SSE or AVX unit is off, and the reason (#NM or #UD) is still to be found. */
export const UNIT_OFF = 256;
/** Not a vector: an x87 exception is pending and CR0.NE is clear, so FERR# asks for IRQ 13 (SDM vol. 3, 2.5, NE). */
export const FPU_ERROR = 257;
