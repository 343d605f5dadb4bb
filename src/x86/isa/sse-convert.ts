/** Conversions between integers, singles and doubles of SSE and SSE2, with MMX and AVX. SDM vol. 2. */
import type { Ops } from '../ops.ts';
import { callRuntime, element, enterMmx, floating, setScalar, setVector, shuffle, vector, type FloatType } from '../vector.ts';
import type { Node } from '../wasm/ir.ts';
import { AVX, mmx, runtimeUnary, unary, vex, type Forms } from './vector-forms.ts';
import { row, type Row, type RowOptions, type Semantics } from './row.ts';

const FLOAT: Forms = { wide: 'avx', float: true };
const SSE: RowOptions = { unit: 'sse' };

/** The two low elements become wider ones: the source is half as long as the destination. */
function widen(mnemonic: string, opcode: string, name: string): Row[] {
  const semantics: Semantics = (o) => {
    const source = vector(o, 1)[0]!;
    const sources = o.bits(0) === 256 ? [source, shuffle(o, source, source, 8, [1, 1])] : [source];
    setVector(o, 0, floating(o, sources.length, () => sources.map((part) => callRuntime(o, name, part)))); // prettier-ignore
  };
  return [
    row(mnemonic, `${opcode} /r: Vdq= Wq`, semantics, SSE),
    row(`v${mnemonic}`, [`${vex(opcode, '128')} /r: Vdq= Wq`, `${vex(opcode, '256')} /r: Vqq= Wdq`], semantics, AVX),
  ];
}

/** Elements become half as wide: what two parts give is joined. */
function narrow(mnemonic: string, opcode: string, name: string): Row[] {
  const semantics: Semantics = (o) => {
    const sources = vector(o, 1);
    const parts = floating(o, sources.length, () => sources.map((part) => callRuntime(o, name, part)));
    const [low, high] = parts as [Node, Node | undefined];
    setVector(o, 0, [high ? shuffle(o, low, high, 8, [0, 2]) : low]);
  };
  return [
    row(mnemonic, `${opcode} /r: Vdq= Wdq`, semantics, SSE),
    row(`v${mnemonic}`, [`${vex(opcode, '128')} /r: Vdq= Wdq`, `${vex(opcode, '256')} /r: Vdq= Wqq`], semantics, AVX),
  ];
}

/** From one floating-point format to the other; the rest of the register stays. */
function scalar(mnemonic: string, opcode: string, from: FloatType, to: FloatType): Row[] {
  const semantics: Semantics = (o) => {
    const source = element(o, o.encoding.vex ? 2 : 1, from);
    const result = floating(o, 1, () => callRuntime(o, `sse_${from}_to_${to}`, source));
    setScalar(o, to, result);
  };
  const [source, destination] = from === 'f32' ? ['ss', 'sd'] : ['sd', 'ss'];
  return [
    row(mnemonic, `${opcode} /r: V${destination}+ W${source}`, semantics, SSE),
    row(`v${mnemonic}`, `${vex(opcode, 'LIG')} /r: Vdq= Hdq W${source}`, semantics, AVX),
  ];
}

/** From a general register of 32 or, with W, 64 bits. */
function fromInteger(mnemonic: string, opcode: string, size: string, to: FloatType): Row[] {
  const semantics: Semantics = (o) => {
    const source = o.encoding.vex ? 2 : 1;
    const value = o.get(source);
    const wide = o.bits(source) === 64;
    const result = floating(o, 1, () => callRuntime(o, `sse_${wide ? 'i64' : 'i32'}_to_${to}`, wide ? value : o.narrow(value)));
    setScalar(o, to, result);
  };
  return [
    row(mnemonic, `${opcode} /r: V${size}+ Ey`, semantics, SSE),
    row(`v${mnemonic}`, `${vex(opcode, 'LIG', 'LIG')} /r: Vdq= Hdq Ey`, semantics, AVX),
  ];
}

function toInteger(mnemonic: string, opcode: string, size: string, from: FloatType, truncate: boolean): Row[] {
  const semantics: Semantics = (o) => {
    const wide = o.bits(0) === 64;
    const source = element(o, 1, from);
    const result = floating(o, 1, () => callRuntime(o, `sse_${truncate ? 'trunc_' : ''}${from}_to_${wide ? 'i64' : 'i32'}`, source));
    o.set(0, wide ? result : o.wide(result));
  };
  return [
    row(mnemonic, `${opcode} /r: Gy= W${size}`, semantics, SSE),
    row(`v${mnemonic}`, `${vex(opcode, 'LIG', 'LIG')} /r: Gy= W${size}`, semantics, AVX),
  ];
}

/** To an MMX register, from the two low elements. */
function toMmx(mnemonic: string, opcode: string, source: string, compute: (o: Ops, a: Node) => Node): Row {
  return mmx(mnemonic, `${opcode} /r: Pq= W${source}`, (o) => {
    const value = vector(o, 1)[0]!;
    setVector(o, 0, [floating(o, 1, () => compute(o, value))]);
  }, SSE); // prettier-ignore
}

const singlesToMmx =
  (truncate: 0 | 1) =>
  (o: Ops, a: Node): Node =>
    callRuntime(o, 'sse_f32x2_to_i32x2', a, o.b.i32(truncate));

export const SSE_CONVERT: readonly Row[] = [
  ...widen('cvtps2pd', 'NP 0F 5A', 'sse_f32x2_to_f64x2'),
  ...narrow('cvtpd2ps', '66 0F 5A', 'sse_f64x2_to_f32x2'),
  ...scalar('cvtss2sd', 'F3 0F 5A', 'f32', 'f64'),
  ...scalar('cvtsd2ss', 'F2 0F 5A', 'f64', 'f32'),
  ...unary('cvtdq2ps', 'NP 0F 5B', runtimeUnary('sse_i32x4_to_f32x4'), FLOAT),
  ...unary('cvtps2dq', '66 0F 5B', runtimeUnary('sse_f32x4_to_i32x4'), FLOAT),
  ...unary('cvttps2dq', 'F3 0F 5B', runtimeUnary('sse_trunc_f32x4_to_i32x4'), FLOAT),
  ...narrow('cvttpd2dq', '66 0F E6', 'sse_trunc_f64x2_to_i32x2'),
  ...widen('cvtdq2pd', 'F3 0F E6', 'sse_i32x2_to_f64x2'),
  ...narrow('cvtpd2dq', 'F2 0F E6', 'sse_f64x2_to_i32x2'),
  ...fromInteger('cvtsi2ss', 'F3 0F 2A', 'ss', 'f32'),
  ...fromInteger('cvtsi2sd', 'F2 0F 2A', 'sd', 'f64'),
  ...toInteger('cvttss2si', 'F3 0F 2C', 'ss', 'f32', true),
  ...toInteger('cvttsd2si', 'F2 0F 2C', 'sd', 'f64', true),
  ...toInteger('cvtss2si', 'F3 0F 2D', 'ss', 'f32', false),
  ...toInteger('cvtsd2si', 'F2 0F 2D', 'sd', 'f64', false),
  mmx('cvtpi2ps', 'NP 0F 2A /r: Vdq+ Qq', (o) => {
    const source = vector(o, 1)[0]!;
    const singles = floating(o, 1, () => callRuntime(o, 'sse_i32x2_to_f32x2', source));
    enterMmx(o);
    setVector(o, 0, [shuffle(o, singles, vector(o, 0)[0]!, 8, [0, 3])]);
  }, SSE),
  // Exact. From memory it does not touch the x87 state.
  mmx('cvtpi2pd', '66 0F 2A /r reg: Vdq= Nq', (o) => {
    setVector(o, 0, [callRuntime(o, 'sse_i32x2_to_f64x2', vector(o, 1)[0]!)]);
    enterMmx(o);
  }, SSE),
  row('cvtpi2pd', '66 0F 2A /r mem: Vdq= Qq', (o) => setVector(o, 0, [callRuntime(o, 'sse_i32x2_to_f64x2', vector(o, 1)[0]!)]), SSE),
  toMmx('cvttps2pi', 'NP 0F 2C', 'q', singlesToMmx(1)),
  toMmx('cvtps2pi', 'NP 0F 2D', 'q', singlesToMmx(0)),
  toMmx('cvttpd2pi', '66 0F 2C', 'dq', (o, a) => callRuntime(o, 'sse_trunc_f64x2_to_i32x2', a)),
  toMmx('cvtpd2pi', '66 0F 2D', 'dq', (o, a) => callRuntime(o, 'sse_f64x2_to_i32x2', a)),
]; // prettier-ignore
