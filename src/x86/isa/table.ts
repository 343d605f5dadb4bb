/** All rows, in the order in which they are tried: earlier ones win where encodings overlap. */
import { ALU } from './alu.ts';
import { AVX_ONLY } from './avx.ts';
import { BITS } from './bits.ts';
import { BRANCH } from './branch.ts';
import { parseEncoding, type Encoding } from './encoding.ts';
import { FMA_F16C } from './fma.ts';
import { MOVE } from './move.ts';
import { MULDIV } from './muldiv.ts';
import type { Row } from './row.ts';
import { SHIFT } from './shift.ts';
import { SSE_CONVERT } from './sse-convert.ts';
import { SSE_FLOAT } from './sse-float.ts';
import { SSE_INTEGER } from './sse-integer.ts';
import { SSE_MOVE } from './sse-move.ts';
import { SSE4 } from './sse4.ts';
import { STRING } from './string.ts';
import { SYSTEM } from './system.ts';
import { X87 } from './x87.ts';
import { XSAVE } from './xsave.ts';

export const ROWS: readonly Row[] = [
  ...ALU,
  ...MOVE,
  ...BRANCH,
  ...SHIFT,
  ...MULDIV,
  ...BITS,
  ...STRING,
  ...SYSTEM,
  ...X87,
  ...XSAVE,
  ...SSE_MOVE,
  ...SSE_INTEGER,
  ...SSE_FLOAT,
  ...SSE_CONVERT,
  ...SSE4,
  ...AVX_ONLY,
  ...FMA_F16C,
];

export const ENCODINGS: readonly Encoding[] = ROWS.flatMap((row) => row.encodings.map((text) => ({ row, text }))).map(
  ({ row, text }, number) => parseEncoding(row, text, number),
);
