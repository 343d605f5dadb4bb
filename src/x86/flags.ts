/**
 * The arithmetic flags are kept as the last result (sign-extended to 64 bits) and an auxiliary word, so that most
 * instructions compute only what is cheap and no flag has to know which operation set it:
 *
 *     RFLAGS = (PF of result | ZF of result | SF of result) XOR aux
 *
 * where aux holds CF, AF and OF at their places in RFLAGS, and corrections to PF and SF for the rare values that no
 * result has (POPF may set ZF and SF together).
 */
export const CF = 1 << 0;
export const PF = 1 << 2;
export const AF = 1 << 4;
export const ZF = 1 << 6;
export const SF = 1 << 7;
export const TF = 1 << 8;
export const IF = 1 << 9;
export const DF = 1 << 10;
export const OF = 1 << 11;
export const IOPL = 3 << 12;
export const NT = 1 << 14;
export const RF = 1 << 16;
export const VM = 1 << 17;
export const AC = 1 << 18;
export const VIF = 1 << 19;
export const VIP = 1 << 20;
export const ID = 1 << 21;

export const ARITHMETIC = CF | PF | AF | ZF | SF | OF;

/** Splits arithmetic flags into the kept form. */
export function splitFlags(flags: number): { result: bigint; aux: number } {
  return flags & ZF ? { result: 0n, aux: (flags ^ ZF ^ PF) & (ARITHMETIC ^ ZF) } : { result: 1n, aux: flags & (ARITHMETIC ^ ZF) };
}

/** The arithmetic flags that the kept form stands for; the result in halves. */
export function joinFlags(low: number, high: number, aux: number): number {
  let parity = low & 0xff;
  parity ^= parity >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return ((parity & 1 ? 0 : PF) | ((low | high) === 0 ? ZF : 0) | ((high | 0) < 0 ? SF : 0)) ^ aux;
}

/**
 * What conditions ask for of a comparison, as bits of which one has to hold: ZF, CF, SF different from OF, SF. Those on overflow and parity
 * alone are not made of them.
 */
export const EQUAL = 1;
export const BELOW = 2;
export const LESS = 4;
export const NEGATIVE = 8;
/** ... and none may. */
export const INVERTED = 0x80;

/** A condition's bits by its number in encodings; 0 when it is not made of them. */
export function relationOf(condition: number): number {
  const bits = [0, BELOW, EQUAL, BELOW | EQUAL, NEGATIVE, 0, LESS, LESS | EQUAL][condition >> 1]!;
  return bits === 0 ? 0 : bits | (condition & 1 ? INVERTED : 0);
}

/** Condition codes in encoding order; odd ones are the negation of the even one before. */
export const CONDITIONS = ['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'] as const;
