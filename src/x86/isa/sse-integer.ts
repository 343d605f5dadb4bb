/** Integer arithmetic, comparison, shifts and shuffles of MMX, SSE2 and SSSE3, with AVX and AVX2. SDM vol. 2. */
import type { Ops } from '../ops.ts';
import { extract, immediateByte, setVector, shuffle, vector, zeroVector } from '../vector.ts';
import type { Node } from '../wasm/ir.ts';
import { AVX, AVX2, binary, mmx, native, nativeUnary, unary, vex, type Forms, type Part } from './vector-forms.ts'; // prettier-ignore
import { row, type Row } from './row.ts';
import {
  alignRight,
  multiplyAddBytes,
  multiplyHigh,
  multiplyRounded,
  shiftBytes,
  shuffleDoublewords,
  shuffleHighWords,
  shuffleLowWords,
  sumDifferences,
} from './shuffles.ts';

const INTEGER: Forms = { wide: 'avx2' };
const WITH_MMX: Forms = { wide: 'avx2', mmx: 'low' };
const SSSE3: Forms = { wide: 'avx2', feature: 'ssse3' };

/** Interleaves elements of `bytes` bytes of the low or the high halves. */
function interleave(bytes: number, high: boolean): Part {
  const count = 16 / bytes;
  const from = high ? count / 2 : 0;
  const order = Array.from({ length: count }, (_, i) => from + (i >> 1) + (i & 1) * count);
  return (o, a, b) => shuffle(o, a, b, bytes, order);
}

/** The 64-bit form of an interleaving of high halves is the high half of one of low halves. */
function unpackHigh(mnemonic: string, opcode: string, bytes: number): Row[] {
  const rows = binary(mnemonic, opcode, interleave(bytes, true), INTEGER);
  const narrow = binary(mnemonic, opcode, interleave(bytes, false), { mmx: 'high' }).filter(({ unit }) => unit === 'mmx');
  return [...rows, ...narrow];
}

/** Horizontal operations: even and odd elements of both operands, in that order. */
function horizontal(bytes: number, name: string): Part {
  const half = 8 / bytes;
  const even = Array.from({ length: 2 * half }, (_, i) => 2 * i);
  const odd = even.map((i) => i + 1);
  return (o, a, b) => o.b.op(name, shuffle(o, a, b, bytes, even), shuffle(o, a, b, bytes, odd));
}

/** PSIGN: negates where b is negative, zero where it is zero. */
function sign(shape: string): Part {
  return (o, a, b) => {
    const negative = o.b.op(`${shape}.lt_s`, b, zeroVector(o));
    const zero = o.b.op(`${shape}.eq`, b, zeroVector(o));
    return o.b.op('v128.andnot', o.b.op(`${shape}.sub`, o.b.op('v128.xor', a, negative), negative), zero);
  };
}

/** Even doublewords multiplied to quadwords. */
export function multiplyEven(name: string): Part {
  return (o, a, b) => o.b.op(name, shuffle(o, a, a, 4, [0, 2, 0, 2]), shuffle(o, b, b, 4, [0, 2, 0, 2]));
}

type Shift = 'shl' | 'shr_u' | 'shr_s';

/** Shifts elements of `bits` bits by an i64 count: too large a one leaves zeros, or signs. */
function shiftBy(o: Ops, kind: Shift, bits: 16 | 32 | 64, a: Node, count: Node): Node {
  const { b } = o;
  const name = `i${bits}x${128 / bits}.${kind}`;
  const inside = o.below(count, o.const(bits));
  if (kind === 'shr_s') return b.op(name, a, b.op('i32.select', o.narrow(count), b.i32(bits - 1), inside));
  return b.op('v128.select', b.op(name, a, o.narrow(count)), zeroVector(o), inside);
}

/** A shift by a register or memory operand, whose low quadword is the count, and by an immediate (opcode /digit). */
function shift(mnemonic: string, opcode: string, immediateOpcode: string, digit: number, kind: Shift, bits: 16 | 32 | 64): Row[] {
  const byVector: Part = (o, a, count) => shiftBy(o, kind, bits, a, extract(o, 'i64', count, 0));
  const byImmediate = (o: Ops): void => {
    const source = o.operand(0).access === 'rw' ? 0 : 1;
    setVector(o, 0, vector(o, source).map((a) => shiftBy(o, kind, bits, a, o.wide(immediateByte(o))))); // prettier-ignore
  };
  return [
    ...binary(mnemonic, opcode, byVector, { ...WITH_MMX, wideSource: 'dq' }),
    ...shiftImmediate(mnemonic, immediateOpcode, digit, byImmediate, true),
  ];
}

function shiftImmediate(mnemonic: string, opcode: string, digit: number, semantics: (o: Ops) => void, withMmx: boolean): Row[] {
  const made = [
    row(mnemonic, `${opcode} /${digit} reg: Udq+ Ib`, semantics, { unit: 'sse' }),
    row(`v${mnemonic}`, `${vex(opcode, '128')} /${digit} reg: Hdq= Udq Ib`, semantics, AVX),
    row(`v${mnemonic}`, `${vex(opcode, '256')} /${digit} reg: Hqq= Uqq Ib`, semantics, AVX2),
  ];
  if (withMmx) made.push(mmx(mnemonic, `${opcode.replace('66', 'NP')} /${digit} reg: Nq+ Ib`, semantics));
  return made;
}

function byteShift(name: 'pslldq' | 'psrldq', digit: number): Row[] {
  return shiftImmediate(name, '66 0F 73', digit, (o) => {
    const source = o.operand(0).access === 'rw' ? 0 : 1;
    setVector(o, 0, vector(o, source).map((a) => shiftBytes(o, name, a))); // prettier-ignore
  }, false); // prettier-ignore
}

/** A family over bytes, words and doublewords with consecutive opcodes. */
function family(mnemonic: string, first: number, operation: string, suffixes = 'bwd', forms = WITH_MMX): Row[] {
  const shapes: Record<string, string> = { b: 'i8x16', w: 'i16x8', d: 'i32x4', q: 'i64x2' };
  return [...suffixes].flatMap((suffix, n) => {
    const opcode = (first + n).toString(16).toUpperCase();
    return binary(mnemonic + suffix, `66 0F ${opcode}`, native(`${shapes[suffix]}.${operation}`), forms);
  });
}

export const SSE_INTEGER: readonly Row[] = [
  ...binary('punpcklbw', '66 0F 60', interleave(1, false), { ...WITH_MMX, mmxSource: 'd' }),
  ...binary('punpcklwd', '66 0F 61', interleave(2, false), { ...WITH_MMX, mmxSource: 'd' }),
  ...binary('punpckldq', '66 0F 62', interleave(4, false), { ...WITH_MMX, mmxSource: 'd' }),
  ...binary('packsswb', '66 0F 63', native('i8x16.narrow_i16x8_s'), { wide: 'avx2', mmx: 'joined' }),
  ...family('pcmpgt', 0x64, 'gt_s'),
  ...binary('packuswb', '66 0F 67', native('i8x16.narrow_i16x8_u'), { wide: 'avx2', mmx: 'joined' }),
  ...unpackHigh('punpckhbw', '66 0F 68', 1),
  ...unpackHigh('punpckhwd', '66 0F 69', 2),
  ...unpackHigh('punpckhdq', '66 0F 6A', 4),
  ...binary('packssdw', '66 0F 6B', native('i16x8.narrow_i32x4_s'), { wide: 'avx2', mmx: 'joined' }),
  ...binary('punpcklqdq', '66 0F 6C', interleave(8, false), INTEGER),
  ...binary('punpckhqdq', '66 0F 6D', interleave(8, true), INTEGER),
  ...unary('pshufd', '66 0F 70', shuffleDoublewords, { wide: 'avx2', immediate: true }),
  ...unary('pshufhw', 'F3 0F 70', shuffleHighWords, { wide: 'avx2', immediate: true }),
  ...unary('pshuflw', 'F2 0F 70', shuffleLowWords, { wide: 'avx2', immediate: true }),
  mmx('pshufw', 'NP 0F 70 /r: Pq= Qq Ib', (o) => setVector(o, 0, [shuffleLowWords(o, vector(o, 1)[0]!, 0)])),
  ...family('pcmpeq', 0x74, 'eq'),
  ...shift('psrlw', '66 0F D1', '66 0F 71', 2, 'shr_u', 16),
  ...shift('psraw', '66 0F E1', '66 0F 71', 4, 'shr_s', 16),
  ...shift('psllw', '66 0F F1', '66 0F 71', 6, 'shl', 16),
  ...shift('psrld', '66 0F D2', '66 0F 72', 2, 'shr_u', 32),
  ...shift('psrad', '66 0F E2', '66 0F 72', 4, 'shr_s', 32),
  ...shift('pslld', '66 0F F2', '66 0F 72', 6, 'shl', 32),
  ...shift('psrlq', '66 0F D3', '66 0F 73', 2, 'shr_u', 64),
  ...shift('psllq', '66 0F F3', '66 0F 73', 6, 'shl', 64),
  ...byteShift('psrldq', 3),
  ...byteShift('pslldq', 7),
  ...binary('paddq', '66 0F D4', native('i64x2.add'), WITH_MMX),
  ...binary('pmullw', '66 0F D5', native('i16x8.mul'), WITH_MMX),
  ...family('psubus', 0xd8, 'sub_sat_u', 'bw'),
  ...binary('pminub', '66 0F DA', native('i8x16.min_u'), WITH_MMX),
  ...binary('pand', '66 0F DB', native('v128.and'), WITH_MMX),
  ...family('paddus', 0xdc, 'add_sat_u', 'bw'),
  ...binary('pmaxub', '66 0F DE', native('i8x16.max_u'), WITH_MMX),
  ...binary('pandn', '66 0F DF', (o, a, b) => o.b.op('v128.andnot', b, a), WITH_MMX),
  ...binary('pavgb', '66 0F E0', native('i8x16.avgr_u'), WITH_MMX),
  ...binary('pavgw', '66 0F E3', native('i16x8.avgr_u'), WITH_MMX),
  ...binary('pmulhuw', '66 0F E4', multiplyHigh('u'), WITH_MMX),
  ...binary('pmulhw', '66 0F E5', multiplyHigh('s'), WITH_MMX),
  ...family('psubs', 0xe8, 'sub_sat_s', 'bw'),
  ...binary('pminsw', '66 0F EA', native('i16x8.min_s'), WITH_MMX),
  ...binary('por', '66 0F EB', native('v128.or'), WITH_MMX),
  ...family('padds', 0xec, 'add_sat_s', 'bw'),
  ...binary('pmaxsw', '66 0F EE', native('i16x8.max_s'), WITH_MMX),
  ...binary('pxor', '66 0F EF', native('v128.xor'), WITH_MMX),
  ...binary('pmuludq', '66 0F F4', multiplyEven('i64x2.extmul_low_i32x4_u'), WITH_MMX),
  ...binary('pmaddwd', '66 0F F5', native('i32x4.dot_i16x8_s'), WITH_MMX),
  ...binary('psadbw', '66 0F F6', sumDifferences, WITH_MMX),
  ...family('psub', 0xf8, 'sub', 'bwdq'),
  ...family('padd', 0xfc, 'add'),

  // SSSE3
  ...binary('pshufb', '66 0F 38 00', (o, a, b) => o.b.op('i8x16.swizzle', a, o.b.op('v128.and', b, splatByte(o, 0x8f))), SSSE3),
  ...binary('pshufb', '66 0F 38 00', (o, a, b) => o.b.op('i8x16.swizzle', a, o.b.op('v128.and', b, splatByte(o, 0x87))), { ...SSSE3, mmx: 'low' }).filter(({ unit }) => unit === 'mmx'),
  ...binary('phaddw', '66 0F 38 01', horizontal(2, 'i16x8.add'), { ...SSSE3, mmx: 'joined' }),
  ...binary('phaddd', '66 0F 38 02', horizontal(4, 'i32x4.add'), { ...SSSE3, mmx: 'joined' }),
  ...binary('phaddsw', '66 0F 38 03', horizontal(2, 'i16x8.add_sat_s'), { ...SSSE3, mmx: 'joined' }),
  ...binary('pmaddubsw', '66 0F 38 04', multiplyAddBytes, { ...SSSE3, mmx: 'low' }),
  ...binary('phsubw', '66 0F 38 05', horizontal(2, 'i16x8.sub'), { ...SSSE3, mmx: 'joined' }),
  ...binary('phsubd', '66 0F 38 06', horizontal(4, 'i32x4.sub'), { ...SSSE3, mmx: 'joined' }),
  ...binary('phsubsw', '66 0F 38 07', horizontal(2, 'i16x8.sub_sat_s'), { ...SSSE3, mmx: 'joined' }),
  ...binary('psignb', '66 0F 38 08', sign('i8x16'), { ...SSSE3, mmx: 'low' }),
  ...binary('psignw', '66 0F 38 09', sign('i16x8'), { ...SSSE3, mmx: 'low' }),
  ...binary('psignd', '66 0F 38 0A', sign('i32x4'), { ...SSSE3, mmx: 'low' }),
  ...binary('pmulhrsw', '66 0F 38 0B', multiplyRounded, { ...SSSE3, mmx: 'low' }),
  ...unary('pabsb', '66 0F 38 1C', nativeUnary('i8x16.abs'), { ...SSSE3, mmx: 'low' }),
  ...unary('pabsw', '66 0F 38 1D', nativeUnary('i16x8.abs'), { ...SSSE3, mmx: 'low' }),
  ...unary('pabsd', '66 0F 38 1E', nativeUnary('i32x4.abs'), { ...SSSE3, mmx: 'low' }),
  ...binary('palignr', '66 0F 3A 0F', alignRight, { ...SSSE3, immediate: true }),
  mmx('palignr', 'NP 0F 3A 0F /r: Pq+ Qq Ib', (o) => {
    const [a] = vector(o, 0) as [Node];
    const [b] = vector(o, 1) as [Node];
    setVector(o, 0, [shiftBytes(o, 'psrldq', shuffle(o, b, a, 8, [0, 2]))]);
  }, { feature: 'ssse3' }),
]; // prettier-ignore

function splatByte(o: Ops, byte: number): Node {
  const value = BigInt(byte) * 0x0101010101010101n;
  return o.b.v128(value, value);
}
