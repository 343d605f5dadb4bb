/** Conversions between integers, singles and doubles of SSE and SSE2, with MMX and AVX. SDM vol. 2. */
import type { Ops } from '../ops.ts';
import { callRuntime, element, enterMmx, extract, floating, setScalar, setVector, shuffle, vector, type FloatType } from '../vector.ts';
import {
  attempted,
  attemptNarrowing,
  attemptToIntegers,
  attemptWidening,
  ordinary,
  shapeOf,
  unless,
  unsettled,
  unsureLanes,
  type Attempt,
  type FloatShape,
} from '../vector-float.ts';
import type { Node } from '../wasm/ir.ts';
import { AVX, mmx, runtimeUnary, unary, vex, type Forms } from './vector-forms.ts';
import { row, type Row, type RowOptions, type Semantics } from './row.ts';

const FLOAT: Forms = { wide: 'avx', float: true };
/** The low two lanes, of whatever size. */
const LOW_PAIR = 3;
const SSE: RowOptions = { unit: 'sse' };

/** The two low elements become wider ones: the source is half as long as the destination. */
function widen(mnemonic: string, opcode: string, convert: (o: Ops, sources: readonly Node[]) => Node[]): Row[] {
  const semantics: Semantics = (o) => {
    const source = vector(o, 1)[0]!;
    setVector(o, 0, convert(o, o.bits(0) === 256 ? [source, shuffle(o, source, source, 8, [1, 1])] : [source]));
  };
  return [
    row(mnemonic, `${opcode} /r: Vdq= Wq`, semantics, SSE),
    row(`v${mnemonic}`, [`${vex(opcode, '128')} /r: Vdq= Wq`, `${vex(opcode, '256')} /r: Vqq= Wdq`], semantics, AVX),
  ];
}

const widenSingles = (o: Ops, sources: readonly Node[]): Node[] => {
  const slow = (): Node[] => sources.map((part) => callRuntime(o, 'sse_f32x2_to_f64x2', part));
  const attempts = sources.map((part) => attemptWidening(o, part));
  return attempted(o, 'f32x4', false, attempts, slow, LOW_PAIR);
};

/** Exact always. */
const widenIntegers = (o: Ops, sources: readonly Node[]): Node[] => sources.map((part) => o.b.op('f64x2.convert_low_i32x4_s', part));

/** Elements become half as wide: what two parts give is joined. `lanes` of an attempt's shape are those that count. */
function narrow(mnemonic: string, opcode: string, name: string, shape: FloatShape, attempt: (o: Ops, part: Node) => Attempt): Row[] {
  const semantics: Semantics = (o) => {
    const sources = vector(o, 1);
    const slow = (): Node[] => sources.map((part) => callRuntime(o, name, part));
    const attempts = sources.map((part) => attempt(o, part));
    const parts = attempted(o, shape, true, attempts, slow, LOW_PAIR);
    const [low, high] = parts as [Node, Node | undefined];
    setVector(o, 0, [high ? shuffle(o, low, high, 8, [0, 2]) : low]);
  };
  return [
    row(mnemonic, `${opcode} /r: Vdq= Wdq`, semantics, SSE),
    row(`v${mnemonic}`, [`${vex(opcode, '128')} /r: Vdq= Wdq`, `${vex(opcode, '256')} /r: Vdq= Wqq`], semantics, AVX),
  ];
}

function convertScalar(o: Ops, from: FloatType, source: Node): Node {
  const { b } = o;
  if (from === 'f32') {
    const unsure = unsureLanes(o, 'f32x4', [ordinary(o, 'f32x4', b.op('f32x4.splat', source))], 1);
    return unless(o, unsure, [b.op('f64.promote_f32', source)], () => [callRuntime(o, 'sse_f32_to_f64', source)])[0]!;
  }
  const single = b.op('f32.demote_f64', source);
  // Above the least normal number and finite, the sign aside.
  const magnitude = b.op('i32.shl', b.op('i32.reinterpret_f32', single), b.i32(1));
  const outside = b.op('i32.ge_u', b.op('i32.sub', magnitude, b.i32(0x100_0001)), b.i32(0xfdff_ffff));
  return unless(o, b.op('i32.or', unsettled(o), outside), [single], () => [callRuntime(o, 'sse_f64_to_f32', source)])[0]!;
}

/** From one floating-point format to the other; the rest of the register stays. */
function scalar(mnemonic: string, opcode: string, from: FloatType, to: FloatType): Row[] {
  const semantics: Semantics = (o) => {
    const source = element(o, o.encoding.vex ? 2 : 1, from);
    setScalar(o, to, convertScalar(o, from, source));
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
    const integer = wide ? value : o.narrow(value);
    const type = wide ? 'i64' : 'i32';
    const fast = o.b.op(`${to}.convert_${type}_s`, integer);
    const exact = !wide && to === 'f64';
    setScalar(o, to, exact ? fast : unless(o, unsettled(o), [fast], () => [callRuntime(o, `sse_${type}_to_${to}`, integer)])[0]!);
  };
  return [
    row(mnemonic, `${opcode} /r: V${size}+ Ey`, semantics, SSE),
    row(`v${mnemonic}`, `${vex(opcode, 'LIG', 'LIG')} /r: Vdq= Hdq Ey`, semantics, AVX),
  ];
}

/** Whether the conversion to a quadword is not sure, as i32, and what WebAssembly's gives. */
function quadword(o: Ops, from: FloatType, value: Node, truncate: boolean): [Node, Node[]] {
  const { b } = o;
  const double = from === 'f32' ? b.op('f64.promote_f32', value) : value;
  const inRange = b.op('f64.lt', b.op('f64.abs', double), b.f64(2 ** 63));
  const result = b.op('i64.trunc_sat_f64_s', truncate ? double : b.op('f64.nearest', double));
  return [b.op('i32.or', unsettled(o), b.op('i32.eqz', inRange)), [result]];
}

function toInteger(mnemonic: string, opcode: string, size: string, from: FloatType, truncate: boolean): Row[] {
  const semantics: Semantics = (o) => {
    const wide = o.bits(0) === 64;
    const source = o.getVector(1)[0]!;
    const value = extract(o, from, source, 0);
    const slow = (): Node[] => [callRuntime(o, `sse_${truncate ? 'trunc_' : ''}${from}_to_${wide ? 'i64' : 'i32'}`, value)];
    if (wide) {
      o.set(0, unless(o, ...quadword(o, from, value, truncate), slow)[0]!);
    } else {
      const shape = shapeOf(from);
      const { result, sure } = attemptToIntegers(o, shape, truncate, source);
      const unsure = o.b.op('i32.or', unsettled(o), unsureLanes(o, shape, [sure], 1));
      o.set(0, o.wide(unless(o, unsure, [extract(o, 'i32', result, 0)], slow)[0]!));
    }
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

const inPlace = (part: (o: Ops, a: Node) => Attempt): Forms => ({ ...FLOAT, attempt: { shape: 'f32x4', settled: true, part } });

/** Only the rounding matters. */
const singlesOfIntegers = (o: Ops, a: Node): Attempt => ({ result: o.b.op('f32x4.convert_i32x4_s', a), sure: o.b.v128(-1n, -1n) });

export const SSE_CONVERT: readonly Row[] = [
  ...widen('cvtps2pd', 'NP 0F 5A', widenSingles),
  ...narrow('cvtpd2ps', '66 0F 5A', 'sse_f64x2_to_f32x2', 'f32x4', attemptNarrowing),
  ...scalar('cvtss2sd', 'F3 0F 5A', 'f32', 'f64'),
  ...scalar('cvtsd2ss', 'F2 0F 5A', 'f64', 'f32'),
  ...unary('cvtdq2ps', 'NP 0F 5B', runtimeUnary('sse_i32x4_to_f32x4'), inPlace(singlesOfIntegers)),
  ...unary('cvtps2dq', '66 0F 5B', runtimeUnary('sse_f32x4_to_i32x4'), inPlace((o, a) => attemptToIntegers(o, 'f32x4', false, a))),
  ...unary('cvttps2dq', 'F3 0F 5B', runtimeUnary('sse_trunc_f32x4_to_i32x4'), inPlace((o, a) => attemptToIntegers(o, 'f32x4', true, a))),
  ...narrow('cvttpd2dq', '66 0F E6', 'sse_trunc_f64x2_to_i32x2', 'f64x2', (o, a) => attemptToIntegers(o, 'f64x2', true, a)),
  ...widen('cvtdq2pd', 'F3 0F E6', widenIntegers),
  ...narrow('cvtpd2dq', 'F2 0F E6', 'sse_f64x2_to_i32x2', 'f64x2', (o, a) => attemptToIntegers(o, 'f64x2', false, a)),
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
