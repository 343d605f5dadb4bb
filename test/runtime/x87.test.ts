import { afterAll, beforeAll, expect, test } from 'vitest';
import { Judge, type Generator, type NativeOperation, type Random } from './native.ts';

/* FNSAVE does not wait, so it shows the state after an unmasked exception too. */
const PRELUDE = `
struct save { uint32_t cw, sw, tag, ip, cs, dp, ds; uint8_t st[8][10]; };
#define CLOBBER "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory"
static struct save s;
static void keep(out *o, int results) {
  o->flags = s.sw & 0x477f;
  if (results > 0) memcpy(o->r0, s.st[0], 10);
  if (results > 1) memcpy(o->r1, s.st[1], 10);
}
#define X(insn) asm volatile("fninit\\n fldcw %1\\n fldt %3\\n fldt %2\\n" insn "\\n fnsave %0" : "=m"(s) : "m"(i->control), "m"(i->a), "m"(i->b) : CLOBBER)
#define STORE(insn) asm volatile("fninit\\n fldcw %2\\n fldt %3\\n" insn "\\n fnsave %0" : "=m"(s), "+m"(*(struct { uint8_t x[16]; } *)o->r0) : "m"(i->control), "m"(i->a) : CLOBBER); keep(o, 0)
#define LOAD(insn) asm volatile("fninit\\n fldcw %1\\n" insn "\\n fnsave %0" : "=m"(s) : "m"(i->control), "m"(i->a) : CLOBBER); if (((s.sw & 7) & ~i->control) == 0) keep(o, 1); else o->flags = s.sw & 0x477f
`;

const twoOperands = ['add', 'sub', 'subr', 'mul', 'div', 'divr'];
const operations: NativeOperation[] = [
  ...twoOperands.map((name, op) => ({ name: `f${name}`, op, c: `X("f${name} %%st(1), %%st"); keep(o, 1);` })),
  { name: 'fsqrt', op: 6, c: 'X("fsqrt"); keep(o, 1);' },
  { name: 'frndint', op: 7, c: 'X("frndint"); keep(o, 1);' },
  { name: 'fscale', op: 8, c: 'X("fscale"); keep(o, 1);' },
  { name: 'fprem', op: 9, c: 'X("fprem"); keep(o, 1);' },
  { name: 'fprem1', op: 10, c: 'X("fprem1"); keep(o, 1);' },
  { name: 'fabs', op: 11, c: 'X("fabs"); keep(o, 1);' },
  { name: 'fchs', op: 12, c: 'X("fchs"); keep(o, 1);' },
  { name: 'fxam', op: 13, c: 'X("fxam"); keep(o, 1);' },
  { name: 'fcom', op: 14, c: 'X("fcom"); keep(o, 1);' },
  { name: 'fucom', op: 15, c: 'X("fucom"); keep(o, 1);' },
  { name: 'ftst', op: 16, c: 'X("ftst"); keep(o, 1);' },
  { name: 'fxtract', op: 17, c: 'X("fxtract"); keep(o, (s.sw & 7 & ~i->control) ? 1 : 2);' },
  { name: 'fst m32', op: 20, c: 'STORE("fsts %1");' },
  { name: 'fst m64', op: 21, c: 'STORE("fstl %1");' },
  { name: 'fist m16', op: 22, c: 'STORE("fists %1");' },
  { name: 'fist m32', op: 23, c: 'STORE("fistl %1");' },
  { name: 'fistp m64', op: 24, c: 'STORE("fistpll %1");' },
  { name: 'fisttp m16', op: 25, c: 'STORE("fisttps %1");' },
  { name: 'fisttp m32', op: 26, c: 'STORE("fisttpl %1");' },
  { name: 'fisttp m64', op: 27, c: 'STORE("fisttpll %1");' },
  { name: 'fbstp', op: 28, c: 'STORE("fbstp %1");' },
  { name: 'fld m32', op: 30, c: 'LOAD("flds %2");' },
  { name: 'fld m64', op: 31, c: 'LOAD("fldl %2");' },
  { name: 'fild m16', op: 32, c: 'LOAD("filds %2");' },
  { name: 'fild m32', op: 33, c: 'LOAD("fildl %2");' },
  { name: 'fild m64', op: 34, c: 'LOAD("fildll %2");' },
];
const fbld: NativeOperation = { name: 'fbld', op: 35, c: 'LOAD("fbld %2");' };
const constants: NativeOperation = {
  name: 'constants',
  op: 36,
  c: `switch (i->imm) {
    ${['fld1', 'fldl2t', 'fldl2e', 'fldpi', 'fldlg2', 'fldln2', 'fldz'].map((name, n) => `case ${n}: { LOAD("${name}"); } break;`).join('\n')}
  }`,
};

/* FPTAN and FSINCOS push a result, unless they do nothing. */
const transcendentals: NativeOperation[] = [
  ...['f2xm1', 'fyl2x', 'fyl2xp1', 'fpatan', 'fsin', 'fcos'].map((name, n) => ({ name, op: 40 + n, c: `X("${name}"); keep(o, 1);` })),
  ...['fsincos', 'fptan'].map((name, n) => ({ name, op: 46 + n, c: `X("${name}"); keep(o, ((s.sw >> 11) & 7) == 5 ? 2 : 1);` })),
];

const FORMATS = [
  [24, -126, 127],
  [53, -1022, 1023],
  [64, -16382, 16383],
] as const;

function real80(view: DataView, at: number, random: Random, near: number): void {
  let exponent = 0;
  let significand = random.u64Shaped() | 0x8000000000000000n;
  const sign = random.below(2) << 15;
  switch (random.below(16)) {
    case 0:
      exponent = 0;
      significand = random.below(3) === 0 ? 0n : random.u64Shaped();
      break;
    case 1:
      exponent = 0x7fff;
      significand = random.below(2) === 0 ? 1n << 63n : random.u64Shaped() | (BigInt(random.below(4)) << 62n);
      break;
    case 2:
      exponent = random.below(0x8000);
      significand = random.u64Shaped();
      break;
    case 3:
      exponent = random.below(0x8000);
      break;
    case 4: {
      // Around the ends of the formats' exponent ranges.
      const [, low, high] = FORMATS[random.below(3)]!;
      exponent = (random.below(2) === 0 ? low : high) + 16383 + random.below(140) - 70;
      break;
    }
    case 5:
      exponent = 16383 + random.below(70);
      break;
    default:
      exponent = near + random.below(140) - 70;
  }
  if (exponent < 0) exponent = 0;
  view.setBigUint64(at, BigInt.asUintN(64, significand), true);
  view.setUint16(at + 8, (exponent & 0x7fff) | sign, true);
}

function control(view: DataView, at: number, random: Random): void {
  const masks = random.below(2) === 0 ? 0x3f : random.below(64);
  view.setUint32(at + 48, 0x40 | masks | (random.below(4) << 8) | (random.below(4) << 10), true);
}

const twoReals: Generator = (view, at, random) => {
  const near = [16383, 16383, 60, 32700][random.below(4)]!;
  real80(view, at, random, near);
  real80(view, at + 16, random, random.below(3) === 0 ? 32767 - near : near);
  control(view, at, random);
};

const memoryOperand: Generator = (view, at, random) => {
  const bits = random.u64Shaped();
  view.setBigUint64(at, bits, true);
  if (random.below(3) === 0) view.setUint16(at + 6, random.u32() | 0x7ff0, true);
  if (random.below(3) === 0) view.setUint16(at + 2, random.u32() | 0x7f80, true);
  control(view, at, random);
};

const packedDecimal: Generator = (view, at, random) => {
  for (let n = 0; n < 9; n++) view.setUint8(at + n, random.below(4) === 0 ? 0 : (random.below(10) << 4) | random.below(10));
  view.setUint8(at + 9, random.below(2) << 7);
  control(view, at, random);
};

let judge: Judge;
beforeAll(async () => {
  judge = await Judge.create(1, PRELUDE, [...operations, ...transcendentals, fbld, constants]);
}, 120_000);
afterAll(() => judge.dispose());

const CASES = Number(process.env['RUNTIME_CASES'] ?? 100_000);

test.each(operations)('$name gives the bits and flags of the host processor', (operation) => {
  expect(judge.compare(operation, operation.op >= 30 ? memoryOperand : twoReals, CASES, operation.op + 1)).toEqual([]);
});

test('fbld reads 18 digits and the sign', () => {
  expect(judge.compare(fbld, packedDecimal, 20_000, 7)).toEqual([]);
});

const constantIndex: Generator = (view, at, random) => {
  control(view, at, random);
  view.setUint32(at + 52, random.below(7), true);
};

test('constants are rounded by RC', () => {
  expect(judge.compare(constants, constantIndex, 1000, 8)).toEqual([]);
});

/** Equal apart from C1 and one unit in the last place of each result. */
function nearlyEqual(expected: Buffer, actual: Buffer): boolean {
  if ((expected.readUInt32LE(32) & ~0x200) !== (actual.readUInt32LE(32) & ~0x200)) return false;
  return [0, 16].every((at) => {
    const distance = ordinal(expected, at) - ordinal(actual, at);
    return distance >= -1n && distance <= 1n;
  });
}

/** Position of a real on a line where neighbours are one apart. */
function ordinal(record: Buffer, at: number): bigint {
  const exponent = record.readUInt16LE(at + 8);
  const magnitude = (BigInt(exponent & 0x7fff) << 63n) + (record.readBigUInt64LE(at) & 0x7fffffffffffffffn);
  return exponent & 0x8000 ? -magnitude : magnitude;
}

const CONTROL = 48;
const ROUND_TO_NEAREST = ~0xc00;

const roundedToNearest: Generator = (view, at, random) => {
  twoReals(view, at, random);
  view.setUint32(at + CONTROL, view.getUint32(at + CONTROL, true) & ROUND_TO_NEAREST, true);
};

/* The processor's own error is up to 0.58 units in the last place, and more under directed rounding. */
test.each(transcendentals)('$name is within one unit of the host processor, and mostly equal', (operation) => {
  expect(judge.compare(operation, twoReals, CASES, operation.op, nearlyEqual)).toEqual([]);
  let different = 0;
  judge.compare(operation, roundedToNearest, CASES, operation.op, (expected, actual) => {
    if (expected.compare(actual, 0, 32, 0, 32) !== 0) different++;
    return true;
  });
  expect(different / CASES).toBeLessThan(0.02);
});
