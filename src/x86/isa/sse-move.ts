/** Moves of vectors and their parts, with MMX and AVX. SDM vol. 2. */
import { GP } from '../faults.ts';
import { FOR_WRITING, RDI, type Ops } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import {
  element,
  enterMmx,
  extract,
  replace,
  setElement,
  setScalar,
  setVector,
  shuffle,
  vector,
  zeroVector,
  type ElementType,
} from '../vector.ts';
import type { Node } from '../wasm/ir.ts';
import { AVX, AVX2, mmx, vex } from './vector-forms.ts';
import { row, type Row, type RowOptions, type Semantics } from './row.ts';

const SSE: RowOptions = { unit: 'sse' };
const UNALIGNED: RowOptions = { unit: 'sse', unaligned: true };

const move: Semantics = (o) => setVector(o, 0, vector(o, 1));

/** As `move`, with VEX too only to and from aligned memory. */
const moveAligned: Semantics = (o) => {
  if (o.encoding.vex) o.requireAligned(o.bits(0) / 8);
  move(o);
};

/** Whole registers: `load` and `store` are opcodes, or empty. */
function whole(mnemonic: string, load: string, store: string, semantics: Semantics, options: RowOptions): Row[] {
  const texts = (width: string, opcode: (text: string) => string): string[] => [
    ...(load ? [`${opcode(load)} /r: V${width}= W${width}`] : []),
    ...(store ? [`${opcode(store)} /r: W${width}= V${width}`] : []),
  ];
  return [
    row(mnemonic, texts('dq', (text) => text), semantics, options),
    row(`v${mnemonic}`, [...texts('dq', (text) => vex(text, '128')), ...texts('qq', (text) => vex(text, '256'))], semantics, AVX),
  ]; // prettier-ignore
}

/** Stores past the caches: memory only, always aligned. */
function streaming(mnemonic: string, opcode: string): Row[] {
  return [
    row(mnemonic, `${opcode} /r mem: Mdq= Vdq`, move, SSE),
    row(`v${mnemonic}`, [`${vex(opcode, '128')} /r mem: Mdq= Vdq`, `${vex(opcode, '256')} /r mem: Mqq= Vqq`], moveAligned, AVX),
  ];
}

/** The low element, zero-extended to the whole register. */
function moveLow(type: ElementType): Semantics {
  return (o) => setVector(o, 0, [replace(o, type, zeroVector(o), 0, element(o, 1, type))]);
}

/** MOVSS and MOVSD: from memory zero-extended; between registers the rest comes from the (first) destination. */
function scalar(mnemonic: string, prefix: string, size: string, type: ElementType): Row[] {
  const merge: Semantics = (o) => setScalar(o, type, element(o, o.encoding.vex ? 2 : 1, type));
  const store: Semantics = (o) => setElement(o, 0, type, element(o, 1, type));
  const load = `${prefix} 0F 10`;
  const back = `${prefix} 0F 11`;
  return [
    row(mnemonic, `${load} /r mem: Vdq= W${size}`, moveLow(type), SSE),
    row(mnemonic, [`${load} /r reg: V${size}+ U${size}`, `${back} /r reg: U${size}+ V${size}`], merge, SSE),
    row(mnemonic, `${back} /r mem: W${size}= V${size}`, store, SSE),
    row(`v${mnemonic}`, `${vex(load, 'LIG')} /r mem: Vdq= W${size}`, moveLow(type), AVX),
    row(`v${mnemonic}`, [`${vex(load, 'LIG')} /r reg: Vdq= Hdq U${size}`, `${vex(back, 'LIG')} /r reg: Udq= Hdq V${size}`], merge, AVX),
    row(`v${mnemonic}`, `${vex(back, 'LIG')} /r mem: W${size}= V${size}`, store, AVX),
  ];
}

/** MOVLPS and MOVHPS and the like: one half to or from memory; the other stays, or with VEX comes from the first source. */
function half(mnemonic: string, prefix: string, load: string, store: string, lane: 0 | 1): Row[] {
  const into: Semantics = (o) => {
    const from = o.encoding.vex ? 2 : 1;
    setVector(o, 0, [replace(o, 'i64', vector(o, from - 1)[0]!, lane, element(o, from, 'i64'))]);
  };
  const out: Semantics = (o) => setElement(o, 0, 'i64', extract(o, 'i64', vector(o, 1)[0]!, lane));
  return [
    row(mnemonic, `${prefix} 0F ${load} /r mem: Vdq+ Mq`, into, SSE),
    row(mnemonic, `${prefix} 0F ${store} /r mem: Mq= Vdq`, out, SSE),
    row(`v${mnemonic}`, `${vex(`${prefix} 0F ${load}`, '128')} /r mem: Vdq= Hdq Mq`, into, AVX),
    row(`v${mnemonic}`, `${vex(`${prefix} 0F ${store}`, '128')} /r mem: Mq= Vdq`, out, AVX),
  ];
}

/** MOVHLPS and MOVLHPS: quadwords of the destination (0, 1) and the source (2, 3). */
function halves(mnemonic: string, opcode: string, order: readonly [number, number]): Row[] {
  const semantics: Semantics = (o) => {
    const first = o.encoding.vex ? 1 : 0;
    setVector(o, 0, [shuffle(o, vector(o, first)[0]!, vector(o, first + 1)[0]!, 8, order)]);
  };
  return [
    row(mnemonic, `${opcode} /r reg: Vdq+ Udq`, semantics, SSE),
    row(`v${mnemonic}`, `${vex(opcode, '128')} /r reg: Vdq= Hdq Udq`, semantics, AVX),
  ];
}

/** MOVMSKPS and the like: the top bits of all elements, into a general register. */
function signMask(mnemonic: string, opcode: string, operation: string, lanes: number, wide: RowOptions): Row[] {
  const semantics: Semantics = (o) => {
    const masks = vector(o, 1).map((part) => o.b.op(operation, part));
    const [low, high] = masks as [Node, Node | undefined];
    o.set(0, o.wide(high ? o.b.op('i32.or', low, o.b.op('i32.shl', high, o.b.i32(lanes))) : low));
  };
  return [
    row(mnemonic, `${opcode} /r reg: Gd= Udq`, semantics, SSE),
    row(`v${mnemonic}`, `${vex(opcode, '128')} /r reg: Gd= Udq`, semantics, AVX),
    row(`v${mnemonic}`, `${vex(opcode, '256')} /r reg: Gd= Uqq`, semantics, wide),
  ];
}

/**
 * MASKMOVDQU and MASKMOVQ: bytes whose mask byte is negative go to DS:rDI. As on AMD processors the store consists of
 * quadwords, which must be writable (and, for #AC, aligned) whatever the mask says.
 */
function maskedStore(quads: 1 | 2): Semantics {
  return (o) => {
    const { b } = o;
    // Before a fault of the store, as hardware does.
    if (quads === 1) enterMmx(o);
    const [source] = vector(o, 0) as [Node];
    const [mask] = vector(o, 1) as [Node];
    const chosen = b.op('i8x16.shr_s', mask, b.i32(7));
    const target = o.readGpr(RDI, 64);
    const address = (n: number): Node => o.segmented(o.and(o.add(target, o.const(8 * n)), o.addressMask()), 8 | FOR_WRITING);
    // A fault must come before anything is written.
    if (quads === 2) for (let n = 0; n < quads; n++) o.translate(address(n), 8, true);
    for (let n = 0; n < quads; n++) {
      const host = o.translate(address(n), 8, true);
      const written = extract(o, 'i64', chosen, n);
      const kept = o.and(o.loadHost(host, 64), o.not(written));
      o.storeHost(host, 64, o.or(o.and(extract(o, 'i64', source, n), written), kept));
      o.commit(host);
    }
  };
}

/** From a general register or memory of 32 or, with W, 64 bits. */
const fromGeneral: Semantics = (o) => setVector(o, 0, [replace(o, 'i64', zeroVector(o), 0, o.get(1))]);
const toGeneral: Semantics = (o) => {
  o.set(0, element(o, 1, 'i64'));
  if (o.operand(1).letter === 'P') enterMmx(o);
};

const moveQuad: Semantics = (o) => setVector(o, 0, [replace(o, 'i64', zeroVector(o), 0, element(o, 1, 'i64'))]);

/** MXCSR has no bits above these: loading others is #GP(0). */
const MXCSR_MASK = 0xffff;

const loadMxcsr: Semantics = (o) => {
  const value = o.narrow(o.get(0));
  o.if(o.b.op('i32.and', value, o.b.i32(~MXCSR_MASK)), () => o.fault(GP, o.const(0)));
  o.setState32(L.MXCSR, value);
};

const storeMxcsr: Semantics = (o) => o.set(0, o.wide(o.state32(L.MXCSR)));

const insertWord: Semantics = (o) => {
  const destination = o.encoding.vex ? 1 : 0;
  const value = o.narrow(o.get(destination + 1));
  setVector(o, 0, [insertDynamic(o, vector(o, destination)[0]!, 2, o.operand(0).letter === 'P' ? 4 : 8, value)]);
};

const extractWord: Semantics = (o) => {
  o.set(0, extractDynamic(o, 1, 2, o.operand(1).letter === 'N' ? 4 : 8));
  if (o.operand(1).letter === 'N') enterMmx(o);
};

/** Element number of the immediate, times the element's size: an i32 offset into a register. */
function elementOffset(o: Ops, bytes: number, count: number): Node {
  return o.b.op('i32.mul', o.b.op('i32.and', o.narrow(o.immediate()), o.b.i32(count - 1)), o.b.i32(bytes));
}

/** The element of register operand `i` that the immediate names, as i64. */
export function extractDynamic(o: Ops, i: number, bytes: 1 | 2 | 4 | 8, count = 16 / bytes): Node {
  const known = o.knownByte();
  if (known !== undefined) {
    const shape = `i${bytes * 8}x${16 / bytes}`;
    const value = o.b.op(`${shape}.extract_lane${bytes < 4 ? '_u' : ''}`, o.readVector(o.operand(i), 0), known & (count - 1));
    return bytes === 8 ? value : o.wide(value);
  }
  const address = o.b.op('i32.add', o.vectorAddress(o.operand(i)), elementOffset(o, bytes, count));
  return o.b.load(bytes === 8 ? 'i64.load' : `i64.load${bytes * 8}_u`, address);
}

/** `a` with the element that the immediate names replaced by `value` (i32, or i64 for quadwords): built in a temporary. */
export function insertDynamic(o: Ops, a: Node, bytes: 1 | 2 | 4 | 8, count: number, value: Node): Node {
  const { b } = o;
  const known = o.knownByte();
  if (known !== undefined) return b.op(`i${bytes * 8}x${16 / bytes}.replace_lane`, a, value, known & (count - 1));
  const store = bytes === 8 ? 'i64.store' : bytes === 4 ? 'i32.store' : `i32.store${bytes * 8}`;
  b.store('v128.store', b.i32(L.SCRATCH), a);
  b.store(store, elementOffset(o, bytes, count), value, L.SCRATCH);
  return b.load('v128.load', b.i32(L.SCRATCH));
}

export const SSE_MOVE: readonly Row[] = [
  ...whole('movups', 'NP 0F 10', 'NP 0F 11', move, UNALIGNED),
  ...whole('movupd', '66 0F 10', '66 0F 11', move, UNALIGNED),
  ...whole('movaps', 'NP 0F 28', 'NP 0F 29', moveAligned, SSE),
  ...whole('movapd', '66 0F 28', '66 0F 29', moveAligned, SSE),
  ...whole('movdqa', '66 0F 6F', '66 0F 7F', moveAligned, SSE),
  ...whole('movdqu', 'F3 0F 6F', 'F3 0F 7F', move, UNALIGNED),
  ...streaming('movntps', 'NP 0F 2B'),
  ...streaming('movntpd', '66 0F 2B'),
  ...streaming('movntdq', '66 0F E7'),
  row('lddqu', 'F2 0F F0 /r mem: Vdq= Mdq', move, { ...UNALIGNED, feature: 'sse3' }),
  row('vlddqu', ['VEX.128.F2.0F.WIG F0 /r mem: Vdq= Mdq', 'VEX.256.F2.0F.WIG F0 /r mem: Vqq= Mqq'], move, AVX),
  row('movntdqa', '66 0F 38 2A /r mem: Vdq= Mdq', move, { ...SSE, feature: 'sse41' }),
  row('vmovntdqa', 'VEX.128.66.0F38.WIG 2A /r mem: Vdq= Mdq', moveAligned, AVX),
  row('vmovntdqa', 'VEX.256.66.0F38.WIG 2A /r mem: Vqq= Mqq', moveAligned, AVX2),
  ...scalar('movss', 'F3', 'ss', 'i32'),
  ...scalar('movsd', 'F2', 'sd', 'i64'),
  ...half('movlps', 'NP', '12', '13', 0),
  ...half('movlpd', '66', '12', '13', 0),
  ...half('movhps', 'NP', '16', '17', 1),
  ...half('movhpd', '66', '16', '17', 1),
  ...halves('movhlps', 'NP 0F 12', [3, 1]),
  ...halves('movlhps', 'NP 0F 16', [0, 2]),
  row('movd', '66 0F 6E /r: Vdq= Ey', fromGeneral, SSE),
  row('movd', '66 0F 7E /r: Ey= Vdq', toGeneral, SSE),
  row('vmovd', 'VEX.128.66.0F 6E /r: Vdq= Ey', fromGeneral, AVX),
  row('vmovd', 'VEX.128.66.0F 7E /r: Ey= Vdq', toGeneral, AVX),
  mmx('movd', 'NP 0F 6E /r: Pq= Ey', fromGeneral),
  mmx('movd', 'NP 0F 7E /r: Ey= Pq', toGeneral),
  row('movq', ['F3 0F 7E /r: Vdq= Wq', '66 0F D6 /r: Wq= Vdq'], moveQuad, SSE),
  row('vmovq', ['VEX.128.F3.0F.WIG 7E /r: Vdq= Wq', 'VEX.128.66.0F.WIG D6 /r: Wq= Vdq'], moveQuad, AVX),
  mmx('movq', 'NP 0F 6F /r: Pq= Qq', move),
  mmx('movq', 'NP 0F 7F /r: Qq= Pq', storeMmx),
  mmx('movntq', 'NP 0F E7 /r mem: Mq= Pq', storeMmx),
  mmx('movdq2q', 'F2 0F D6 /r reg: Pq= Udq', move, SSE),
  mmx('movq2dq', 'F3 0F D6 /r reg: Vdq= Nq', (o) => {
    moveQuad(o);
    enterMmx(o);
  }, SSE),
  ...signMask('movmskps', 'NP 0F 50', 'i32x4.bitmask', 4, AVX),
  ...signMask('movmskpd', '66 0F 50', 'i64x2.bitmask', 2, AVX),
  ...signMask('pmovmskb', '66 0F D7', 'i8x16.bitmask', 16, AVX2),
  mmx('pmovmskb', 'NP 0F D7 /r reg: Gd= Nq', (o) => {
    o.set(0, o.wide(o.b.op('i32.and', o.b.op('i8x16.bitmask', vector(o, 1)[0]!), o.b.i32(0xff))));
    enterMmx(o);
  }),
  row('maskmovdqu', '66 0F F7 /r reg: Vdq Udq', maskedStore(2), { ...SSE, addressed: true }),
  row('vmaskmovdqu', 'VEX.128.66.0F.WIG F7 /r reg: Vdq Udq', maskedStore(2), { ...AVX, addressed: true }),
  mmx('maskmovq', 'NP 0F F7 /r reg: Pq Nq', maskedStore(1), { addressed: true }),
  row('pinsrw', '66 0F C4 /r reg: Vdq+ Rd Ib', insertWord, SSE),
  row('pinsrw', '66 0F C4 /r mem: Vdq+ Ew Ib', insertWord, SSE),
  mmx('pinsrw', 'NP 0F C4 /r reg: Pq+ Rd Ib', insertWord),
  mmx('pinsrw', 'NP 0F C4 /r mem: Pq+ Ew Ib', insertWord),
  row('vpinsrw', 'VEX.128.66.0F C4 /r reg: Vdq= Hdq Rd Ib', insertWord, AVX),
  row('vpinsrw', 'VEX.128.66.0F C4 /r mem: Vdq= Hdq Ew Ib', insertWord, AVX),
  row('pextrw', '66 0F C5 /r reg: Gd= Udq Ib', extractWord, SSE),
  mmx('pextrw', 'NP 0F C5 /r reg: Gd= Nq Ib', extractWord),
  row('vpextrw', 'VEX.128.66.0F C5 /r reg: Gd= Udq Ib', extractWord, AVX),
  row('ldmxcsr', 'NP 0F AE /2 mem: Md', loadMxcsr, SSE),
  row('stmxcsr', 'NP 0F AE /3 mem: Md=', storeMxcsr, SSE),
  row('vldmxcsr', 'VEX.128.NP.0F.WIG AE /2 mem: Md', loadMxcsr, AVX),
  row('vstmxcsr', 'VEX.128.NP.0F.WIG AE /3 mem: Md=', storeMxcsr, AVX),
  mmx('emms', 'NP 0F 77:', (o) => {
    o.setState32(L.FTOP, o.b.i32(0));
    o.setState32(L.FTAG, o.b.i32(0));
  }),
]; // prettier-ignore

function storeMmx(o: Ops): void {
  move(o);
  enterMmx(o);
}
