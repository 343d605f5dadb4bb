/** Every way to set flags, followed by every way to look at them, on values at edges: compiled as interpreted. */
import { beforeAll, expect, test } from 'vitest';
import { interpreter, jit } from '../../src/x86/accelerator.ts';
import { Assembler, Label } from '../engine/assembler.ts';
import { Bench, CODE, DATA, PAGE, le } from '../engine/bench.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { Random } from '../native/random.ts';

const ROWS = 96;
/** Rows of operands (RAX, RCX, and a bit for the carry before), and where the answers go. */
const OPERANDS = DATA;
const ANSWERS = DATA + PAGE;
const HLT = 0xf4;

/** Setters on RAX and RCX by name, for an operand size. */
function setters(bits: number): [name: string, code: readonly number[]][] {
  const wide = bits === 8 ? 0 : 1;
  const prefix = bits === 16 ? [0x66] : bits === 64 ? [0x48] : [];
  const found: [string, readonly number[]][] = [];
  const add = (name: string, ...code: readonly number[]): void => void found.push([`${name} ${bits}`, [...prefix, ...code]]);
  'add or adc sbb and sub xor cmp'.split(' ').forEach((name, n) => add(name, (n << 3) | wide, 0xc8));
  add('add of two times the same', wide, 0xc0);
  add('xor with itself', 0x30 | wide, 0xc0);
  add('adc with an immediate', 0x80 | wide, 0xd0, ...le(0x7fff_ff80, Math.min(bits, 32) / 8));
  add('cmp in memory', 0x38 | wide, 0x4e, 0x00);
  'inc dec'.split(' ').forEach((name, n) => add(name, 0xfe | wide, 0xc0 | (n << 3)));
  'neg mul imul'.split(' ').forEach((name, n) => add(name, 0xf6 | wide, 0xd8 | (n << 3)));
  add('test', 0x84 | wide, 0xc8);
  'rol ror rcl rcr shl shr sal sar'.split(' ').forEach((name, n) => {
    add(`${name} by 1`, 0xd0 | wide, 0xc0 | (n << 3));
    add(`${name} by cl`, 0xd2 | wide, 0xc0 | (n << 3));
    for (const count of [0, 3, bits - 1]) add(`${name} by ${count}`, 0xc0 | wide, 0xc0 | (n << 3), count);
  });
  add('cmpxchg', 0x0f, 0xb0 | wide, 0xca);
  add('xadd', 0x0f, 0xc0 | wide, 0xc8);
  if (bits === 8) return [...found, ['sahf', [0x9e]], ['clc', [0xf8]], ['stc', [0xf9]], ['cmc', [0xf5]], ['nothing', [0x90]]];
  add('imul of two', 0x0f, 0xaf, 0xc1);
  'bt bts btr btc'.split(' ').forEach((name, n) => add(name, 0x0f, 0xa3 | (n << 3), 0xc8));
  add('bsf', 0x0f, 0xbc, 0xc1);
  add('bsr', 0x0f, 0xbd, 0xc1);
  add('shld', 0x0f, 0xa4, 0xc8, 5);
  add('shrd by cl', 0x0f, 0xad, 0xc8);
  return found;
}

/** What sets the flags before: only the carry of it may matter. */
const BEFORE: readonly (readonly number[])[] = [
  [0x0f, 0xba, 0x66, 0x10, 0x00], // bt dword [rsi+16],0
  [0x48, 0x39, 0xc8], // cmp rax,rcx
  [0x84, 0xc9], // test cl,cl
  [0x01, 0xc2], // add edx,eax
  [0x41, 0xfe, 0xc9], // dec r9b
];

/** Consumers that leave an answer of 8 bytes in R8. */
function consumers(): readonly number[][] {
  const conditions = Array.from({ length: 16 }, (_, n) => n);
  return [
    ...conditions.map((n) => [0x41, 0x0f, 0x90 | n, 0xc0]), // setcc r8b
    ...conditions.map((n) => [0x70 | n, 0x03, 0x49, 0xff, 0xc0]), // jcc over inc r8
    ...conditions.map((n) => [0x4c, 0x0f, 0x40 | n, 0xc1]), // cmovcc r8,rcx
    ...[0xd0, 0xd8].map((modrm) => [0x49, 0x83, modrm, 0x00]), // adc, sbb r8,0
    ...[0xd0, 0xd8].map((modrm) => [0x49, 0xd1, modrm]), // rcl, rcr r8,1
    [0x9c, 0x41, 0x58], // pushf; pop r8
    [0x9f, 0x49, 0x89, 0xc0], // lahf; mov r8,rax
    [0xf5, 0x9c, 0x41, 0x58], // cmc; pushf; pop r8
    [0xff, 0xc3, 0x9c, 0x41, 0x58], // inc ebx; pushf; pop r8
    [0x77, 0x04, 0x9c, 0x41, 0x58, 0x90, 0x78, 0x03, 0x49, 0xff, 0xc8], // ja over pushf; pop r8; js over dec r8
  ];
}

/** A loop over all operands that puts a part of the consumers' answers into memory. */
function program(setter: readonly number[], part: number): readonly number[] {
  const a = new Assembler(CODE);
  const top = new Label();
  a.put(0xbe, ...le(OPERANDS, 4), 0xbf, ...le(ANSWERS, 4), 0x41, 0xbc, ...le(ROWS, 4)); // esi, edi, r12d
  a.place(top);
  consumers().forEach((consumer, n) => {
    if (n % 2 !== part) return;
    a.put(0x48, 0x8b, 0x06, 0x48, 0x8b, 0x4e, 0x08); // mov rax,[rsi]; mov rcx,[rsi+8]
    a.put(...BEFORE[(n >> 1) % BEFORE.length]!);
    // A way that joins: what the flags were is not known then.
    if (n % 3 === 0) a.put(0x78, 0x02, 0xff, 0xc2); // js over inc edx
    if (n % 3 === 1) a.put(0x78, 0x01, 0x90); // js over nop
    a.put(...setter, ...consumer);
    a.put(0x4c, 0x31, 0x07, 0x48, 0x31, 0x47, 0x08, 0x49, 0x0f, 0xba, 0xf8, 0x20); // xor [rdi],r8; xor [rdi+8],rax; btc r8,32
  });
  a.put(0x48, 0x83, 0xc6, 0x18, 0x48, 0x83, 0xc7, 0x10, 0x41, 0xff, 0xcc); // add rsi,24; add rdi,16; dec r12d
  a.relative([0x0f, 0x85], top);
  a.put(HLT);
  return a.finish();
}

let benches: readonly Bench[];

beforeAll(async () => {
  const runtime = await compileRuntime();
  benches = [new Bench(interpreter(runtime)), new Bench(jit(runtime, 'max', { threshold: 8, batch: 1 }))];
}, 300_000);

test.each([8, 16, 32, 64])('flags of operations of %i bits are the same to all who look', { timeout: 300_000 }, (bits) => {
  const random = new Random(bits);
  const operands = Array.from({ length: ROWS * 3 }, () => le(random.bigint(64), 8)).flat();
  const wrong: string[] = [];
  const before = benches[1]!.cpu.counts.compiled;
  for (const [name, setter] of setters(bits)) {
    for (const part of [0, 1]) {
      const code = program(setter, part);
      const answers = benches.map((bench) => {
        bench.poke(OPERANDS, operands);
        bench.memory.view(ANSWERS, 4 * PAGE)!.fill(0);
        bench.cpu.setRegisters({
          gpr: bench.cpu.registers().gpr.map((value, n) => (n === 4 ? value : 0x8000_0000_7fff_ff81n)),
          rflags: 2n,
        });
        bench.load(code);
        bench.untilHalt(1_000_000);
        const { gpr, rflags } = bench.cpu.registers();
        return [Buffer.from(bench.memory.view(ANSWERS, ROWS * 16)!).toString('hex'), rflags, ...gpr].join(' ');
      });
      if (answers[0] !== answers[1]) wrong.push(name);
    }
  }
  expect(wrong).toEqual([]);
  expect(benches[1]!.cpu.counts.compiled).toBeGreaterThan(before + 100_000);
});
