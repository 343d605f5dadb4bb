/** Where processors may differ by the manual's own words. */
import type { Encoding } from '../../src/x86/isa/encoding.ts';
import type { Mode } from '../native/case.ts';
import type { Tolerance } from './compare.ts';

/** Results with a stated relative error only. */
const APPROXIMATE = /^(v?r(cp|sqrt)[ps]s|f2xm1|fyl2x|fyl2xp1|fsin|fcos|fsincos|fptan|fpatan)$/;
/** C0, C2 and C3. */
const UNDEFINED_CONDITIONS = 0x4500;
/** x87 instructions that define all of C0…C3. */
const DEFINES_CONDITIONS =
  /^(f?n?(stcw|stsw|stenv|save|clex|init)|fld(cw|env)|frstor|fx(save|rstor).*|fu?comi?p?p?|ficomp?|ftst|fxam|fprem1?|fsin|fcos|fsincos|fptan)$/;

export function toleranceFor(encoding: Encoding, mode: Mode): Tolerance {
  const { mnemonic, undefinedFlags = 0, unit } = encoding.row;
  const conditions = unit === 'x87' && !DEFINES_CONDITIONS.test(mnemonic) ? UNDEFINED_CONDITIONS : 0;
  return { mode, undefinedFlags, undefinedFsw: conditions, approximate: APPROXIMATE.test(mnemonic) };
}
