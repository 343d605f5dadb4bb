/** Where processors may differ by the manual's own words. */
import type { Encoding } from '../../src/x86/isa/encoding.ts';
import type { Mode } from '../native/case.ts';
import type { Tolerance } from './compare.ts';

/** Results with a stated relative error only. */
const APPROXIMATE = /^(v?r(cp|sqrt)[ps]s|f2xm1|fyl2x|fyl2xp1|fsin|fcos|fsincos|fptan|fpatan)$/;
/** C0, C2 and C3. */
const UNDEFINED_CONDITIONS = 0x4500;
/** C1, of results that may be off by one unit. */
const ROUNDED_UP = 0x200;
/** x87 instructions that define all of C0…C3. */
const DEFINES_CONDITIONS =
  /^(f?n?(stcw|stsw|stenv|save|clex|init)|fld(cw|env)|frstor|fx(save|rstor).*|fu?comi?p?p?|ficomp?|ftst|fxam|fprem1?|fsin|fcos|fsincos|fptan)$/;

/** Instructions that touch memory in several pieces, in an order of their own. */
const PIECEWISE =
  /^(fx?(n?save|rstor)|f(n?st|ld)env|v?maskmov.*|enter|pusha|popa|callf|jmpf|retf|iret|int|bound|l[defgs]s|xsave.*|xrstor)$/;
/** Whether an unmasked invalid operation leaves the condition codes alone: SDM says so, AMD sets them. */
const COMPARES = /^f(u?comi?p{0,2}|icomp?|tst)$/;
/** MMX and SSE at once: whether a fault comes before or after the change to MMX, and whether a memory operand makes it. */
const MIXED = /^cvtt?p[sd]2pi$|^cvtpi2p[sd]$|^maskmovq$/;
/** Two memory operands, of which either may be read first. */
const TWO_OPERANDS = /^cmps[bwdq]?$/;

const [CF, PF, AF, ZF, SF, OF] = [0x1, 0x4, 0x10, 0x40, 0x80, 0x800];
/** Flags that the manual leaves undefined where the table does not say so. */
const UNDEFINED_FLAGS: Readonly<Record<string, number>> = {
  daa: OF,
  das: OF,
  aaa: OF | SF | ZF | PF,
  aas: OF | SF | ZF | PF,
  aam: OF | AF | CF,
  aad: OF | AF | CF,
};

/** Flags after an instruction that do not count. */
export function undefinedFlags({ row }: Encoding): number {
  return (row.undefinedFlags ?? 0) | (UNDEFINED_FLAGS[row.mnemonic] ?? 0);
}

export function toleranceFor(encoding: Encoding, mode: Mode): Tolerance {
  const { mnemonic, unit } = encoding.row;
  const approximate = APPROXIMATE.test(mnemonic);
  const conditions = unit === 'x87' && !DEFINES_CONDITIONS.test(mnemonic) ? UNDEFINED_CONDITIONS : 0;
  return {
    mode,
    undefinedFlags: undefinedFlags(encoding),
    undefinedFsw: conditions | (approximate ? ROUNDED_UP : 0),
    approximate,
    piecewise: PIECEWISE.test(mnemonic),
    twoOperands: TWO_OPERANDS.test(mnemonic),
    comparison: COMPARES.test(mnemonic),
    mixed: MIXED.test(mnemonic),
    mxcsrMask: mnemonic === 'fxsave',
    interrupted: mnemonic === 'popa',
    anyAlignment: mnemonic.startsWith('sha'),
  };
}
