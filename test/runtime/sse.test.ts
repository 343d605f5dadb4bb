import { afterAll, beforeAll, expect, test } from 'vitest';
import { Judge, type Generator, type NativeOperation, type Random } from './native.ts';

/* An unmasked exception arrives as SIGFPE; its MXCSR is in the signal's frame. */
const PRELUDE = `
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>
static sigjmp_buf trap;
static uint32_t trapped;
static void on_fpe(int n, siginfo_t *info, void *context) {
  trapped = ((ucontext_t *)context)->uc_mcontext.fpregs->mxcsr;
  siglongjmp(trap, 1);
}
__attribute__((constructor)) static void install(void) {
  struct sigaction action = { .sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO | SA_NODEFER };
  sigaction(SIGFPE, &action, 0);
}
static uint32_t normal = 0x1f80;
#define GUARD(statement) \\
  if ((i->control & 0x1f80) != 0x1f80 && sigsetjmp(trap, 0)) { \\
    asm volatile("ldmxcsr %0" :: "m"(normal)); memset(o->r0, 0, 16); o->flags = trapped; o->extra = 1; \\
  } else { statement; }
#define RUN(load, insn, store) GUARD(asm volatile("ldmxcsr %2\\n" load "\\n" insn "\\n" store "\\n stmxcsr %1\\n ldmxcsr %6" \\
  : "+m"(*(struct { uint8_t x[16]; } *)o->r0), "=m"(o->flags) : "m"(i->control), "m"(i->a), "m"(i->b), "m"(i->c), "m"(normal) : "xmm0", "xmm1", "xmm2", "rax", "memory"))
#define VECTOR "movups %3, %%xmm0\\n movups %4, %%xmm1\\n movups %5, %%xmm2"
#define RESULT "movups %%xmm0, %0"
#define P(insn) RUN(VECTOR, insn, RESULT)
#define S32(insn) RUN(VECTOR, insn, "movss %%xmm0, %0")
#define S64(insn) RUN(VECTOR, insn, "movsd %%xmm0, %0")
#define RAX(insn) RUN(VECTOR, insn, "mov %%rax, %0")
#define EAX(insn) RUN(VECTOR, insn, "movl %%eax, %0")
#define COMI(insn) RUN(VECTOR, insn "\\n pushf\\n pop %%rax\\n and $0x45, %%eax", "movl %%eax, %0")
`;

/** A C switch over the immediate. */
function immediates(count: number, macro: string, insn: (imm: number) => string): string {
  const cases = Array.from({ length: count }, (_, imm) => `case ${imm}: { ${macro}("${insn(imm)}"); } break;`);
  return `switch (i->imm) { ${cases.join('\n')} }`;
}

const binary = ['add', 'sub', 'mul', 'div', 'min', 'max', 'sqrt'];
const horizontal = ['addsub', 'hadd', 'hsub'];
const fused = ['fmadd', 'fnmadd', 'fmsub', 'fnmsub'];
const forms = ['132', '213', '231'];
const conversions: [number, string, string, string][] = [
  [60, 'cvtss2sd', 'S64', 'cvtss2sd %%xmm0, %%xmm0'],
  [61, 'cvtsd2ss', 'S32', 'cvtsd2ss %%xmm0, %%xmm0'],
  [62, 'cvtsi2ss r32', 'S32', 'cvtsi2ssl %3, %%xmm0'],
  [63, 'cvtsi2sd r32', 'S64', 'cvtsi2sdl %3, %%xmm0'],
  [64, 'cvtsi2ss r64', 'S32', 'cvtsi2ssq %3, %%xmm0'],
  [65, 'cvtsi2sd r64', 'S64', 'cvtsi2sdq %3, %%xmm0'],
  [66, 'cvtss2si r32', 'EAX', 'cvtss2si %%xmm0, %%eax'],
  [67, 'cvtsd2si r32', 'EAX', 'cvtsd2si %%xmm0, %%eax'],
  [68, 'cvtss2si r64', 'RAX', 'cvtss2si %%xmm0, %%rax'],
  [69, 'cvtsd2si r64', 'RAX', 'cvtsd2si %%xmm0, %%rax'],
  [70, 'cvttss2si r32', 'EAX', 'cvttss2si %%xmm0, %%eax'],
  [71, 'cvttsd2si r32', 'EAX', 'cvttsd2si %%xmm0, %%eax'],
  [72, 'cvttss2si r64', 'RAX', 'cvttss2si %%xmm0, %%rax'],
  [73, 'cvttsd2si r64', 'RAX', 'cvttsd2si %%xmm0, %%rax'],
  [74, 'cvtps2pd', 'P', 'cvtps2pd %%xmm0, %%xmm0'],
  [75, 'cvtpd2ps', 'P', 'cvtpd2ps %%xmm0, %%xmm0'],
  [76, 'cvtdq2ps', 'P', 'cvtdq2ps %%xmm0, %%xmm0'],
  [77, 'cvtdq2pd', 'P', 'cvtdq2pd %%xmm0, %%xmm0'],
  [78, 'cvtps2dq', 'P', 'cvtps2dq %%xmm0, %%xmm0'],
  [79, 'cvttps2dq', 'P', 'cvttps2dq %%xmm0, %%xmm0'],
  [80, 'cvtpd2dq', 'P', 'cvtpd2dq %%xmm0, %%xmm0'],
  [81, 'cvttpd2dq', 'P', 'cvttpd2dq %%xmm0, %%xmm0'],
  [82, 'vcvtph2ps', 'P', 'vcvtph2ps %%xmm0, %%xmm0'],
];
const operations: NativeOperation[] = [
  ...binary.map((name, n) => ({ name: `${name}ss`, op: n, c: `S32("${name}ss %%xmm1, %%xmm0")` })),
  ...binary.map((name, n) => ({ name: `${name}sd`, op: 10 + n, c: `S64("${name}sd %%xmm1, %%xmm0")` })),
  ...[...binary, ...horizontal].map((name, n) => ({ name: `${name}ps`, op: 20 + n, c: `P("${name}ps %%xmm1, %%xmm0")` })),
  ...[...binary, ...horizontal].map((name, n) => ({ name: `${name}pd`, op: 30 + n, c: `P("${name}pd %%xmm1, %%xmm0")` })),
  { name: 'cmpss', op: 40, c: immediates(32, 'S32', (imm) => `vcmpss $${imm}, %%xmm1, %%xmm0, %%xmm0`) },
  { name: 'cmpsd', op: 41, c: immediates(32, 'S64', (imm) => `vcmpsd $${imm}, %%xmm1, %%xmm0, %%xmm0`) },
  { name: 'cmpps', op: 42, c: immediates(32, 'P', (imm) => `vcmpps $${imm}, %%xmm1, %%xmm0, %%xmm0`) },
  { name: 'cmppd', op: 43, c: immediates(32, 'P', (imm) => `vcmppd $${imm}, %%xmm1, %%xmm0, %%xmm0`) },
  { name: 'comiss', op: 44, c: 'COMI("comiss %%xmm1, %%xmm0")' },
  { name: 'comisd', op: 45, c: 'COMI("comisd %%xmm1, %%xmm0")' },
  { name: 'ucomiss', op: 46, c: 'COMI("ucomiss %%xmm1, %%xmm0")' },
  { name: 'ucomisd', op: 47, c: 'COMI("ucomisd %%xmm1, %%xmm0")' },
  { name: 'roundss', op: 50, c: immediates(16, 'S32', (imm) => `roundss $${imm}, %%xmm0, %%xmm0`) },
  { name: 'roundsd', op: 51, c: immediates(16, 'S64', (imm) => `roundsd $${imm}, %%xmm0, %%xmm0`) },
  { name: 'roundps', op: 52, c: immediates(16, 'P', (imm) => `roundps $${imm}, %%xmm0, %%xmm0`) },
  { name: 'roundpd', op: 53, c: immediates(16, 'P', (imm) => `roundpd $${imm}, %%xmm0, %%xmm0`) },
  ...conversions.map(([op, name, macro, insn]) => ({ name, op, c: `${macro}("${insn}")` })),
  { name: 'vcvtps2ph', op: 83, c: immediates(8, 'P', (imm) => `vcvtps2ph $${imm}, %%xmm0, %%xmm0`) },
  ...['ss', 'sd'].flatMap((type, t) =>
    forms.map((form, n) => ({
      name: `fma${form}${type}`,
      op: 90 + 3 * t + n,
      c: immediates(4, type === 'ss' ? 'S32' : 'S64', (imm) => `v${fused[imm]}${form}${type} %%xmm2, %%xmm1, %%xmm0`),
    })),
  ),
  { name: 'fmadd231ps', op: 96, c: 'P("vfmadd231ps %%xmm2, %%xmm1, %%xmm0")' },
  { name: 'fmadd231pd', op: 97, c: 'P("vfmadd231pd %%xmm2, %%xmm1, %%xmm0")' },
  { name: 'fmaddsub213ps', op: 98, c: 'P("vfmaddsub213ps %%xmm2, %%xmm1, %%xmm0")' },
  { name: 'fmaddsub213pd', op: 99, c: 'P("vfmaddsub213pd %%xmm2, %%xmm1, %%xmm0")' },
  {
    name: 'cvtps2pi',
    op: 100,
    c: 'RUN("pxor %%xmm0, %%xmm0", "cvtps2pi %3, %%mm0", "movq %%mm0, %0\\n movhps %%xmm0, 8+%0"); asm volatile("emms");',
  },
  { name: 'cvtpi2ps', op: 101, c: 'RUN("pxor %%xmm0, %%xmm0", "cvtpi2ps %3, %%xmm0", RESULT); asm volatile("emms");' },
  ...['rcpss', 'rsqrtss', 'rcpps', 'rsqrtps'].map((name, n) => ({
    name,
    op: 110 + n,
    c: `${n < 2 ? 'S32' : 'P'}("${name} %%xmm0, %%xmm0")`,
  })),
];

const FORMATS = [
  { bits: 16, fraction: 10, bias: 15 },
  { bits: 32, fraction: 23, bias: 127 },
  { bits: 64, fraction: 52, bias: 1023 },
] as const;

/** A number of the format: mostly near `near`, with the edges of the range and special values among them. */
function real(random: Random, format: (typeof FORMATS)[number], near: number): bigint {
  const { bits, fraction, bias } = format;
  const highest = 2 * bias + 1;
  const digits = random.u64Shaped() & ((1n << BigInt(fraction)) - 1n);
  const sign = BigInt(random.below(2)) << BigInt(bits - 1);
  let exponent = near + random.below(fraction * 2) - fraction;
  switch (random.below(24)) {
    case 0:
      return sign;
    case 1:
      return sign | (BigInt(highest) << BigInt(fraction)) | (random.below(2) === 0 ? 0n : digits);
    case 2:
    case 3:
      exponent = 0;
      break;
    case 4:
      exponent = random.below(highest);
      break;
    case 5:
      exponent = bias + random.below(65);
      break;
    case 6:
      exponent = random.below(2) === 0 ? 1 : highest - 1;
      break;
  }
  exponent = Math.max(0, Math.min(highest - 1, exponent));
  return sign | (BigInt(exponent) << BigInt(fraction)) | digits;
}

type Format = (typeof FORMATS)[number];

function fill(view: DataView, at: number, random: Random, format: Format): void {
  const { bias } = format;
  const base = [bias, bias, 4, 2 * bias - 4, bias >> 1, bias + (bias >> 1)][random.below(6)]!;
  // Exponents whose sums, differences and halves are at the ends of the range, in turn.
  const nears = [base, random.below(3) === 0 ? 2 * bias - base : base, random.below(2) === 0 ? 2 * base - bias : base];
  for (let operand = 0; operand < 3; operand++) {
    for (let n = 0; n < 128 / format.bits; n++) {
      let value = real(random, format, nears[operand]!);
      // Equal and nearly equal operands.
      if (operand === 1 && random.below(8) === 0) value = lane(view, at, format, n) ^ BigInt(random.below(4));
      put(view, at + 16 * operand, format, n, value);
    }
  }
}

function lane(view: DataView, at: number, format: Format, n: number): bigint {
  if (format.bits === 64) return view.getBigUint64(at + 8 * n, true);
  if (format.bits === 32) return BigInt(view.getUint32(at + 4 * n, true));
  return BigInt(view.getUint16(at + 2 * n, true));
}

function put(view: DataView, at: number, format: Format, n: number, value: bigint): void {
  if (format.bits === 64) view.setBigUint64(at + 8 * n, value, true);
  else if (format.bits === 32) view.setUint32(at + 4 * n, Number(value), true);
  else view.setUint16(at + 2 * n, Number(value), true);
}

function integers(view: DataView, at: number, random: Random): void {
  view.setBigUint64(at, random.u64Shaped(), true);
  view.setBigUint64(at + 8, random.u64Shaped(), true);
}

function formatOf(operation: NativeOperation): Format | undefined {
  const name = operation.name;
  if (name.startsWith('cvtsi') || name.startsWith('cvtdq') || name.startsWith('cvtpi')) return undefined;
  if (name === 'vcvtph2ps') return FORMATS[0];
  if (name.startsWith('cvt')) return FORMATS[/^cvtt?s?p?d/.test(name) ? 2 : 1];
  return FORMATS[name.endsWith('d') ? 2 : 1];
}

/** Operands of the operation under modes drawn by `control`. */
function operands(operation: NativeOperation, control: (random: Random) => number): Generator {
  const format = formatOf(operation);
  return (view, at, random) => {
    if (format === undefined) integers(view, at, random);
    else fill(view, at, random, format);
    view.setUint32(at + 48, control(random), true);
    view.setUint32(at + 52, random.below(256) & mask(operation), true);
  };
}

function mask(operation: NativeOperation): number {
  if (operation.name.startsWith('cmp')) return 31;
  if (operation.name.startsWith('dp')) return 255;
  if (operation.name.startsWith('round')) return 15;
  return operation.name.startsWith('vcvtps') ? 7 : 3;
}

const bits64 = (value: number): bigint => new BigUint64Array(new Float64Array([value]).buffer)[0]!;
const real64 = (bits: bigint): number => new Float64Array(new BigUint64Array([bits]).buffer)[0]!;
const bits32 = (value: number): bigint => BigInt(new Uint32Array(new Float32Array([value]).buffer)[0]!);
const real32 = (bits: bigint): number => new Float32Array(new Uint32Array([Number(bits)]).buffer)[0]!;

/** The third operand close to a product of the others, or far below or above one where it decides how a midpoint is rounded. */
function nearProduct(operation: NativeOperation): Generator {
  const format = formatOf(operation)!;
  const [toReal, toBits] = format.bits === 64 ? [real64, bits64] : [real32, bits32];
  return (view, at, random) => {
    const base = format.bias + random.below(400 % format.bias) - random.below(400 % format.bias);
    for (let n = 0; n < 128 / format.bits; n++) {
      const few = random.below(2) === 0;
      const factors = [0, 1].map(() => {
        const value = real(random, format, base);
        // Few digits, so that products are midpoints.
        return few ? value & ~((1n << BigInt(format.fraction >> 1)) - 1n) : value;
      }) as [bigint, bigint];
      const product = toReal(factors[0]) * toReal(factors[1]);
      let third = toBits(random.below(2) === 0 ? product : -product);
      const distance = [0, 0, format.fraction, format.fraction + 1, 2 * format.fraction, format.fraction >> 1][random.below(6)]!;
      third += BigInt(random.below(2) === 0 ? distance : -distance) << BigInt(format.fraction);
      if (random.below(2) === 0) third += BigInt(random.below(5) - 2);
      const places = [factors[0], factors[1], BigInt.asUintN(format.bits, third)];
      // Which operand is the addend is the form's business.
      const turn = random.below(3);
      places.forEach((value, operand) => put(view, at + 16 * ((operand + turn) % 3), format, n, value));
    }
    view.setUint32(at + 48, ordinary(random), true);
    view.setUint32(at + 52, random.below(4), true);
  };
}

/** The modes of ordinary programs. */
const ordinary = (random: Random) => 0x1f80 | (random.below(2) << 5);
const masked = (random: Random) => 0x1f80 | (random.below(4) << 13) | (random.below(2) << 15) | (random.below(2) << 6) | random.below(64);
const unmasked = (random: Random) => (random.below(64) << 7) | (random.below(4) << 13) | (random.below(2) << 15) | (random.below(2) << 6);

let judge: Judge;
beforeAll(async () => {
  judge = await Judge.create(2, PRELUDE, operations);
}, 120_000);
afterAll(() => judge.dispose());

const CASES = Number(process.env['RUNTIME_CASES'] ?? 40_000);

test.each(operations)('$name is exact with masked exceptions', (operation) => {
  expect(judge.compare(operation, operands(operation, ordinary), CASES, operation.op + 1)).toEqual([]);
  expect(judge.compare(operation, operands(operation, masked), CASES, operation.op + 1001)).toEqual([]);
});

test.each(operations)('$name reports unmasked exceptions', (operation) => {
  expect(judge.compare(operation, operands(operation, unmasked), CASES / 20, operation.op + 2001)).toEqual([]);
});

test.each(operations.filter(({ name }) => name.startsWith('fma')))('$name rounds once', (operation) => {
  expect(judge.compare(operation, nearProduct(operation), CASES, operation.op + 3001)).toEqual([]);
});
