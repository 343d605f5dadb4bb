/** 256 bits, one a vector, as eight 32-bit words: the form of a local APIC's IRR, ISR and TMR. */

/** The highest vector whose bit is set, or -1. */
export function highestVector(words: readonly number[]): number {
  for (let i = 7; i >= 0; i--) {
    const word = words[i]!;
    if (word !== 0) return i * 32 + 31 - Math.clz32(word);
  }
  return -1;
}

export const hasVector = (words: readonly number[], vector: number): boolean => ((words[vector >> 5]! >>> (vector & 31)) & 1) !== 0;

export function putVector(words: number[], vector: number, on: boolean): void {
  const i = vector >> 5;
  const bit = 1 << (vector & 31);
  words[i] = (on ? words[i]! | bit : words[i]! & ~bit) >>> 0;
}
