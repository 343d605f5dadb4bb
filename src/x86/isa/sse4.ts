/** SSE4.1, SSE4.2, AES, PCLMULQDQ and SHA, with their AVX forms. SDM vol. 2. */
import { RAX, RCX, RDX, type Ops } from '../ops.ts';
import { callRuntime, element, extract, floating, immediateByte, replace, setVector, shuffle, vector, zeroVector, type FloatType } from '../vector.ts'; // prettier-ignore
import { attemptRounding, roundingNeedsSettled, scalarAttempt, shapeOf, type FloatShape } from '../vector-float.ts';
import type { Node } from '../wasm/ir.ts';
import { extractDynamic, insertDynamic } from './sse-move.ts';
import { multiplyEven } from './sse-integer.ts';
import { scalarPart } from './sse-float.ts';
import { AVX, AVX2, binary, binaryWhole, native, runtime, runtimeImmediate, runtimeUnary, runtimeUnaryImmediate, unary, vex, type Fast, type Forms, type Part, type Whole } from './vector-forms.ts'; // prettier-ignore
import { row, type Row, type RowOptions, type Semantics } from './row.ts';
import { blendDoubles, blendSingles, blendWords } from './shuffles.ts';

const SSE41: Forms = { wide: 'avx2', feature: 'sse41' };
const SSE41_ROW: RowOptions = { unit: 'sse', feature: 'sse41' };
const FLOAT: Forms = { wide: 'avx', feature: 'sse41', float: true };

/** PMOVSX and PMOVZX: `steps` are extensions of low halves; the source is that many times halved. */
function extend(mnemonic: string, opcode: string, steps: readonly string[]): Row[] {
  const bytes = 16 >> steps.length;
  const sizes = ['dq', 'q', 'd', 'w'];
  const convert = (o: Ops, a: Node): Node => steps.reduce((x, step) => o.b.op(step, x), a);
  const semantics: Semantics = (o) => {
    const source = vector(o, 1)[0]!;
    const parts = [convert(o, source)];
    if (o.bits(0) === 256) {
      const upper = Array.from({ length: 16 }, (_, i) => (i + bytes) % 16);
      parts.push(convert(o, shuffle(o, source, source, 1, upper)));
    }
    setVector(o, 0, parts);
  };
  const narrow = `Vdq= W${sizes[steps.length]}`;
  return [
    row(mnemonic, `${opcode} /r: ${narrow}`, semantics, SSE41_ROW),
    row(`v${mnemonic}`, `${vex(opcode, '128')} /r: ${narrow}`, semantics, AVX),
    row(`v${mnemonic}`, `${vex(opcode, '256')} /r: Vqq= W${sizes[steps.length - 1]}`, semantics, AVX2),
  ];
}

function extensions(prefix: 'pmovsx' | 'pmovzx', first: number, sign: 's' | 'u'): Row[] {
  const word = `i16x8.extend_low_i8x16_${sign}`;
  const double = `i32x4.extend_low_i16x8_${sign}`;
  const quad = `i64x2.extend_low_i32x4_${sign}`;
  const opcode = (n: number): string => `66 0F 38 ${(first + n).toString(16).toUpperCase()}`;
  return [
    ...extend(`${prefix}bw`, opcode(0), [word]),
    ...extend(`${prefix}bd`, opcode(1), [word, double]),
    ...extend(`${prefix}bq`, opcode(2), [word, double, quad]),
    ...extend(`${prefix}wd`, opcode(3), [double]),
    ...extend(`${prefix}wq`, opcode(4), [double, quad]),
    ...extend(`${prefix}dq`, opcode(5), [quad]),
  ];
}

/** Elements of the second source where the mask's are negative. The mask is XMM0, with VEX a fourth operand. */
function blendVariable(mnemonic: string, opcode: string, vexOpcode: string, shape: string, bits: number, wide: RowOptions): Row[] {
  const semantics: Semantics = (o) => {
    const first = o.encoding.vex ? 1 : 0;
    const [a, b, mask] = [first, first + 1, first + 2].map((i) => vector(o, i)) as [Node[], Node[], Node[]];
    const chosen = mask.map((part) => o.b.op(`${shape}.shr_s`, part, o.b.i32(bits - 1)));
    setVector(o, 0, a.map((part, n) => o.b.op('v128.bitselect', b[n]!, part, chosen[n]!))); // prettier-ignore
  };
  return [
    row(mnemonic, `${opcode} /r: Vdq+ Wdq XMM0`, semantics, SSE41_ROW),
    row(`v${mnemonic}`, `${vex(vexOpcode, '128', 'W0')} /r: Vdq= Hdq Wdq Ldq`, semantics, AVX),
    row(`v${mnemonic}`, `${vex(vexOpcode, '256', 'W0')} /r: Vqq= Hqq Wqq Lqq`, semantics, wide),
  ];
}

/** MPSADBW has three bits of the immediate for each half. */
const sumBlocks: Part = (o, a, b, n) => callRuntime(o, 'mpsadbw', a, b, o.b.op('i32.shr_u', immediateByte(o), o.b.i32(3 * n)));

/** Lanes whose bit in an i32 is set. */
function lanes(o: Ops, type: FloatType, bits: Node): Node {
  const { b } = o;
  const [shape, splat, each] =
    type === 'f32' ? ['i32x4', bits, b.v128(0x2_0000_0001n, 0x8_0000_0004n)] : ['i64x2', o.wide(bits), b.v128(1n, 2n)];
  return b.op(`${shape}.ne`, b.op('v128.and', b.op(`${shape}.splat`, splat), each), b.v128(0n, 0n));
}

/**
 * DPPS and DPPD: products, then sums of elements chosen by the pairs of `steps`. Each step is done in all parts before the
 * next, which an unmasked exception keeps from being done.
 */
function dotProduct(type: FloatType, ...steps: readonly (readonly [readonly number[], readonly number[]])[]): Whole {
  const bytes = type === 'f32' ? 4 : 8;
  const suffix = type === 'f32' ? 'f32x4' : 'f64x2';
  return (o, a, c) => {
    const { b } = o;
    const once = (node: Node): Node => b.get(b.variable('v128', node));
    const used = once(lanes(o, type, b.op('i32.shr_u', immediateByte(o), b.i32(4))));
    // Products that are left out raise nothing.
    const chosen = (x: Node): Node => b.op('v128.and', x, used);
    let parts = floating(o, a.length, () => a.map((each, n) => callRuntime(o, `sse_mul_${suffix}`, chosen(each), chosen(c[n]!))));
    parts = parts.map((each) => once(chosen(each)));
    for (const pair of steps) {
      const sum = (x: Node): Node => {
        const [left, right] = pair.map((elements) => shuffle(o, x, x, bytes, elements)) as [Node, Node];
        return callRuntime(o, `sse_add_${suffix}`, left, right);
      };
      parts = floating(o, a.length, () => parts.map((each) => once(sum(each))));
    }
    return parts.map((each) => b.op('v128.and', each, lanes(o, type, immediateByte(o))));
  };
}

/** ROUNDPS and ROUNDPD in place, where the immediate is known. */
function rounding(shape: FloatShape): Fast {
  return {
    shape,
    settled: (o) => roundingNeedsSettled(o.knownByte() ?? 0),
    part: (o, a) => {
      const immediate = o.knownByte();
      return immediate === undefined ? undefined : attemptRounding(o, shape, immediate, a);
    },
  };
}

const roundLow =
  (type: FloatType) =>
  (o: Ops, a: Node, b: Node): Node => {
    const shape = shapeOf(type);
    const slow = (): Node => callRuntime(o, `sse_round_${type}`, extract(o, type, b, 0), immediateByte(o));
    const immediate = o.knownByte();
    if (immediate === undefined) return replace(o, type, a, 0, floating(o, 1, slow));
    return scalarAttempt(o, shape, a, attemptRounding(o, shape, immediate, b), slow, roundingNeedsSettled(immediate));
  };

/** ZF when a & b has no bit (of those in `mask`), CF when ~a & b has none; the other flags clear. */
export function testBits(mask?: (o: Ops, x: Node) => Node): Semantics {
  return (o) => {
    const { b } = o;
    const a = vector(o, 0);
    const c = vector(o, 1);
    const any = (operation: (x: Node, y: Node) => Node): Node => {
      const parts = a.map((part, n) => operation(part, c[n]!)).map((part) => (mask ? mask(o, part) : part));
      return b.op('v128.any_true', parts.reduce((x, y) => b.op('v128.or', x, y))); // prettier-ignore
    };
    const zero = b.op('i32.eqz', any((x, y) => b.op('v128.and', x, y))); // prettier-ignore
    const carry = b.op('i32.eqz', any((x, y) => b.op('v128.andnot', y, x))); // prettier-ignore
    o.unpackFlags(b.op('i32.or', b.op('i32.shl', zero, b.i32(6)), carry));
  };
}

/** PEXTRB and the like. `reg` and `mem` are destinations of the two forms. */
function extraction(mnemonic: string, opcode: string, bytes: 1 | 2 | 4, reg: string, mem: string): Row[] {
  const semantics: Semantics = (o) => o.set(0, extractDynamic(o, 1, bytes));
  const texts = (text: string): string[] => [`${text} /r reg: ${reg}= Vdq Ib`, `${text} /r mem: ${mem}= Vdq Ib`];
  return [row(mnemonic, texts(opcode), semantics, SSE41_ROW), row(`v${mnemonic}`, texts(vex(opcode, '128')), semantics, AVX)];
}

/** PEXTRD/PEXTRQ and PINSRD/PINSRQ, by operand size. */
const extractSized: Semantics = (o) => o.set(0, extractDynamic(o, 1, o.bits(0) === 64 ? 8 : 4));

function insertElement(o: Ops, bytes: 1 | 4 | 8): void {
  const destination = o.encoding.vex ? 1 : 0;
  const value = o.get(destination + 1);
  setVector(o, 0, [insertDynamic(o, vector(o, destination)[0]!, bytes, 16 / bytes, bytes === 8 ? value : o.narrow(value))]);
}

const insertSized: Semantics = (o) => insertElement(o, o.bits(o.encoding.vex ? 2 : 1) === 64 ? 8 : 4);
const insertByte: Semantics = (o) => insertElement(o, 1);

/** INSERTPS: where the element goes is in bits 4-5, what becomes zero in bits 0-3. */
function insertKnown(o: Ops, before: Node, value: Node, immediate: number): Node {
  const inserted = replace(o, 'i32', before, (immediate >> 4) & 3, value);
  const zeroed = [0, 1, 2, 3].map((n) => ((immediate >> n) & 1 ? 4 : n));
  return immediate & 15 ? shuffle(o, inserted, zeroVector(o), 4, zeroed) : inserted;
}

const insertSingle: Semantics = (o) => {
  const source = o.encoding.vex ? 2 : 1;
  const { b } = o;
  // From a register, bits 6-7 choose the element.
  const known = o.knownByte();
  const value = o.isMemory(source)
    ? element(o, source, 'i32')
    : known !== undefined
      ? extract(o, 'i32', o.readVector(o.operand(source), 0), known >> 6)
      : b.load(
          'i32.load',
          b.op('i32.add', o.vectorAddress(o.operand(source)), b.op('i32.shl', b.op('i32.shr_u', immediateByte(o), b.i32(6)), b.i32(2))),
        );
  const before = vector(o, source - 1)[0]!;
  setVector(o, 0, [
    known === undefined ? callRuntime(o, 'insertps', before, value, immediateByte(o)) : insertKnown(o, before, value, known),
  ]);
};

/** PCMPESTRI and the like: lengths from RAX and RDX or up to the first zero; the result to RCX or to XMM0; flags. */
function compareStrings(mnemonic: string, opcode: string, explicit: boolean, index: boolean): Row[] {
  const semantics: Semantics = (o) => {
    const a = vector(o, 0)[0]!;
    const b = vector(o, 1)[0]!;
    const length = (register: number, string: Node): Node => {
      if (!explicit) return callRuntime(o, 'pcmpstr_length', string, immediateByte(o));
      const value = o.readGpr(register, o.size === 64 ? 64 : 32);
      return callRuntime(o, 'pcmpstr_explicit_length', o.size === 64 ? value : o.signed(value, 32), immediateByte(o));
    };
    const result = callRuntime(o, 'pcmpstr', a, b, length(RAX, a), length(RDX, b), immediateByte(o));
    if (index) o.writeGpr(RCX, 32, o.wide(callRuntime(o, 'pcmpstr_index', result, immediateByte(o))));
    else {
      o.writeYmm(0, 0, callRuntime(o, 'pcmpstr_mask', result, immediateByte(o)));
      if (o.encoding.vex) o.writeYmm(0, 1, zeroVector(o));
    }
    o.unpackFlags(o.b.op('i32.shr_u', result, o.b.i32(16)));
  };
  return [
    row(mnemonic, `${opcode} /r: Vdq Wdq Ib`, semantics, { unit: 'sse', feature: 'sse42', unaligned: true, sized: explicit }),
    row(`v${mnemonic}`, `${vex(opcode, '128')} /r: Vdq Wdq Ib`, semantics, { ...AVX, sized: explicit }),
  ];
}

function crc32(bits: 8 | 16 | 32 | 64): Semantics {
  return (o) => {
    const value = o.get(1);
    o.set(0, o.wide(callRuntime(o, `crc32_u${bits}`, o.narrow(o.get(0)), bits === 64 ? value : o.narrow(value))));
  };
}

const AES: Forms = { feature: 'aes', vexFeature: 'aes', wide: 'vaes' };
/** Without the alignment rule, as on AMD processors. */
const SHA: RowOptions = { unit: 'sse', feature: 'sha', unaligned: true };

function sha(mnemonic: string, opcode: string): Row {
  return row(
    mnemonic,
    `NP 0F 38 ${opcode} /r: Vdq+ Wdq`,
    (o) => setVector(o, 0, [callRuntime(o, mnemonic, vector(o, 0)[0]!, vector(o, 1)[0]!)]),
    SHA,
  );
}

export const SSE4: readonly Row[] = [
  ...blendVariable('pblendvb', '66 0F 38 10', '66 0F 3A 4C', 'i8x16', 8, AVX2),
  ...blendVariable('blendvps', '66 0F 38 14', '66 0F 3A 4A', 'i32x4', 32, AVX),
  ...blendVariable('blendvpd', '66 0F 38 15', '66 0F 3A 4B', 'i64x2', 64, AVX),
  row('ptest', '66 0F 38 17 /r: Vdq Wdq', testBits(), SSE41_ROW),
  row('vptest', ['VEX.128.66.0F38.WIG 17 /r: Vdq Wdq', 'VEX.256.66.0F38.WIG 17 /r: Vqq Wqq'], testBits(), AVX),
  ...extensions('pmovsx', 0x20, 's'),
  ...extensions('pmovzx', 0x30, 'u'),
  ...binary('pmuldq', '66 0F 38 28', multiplyEven('i64x2.extmul_low_i32x4_s'), SSE41),
  ...binary('pcmpeqq', '66 0F 38 29', native('i64x2.eq'), SSE41),
  ...binary('packusdw', '66 0F 38 2B', native('i16x8.narrow_i32x4_u'), SSE41),
  ...binary('pcmpgtq', '66 0F 38 37', native('i64x2.gt_s'), { wide: 'avx2', feature: 'sse42' }),
  ...binary('pminsb', '66 0F 38 38', native('i8x16.min_s'), SSE41),
  ...binary('pminsd', '66 0F 38 39', native('i32x4.min_s'), SSE41),
  ...binary('pminuw', '66 0F 38 3A', native('i16x8.min_u'), SSE41),
  ...binary('pminud', '66 0F 38 3B', native('i32x4.min_u'), SSE41),
  ...binary('pmaxsb', '66 0F 38 3C', native('i8x16.max_s'), SSE41),
  ...binary('pmaxsd', '66 0F 38 3D', native('i32x4.max_s'), SSE41),
  ...binary('pmaxuw', '66 0F 38 3E', native('i16x8.max_u'), SSE41),
  ...binary('pmaxud', '66 0F 38 3F', native('i32x4.max_u'), SSE41),
  ...binary('pmulld', '66 0F 38 40', native('i32x4.mul'), SSE41),
  ...unary('phminposuw', '66 0F 38 41', runtimeUnary('phminposuw'), { feature: 'sse41' }),
  ...unary('roundps', '66 0F 3A 08', runtimeUnaryImmediate('sse_round_f32x4'), { ...FLOAT, immediate: true, attempt: rounding('f32x4') }),
  ...unary('roundpd', '66 0F 3A 09', runtimeUnaryImmediate('sse_round_f64x2'), { ...FLOAT, immediate: true, attempt: rounding('f64x2') }),
  ...scalarPart('roundss', '66 0F 3A 0A', 'ss', roundLow('f32'), ' Ib', 'sse41'),
  ...scalarPart('roundsd', '66 0F 3A 0B', 'sd', roundLow('f64'), ' Ib', 'sse41'),
  ...binary('blendps', '66 0F 3A 0C', blendSingles, { wide: 'avx', feature: 'sse41', immediate: true }),
  ...binary('blendpd', '66 0F 3A 0D', blendDoubles, { wide: 'avx', feature: 'sse41', immediate: true }),
  ...binary('pblendw', '66 0F 3A 0E', blendWords, { ...SSE41, immediate: true }),
  ...extraction('pextrb', '66 0F 3A 14', 1, 'Rd', 'Eb'),
  ...extraction('pextrw', '66 0F 3A 15', 2, 'Rd', 'Ew'),
  row('pextrd', '66 0F 3A 16 /r: Ey= Vdq Ib', extractSized, SSE41_ROW),
  row('vpextrd', 'VEX.128.66.0F3A 16 /r: Ey= Vdq Ib', extractSized, AVX),
  ...extraction('extractps', '66 0F 3A 17', 4, 'Rd', 'Ed'),
  row('pinsrb', ['66 0F 3A 20 /r reg: Vdq+ Rd Ib', '66 0F 3A 20 /r mem: Vdq+ Eb Ib'], insertByte, SSE41_ROW),
  row('vpinsrb', ['VEX.128.66.0F3A 20 /r reg: Vdq= Hdq Rd Ib', 'VEX.128.66.0F3A 20 /r mem: Vdq= Hdq Eb Ib'], insertByte, AVX),
  row('insertps', ['66 0F 3A 21 /r reg: Vdq+ Udq Ib', '66 0F 3A 21 /r mem: Vdq+ Wss Ib'], insertSingle, SSE41_ROW),
  row('vinsertps', ['VEX.128.66.0F3A.WIG 21 /r reg: Vdq= Hdq Udq Ib', 'VEX.128.66.0F3A.WIG 21 /r mem: Vdq= Hdq Wss Ib'], insertSingle, AVX),
  row('pinsrd', '66 0F 3A 22 /r: Vdq+ Ey Ib', insertSized, SSE41_ROW),
  row('vpinsrd', 'VEX.128.66.0F3A 22 /r: Vdq= Hdq Ey Ib', insertSized, AVX),
  ...binaryWhole('dpps', '66 0F 3A 40', dotProduct('f32', [[0, 2, 0, 2], [1, 3, 1, 3]], [[0, 0, 0, 0], [1, 1, 1, 1]]), { ...FLOAT, immediate: true }),
  ...binaryWhole('dppd', '66 0F 3A 41', dotProduct('f64', [[0, 0], [1, 1]]), { feature: 'sse41', immediate: true }),
  ...binary('mpsadbw', '66 0F 3A 42', sumBlocks, { ...SSE41, immediate: true }),

  ...compareStrings('pcmpestrm', '66 0F 3A 60', true, false),
  ...compareStrings('pcmpestri', '66 0F 3A 61', true, true),
  ...compareStrings('pcmpistrm', '66 0F 3A 62', false, false),
  ...compareStrings('pcmpistri', '66 0F 3A 63', false, true),
  row('crc32', 'F2 0F 38 F0 /r: Gd+ Eb', crc32(8), { feature: 'sse42' }),
  row('crc32', 'F2 0F 38 F1 /r: Gd+ Ev', (o) => crc32(o.bits(1) as 16 | 32 | 64)(o), { feature: 'sse42' }),

  ...unary('aesimc', '66 0F 38 DB', runtimeUnary('aesimc'), { feature: 'aes', vexFeature: 'aes' }),
  ...binary('aesenc', '66 0F 38 DC', runtime('aesenc'), AES),
  ...binary('aesenclast', '66 0F 38 DD', runtime('aesenclast'), AES),
  ...binary('aesdec', '66 0F 38 DE', runtime('aesdec'), AES),
  ...binary('aesdeclast', '66 0F 38 DF', runtime('aesdeclast'), AES),
  ...unary('aeskeygenassist', '66 0F 3A DF', runtimeUnaryImmediate('aeskeygenassist'), { feature: 'aes', vexFeature: 'aes', immediate: true }),
  ...binary('pclmulqdq', '66 0F 3A 44', runtimeImmediate('pclmulqdq'), { feature: 'pclmul', vexFeature: 'pclmul', wide: 'vpclmulqdq', immediate: true }),
  sha('sha1nexte', 'C8'),
  sha('sha1msg1', 'C9'),
  sha('sha1msg2', 'CA'),
  row('sha256rnds2', 'NP 0F 38 CB /r: Vdq+ Wdq XMM0', (o) => setVector(o, 0, [callRuntime(o, 'sha256rnds2', vector(o, 0)[0]!, vector(o, 1)[0]!, vector(o, 2)[0]!)]), SHA),
  sha('sha256msg1', 'CC'),
  sha('sha256msg2', 'CD'),
  row('sha1rnds4', 'NP 0F 3A CC /r: Vdq+ Wdq Ib', (o) => setVector(o, 0, [runtimeImmediate('sha1rnds4')(o, vector(o, 0)[0]!, vector(o, 1)[0]!, 0)]), SHA),
]; // prettier-ignore
