/**
 * Encodings that vector instructions come in. One description yields the legacy row, the VEX rows and, for integers, the
 * MMX row. An opcode is written as in legacy encodings: `66 0F 38 00`.
 */
import type { Ops } from '../ops.ts';
import { callRuntime, immediateByte, floating, setVector, shuffle, vector } from '../vector.ts';
import { attempted, type Attempt, type FloatShape } from '../vector-float.ts';
import type { Node } from '../wasm/ir.ts';
import { reportPending } from './x87.ts';
import { row, type Row, type RowOptions, type Semantics } from './row.ts';

/** What an instruction does to one 128-bit part of its sources: `n` is 1 for the upper half of YMM. */
export type Part = (o: Ops, a: Node, b: Node, n: number) => Node;
/** What it does to all parts at once. */
export type Whole = (o: Ops, a: readonly Node[], b: readonly Node[]) => Node[];
export type UnaryPart = (o: Ops, a: Node, n: number) => Node;

/** How WebAssembly may do a part of what raises floating-point exceptions; `a` is not used by operations with one source. */
export interface Fast {
  readonly shape: FloatShape;
  /** Only while an inexact result changes nothing. */
  readonly settled: boolean | ((o: Ops) => boolean);
  /** Undefined where it cannot be told before the instruction is known. */
  readonly part: (o: Ops, a: Node, b: Node, n: number) => Attempt | undefined;
}

/** The 64-bit form of a 128-bit operation: of the low halves; its low half on both operands joined; or its high half. */
type MmxForm = 'low' | 'joined' | 'high';

export interface Forms {
  /** Feature of the legacy form, beyond SSE2. */
  readonly feature?: string;
  /** Feature of the 256-bit form; without one there is none. */
  readonly wide?: string;
  /** Feature of the VEX.128 form, where AVX alone is not enough. */
  readonly vexFeature?: string;
  /** VEX.W, where it matters. */
  readonly w?: 'W0' | 'W1';
  readonly mmx?: MmxForm;
  /** Size of the MMX form's source, if not whole. */
  readonly mmxSource?: string;
  /** An immediate byte follows. */
  readonly immediate?: boolean;
  /** Raises SIMD floating-point exceptions. */
  readonly float?: boolean;
  /** How WebAssembly may do it, where that is known. */
  readonly attempt?: Fast;
  /** Operand sizes where they are not whole vectors: of the source in legacy and VEX.128, and in VEX.256 encodings. */
  readonly source?: string;
  readonly wideSource?: string;
  readonly unaligned?: boolean;
}

/** `VEX.128.66.0F38.WIG 00` from `66 0F 38 00`. */
export function vex(opcode: string, length: '128' | '256' | 'LIG', w = 'WIG'): string {
  const match = /^(NP|66|F2|F3) (0F(?: 38| 3A)?) ([0-9A-F]{2})$/.exec(opcode);
  if (!match) throw new Error(`bug: opcode ${opcode}`);
  return `VEX.${length}.${match[1]}.${match[2]!.replace(' ', '')}.${w} ${match[3]}`;
}

const options = ({ feature, unaligned }: Forms): RowOptions => ({
  unit: 'sse',
  ...(feature === undefined ? {} : { feature }),
  ...(unaligned === undefined ? {} : { unaligned }),
});

export const AVX: RowOptions = { unit: 'avx', feature: 'avx' };
export const AVX2: RowOptions = { unit: 'avx', feature: 'avx2' };

/** An instruction with MMX registers: a pending x87 exception comes first. SDM vol. 1, 9.6. */
export function mmx(mnemonic: string, encoding: string, semantics: Semantics, more: RowOptions = {}): Row {
  return row(mnemonic, encoding, (o) => {
    reportPending(o);
    semantics(o);
  }, { unit: 'mmx', ...more }); // prettier-ignore
}

/** The VEX rows. Operands are given without the immediate. */
function vexRows(mnemonic: string, opcode: string, forms: Forms, semantics: Semantics, narrow: string, wide: string): Row[] {
  const immediate = forms.immediate ? ' Ib' : '';
  const made = [
    row(mnemonic, `${vex(opcode, '128', forms.w)} /r: ${narrow}${immediate}`, semantics, {
      unit: 'avx',
      feature: forms.vexFeature ?? 'avx',
    }),
  ];
  if (forms.wide)
    made.push(row(mnemonic, `${vex(opcode, '256', forms.w)} /r: ${wide}${immediate}`, semantics, { unit: 'avx', feature: forms.wide }));
  return made;
}

/** The legacy row and its VEX rows, which share semantics. Operands are given without the immediate. */
function rows(mnemonic: string, opcode: string, forms: Forms, semantics: Semantics, legacy: string, narrow: string, wide: string): Row[] {
  const immediate = forms.immediate ? ' Ib' : '';
  const made = [
    row(mnemonic, `${opcode} /r: ${legacy}${immediate}`, semantics, options(forms)),
    ...vexRows(`v${mnemonic}`, opcode, forms, semantics, narrow, wide),
  ];
  return made;
}

function wholeSemantics(whole: Whole): Semantics {
  return (o) => {
    const first = o.encoding.vex ? 1 : 0;
    const a = vector(o, first);
    setVector(o, 0, whole(o, a, vector(o, first + 1)));
  };
}

/** Computes all parts, with the exceptions that they may raise. */
function raising(o: Ops, forms: Forms, a: readonly Node[], b: readonly Node[], compute: () => Node[]): Node[] {
  if (!forms.float) return compute();
  const { attempt } = forms;
  const attempts = attempt ? a.flatMap((each, n) => attempt.part(o, each, b[n]!, n) ?? []) : [];
  if (!attempt || attempts.length < a.length) return floating(o, a.length, compute);
  const { shape, settled } = attempt;
  return attempted(o, shape, typeof settled === 'boolean' ? settled : settled(o), attempts, compute);
}

function binarySemantics(part: Part, forms: Forms): Semantics {
  return wholeSemantics((o, a, b) => {
    const compute = (): Node[] => a.map((each, n) => part(o, each, b[n] ?? b[0]!, n));
    return raising(o, forms, a, b, compute);
  });
}

/** As `binary`, without a legacy form. */
export function vexBinary(mnemonic: string, opcode: string, part: Part, forms: Forms): Row[] {
  return vexRows(mnemonic, opcode, forms, binarySemantics(part, forms), 'Vdq= Hdq Wdq', 'Vqq= Hqq Wqq');
}

/** As `unary`, without a legacy form. */
export function vexUnary(mnemonic: string, opcode: string, part: UnaryPart, forms: Forms): Row[] {
  const { source = 'dq', wideSource = 'qq' } = forms;
  return vexRows(mnemonic, opcode, forms, unarySemantics(part, forms), `Vdq= W${source}`, `Vqq= W${wideSource}`);
}

/** `destination op= source`, with VEX `destination = first op second`. */
export function binary(mnemonic: string, opcode: string, part: Part, forms: Forms = {}): Row[] {
  const { source = 'dq', wideSource = 'qq' } = forms;
  const semantics = binarySemantics(part, forms);
  const made = rows(mnemonic, opcode, forms, semantics, `Vdq+ W${source}`, `Vdq= Hdq W${source}`, `Vqq= Hqq W${wideSource}`);
  if (forms.mmx) made.push(mmxBinary(mnemonic, opcode, part, forms));
  return made;
}

/** As `binary`, for what cannot be done part by part. */
export function binaryWhole(mnemonic: string, opcode: string, whole: Whole, forms: Forms): Row[] {
  return rows(mnemonic, opcode, forms, wholeSemantics(whole), 'Vdq+ Wdq', 'Vdq= Hdq Wdq', 'Vqq= Hqq Wqq');
}

function mmxBinary(mnemonic: string, opcode: string, part: Part, forms: Forms): Row {
  const { mmx: form, mmxSource = 'q', immediate, feature } = forms;
  return mmx(mnemonic, `${opcode.replace(/^66/, 'NP')} /r: Pq+ Q${mmxSource}${immediate ? ' Ib' : ''}`, (o) => {
    const [a] = vector(o, 0) as [Node];
    const [b] = vector(o, 1) as [Node];
    if (form === 'joined') {
      const joined = shuffle(o, a, b, 8, [0, 2]);
      setVector(o, 0, [part(o, joined, joined, 0)]);
    } else {
      const result = part(o, a, b, 0);
      setVector(o, 0, [form === 'low' ? result : shuffle(o, result, result, 8, [1, 1])]);
    }
  }, feature === undefined ? {} : { feature }); // prettier-ignore
}

function unarySemantics(part: UnaryPart, forms: Forms): Semantics {
  return (o) => {
    const a = vector(o, 1);
    const compute = (): Node[] => a.map((each, n) => part(o, each, n));
    setVector(o, 0, raising(o, forms, a, a, compute));
  };
}

/** `destination = op(source)`. */
export function unary(mnemonic: string, opcode: string, part: UnaryPart, forms: Forms = {}): Row[] {
  const { source = 'dq', wideSource = 'qq' } = forms;
  const semantics = unarySemantics(part, forms);
  const made = rows(mnemonic, opcode, forms, semantics, `Vdq= W${source}`, `Vdq= W${source}`, `Vqq= W${wideSource}`);
  if (forms.mmx) {
    const text = `${opcode.replace(/^66/, 'NP')} /r: Pq= Qq${forms.immediate ? ' Ib' : ''}`;
    made.push(mmx(mnemonic, text, semantics, { ...options(forms), unit: 'mmx' }));
  }
  return made;
}

/** Parts by one WebAssembly operation, or by a function of the runtime without or with the immediate. */
export const native =
  (name: string): Part =>
  (o, a, b) =>
    o.b.op(name, a, b);
export const nativeUnary =
  (name: string): UnaryPart =>
  (o, a) =>
    o.b.op(name, a);
export const runtime =
  (name: string): Part =>
  (o, a, b) =>
    callRuntime(o, name, a, b);
export const runtimeUnary =
  (name: string): UnaryPart =>
  (o, a) =>
    callRuntime(o, name, a);
export const runtimeImmediate =
  (name: string): Part =>
  (o, a, b) =>
    callRuntime(o, name, a, b, immediateByte(o));
export const runtimeUnaryImmediate =
  (name: string): UnaryPart =>
  (o, a) =>
    callRuntime(o, name, a, immediateByte(o));
