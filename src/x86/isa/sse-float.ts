/** Floating-point arithmetic, logic, comparison and shuffles of SSE to SSE3, with AVX. SDM vol. 2. */
import type { Ops } from '../ops.ts';
import { callRuntime, element, immediateByte, floating, setScalar, shuffle, type ElementType } from '../vector.ts';
import type { Node } from '../wasm/ir.ts';
import { AVX, binary, native, runtime, runtimeImmediate, runtimeUnary, unary, vex, type Forms, type Part } from './vector-forms.ts';
import { row, type Row, type Semantics } from './row.ts';

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

/** The four instructions of a two-operand operation: PS, PD, SS, SD. */
function operation(name: string, opcode: string): Row[] {
  return [
    ...binary(`${name}ps`, `NP 0F ${opcode}`, runtime(`sse_${name}_f32x4`), FLOAT),
    ...binary(`${name}pd`, `66 0F ${opcode}`, runtime(`sse_${name}_f64x2`), FLOAT),
    ...scalar(`${name}ss`, `F3 0F ${opcode}`, 'ss', (o, a, b) => callRuntime(o, `sse_${name}_f32`, a, b)),
    ...scalar(`${name}sd`, `F2 0F ${opcode}`, 'sd', (o, a, b) => callRuntime(o, `sse_${name}_f64`, a, b)),
  ];
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
    const a = element(o, 0, type);
    const b = element(o, 1, type);
    o.unpackFlags(floating(o, 1, () => callRuntime(o, `sse_${name}_${type}`, a, b)));
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

/** SHUFPD uses two more bits of the immediate for each half. */
const shufflePairs: Part = (o, a, b, n) => callRuntime(o, 'shufpd', a, b, o.b.op('i32.shr_u', immediateByte(o), o.b.i32(2 * n)));

export const SSE_FLOAT: readonly Row[] = [
  ...operation('add', '58'),
  ...operation('mul', '59'),
  ...operation('sub', '5C'),
  ...operation('min', '5D'),
  ...operation('div', '5E'),
  ...operation('max', '5F'),
  ...unary('sqrtps', 'NP 0F 51', runtimeUnary('sse_sqrt_f32x4'), FLOAT),
  ...unary('sqrtpd', '66 0F 51', runtimeUnary('sse_sqrt_f64x2'), FLOAT),
  ...scalar('sqrtss', 'F3 0F 51', 'ss', (o, _, b) => callRuntime(o, 'sse_sqrt_f32', b)),
  ...scalar('sqrtsd', 'F2 0F 51', 'sd', (o, _, b) => callRuntime(o, 'sse_sqrt_f64', b)),
  ...unary('rsqrtps', 'NP 0F 52', runtimeUnary('sse_rsqrt_f32x4'), SHUFFLE),
  ...scalar('rsqrtss', 'F3 0F 52', 'ss', (o, _, b) => callRuntime(o, 'sse_rsqrt_f32', b), { type: 'i32' }),
  ...unary('rcpps', 'NP 0F 53', runtimeUnary('sse_rcp_f32x4'), SHUFFLE),
  ...scalar('rcpss', 'F3 0F 53', 'ss', (o, _, b) => callRuntime(o, 'sse_rcp_f32', b), { type: 'i32' }),
  ...logic('and', '54', native('v128.and')),
  ...logic('andn', '55', (o, a, b) => o.b.op('v128.andnot', b, a)),
  ...logic('or', '56', native('v128.or')),
  ...logic('xor', '57', native('v128.xor')),
  ...binary('cmpps', 'NP 0F C2', (o, a, b) => callRuntime(o, 'sse_cmp_f32x4', a, b, predicate(o)), { ...FLOAT, immediate: true }),
  ...binary('cmppd', '66 0F C2', (o, a, b) => callRuntime(o, 'sse_cmp_f64x2', a, b, predicate(o)), { ...FLOAT, immediate: true }),
  ...scalar('cmpss', 'F3 0F C2', 'ss', (o, a, b) => callRuntime(o, 'sse_cmp_f32', a, b, predicate(o)), { result: 'i32', immediate: true }),
  ...scalar('cmpsd', 'F2 0F C2', 'sd', (o, a, b) => callRuntime(o, 'sse_cmp_f64', a, b, predicate(o)), { result: 'i64', immediate: true }),
  ...compare('ucomiss', 'NP 0F 2E', 'ss', 'ucomi'),
  ...compare('ucomisd', '66 0F 2E', 'sd', 'ucomi'),
  ...compare('comiss', 'NP 0F 2F', 'ss', 'comi'),
  ...compare('comisd', '66 0F 2F', 'sd', 'comi'),
  ...binary('unpcklps', 'NP 0F 14', pick(4, [0, 4, 1, 5]), SHUFFLE),
  ...binary('unpcklpd', '66 0F 14', pick(8, [0, 2]), SHUFFLE),
  ...binary('unpckhps', 'NP 0F 15', pick(4, [2, 6, 3, 7]), SHUFFLE),
  ...binary('unpckhpd', '66 0F 15', pick(8, [1, 3]), SHUFFLE),
  ...binary('shufps', 'NP 0F C6', runtimeImmediate('shufps'), { wide: 'avx', immediate: true }),
  ...binary('shufpd', '66 0F C6', shufflePairs, { wide: 'avx', immediate: true }),

  // SSE3
  ...binary('addsubps', 'F2 0F D0', runtime('sse_addsub_f32x4'), { ...FLOAT, feature: 'sse3' }),
  ...binary('addsubpd', '66 0F D0', runtime('sse_addsub_f64x2'), { ...FLOAT, feature: 'sse3' }),
  ...binary('haddps', 'F2 0F 7C', runtime('sse_hadd_f32x4'), { ...FLOAT, feature: 'sse3' }),
  ...binary('haddpd', '66 0F 7C', runtime('sse_hadd_f64x2'), { ...FLOAT, feature: 'sse3' }),
  ...binary('hsubps', 'F2 0F 7D', runtime('sse_hsub_f32x4'), { ...FLOAT, feature: 'sse3' }),
  ...binary('hsubpd', '66 0F 7D', runtime('sse_hsub_f64x2'), { ...FLOAT, feature: 'sse3' }),
  ...unary('movsldup', 'F3 0F 12', duplicate(4, [0, 0, 2, 2]), { wide: 'avx', feature: 'sse3' }),
  ...unary('movshdup', 'F3 0F 16', duplicate(4, [1, 1, 3, 3]), { wide: 'avx', feature: 'sse3' }),
  ...unary('movddup', 'F2 0F 12', duplicate(8, [0, 0]), { wide: 'avx', feature: 'sse3', source: 'q' }),
]; // prettier-ignore
