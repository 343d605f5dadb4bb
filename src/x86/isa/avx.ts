/** What only AVX and AVX2 have: broadcasts, permutations, masked and gathered memory accesses, variable shifts. SDM vol. 2. */
import { UD } from '../faults.ts';
import { FOR_WRITING, type Ops } from '../ops.ts';
import * as L from '../runtime/layout.ts';
import { setVector, shuffle, vector, zeroVector } from '../vector.ts';
import type { Node } from '../wasm/ir.ts';
import { testBits } from './sse4.ts';
import { AVX, AVX2, runtime, vexBinary, vexUnary, type UnaryPart } from './vector-forms.ts';
import { row, type Row, type RowOptions, type Semantics } from './row.ts';
import {
  blendSingles,
  permuteDoubles,
  permuteDoublewords,
  permuteHalves,
  permuteQuadwords,
  permuteSingles,
  shuffleDoubles,
  shuffleDoublewords,
} from './shuffles.ts';

/** The low element of the source, everywhere. */
function broadcast(bits: 8 | 16 | 32 | 64): Semantics {
  return (o) => {
    const spread = (): Node => {
      const part = o.readVector(o.operand(1), 0);
      return shuffle(o, part, part, bits / 8, Array.from({ length: 128 / bits }, () => 0)); // prettier-ignore
    };
    const all = o.isMemory(1) ? o.b.load(`v128.load${bits}_splat`, o.b.get(o.host(false, bits / 8))) : spread();
    setVector(o, 0, o.bits(0) === 256 ? [all, all] : [all]);
  };
}

function broadcasts(mnemonic: string, opcode: string, bits: 8 | 16 | 32 | 64, size: string): Row {
  const texts = [`VEX.128.66.0F38.W0 ${opcode} /r: Vdq= W${size}`, `VEX.256.66.0F38.W0 ${opcode} /r: Vqq= W${size}`];
  return row(mnemonic, texts, broadcast(bits), AVX2);
}

const broadcastHalf: Semantics = (o) => {
  const [half] = vector(o, 1) as [Node];
  setVector(o, 0, [half, half]);
};

/** Whether a bit of the immediate is set, as i32. */
const immediateBit = (o: Ops, bit: number): Node => o.b.op('i32.and', o.narrow(o.immediate()), o.b.i32(1 << bit));

const insertHalf: Semantics = (o) => {
  const { b } = o;
  const [low, high] = vector(o, 1) as [Node, Node];
  const [half] = vector(o, 2) as [Node];
  const upper = immediateBit(o, 0);
  setVector(o, 0, [b.op('v128.select', low, half, upper), b.op('v128.select', half, high, upper)]);
};

const extractHalf: Semantics = (o) => {
  const [low, high] = vector(o, 1) as [Node, Node];
  setVector(o, 0, [o.b.op('v128.select', high, low, immediateBit(o, 0))]);
};

const permuteBoth: Semantics = (o) => {
  const [a, aHigh] = vector(o, 1) as [Node, Node];
  const [b, bHigh] = vector(o, 2) as [Node, Node];
  setVector(o, 0, [0, 1].map((half) => permuteHalves(o, [a, aHigh, b, bHigh], half))); // prettier-ignore
};

/** VPERMD: the first source has the element numbers. */
const permuteElements: Semantics = (o) => {
  const control = vector(o, 1);
  const [low, high] = vector(o, 2) as [Node, Node];
  setVector(o, 0, control.map((part) => permuteDoublewords(o, low, high, part))); // prettier-ignore
};

const permuteQuads: Semantics = (o) => {
  const [low, high] = vector(o, 1) as [Node, Node];
  setVector(o, 0, [0, 1].map((half) => permuteQuadwords(o, low, high, half))); // prettier-ignore
};

/** VPERMILPS by an immediate is PSHUFD; VPERMILPD takes two more bits for the upper half. */
const permutePairs: UnaryPart = (o, a, n) => shuffleDoubles(o, a, a, n);

/** Runs `body` for every element of `bytes` bytes, with its number (i32) while the loop runs. */
function forElements(o: Ops, count: number, body: (n: Node) => void): void {
  const { b } = o;
  const n = b.variable('i32', b.i32(0));
  b.loop((again) => {
    body(b.get(n));
    b.set(n, b.op('i32.add', b.get(n), b.i32(1)));
    b.brIf(again, b.op('i32.lt_u', b.get(n), b.i32(count)));
  });
}

/** Address (i32) of element `n` in the register that operand `i` names. */
function elementAddress(o: Ops, i: number, n: Node, bytes: number): Node {
  return o.b.op('i32.add', o.vectorAddress(o.operand(i)), o.b.op('i32.mul', n, o.b.i32(bytes)));
}

/** Whether the element at `address` is negative, as i32. */
function isNegative(o: Ops, address: Node, bytes: 4 | 8): Node {
  return o.b.op('i32.lt_s', o.b.load('i32.load', address, bytes - 4), o.b.i32(0));
}

const load = (bytes: 4 | 8): string => (bytes === 4 ? 'i64.load32_u' : 'i64.load');
const store = (bytes: 4 | 8): string => (bytes === 4 ? 'i64.store32' : 'i64.store');

/** Linear address of an element of the memory operand, so many bytes (i32) from its beginning: what ends behind the segment faults, nothing wraps. */
const elementAt = (o: Ops, distance: Node, access: number): Node => o.segmented(o.add(o.effectiveAddress(), o.wide(distance)), access);

/** Elements whose mask is negative are read, the others are zero; what is not read cannot fault. */
function maskedLoad(bytes: 4 | 8): Semantics {
  return (o) => {
    const { b } = o;
    const parts = o.bits(0) / 128;
    for (let n = 0; n < parts; n++) b.store('v128.store', b.i32(0), zeroVector(o), L.SCRATCH + 16 * n);
    forElements(o, (16 * parts) / bytes, (n) => {
      b.if(isNegative(o, elementAddress(o, 1, n, bytes), bytes), () => {
        const distance = b.op('i32.mul', n, b.i32(bytes));
        b.store(store(bytes), distance, o.readMemory(elementAt(o, distance, bytes), bytes * 8), L.SCRATCH);
      });
    });
    setVector(o, 0, Array.from({ length: parts }, (_, n) => b.load('v128.load', b.i32(0), L.SCRATCH + 16 * n))); // prettier-ignore
  };
}

function maskedStore(bytes: 4 | 8): Semantics {
  return (o) => {
    const chosen = (body: (n: Node, va: Node) => void): void =>
      forElements(o, o.bits(2) / 8 / bytes, (n) => {
        o.if(isNegative(o, elementAddress(o, 1, n, bytes), bytes), () =>
          body(n, elementAt(o, o.b.op('i32.mul', n, o.b.i32(bytes)), bytes | FOR_WRITING)),
        );
      });
    // A fault must come before anything is written.
    chosen((_, va) => void o.translate(va, bytes, true));
    chosen((n, va) => o.writeMemory(va, bytes * 8, o.b.load(load(bytes), elementAddress(o, 2, n, bytes))));
  };
}

function masked(mnemonic: string, loadOpcode: string, storeOpcode: string, w: 'W0' | 'W1', options: RowOptions): Row[] {
  const bytes = w === 'W0' ? 4 : 8;
  const single = mnemonic.endsWith('ps') || mnemonic.endsWith('pd');
  const texts = (opcode: string, operands: (width: string) => string): string[] => [
    `VEX.128.66.0F38.${single ? 'W0' : w} ${opcode} /r mem: ${operands('dq')}`,
    `VEX.256.66.0F38.${single ? 'W0' : w} ${opcode} /r mem: ${operands('qq')}`,
  ];
  return [
    row(mnemonic, texts(loadOpcode, (x) => `V${x}= H${x} M${x}`), maskedLoad(bytes), { ...options, elementwise: true }),
    row(mnemonic, texts(storeOpcode, (x) => `M${x}= H${x} V${x}`), maskedStore(bytes), { ...options, elementwise: true }),
  ]; // prettier-ignore
}

/**
 * Gathers: every element whose mask is negative is read at base + index; then its mask becomes zero, so that after a fault
 * the instruction goes on where it was. The rest of destination and mask becomes zero at the end.
 */
function gather(bytes: 4 | 8, indexBytes: 4 | 8): Semantics {
  return (o) => {
    const { b } = o;
    const vectorBytes = o.encoding.vectorBits / 8;
    const count = vectorBytes / Math.max(bytes, indexBytes);
    o.if(o.sameVectorRegisters(), () => o.fault(UD));
    forElements(o, count, (n) => {
      const mask = elementAddress(o, 2, n, bytes);
      b.if(isNegative(o, mask, bytes), () => {
        const value = o.readMemory(o.indexedAddress(n, indexBytes, bytes), bytes * 8);
        b.store(store(bytes), elementAddress(o, 0, n, bytes), value);
      });
      b.store(store(bytes), elementAddress(o, 2, n, bytes), b.i64(0));
    });
    const written = count * bytes;
    for (const i of [0, 2]) {
      const address = o.vectorAddress(o.operand(i));
      if (written === 8) b.store('i64.store', address, b.i64(0), 8);
      if (written <= 16) b.store('v128.store', address, zeroVector(o), 16);
    }
  };
}

function gathers(mnemonic: string, opcode: string, w: 'W0' | 'W1', indexBytes: 4 | 8): Row {
  const bytes = w === 'W0' ? 4 : 8;
  const size = bytes === 4 ? 'd' : 'q';
  const texts = ['128', '256'].map((length) => {
    const x = length === '128' || (bytes === 4 && indexBytes === 8) ? 'dq' : 'qq';
    return `VEX.${length}.66.0F38.${w} ${opcode} /r mem: V${x}+ M${size} H${x}+`;
  });
  return row(mnemonic, texts, gather(bytes, indexBytes), { ...AVX2, vsib: true, elementwise: true });
}

/** Clears the upper halves of all registers that the mode has, or all of them. */
function zeroRegisters(whole: boolean): Semantics {
  return (o) => {
    const clear = (from: number, to: number): void => {
      for (let n = from; n < to; n++) for (let half = whole ? 0 : 1; half < 2; half++) o.writeYmm(n, half, zeroVector(o));
    };
    clear(0, 8);
    o.if(o.isLongMode(), () => clear(8, 16));
  };
}

const signs =
  (shape: string) =>
  (o: Ops, x: Node): Node =>
    o.b.op('v128.and', x, o.b.op(`${shape}.splat`, shape === 'i32x4' ? o.b.i32(-0x80000000) : o.b.i64(-0x8000000000000000n)));

const W0 = { w: 'W0' } as const;
const W1 = { w: 'W1' } as const;

export const AVX_ONLY: readonly Row[] = [
  row('vbroadcastss', ['VEX.128.66.0F38.W0 18 /r mem: Vdq= Wss', 'VEX.256.66.0F38.W0 18 /r mem: Vqq= Wss'], broadcast(32), AVX),
  row('vbroadcastss', ['VEX.128.66.0F38.W0 18 /r reg: Vdq= Uss', 'VEX.256.66.0F38.W0 18 /r reg: Vqq= Uss'], broadcast(32), AVX2),
  row('vbroadcastsd', 'VEX.256.66.0F38.W0 19 /r mem: Vqq= Wsd', broadcast(64), AVX),
  row('vbroadcastsd', 'VEX.256.66.0F38.W0 19 /r reg: Vqq= Usd', broadcast(64), AVX2),
  row('vbroadcastf128', 'VEX.256.66.0F38.W0 1A /r mem: Vqq= Mdq', broadcastHalf, AVX),
  row('vbroadcasti128', 'VEX.256.66.0F38.W0 5A /r mem: Vqq= Mdq', broadcastHalf, AVX2),
  broadcasts('vpbroadcastb', '78', 8, 'b'),
  broadcasts('vpbroadcastw', '79', 16, 'w'),
  broadcasts('vpbroadcastd', '58', 32, 'd'),
  broadcasts('vpbroadcastq', '59', 64, 'q'),
  row('vinsertf128', 'VEX.256.66.0F3A.W0 18 /r: Vqq= Hqq Wdq Ib', insertHalf, AVX),
  row('vextractf128', 'VEX.256.66.0F3A.W0 19 /r: Wdq= Vqq Ib', extractHalf, AVX),
  row('vperm2f128', 'VEX.256.66.0F3A.W0 06 /r: Vqq= Hqq Wqq Ib', permuteBoth, AVX),
  row('vinserti128', 'VEX.256.66.0F3A.W0 38 /r: Vqq= Hqq Wdq Ib', insertHalf, AVX2),
  row('vextracti128', 'VEX.256.66.0F3A.W0 39 /r: Wdq= Vqq Ib', extractHalf, AVX2),
  row('vperm2i128', 'VEX.256.66.0F3A.W0 46 /r: Vqq= Hqq Wqq Ib', permuteBoth, AVX2),
  ...vexBinary('vpermilps', '66 0F 38 0C', permuteSingles, { wide: 'avx', ...W0 }),
  ...vexBinary('vpermilpd', '66 0F 38 0D', permuteDoubles, { wide: 'avx', ...W0 }),
  ...vexUnary('vpermilps', '66 0F 3A 04', shuffleDoublewords, { wide: 'avx', immediate: true, ...W0 }),
  ...vexUnary('vpermilpd', '66 0F 3A 05', permutePairs, { wide: 'avx', immediate: true, ...W0 }),
  row('vpermd', 'VEX.256.66.0F38.W0 36 /r: Vqq= Hqq Wqq', permuteElements, AVX2),
  row('vpermps', 'VEX.256.66.0F38.W0 16 /r: Vqq= Hqq Wqq', permuteElements, AVX2),
  row('vpermq', 'VEX.256.66.0F3A.W1 00 /r: Vqq= Wqq Ib', permuteQuads, AVX2),
  row('vpermpd', 'VEX.256.66.0F3A.W1 01 /r: Vqq= Wqq Ib', permuteQuads, AVX2),
  ...vexBinary('vpblendd', '66 0F 3A 02', blendSingles, { vexFeature: 'avx2', wide: 'avx2', immediate: true, ...W0 }),
  row('vtestps', ['VEX.128.66.0F38.W0 0E /r: Vdq Wdq', 'VEX.256.66.0F38.W0 0E /r: Vqq Wqq'], testBits(signs('i32x4')), AVX),
  row('vtestpd', ['VEX.128.66.0F38.W0 0F /r: Vdq Wdq', 'VEX.256.66.0F38.W0 0F /r: Vqq Wqq'], testBits(signs('i64x2')), AVX),
  ...masked('vmaskmovps', '2C', '2E', 'W0', AVX),
  ...masked('vmaskmovpd', '2D', '2F', 'W1', AVX),
  ...masked('vpmaskmovd', '8C', '8E', 'W0', AVX2),
  ...masked('vpmaskmovq', '8C', '8E', 'W1', AVX2),
  ...vexBinary('vpsrlvd', '66 0F 38 45', runtime('vpsrlvd'), { vexFeature: 'avx2', wide: 'avx2', ...W0 }),
  ...vexBinary('vpsrlvq', '66 0F 38 45', runtime('vpsrlvq'), { vexFeature: 'avx2', wide: 'avx2', ...W1 }),
  ...vexBinary('vpsravd', '66 0F 38 46', runtime('vpsravd'), { vexFeature: 'avx2', wide: 'avx2', ...W0 }),
  ...vexBinary('vpsllvd', '66 0F 38 47', runtime('vpsllvd'), { vexFeature: 'avx2', wide: 'avx2', ...W0 }),
  ...vexBinary('vpsllvq', '66 0F 38 47', runtime('vpsllvq'), { vexFeature: 'avx2', wide: 'avx2', ...W1 }),
  gathers('vpgatherdd', '90', 'W0', 4),
  gathers('vpgatherdq', '90', 'W1', 4),
  gathers('vpgatherqd', '91', 'W0', 8),
  gathers('vpgatherqq', '91', 'W1', 8),
  gathers('vgatherdps', '92', 'W0', 4),
  gathers('vgatherdpd', '92', 'W1', 4),
  gathers('vgatherqps', '93', 'W0', 8),
  gathers('vgatherqpd', '93', 'W1', 8),
  row('vzeroupper', 'VEX.128.NP.0F.WIG 77:', zeroRegisters(false), AVX),
  row('vzeroall', 'VEX.256.NP.0F.WIG 77:', zeroRegisters(true), AVX),
]; // prettier-ignore
