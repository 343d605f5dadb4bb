import { afterAll, beforeAll, expect, test } from 'vitest';
import { Judge, type Generator, type NativeOperation } from './native.ts';

const PRELUDE = `
typedef uint64_t u64;
#define V(insn) asm volatile("movdqu %1, %%xmm1\\n movdqu %2, %%xmm2\\n movdqu %3, %%xmm0\\n" insn "\\n movdqu %%xmm1, %0" \\
  : "=m"(*(struct { uint8_t x[16]; } *)o->r0) : "m"(i->a), "m"(i->b), "m"(i->c) : "xmm0", "xmm1", "xmm2")
#define STR(insn, index) { u64 rcx = 0, flags; asm volatile("movdqu %3, %%xmm1\\n movdqu %4, %%xmm2\\n pxor %%xmm0, %%xmm0\\n" insn "\\n pushf\\n pop %2\\n movdqu %%xmm0, %0" \\
  : "=m"(*(struct { uint8_t x[16]; } *)o->r0), "+c"(rcx), "=r"(flags) : "m"(i->a), "m"(i->b), "a"(*(u64 *)i->c), "d"(*(u64 *)(i->c + 8)) : "xmm0", "xmm1", "xmm2"); \\
  if (index) { memset(o->r0, 0, 16); *(uint32_t *)o->r1 = rcx; } o->flags = flags & 0x8d5; }
#define CRC(type, suffix) { u64 crc = *(uint32_t *)i->a; asm("crc32" suffix " %1, %q0" : "+r"(crc) : "m"(*(type *)i->b)); *(u64 *)o->r0 = crc; }
#define CRC32(type, suffix) { uint32_t crc = *(uint32_t *)i->a; asm("crc32" suffix " %1, %k0" : "+r"(crc) : "m"(*(type *)i->b)); *(u64 *)o->r0 = crc; }
`;

function immediates(count: number, statement: (imm: number) => string): string {
  return `switch (i->imm) { ${Array.from({ length: count }, (_, imm) => `case ${imm}: ${statement(imm)}; break;`).join('\n')} }`;
}

const plain = (name: string, op: number): NativeOperation => ({ name, op, c: `V("${name} %%xmm2, %%xmm1");` });
const withImmediate = (name: string, op: number, count = 256): NativeOperation => ({
  name,
  op,
  c: immediates(count, (imm) => `V("${name} $${imm}, %%xmm2, %%xmm1")`),
});

const operations: NativeOperation[] = [
  ...['aesenc', 'aesenclast', 'aesdec', 'aesdeclast', 'aesimc'].map((name, op) => plain(name, op)),
  withImmediate('aeskeygenassist', 5),
  withImmediate('pclmulqdq', 6),
  withImmediate('sha1rnds4', 7, 4),
  ...['sha1nexte', 'sha1msg1', 'sha1msg2'].map((name, n) => plain(name, 8 + n)),
  plain('sha256rnds2', 11),
  ...['sha256msg1', 'sha256msg2'].map((name, n) => plain(name, 12 + n)),
  withImmediate('mpsadbw', 19),
  plain('phminposuw', 20),
  { name: 'crc32 r8', op: 21, c: 'CRC32(uint8_t, "b");' },
  { name: 'crc32 r16', op: 22, c: 'CRC32(uint16_t, "w");' },
  { name: 'crc32 r32', op: 23, c: 'CRC32(uint32_t, "l");' },
  { name: 'crc32 r64', op: 24, c: 'CRC(u64, "q");' },
  ...['e', 'i'].flatMap((kind, k) =>
    ['i', 'm'].map((output, n) => ({
      name: `pcmp${kind}str${output}`,
      op: 25 + 2 * k + n,
      c: immediates(
        128,
        (imm) => `STR("pcmp${kind}str${output}${kind === 'e' ? 'q' : ''} $${imm}, %%xmm2, %%xmm1", ${output === 'i' ? 1 : 0})`,
      ),
    })),
  ),
];

function operands(operation: NativeOperation): Generator {
  const isString = operation.op >= 25;
  const immediateCount = operation.name === 'sha1rnds4' ? 4 : isString ? 128 : 256;
  return (view, at, random) => {
    if (isString) {
      // A small alphabet, so that elements meet; zeros end implicit-length strings.
      const alphabet = 1 + random.below(6);
      for (let n = 0; n < 32; n++)
        view.setUint8(at + n, random.below(24) === 0 ? 0 : random.below(4) === 0 ? 255 - random.below(3) : random.below(alphabet) + 1);
      for (let n = 0; n < 2; n++)
        view.setBigInt64(
          at + 32 + 8 * n,
          random.below(12) === 0 ? BigInt.asIntN(64, random.u64Shaped()) : BigInt(random.below(40) - 20),
          true,
        );
      // Words whose upper halves are equal.
      if (random.below(2) === 0) for (let n = 1; n < 32; n += 2) view.setUint8(at + n, 0);
    } else {
      for (let n = 0; n < 6; n++) view.setBigUint64(at + 8 * n, random.u64Shaped(), true);
      // Words at the ends of their range.
      if (random.below(4) === 0)
        for (let n = 0; n < 16; n++) view.setUint16(at + 2 * n, [0x8000, 0x7fff, 0xffff, 0xff7f][random.below(4)]!, true);
    }
    view.setUint32(at + 52, random.below(immediateCount), true);
  };
}

let judge: Judge;
beforeAll(async () => {
  judge = await Judge.create(3, PRELUDE, operations);
}, 120_000);
afterAll(() => judge.dispose());

test.each(operations)('$name gives what the host processor gives', (operation) => {
  expect(judge.compare(operation, operands(operation), 40_000, operation.op + 1)).toEqual([]);
});
