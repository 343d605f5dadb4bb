/** FMA and F16C. SDM vol. 2. */
import {
  callRuntime,
  element,
  immediateByte,
  floating,
  setElement,
  setVector,
  shuffle,
  vector,
  zeroVector,
  type FloatType,
} from '../vector.ts';
import type { Node } from '../wasm/ir.ts';
import { row, type Row, type RowOptions, type Semantics } from './row.ts';

const FMA: RowOptions = { unit: 'avx', feature: 'fma' };
const F16C: RowOptions = { unit: 'avx', feature: 'f16c' };

/** What is negated: bit 0 the product, bit 1 the addend; in even and in odd lanes. */
interface Kind {
  readonly name: string;
  readonly low: number;
  readonly even: number;
  readonly odd: number;
}

/** By the low opcode digit of the packed form; the scalar one follows. */
const KINDS: readonly Kind[] = [
  { name: 'fmaddsub', low: 6, even: 2, odd: 0 },
  { name: 'fmsubadd', low: 7, even: 0, odd: 2 },
  { name: 'fmadd', low: 8, even: 0, odd: 0 },
  { name: 'fmsub', low: 10, even: 2, odd: 2 },
  { name: 'fnmadd', low: 12, even: 1, odd: 1 },
  { name: 'fnmsub', low: 14, even: 3, odd: 3 },
];

/** Which operands (1 to 3) are multiplied and which is added: the name's digits, the NaN that wins first. */
const ORDERS: readonly { name: string; high: string; factors: readonly [number, number]; addend: number }[] = [
  { name: '132', high: '9', factors: [1, 3], addend: 2 },
  { name: '213', high: 'A', factors: [2, 1], addend: 3 },
  { name: '231', high: 'B', factors: [2, 3], addend: 1 },
];

function fused(kind: Kind, { name, high, factors, addend }: (typeof ORDERS)[number], type: FloatType): Row[] {
  const w = type === 'f32' ? 'W0' : 'W1';
  const letter = type === 'f32' ? 's' : 'd';
  const opcode = (low: number): string => `${high}${low.toString(16).toUpperCase()}`;
  const alternating = kind.even !== kind.odd;
  const packed: Semantics = (o) => {
    const [a, b, c] = [0, 1, 2].map((i) => vector(o, i)) as [Node[], Node[], Node[]];
    const operands = [a, b, c];
    const flips = (alternating ? [kind.even, kind.odd] : [kind.even]).map((flip) => o.b.i32(flip));
    const callee = `sse_fma_${alternating ? 'alternating_' : ''}${type === 'f32' ? 'f32x4' : 'f64x2'}`;
    const pick = (number: number, n: number): Node => operands[number - 1]![n]!;
    const one = (n: number): Node => callRuntime(o, callee, pick(factors[0], n), pick(factors[1], n), pick(addend, n), ...flips);
    setVector(o, 0, floating(o, a.length, () => a.map((_, n) => one(n)))); // prettier-ignore
  };
  const scalar: Semantics = (o) => {
    const operands = [0, 1, 2].map((i) => element(o, i, type));
    const pick = (number: number): Node => operands[number - 1]!;
    const result = floating(o, 1, () =>
      callRuntime(o, `sse_fma_${type}`, pick(factors[0]), pick(factors[1]), pick(addend), o.b.i32(kind.even)),
    );
    // The rest of the destination stays, but for its upper half.
    setElement(o, 0, type, result);
    o.writeVector(o.operand(0), 1, zeroVector(o));
  };
  const made = [
    row(
      `v${kind.name}${name}p${letter}`,
      [`VEX.128.66.0F38.${w} ${opcode(kind.low)} /r: Vdq+ Hdq Wdq`, `VEX.256.66.0F38.${w} ${opcode(kind.low)} /r: Vqq+ Hqq Wqq`],
      packed,
      FMA,
    ),
  ];
  const size = `s${letter}`;
  if (!alternating) {
    made.push(
      row(`v${kind.name}${name}${size}`, `VEX.LIG.66.0F38.${w} ${opcode(kind.low + 1)} /r: V${size}+ H${size} W${size}`, scalar, FMA),
    );
  }
  return made;
}

/** VCVTPS2PH: halves go to half as much memory, or to a register whose rest becomes zero. */
const toHalves: Semantics = (o) => {
  const convert = (part: Node): Node => callRuntime(o, 'sse_f32x4_to_f16x4', part, immediateByte(o));
  const sources = vector(o, 1);
  // A fault of the store comes before any flag.
  if (o.isMemory(0)) o.host(true, o.bits(0) / 8, true);
  const [low, high] = floating(o, sources.length, () => sources.map(convert)) as [Node, Node | undefined];
  setVector(o, 0, [high ? shuffle(o, low, high, 8, [0, 2]) : low]);
};

const fromHalves: Semantics = (o) => {
  const source = vector(o, 1)[0]!;
  const sources = o.bits(0) === 256 ? [source, shuffle(o, source, source, 8, [1, 1])] : [source];
  setVector(o, 0, floating(o, sources.length, () => sources.map((part) => callRuntime(o, 'sse_f16x4_to_f32x4', part)))); // prettier-ignore
};

export const FMA_F16C: readonly Row[] = [
  ...KINDS.flatMap((kind) => ORDERS.flatMap((order) => [...fused(kind, order, 'f32'), ...fused(kind, order, 'f64')])),
  row('vcvtph2ps', ['VEX.128.66.0F38.W0 13 /r: Vdq= Wq', 'VEX.256.66.0F38.W0 13 /r: Vqq= Wdq'], fromHalves, F16C),
  row('vcvtps2ph', ['VEX.128.66.0F3A.W0 1D /r: Wq= Vdq Ib', 'VEX.256.66.0F3A.W0 1D /r: Wdq= Vqq Ib'], toHalves, F16C),
];
