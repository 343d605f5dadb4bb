/** Code that changes under the processor: by itself, through an alias, by DMA, by a remap; and the decoder's memory running out. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as L from '../../src/x86/runtime/layout.ts';
import { ACCELERATORS, COMPILING_PATIENTLY, INTERPRETER } from '../accelerators.ts';
import { Bench, CODE, DATA, P, PAGE, RW, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const HLT = 0xf4;
const EAX = 0;
const ALIAS = 0x90000;
const INVLPG_RDI = [0x0f, 0x01, 0x3f];
const RELOAD_CR3 = [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8];

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = new Bench(make(await compileRuntime()));
  }, 300_000);
  beforeEach(() => {
    bench.renew();
  });

  /** mov eax, value */
  const movEax = (value: number): number[] => [0xb8, ...le(value, 4)];
  /** mov byte [address], value */
  const storeByte = (address: number, value: number): number[] => [0xc6, 0x04, 0x25, ...le(address, 4), value];
  const eax = (): number => Number(bench.reg(EAX));

  test('a store over the next instruction takes effect at once, also when it has run before', () => {
    bench.load([...storeByte(CODE + 9, 7), ...movEax(1), HLT]);
    bench.untilHalt();
    expect(eax()).toBe(7);
    bench.poke(CODE + 7, [9]);
    bench.load([0xc6, 0x04, 0x25]);
    bench.untilHalt();
    expect(eax()).toBe(9);
  });

  test('a store over an instruction in the middle, in a loop that links its jumps, changes every later turn', () => {
    // mov ecx,5; L: mov eax,0; add ebx,eax; inc byte [L+1]; dec ecx; jnz L; hlt
    const loop = CODE + 5;
    bench.load([
      ...[0xb9, ...le(5, 4)],
      ...movEax(0),
      ...[0x01, 0xc3],
      ...[0xfe, 0x04, 0x25, ...le(loop + 1, 4)],
      ...[0xff, 0xc9, 0x75, 0xee],
      HLT,
    ]);
    expect(CODE + 5 + 5 + 2 + 7 + 4 - 18).toBe(loop);
    bench.untilHalt();
    expect(bench.reg(3)).toBe(10n);
  });

  test('stores of every kind are seen in another page that has run', () => {
    // movabs rax, imm64; ret: the immediate, at a multiple of 16, is what the stores change
    const other = CODE + PAGE + 14;
    const place = other + 2;
    const call = (from: number): number[] => [0xe8, ...le(other - (from + 5), 4)];
    const stores: readonly (readonly [string, readonly number[]])[] = [
      ['mov byte', [0xc6, 0x07, 0x11]],
      ['mov word', [0x66, 0xc7, 0x07, 0x11, 0x22]],
      ['mov dword', [0xc7, 0x07, 0x11, 0x22, 0x33, 0x44]],
      ['mov qword', [0x48, 0xc7, 0x07, 0x11, 0x22, 0x33, 0x44]],
      ['stosb', [0xb8, ...le(0x11, 4), 0xaa]],
      ['rep stosb', [0xb8, ...le(0x11, 4), 0xb9, ...le(2, 4), 0xf3, 0xaa]],
      ['rep movsb', [0x48, 0xc7, 0xc6, ...le(DATA, 4), 0xb9, ...le(5, 4), 0xf3, 0xa4]],
      ['movq', [0x66, 0x0f, 0xd6, 0x07]],
      ['movdqu', [0xf3, 0x0f, 0x7f, 0x07]],
      ['vmovdqu', [0xc5, 0xfa, 0x7f, 0x07]],
      ['fstp', [0xd9, 0xe8, 0xdd, 0x1f]],
      ['push', [0x48, 0x89, 0xe5, 0x48, 0x8d, 0x67, 0x08, 0x6a, 0x33, 0x48, 0x89, 0xec]],
      ['lock inc', [0xf0, 0xff, 0x07]],
      ['bts', [0x0f, 0xba, 0x2f, 0x05]],
      ['cmpxchg16b', [0x48, 0x0f, 0xc7, 0x0f]],
    ];
    const { state } = bench.cpu;
    state.setU64(L.CR4, state.u64(L.CR4) | 0x40000n);
    state.setU64(L.XCR0, 7n);
    bench.cpu.updateMode();
    bench.poke64(DATA, 0x1122_3344_5566_7788n);
    for (const [name, store] of stores) {
      bench.poke(other, [0x48, 0xb8, ...le(1, 8), 0xc3, 0, 0, 0, 0, 0, 0, 0]);
      state.setU64(L.YMM, 0x1122_3344_5566_7788n);
      state.setU64(L.YMM + 8, 0xc3n);
      state.setGpr(3, 0x55n); // of CMPXCHG16B, with RCX
      state.setGpr(1, 0xc3n);
      const first = [...call(CODE), 0x48, 0xc7, 0xc7, ...le(place, 4), ...(name === 'cmpxchg16b' ? [0xba, ...le(0xc3, 4)] : [])];
      const code = [...first, ...store];
      bench.load([...code, ...call(CODE + code.length), HLT]);
      bench.untilHalt(1000);
      expect({ name, changed: bench.peek64(place) !== 1n, ran: bench.reg(EAX) }).toEqual({ name, changed: true, ran: bench.peek64(place) });
    }
  });

  test('a store through another linear address of the same page is seen', () => {
    bench.map(BigInt(ALIAS), CODE, P | RW);
    bench.load([...storeByte(ALIAS + 9, 5), ...movEax(1), HLT]);
    bench.untilHalt();
    expect(eax()).toBe(5);
  });

  test('bytes that a device writes are seen, in the middle of a run of code and across its end', () => {
    bench.load([...movEax(1), HLT]);
    bench.untilHalt();
    bench.poke(CODE + 1, [2]);
    bench.load([0xb8]);
    bench.untilHalt();
    expect(eax()).toBe(2);
    bench.pio.map(0x80, 1, 'DMA', { read: () => 0, write: () => bench.poke(CODE + 3, le(3, 1)) });
    // out 0x80, al; mov eax, 1
    bench.load([0xe6, 0x80, ...movEax(1), HLT]);
    bench.untilHalt();
    expect(eax()).toBe(3);
  });

  test('code and data in one page go on together, and stores beside code drop nothing', () => {
    // mov ecx,1000; L: inc dword [CODE+0x800]; dec ecx; jnz L; hlt
    bench.load([...[0xb9, ...le(1000, 4)], ...[0xff, 0x04, 0x25, ...le(CODE + 0x800, 4)], ...[0xff, 0xc9, 0x75, 0xf5], HLT]);
    const before = bench.cpu.counts.decoded;
    bench.untilHalt();
    expect(bench.peek64(CODE + 0x800)).toBe(1000n);
    expect(bench.cpu.counts.decoded - before).toBeLessThan(50);
  });

  /** Two pages of code, each of which puts another number into EAX, and one that calls the linear address of the first. */
  function remapped(between: readonly number[]): number {
    const [one, two, linear] = [CODE + PAGE, CODE + 2 * PAGE, ALIAS];
    bench.poke(one, [...movEax(1), 0xc3]);
    bench.poke(two, [...movEax(2), 0xc3]);
    bench.map(BigInt(linear), one, P | RW);
    const entry = bench.entry(BigInt(linear));
    // mov rdi, linear; call rdi; mov dword [entry], two|3; between; call rdi
    bench.load([
      ...[0x48, 0xc7, 0xc7, ...le(linear, 4)],
      ...[0xff, 0xd7],
      ...[0xc7, 0x04, 0x25, ...le(entry, 4), ...le(two | 3, 4)],
      ...between,
      ...[0xff, 0xd7],
      HLT,
    ]);
    bench.untilHalt();
    return eax();
  }

  test('after INVLPG, and after CR3 is loaded, a remapped page runs its new code', () => {
    expect(remapped(INVLPG_RDI)).toBe(2);
    expect(remapped(RELOAD_CR3)).toBe(2);
  });

  test('without INVLPG a remapped page runs either its old or its new code', () => {
    expect([1, 2]).toContain(remapped([]));
  });

  test('a page that is remapped while its own code runs goes on in the new one after INVLPG', () => {
    const linear = ALIAS;
    const [one, two] = [CODE + PAGE, CODE + 2 * PAGE];
    const entry = bench.map(BigInt(linear), one, P | RW) ?? bench.entry(BigInt(linear));
    const code = [...[0xc7, 0x04, 0x25, ...le(entry, 4), ...le(two | 3, 4)], ...INVLPG_RDI];
    bench.poke(one, [...code, ...movEax(1), HLT]);
    bench.poke(two, [...code, ...movEax(2), HLT]);
    bench.setReg(7, BigInt(linear));
    bench.cpu.ip = BigInt(linear);
    bench.untilHalt();
    expect(eax()).toBe(2);
  });

  test('an instruction across two pages is decoded anew when its second half changes, by a store, by DMA and by a remap', () => {
    // mov eax, imm32 with its last three bytes on the next page, run several times
    const at = CODE + PAGE - 2;
    bench.poke(at, [...movEax(0x01010101), 0xc3]);
    const call = (from: number): number[] => [0xe8, ...le(at - (from + 5), 4)];
    const first = [...call(CODE), ...storeByte(CODE + PAGE, 0x22)];
    bench.load([...first, ...call(CODE + first.length), HLT]);
    bench.untilHalt();
    expect(eax()).toBe(0x01012201);

    bench.poke(CODE + PAGE + 1, [0x33]);
    bench.load([...call(CODE), HLT]);
    bench.untilHalt();
    expect(eax()).toBe(0x01332201);

    bench.poke(at + 1, [0x44]);
    bench.load([...call(CODE), HLT]);
    bench.untilHalt();
    expect(eax()).toBe(0x01332244);

    bench.poke(CODE + 4 * PAGE, [0x55, 0x55, 0x55, 0xc3]);
    bench.map(BigInt(CODE + PAGE), CODE + 4 * PAGE, P | RW);
    bench.setReg(7, BigInt(CODE + PAGE));
    bench.load([...INVLPG_RDI, ...call(CODE + 3), HLT]);
    bench.untilHalt();
    expect(eax()).toBe(0x55555544);
  });

  test('an instruction across two pages page-faults when its second page goes away, at its own address', () => {
    const at = CODE + PAGE - 2;
    bench.poke(at, [...movEax(1), HLT]);
    bench.cpu.ip = BigInt(at);
    bench.untilHalt();
    bench.map(BigInt(CODE + PAGE), 0, 0n);
    bench.setReg(7, BigInt(CODE + PAGE));
    bench.load([...INVLPG_RDI, 0xe9, ...le(at - (CODE + 8), 4)]);
    expect(bench.untilVector()).toBe(14);
    expect(bench.cpu.state.u64(L.CR2)).toBe(BigInt(CODE + PAGE));
    expect(bench.frame(1)).toBe(BigInt(at));
  });

  test('an instruction across two pages that stores over its own second half, and over the next instruction, runs on rightly', () => {
    // mov byte [at+8], 9 (8 bytes, crossing), then mov eax, 1 whose immediate it changes
    const at = CODE + PAGE - 3;
    bench.poke(at, [...storeByte(at + 9, 9), ...movEax(1), HLT]);
    for (let turn = 0; turn < 3; turn++) {
      bench.poke(at + 9, [1]);
      bench.cpu.halted = false;
      bench.cpu.ip = BigInt(at);
      bench.untilHalt();
      expect(eax()).toBe(9);
    }
  });

  // As on the host's processor (tried with the same bytes there): nothing but an interrupt makes it look again at what it is.
  test('a repeated store over itself is completed as it was, in one page or across two, and what follows is new', () => {
    const [STOSB, MOVSB] = [0xaa, 0xa4];
    for (const operation of [STOSB, MOVSB]) {
      for (const at of [CODE + 0x800, CODE + PAGE - 1]) {
        for (const [from, count] of [
          [-16, 40],
          [0, 18],
          [1, 3050],
          [2, 40],
          [-3000, 3050],
        ] as const) {
          // prettier-ignore
          for (let turn = 0; turn < 3; turn++) {
            // rep; mov bl, 1, which becomes HLT
            bench.poke(at, [0xf3, operation, 0xb3, 1]);
            bench.poke(DATA, Array.from({ length: PAGE }, () => HLT));
            const gpr = Array.from({ length: 16 }, () => 0n);
            [gpr[0], gpr[1], gpr[6], gpr[7]] = [BigInt(HLT), BigInt(count), BigInt(DATA), BigInt(at + from)];
            bench.cpu.setRegisters({ gpr, rip: BigInt(at) });
            bench.cpu.halted = false;
            bench.untilHalt();
            const { rip } = bench.cpu.registers();
            expect([Number(rip) - at, bench.reg(1), bench.reg(3)], `${operation} at ${at} from ${from}`).toEqual([3, 0n, 0n]);
          }
        }
      }
    }
  });

  test('when the memory for decoded code is used up the engine starts afresh, and the program goes on', () => {
    const { state } = bench.cpu;
    // L: inc qword [DATA]; call f; dec ecx; jnz L; hlt, and f on another page
    bench.poke(CODE + PAGE, [0x48, 0xff, 0xc3, 0xc3]);
    bench.load([
      ...[0xb9, ...le(100, 4)],
      ...[0x48, 0xff, 0x04, 0x25, ...le(DATA, 4)],
      ...[0xe8, ...le(CODE + PAGE - (CODE + 18), 4)],
      ...[0xff, 0xc9, 0x75, 0xef],
      HLT,
    ]);
    let resets = 0;
    for (let turn = 0; ; turn++) {
      const generation = bench.cpu.engine.generation;
      // Room for a code page and a run, now and then
      state.setU32(L.ARENA_NEXT, L.ARENA_END - (turn % 2 ? 0x100 : 0x5000));
      bench.memory.written(CODE + PAGE, 1);
      const exit = bench.cpu.run(17);
      resets += bench.cpu.engine.generation - generation;
      if (exit.kind === 'halt') break;
      expect(exit.kind).toBe('budget');
    }
    expect(bench.peek64(DATA)).toBe(100n);
    expect(bench.reg(3)).toBe(100n);
    expect(resets).toBeGreaterThan(1);
  });
});

describe.each([INTERPRETER, COMPILING_PATIENTLY])('on $name', ({ make }) => {
  test('more code than the engine can hold decoded runs to its end', { timeout: 240_000 }, async () => {
    const bench = new Bench(make(await compileRuntime()));
    // Pages of code that is rewritten each turn: every turn decodes 200 instructions anew.
    // mov ecx, n; L: mov [CODE+PAGE], ecx-dependent immediate; call; dec ecx; jnz
    const body = [0xb8, ...le(0, 4), ...Array.from({ length: 200 }, () => 0x90), 0xc3];
    bench.poke(CODE + PAGE, body);
    bench.load([
      ...[0xb9, ...le(40_000, 4)],
      ...[0x89, 0x0c, 0x25, ...le(CODE + PAGE + 1, 4)],
      ...[0xe8, ...le(CODE + PAGE - (CODE + 17), 4)],
      ...[0x01, 0xc3], // add ebx, eax
      ...[0xff, 0xc9, 0x75, 0xee],
      HLT,
    ]);
    const { generation } = bench.cpu.engine;
    bench.untilHalt(100_000_000);
    expect(Number(bench.reg(3))).toBe((40_000 * 40_001) / 2);
    expect(bench.cpu.engine.generation).toBeGreaterThan(generation);
  });
});
