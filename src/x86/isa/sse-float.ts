/** Floating-point arithmetic, logic, comparison and shuffles of SSE to SSE3, with AVX. SDM vol. 2. */
import type { Ops } from '../ops.ts';
import {
  callRuntime,
  element,
  extract,
  floating,
  immediateByte,
  replace,
  setScalar,
  shuffle,
  type ElementType,
  type FloatType,
} from '../vector.ts';
import {
  attemptArithmetic,
  attemptComparison,
  attemptSelection,
  compareFlags,
  scalarArithmetic,
  scalarAttempt,
  shapeOf,
  type Arithmetic,
  type FloatShape,
  type Selection,
} from '../vector-float.ts';
import type { Node } from '../wasm/ir.ts';
import { AVX, binary, native, runtime, runtimeUnary, unary, vex, type Fast, type Forms, type Part } from './vector-forms.ts';
import { row, type Row, type Semantics } from './row.ts';
import { shuffleDoubles, shuffleSingles } from './shuffles.ts';

const FLOAT: Forms = { wide: 'avx', float: true };
const SHUFFLE: Forms = { wide: 'avx' };

/** Scalar instructions: `compute` gets the first source's and the second's low element. */
export function scalar(
  mnemonic: string,
  opcode: string,
  size: 'ss' | 'sd',
  compute: (o: Ops, a: Node, b: Node) => Node,
  options: { type?: ElementType; result?: ElementType; immediate?: boolean; feature?: string } = {},
): Row[] {
  const type = options.type ?? (size === 'ss' ? 'f32' : 'f64');
  const immediate = options.immediate ? ' Ib' : '';
  const semantics: Semantics = (o) => {
    const first = o.encoding.vex ? 1 : 0;
    const a = element(o, first, type);
    const b = element(o, first + 1, type);
    setScalar(
      o,
      options.result ?? type,
      floating(o, 1, () => compute(o, a, b)),
    );
  };
  const { feature } = options;
  return [
    row(mnemonic, `${opcode} /r: V${size}+ W${size}${immediate}`, semantics, {
      unit: 'sse',
      ...(feature === undefined ? {} : { feature }),
    }),
    row(`v${mnemonic}`, `${vex(opcode, 'LIG')} /r: Vdq= Hdq W${size}${immediate}`, semantics, AVX),
  ];
}

const SHAPES = { s: 'f32x4', d: 'f64x2' } as const;

/** Scalar instructions on whole registers: the result is the first source with another low element. */
export function scalarPart(
  mnemonic: string,
  opcode: string,
  size: 'ss' | 'sd',
  compute: (o: Ops, a: Node, b: Node) => Node,
  immediate = '',
  feature?: string,
): Row[] {
  const semantics: Semantics = (o) => {
    const first = o.encoding.vex ? 1 : 0;
    const a = o.getVector(first)[0]!;
    o.setVector(0, [compute(o, a, o.getVector(first + 1)[0]!)]);
  };
  return [
    row(mnemonic, `${opcode} /r: V${size}+ W${size}${immediate}`, semantics, {
      unit: 'sse',
      ...(feature === undefined ? {} : { feature }),
    }),
    row(`v${mnemonic}`, `${vex(opcode, 'LIG')} /r: Vdq= Hdq W${size}${immediate}`, semantics, AVX),
  ];
}

/** A function of the runtime on the low elements. */
function callLow(o: Ops, name: string, type: FloatType, ...parts: readonly Node[]): Node {
  return callRuntime(o, name, ...parts.map((part) => extract(o, type, part, 0)));
}

/** The four instructions of an arithmetic operation: PS, PD, SS, SD. */
function arithmetic(name: Arithmetic, opcode: string): Row[] {
  const fast = (shape: FloatShape): Fast => ({ shape, settled: true, part: (o, a, b) => attemptArithmetic(o, shape, name, a, b) });
  const single = (size: 's' | 'd'): Row[] => {
    const type = size === 's' ? 'f32' : 'f64';
    return scalarPart(`${name}s${size}`, `${size === 's' ? 'F3' : 'F2'} 0F ${opcode}`, `s${size}`, (o, a, b) =>
      scalarArithmetic(o, SHAPES[size], name, a, b, () => callLow(o, `sse_${name}_${type}`, type, ...(name === 'sqrt' ? [b] : [a, b]))),
    );
  };
  const packed = (size: 's' | 'd', prefix: string): Row[] => {
    const forms = { ...FLOAT, attempt: fast(SHAPES[size]) };
    const callee = `sse_${name}_${SHAPES[size]}`;
    if (name === 'sqrt') return unary(`${name}p${size}`, `${prefix} 0F ${opcode}`, runtimeUnary(callee), forms);
    return binary(`${name}p${size}`, `${prefix} 0F ${opcode}`, runtime(callee), forms);
  };
  return [...packed('s', 'NP'), ...packed('d', '66'), ...single('s'), ...single('d')];
}

/** MINPS and the like. */
function selection(name: Selection, opcode: string): Row[] {
  const packed = (size: 's' | 'd', prefix: string): Row[] => {
    const shape = SHAPES[size];
    const attempt: Fast = { shape, settled: false, part: (o, a, b) => attemptSelection(o, shape, name, a, b) };
    return binary(`${name}p${size}`, `${prefix} 0F ${opcode}`, runtime(`sse_${name}_${shape}`), { ...FLOAT, attempt });
  };
  const single = (size: 's' | 'd', prefix: string): Row[] => {
    const type = size === 's' ? 'f32' : 'f64';
    return scalarPart(`${name}s${size}`, `${prefix} 0F ${opcode}`, `s${size}`, (o, a, b) =>
      scalarAttempt(o, SHAPES[size], a, attemptSelection(o, SHAPES[size], name, a, b), () => callLow(o, `sse_${name}_${type}`, type, a, b)),
    );
  };
  return [...packed('s', 'NP'), ...packed('d', '66'), ...single('s', 'F3'), ...single('d', 'F2')];
}

/** CMPPS and the like: in place where the predicate is known. */
function comparisons(): Row[] {
  const packed = (size: 's' | 'd', prefix: string): Row[] => {
    const shape = SHAPES[size];
    const part: Fast['part'] = (o, a, b) => {
      const known = o.knownByte();
      return known === undefined ? undefined : attemptComparison(o, shape, known, a, b);
    };
    const call: Part = (o, a, b) => callRuntime(o, `sse_cmp_${shape}`, a, b, predicate(o));
    return binary(`cmpp${size}`, `${prefix} 0F C2`, call, { ...FLOAT, immediate: true, attempt: { shape, settled: false, part } });
  };
  const single = (size: 's' | 'd', prefix: string): Row[] => {
    const type = size === 's' ? 'f32' : 'f64';
    const compute = (o: Ops, a: Node, b: Node): Node => {
      const slow = (): Node => {
        const [x, y] = [a, b].map((part) => extract(o, type, part, 0)) as [Node, Node];
        return callRuntime(o, `sse_cmp_${type}`, x, y, predicate(o));
      };
      const known = o.knownByte();
      if (known === undefined) return replace(o, type === 'f32' ? 'i32' : 'i64', a, 0, floating(o, 1, slow));
      return scalarAttempt(o, SHAPES[size], a, attemptComparison(o, SHAPES[size], known, a, b), slow);
    };
    return scalarPart(`cmps${size}`, `${prefix} 0F C2`, `s${size}`, compute, ' Ib');
  };
  return [...packed('s', 'NP'), ...packed('d', '66'), ...single('s', 'F3'), ...single('d', 'F2')];
}

/** The comparison's predicate: 8 of them in legacy encodings, 32 with VEX. */
function predicate(o: Ops): Node {
  return o.b.op('i32.and', immediateByte(o), o.b.i32(o.encoding.vex ? 31 : 7));
}

function logic(name: string, opcode: string, part: Part): Row[] {
  return [...binary(`${name}ps`, `NP 0F ${opcode}`, part, SHUFFLE), ...binary(`${name}pd`, `66 0F ${opcode}`, part, SHUFFLE)];
}

/** COMISS and the like: only flags. */
function compare(mnemonic: string, opcode: string, size: 'ss' | 'sd', name: string): Row[] {
  const type = size === 'ss' ? 'f32' : 'f64';
  const semantics: Semantics = (o) => {
    const a = o.getVector(0)[0]!;
    const b = o.getVector(1)[0]!;
    compareFlags(o, shapeOf(type), a, b, () => callLow(o, `sse_${name}_${type}`, type, a, b));
  };
  const operands = `V${size} W${size}`;
  return [
    row(mnemonic, `${opcode} /r: ${operands}`, semantics, { unit: 'sse' }),
    row(`v${mnemonic}`, `${vex(opcode, 'LIG')} /r: ${operands}`, semantics, AVX),
  ];
}

const pick =
  (bytes: number, elements: readonly number[]): Part =>
  (o, a, b) =>
    shuffle(o, a, b, bytes, elements);

/** The same element of both arguments of `pick`. */
const duplicate =
  (bytes: number, elements: readonly number[]) =>
  (o: Ops, a: Node): Node =>
    shuffle(o, a, a, bytes, elements);

/** HADDPS and the like: even elements of both operands with odd ones. */
function horizontal(shape: FloatShape, name: 'add' | 'sub'): Fast {
  const [bytes, even, odd] = shape === 'f32x4' ? [4, [0, 2, 4, 6], [1, 3, 5, 7]] : [8, [0, 2], [1, 3]];
  const part: Fast['part'] = (o, a, b) => attemptArithmetic(o, shape, name, shuffle(o, a, b, bytes, even), shuffle(o, a, b, bytes, odd));
  return { shape, settled: true, part };
}

/** ADDSUBPS: even lanes are subtracted. */
function alternating(shape: FloatShape): Fast {
  const sign = shape === 'f32x4' ? 0x8000_0000n : 1n << 63n;
  const [low, high] = shape === 'f32x4' ? [sign, sign] : [sign, 0n];
  const part: Fast['part'] = (o, a, b) => attemptArithmetic(o, shape, 'add', a, o.b.op('v128.xor', b, o.b.v128(low, high)));
  return { shape, settled: true, part };
}

export const SSE_FLOAT: readonly Row[] = [
  ...arithmetic('add', '58'),
  ...arithmetic('mul', '59'),
  ...arithmetic('sub', '5C'),
  ...selection('min', '5D'),
  ...arithmetic('div', '5E'),
  ...selection('max', '5F'),
  ...arithmetic('sqrt', '51'),
  ...unary('rsqrtps', 'NP 0F 52', runtimeUnary('sse_rsqrt_f32x4'), SHUFFLE),
  ...scalar('rsqrtss', 'F3 0F 52', 'ss', (o, _, b) => callRuntime(o, 'sse_rsqrt_f32', b), { type: 'i32' }),
  ...unary('rcpps', 'NP 0F 53', runtimeUnary('sse_rcp_f32x4'), SHUFFLE),
  ...scalar('rcpss', 'F3 0F 53', 'ss', (o, _, b) => callRuntime(o, 'sse_rcp_f32', b), { type: 'i32' }),
  ...logic('and', '54', native('v128.and')),
  ...logic('andn', '55', (o, a, b) => o.b.op('v128.andnot', b, a)),
  ...logic('or', '56', native('v128.or')),
  ...logic('xor', '57', native('v128.xor')),
  ...comparisons(),
  ...compare('ucomiss', 'NP 0F 2E', 'ss', 'ucomi'),
  ...compare('ucomisd', '66 0F 2E', 'sd', 'ucomi'),
  ...compare('comiss', 'NP 0F 2F', 'ss', 'comi'),
  ...compare('comisd', '66 0F 2F', 'sd', 'comi'),
  ...binary('unpcklps', 'NP 0F 14', pick(4, [0, 4, 1, 5]), SHUFFLE),
  ...binary('unpcklpd', '66 0F 14', pick(8, [0, 2]), SHUFFLE),
  ...binary('unpckhps', 'NP 0F 15', pick(4, [2, 6, 3, 7]), SHUFFLE),
  ...binary('unpckhpd', '66 0F 15', pick(8, [1, 3]), SHUFFLE),
  ...binary('shufps', 'NP 0F C6', shuffleSingles, { wide: 'avx', immediate: true }),
  ...binary('shufpd', '66 0F C6', shuffleDoubles, { wide: 'avx', immediate: true }),

  // SSE3
  ...binary('addsubps', 'F2 0F D0', runtime('sse_addsub_f32x4'), { ...FLOAT, feature: 'sse3', attempt: alternating('f32x4') }),
  ...binary('addsubpd', '66 0F D0', runtime('sse_addsub_f64x2'), { ...FLOAT, feature: 'sse3', attempt: alternating('f64x2') }),
  ...binary('haddps', 'F2 0F 7C', runtime('sse_hadd_f32x4'), { ...FLOAT, feature: 'sse3', attempt: horizontal('f32x4', 'add') }),
  ...binary('haddpd', '66 0F 7C', runtime('sse_hadd_f64x2'), { ...FLOAT, feature: 'sse3', attempt: horizontal('f64x2', 'add') }),
  ...binary('hsubps', 'F2 0F 7D', runtime('sse_hsub_f32x4'), { ...FLOAT, feature: 'sse3', attempt: horizontal('f32x4', 'sub') }),
  ...binary('hsubpd', '66 0F 7D', runtime('sse_hsub_f64x2'), { ...FLOAT, feature: 'sse3', attempt: horizontal('f64x2', 'sub') }),
  ...unary('movsldup', 'F3 0F 12', duplicate(4, [0, 0, 2, 2]), { wide: 'avx', feature: 'sse3' }),
  ...unary('movshdup', 'F3 0F 16', duplicate(4, [1, 1, 3, 3]), { wide: 'avx', feature: 'sse3' }),
  ...unary('movddup', 'F2 0F 12', duplicate(8, [0, 0]), { wide: 'avx', feature: 'sse3', source: 'q' }),
]; // prettier-ignore
