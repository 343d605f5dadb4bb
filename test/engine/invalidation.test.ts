/** The ground is pulled from under code that has run often: whatever was compiled of it must not outlive what it was made of. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as L from '../../src/x86/runtime/layout.ts';
import { ACCELERATORS, COMPILING_LATER } from '../accelerators.ts';
import { Assembler, Label } from './assembler.ts';
import { Bench, CODE, DATA, GLOBAL, LARGE, NX, P, PAGE, RW, STACK, STUBS, TABLES, US, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const [EAX, ECX, EBX, EDI] = [0, 1, 3, 7] as const;
const HLT = 0xf4;
const RET = 0xc3;
const IRETQ = [0x48, 0xcf];
const INVLPG_RDI = [0x0f, 0x01, 0x3f];
const RELOAD_CR3 = [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8];
/** mov rax,cr4; and off PGE; mov cr4,rax; and on again */
const FLUSH_BY_PGE = [0x0f, 0x20, 0xe0, 0x34, 0x80, 0x0f, 0x22, 0xe0, 0x34, 0x80, 0x0f, 0x22, 0xe0];
const PF = 14;
const DB = 1;
/** Linear address of the page that is remapped. */
const THERE = 0x70000;
const TURNS = 300;

describe.each([...ACCELERATORS, COMPILING_LATER])('on $name', ({ name, make }) => {
  let bench: Bench;
  let compiledBefore: number;
  beforeAll(async () => {
    bench = new Bench(make(await compileRuntime()));
  }, 300_000);
  beforeEach(() => {
    bench.renew();
    compiledBefore = bench.cpu.counts.compiled;
  });

  const movEax = (value: number): number[] => [0xb8, ...le(value, 4)];
  /** mov dword [address],value */
  const store = (address: number, value: number): number[] => [0xc7, 0x04, 0x25, ...le(address, 4), ...le(value, 4)];
  const reg = (number: number): number => Number(bench.reg(number));

  /** Fails where a test of compiled code compiles none. */
  function expectCompiled(): void {
    if (name.startsWith('jit')) expect(bench.cpu.counts.compiled).toBeGreaterThan(compiledBefore);
  }

  /**
   * A loop of TURNS turns that calls an address and adds what it answers in EAX to EBX. `event` runs in turn `turn` (counted
   * down in ECX), before the call. RDI is the called page.
   */
  function loop(target: number, event: readonly number[], turn = TURNS / 2): void {
    const a = new Assembler(CODE);
    const [top, quiet] = [new Label(), new Label()];
    a.put(0xb9, ...le(TURNS, 4), 0x31, 0xdb, 0xbf, ...le(target & ~0xfff, 4));
    a.place(top);
    a.put(0x81, 0xf9, ...le(turn, 4)); // cmp ecx,turn
    a.relative([0x0f, 0x85], quiet);
    a.put(...event);
    a.place(quiet);
    a.put(0xe8, ...le(target - (a.here + 5), 4), 0x01, 0xc3, 0xff, 0xc9); // call; add ebx,eax; dec ecx
    a.relative([0x0f, 0x85], top);
    a.put(HLT);
    bench.load(a.finish());
  }

  /** What EBX is when the turns up to the event's add `before`, and those from it on `after`. */
  const sum = (before: number, after: number, turn = TURNS / 2): number => (TURNS - turn) * before + turn * after;

  const [ONE, TWO] = [CODE + PAGE, CODE + 2 * PAGE];
  /** Two pages that answer 1 and 1000; THERE leads to the first. */
  function twoPages(flags = 0n): number {
    bench.poke(ONE, [...movEax(1), RET]);
    bench.poke(TWO, [...movEax(1000), RET]);
    bench.map(BigInt(THERE), ONE, P | RW | flags);
    return bench.entry(BigInt(THERE));
  }

  test.each([
    ['INVLPG', INVLPG_RDI, 0n],
    ['INVLPG of a global page', INVLPG_RDI, GLOBAL],
    ['MOV CR3', RELOAD_CR3, 0n],
    ['CR4.PGE of a global page', FLUSH_BY_PGE, GLOBAL],
  ] as const)('a page that is remapped under a hot loop answers with its new code after %s', (_, flush, flags) => {
    const entry = twoPages(flags);
    loop(THERE, [...store(entry, TWO | Number(P | RW | flags)), ...flush]);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(1, 1000));
    expectCompiled();
  });

  test('a page whose place in the TLB was taken by another page of code answers with its new code after INVLPG', () => {
    const entry = twoPages();
    const rival = THERE + L.TLB_ENTRIES * PAGE;
    bench.map(BigInt(rival), ONE, P | RW);
    bench.poke(ONE + 0x10, [RET]);
    const callRival = [0xb8, ...le(rival + 0x10, 4), 0xff, 0xd0];
    loop(THERE, [...callRival, ...store(entry, TWO | Number(P | RW)), ...INVLPG_RDI]);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(1, 1000));
    expectCompiled();
  });

  test('hot code calls into the address space that CR3 names, back and forth', () => {
    twoPages();
    const other = 0x38000;
    [4, 3, 2, 1].forEach((level, n) => bench.poke(other + n * PAGE, [...bench.memory.view(bench.entry(0n, level) & ~0xfff, PAGE)!]));
    for (let n = 0; n < 3; n++) bench.poke64(other + n * PAGE, BigInt(other + (n + 1) * PAGE) | P | RW | US);
    bench.poke64(other + 3 * PAGE + (THERE >> 12) * 8, BigInt(TWO) | P | RW);
    // ecx=TURNS; L: call THERE; add ebx,eax; mov cr3,rsi; xchg rsi,rdi; dec ecx; jnz L
    const a = new Assembler(CODE);
    const top = new Label();
    a.put(0xb9, ...le(TURNS, 4), 0xbe, ...le(other, 4), 0xbf, ...le(TABLES, 4));
    a.place(top);
    a.put(0xe8, ...le(THERE - (a.here + 5), 4), 0x01, 0xc3, 0x0f, 0x22, 0xde, 0x48, 0x87, 0xf7, 0xff, 0xc9);
    a.relative([0x0f, 0x85], top);
    a.put(HLT);
    bench.load(a.finish());
    bench.untilHalt();
    expect(reg(EBX)).toBe((TURNS / 2) * 1001);
  });

  test('code that is reached by two linear addresses knows at which it runs', () => {
    // lea rax,[rip+0]; call +0; pop rdx; add rax,rdx; ret
    bench.poke(ONE, [0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0x5a, 0x48, 0x01, 0xd0, RET]);
    bench.map(BigInt(THERE), ONE, P | RW);
    const second = THERE + 4 * PAGE;
    bench.map(BigInt(second), ONE, P | RW);
    const a = new Assembler(CODE);
    const top = new Label();
    a.put(0xb9, ...le(TURNS, 4));
    a.place(top);
    for (const at of [THERE, second, ONE]) a.put(0xe8, ...le(at - (a.here + 5), 4), 0x48, 0x01, 0xc3);
    a.put(0xff, 0xc9);
    a.relative([0x0f, 0x85], top);
    a.put(HLT);
    bench.load(a.finish());
    bench.untilHalt();
    expect(reg(EBX)).toBe(TURNS * 2 * (THERE + second + ONE) + TURNS * 3 * (7 + 12));
    expectCompiled();
  });

  test('a device that writes into hot code, while it runs and between two runs, is heeded', () => {
    twoPages();
    bench.pio.map(0x80, 1, 'DMA', { read: () => 0, write: () => bench.poke(ONE + 1, le(5, 4)) });
    loop(ONE, [0xe6, 0x80]);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(1, 5));
    bench.poke(ONE + 1, [7]);
    loop(ONE, []);
    bench.untilHalt();
    expect(reg(EBX)).toBe(TURNS * 7);
    expectCompiled();
  });

  test('an instruction across two pages in a hot loop is new when its second page changes or is remapped', () => {
    const at = TWO - 2;
    bench.poke(at, [...movEax(0x101), RET]);
    bench.poke(CODE + 5 * PAGE, [0, 9, 0, RET]);
    bench.poke(CODE + 5 * PAGE, [3, 0, 0, RET]);
    loop(at, [0xc6, 0x04, 0x25, ...le(TWO, 4), 0x02]);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(0x101, 0x201));
    loop(at, [...store(bench.entry(BigInt(TWO)), (CODE + 5 * PAGE) | 3), 0xbf, ...le(TWO, 4), ...INVLPG_RDI]);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(0x201, 0x301));
  });

  test('a hot loop is compiled whole, also where an instruction of it lies across two pages', () => {
    const { executed } = bench.cpu;
    const at = TWO - 2;
    bench.poke(at, [...movEax(3), RET]);
    loop(at, []);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(3, 3));
    const [all, compiled] = [bench.cpu.executed - executed, bench.cpu.counts.compiled - compiledBefore];
    if (name === 'jit, later') expect(compiled / all).toBeGreaterThan(0.9);
  });

  test('an instruction across two pages in a hot loop faults at its own address when what it reads goes away', () => {
    const at = TWO - 3;
    bench.poke(at, [0x8b, 0x04, 0x25, ...le(THERE, 4), RET]); // mov eax,[THERE]
    bench.map(BigInt(THERE), DATA, P | RW);
    bench.poke(DATA, le(7, 4));
    loop(at, [...store(bench.entry(BigInt(THERE)), 0), 0xbf, ...le(THERE, 4), ...INVLPG_RDI]);
    expect(bench.untilVector(20 * TURNS)).toBe(PF);
    expect(bench.frame(0)).toBe(0n);
    expect(bench.frame(1)).toBe(BigInt(at));
    expect(reg(EBX)).toBe((TURNS / 2) * 7);
    expectCompiled();
  });

  test.each([
    ['straight', []],
    ['by a branch', [0x74, 0x00]],
  ])('hot code that goes on %s over the end of its page takes the page that is mapped behind it now', (_, last) => {
    twoPages();
    const [first, second] = [CODE + 4 * PAGE, THERE];
    bench.map(BigInt(THERE - PAGE), first, P | RW);
    const code = [0x31, 0xc0, 0x48, 0xff, 0xc6, ...last]; // xor eax,eax; inc rsi; …
    bench.poke(first + PAGE - code.length, code);
    loop(THERE - code.length, [...store(bench.entry(BigInt(second)), TWO | 3), 0xbf, ...le(second, 4), ...INVLPG_RDI]);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(1, 1000));
    expect(reg(6)).toBe(TURNS);
    // And as it was: code of one of the two is still compiled
    loop(THERE - code.length, [...store(bench.entry(BigInt(second)), ONE | 3), 0xbf, ...le(second, 4), ...INVLPG_RDI]);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(1000, 1));
    expectCompiled();
  });

  test('hot code that ends where other hot code of the next page begins goes on there, wherever that is mapped', () => {
    twoPages();
    const first = CODE + 4 * PAGE;
    bench.map(BigInt(THERE - PAGE), first, P | RW);
    bench.poke(ONE, [0xb8, ...le(1, 4), 0x48, 0x8d, 0x15, 0, 0, 0, 0, RET]); // mov eax,1; lea rdx,[rip]; ret
    bench.poke(TWO, [0xb8, ...le(1000, 4), 0x48, 0x8d, 0x15, 0, 0, 0, 0, RET]);
    loop(THERE, []);
    bench.untilHalt();
    const code = [0x31, 0xc0, 0x48, 0xff, 0xc6];
    bench.poke(first + PAGE - code.length, code);
    loop(THERE - code.length, []);
    bench.untilHalt();
    loop(THERE - 3, [...store(bench.entry(BigInt(THERE)), TWO | 3), 0xbf, ...le(THERE, 4), ...INVLPG_RDI]);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(1, 1000));
    expect(reg(2)).toBe(THERE + 12);
    expectCompiled();
  });

  test.each([
    ['that may not be executed any more', NX | P | RW, 0x11n],
    ['that is gone', 0n, 0x10n],
  ])('a page of hot code %s faults at its first instruction', (_, flags, error) => {
    twoPages();
    // mov rax,entry; mov [address],rax
    loop(THERE, [0x48, 0xb8, ...le(BigInt(ONE) | flags, 8), 0x48, 0xa3, ...le(bench.entry(BigInt(THERE)), 8), ...INVLPG_RDI]);
    expect(bench.untilVector()).toBe(PF);
    expect(bench.frame(0)).toBe(error);
    expect(bench.frame(1)).toBe(BigInt(THERE));
    expect(bench.cpu.state.u64(L.CR2)).toBe(BigInt(THERE));
    expect([reg(EBX), reg(ECX)]).toEqual([TURNS / 2, TURNS / 2]);
    expectCompiled();
  });

  test('a large page of hot code that is split takes the pages that are elsewhere now', () => {
    const large = 0x4000_0000n;
    twoPages();
    bench.map(large, 0, P | RW | LARGE, 2);
    const table = 0x3a000;
    for (let n = 0; n < 512; n++) bench.poke64(table + n * 8, BigInt(n * PAGE === ONE ? TWO : n * PAGE) | P | RW);
    const entry = bench.entry(large, 2);
    loop(Number(large) + ONE, [...store(entry, table | 3), ...INVLPG_RDI]);
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(1, 1000));
    expectCompiled();
  });

  test('of code over several pages one changes, by a store in one of the others', () => {
    // f on ONE: call g on TWO; inc eax; ret
    bench.poke(ONE, [0xe8, ...le(TWO - (ONE + 5), 4), 0xff, 0xc0, RET]);
    bench.poke(TWO, [...movEax(10), RET]);
    loop(ONE, store(TWO + 1, 20));
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(11, 21));
    expectCompiled();
  });

  test.each([0, 1, 3])('hot code changes an instruction of its own, %i instructions later', (between) => {
    // mov edx,ecx; add [imm],dl in every turn: the immediate is the sum of all turns so far
    const a = new Assembler(CODE);
    const [top, immediate] = [new Label(), new Label()];
    a.put(0xb9, ...le(TURNS, 4));
    a.place(top);
    a.put(0x89, 0xca, 0x81, 0xfa, ...le(TURNS / 2, 4)); // mov edx,ecx; cmp edx,TURNS/2
    const over = new Label();
    a.relative([0x0f, 0x87], over); // ja: nothing for the first half
    a.relative([0xfe, 0x05], immediate); // inc byte [immediate]
    for (let n = 0; n < between; n++) a.put(0x48, 0xff, 0xc6);
    a.place(over);
    immediate.at = a.here + 1;
    a.put(...movEax(1), 0x01, 0xc3, 0xff, 0xc9);
    a.relative([0x0f, 0x85], top);
    a.put(HLT);
    bench.load(a.finish());
    bench.untilHalt();
    let expected = 0;
    for (let ecx = TURNS, value = 1; ecx > 0; ecx--) {
      if (ecx <= TURNS / 2) value = (value + 1) & 0xff;
      expected += value;
    }
    expect(reg(EBX)).toBe(expected);
    expectCompiled();
  });

  test('a hot loop ends with its budget, to the instruction', () => {
    // L: inc rax; add rbx,rax; jmp L
    bench.load([0x48, 0xff, 0xc0, 0x48, 0x01, 0xc3, 0xeb, 0xf8]);
    const begun = bench.cpu.executed;
    bench.cpu.run(10_000);
    const start = bench.cpu.executed;
    expect(start - begun).toBe(10_000);
    let done = 0;
    for (const budget of [1, 2, 3, 63, 64, 65, 127, 128, 129, 1000, 4097, 100_000]) {
      expect(bench.cpu.run(budget).kind).toBe('budget');
      done += budget;
      expect(bench.cpu.executed - start).toBe(done);
      const turns = Math.floor((10_000 + done + 2) / 3);
      expect({ budget, rax: reg(EAX), at: bench.cpu.next }).toEqual({
        budget,
        rax: turns,
        at: BigInt(CODE + [0, 3, 6][(10_000 + done) % 3]!),
      });
    }
    expectCompiled();
  });

  test('single step that a hot loop turns on for itself traps behind the next instruction', () => {
    twoPages();
    bench.poke(STUBS + DB, [HLT]);
    // pushf; or dword [rsp],100h; popf; inc edx; inc edx
    const event = [0x9c, 0x81, 0x0c, 0x24, ...le(0x100, 4), 0x9d, 0xff, 0xc2, 0xff, 0xc2];
    loop(ONE, event);
    expect(bench.untilVector()).toBe(DB);
    expect(reg(2)).toBe(1);
    expect(reg(ECX)).toBe(TURNS / 2);
    expectCompiled();
  });

  test('a breakpoint that is set on an instruction in a hot loop is hit in every turn from then on', () => {
    twoPages();
    const handler = DATA + 0x800;
    bench.gate(DB, handler);
    // inc rsi; or dword [rsp+16],10000h (RF); iretq
    bench.poke(handler, [0x48, 0xff, 0xc6, 0x81, 0x4c, 0x24, 0x10, ...le(0x10000, 4), ...IRETQ]);
    // mov eax,ONE; mov dr0,rax; mov eax,401h... DR7.L0; mov dr7,rax
    loop(ONE, [...movEax(ONE), 0x0f, 0x23, 0xc0, ...movEax(0x401), 0x0f, 0x23, 0xf8]);
    bench.untilHalt();
    expect(reg(6)).toBe(TURNS / 2);
    expect(reg(EBX)).toBe(TURNS);
    expectCompiled();
  });

  test('a data breakpoint that is set under a hot loop traps behind each store', () => {
    const handler = DATA + 0x800;
    bench.gate(DB, handler);
    bench.poke(handler, [0x48, 0xff, 0xc6, ...IRETQ]);
    // f: mov [DATA+8],ecx; mov eax,1; ret
    bench.poke(ONE, [0x89, 0x0c, 0x25, ...le(DATA + 8, 4), ...movEax(1), RET]);
    loop(ONE, [...movEax(DATA + 8), 0x0f, 0x23, 0xc0, ...movEax(0xd0401), 0x0f, 0x23, 0xf8]); // writes of 4 bytes
    bench.untilHalt();
    expect(reg(6)).toBe(TURNS / 2);
    expectCompiled();
  });

  test('NMIs in a hot loop find an instruction of it and disturb nothing', () => {
    twoPages();
    const handler = DATA + 0x800;
    bench.gate(2, handler);
    // push rax; mov rax,[rsp+8]; mov [DATA],rax; pop rax; inc rsi; iretq
    bench.poke(handler, [0x50, 0x48, 0x8b, 0x44, 0x24, 0x08, 0x48, 0xa3, ...le(DATA, 8), 0x58, 0x48, 0xff, 0xc6, ...IRETQ]);
    loop(ONE, []);
    let nmis = 0;
    const code = new Set<number>();
    while (bench.cpu.run(97).kind === 'budget') {
      bench.cpu.nmi();
      nmis++;
      bench.cpu.run(20);
      code.add(Number(bench.peek64(DATA)));
    }
    expect(reg(6)).toBe(nmis);
    expect(reg(EBX)).toBe(TURNS);
    for (const at of code) expect(at < CODE + 0x100 ? at : at - ONE).toBeLessThan(CODE + 0x100);
    expect(code.size).toBeGreaterThan(3);
    expectCompiled();
  });

  test('the memory for decoded code runs out under hot loops, again and again', () => {
    twoPages();
    const { state, engine } = bench.cpu;
    loop(ONE, []);
    const { generation } = engine;
    for (let turn = 0; bench.cpu.run(turn % 3 === 0 ? 301 : 40).kind === 'budget'; turn++) {
      if (turn % 4 !== 3) continue;
      // No room for a run: what is decoded next empties the arena.
      state.setU32(L.ARENA_NEXT, L.ARENA_END - 0x40);
      bench.poke(ONE, [0xb8]);
    }
    expect(reg(EBX)).toBe(TURNS);
    expect(engine.generation - generation).toBeGreaterThan(1);
    expectCompiled();
  });

  test('more pages of code change in one stretch of execution than anybody has kept count of', () => {
    const turns = 1500;
    // f: mov eax,imm; ret, in a page that every turn writes to
    bench.poke(ONE, [...movEax(0), RET]);
    const a = new Assembler(CODE);
    const top = new Label();
    a.put(0xb9, ...le(turns, 4));
    a.place(top);
    a.put(0x89, 0x0c, 0x25, ...le(ONE + 1, 4), 0xe8, ...le(ONE - (a.here + 12), 4), 0x01, 0xc3, 0xff, 0xc9);
    a.relative([0x0f, 0x85], top);
    a.put(HLT);
    bench.load(a.finish());
    const invalidations = bench.cpu.counts.invalidations;
    bench.untilHalt();
    expect(reg(EBX)).toBe((turns * (turns + 1)) / 2);
    expect(bench.cpu.counts.invalidations - invalidations).toBeGreaterThan(L.DROPPED_SIZE);
    loop(ONE, store(ONE + 1, 3));
    bench.untilHalt();
    expect(reg(EBX)).toBe(sum(1, 3));
  });

  test.each([
    ['SSE', [0x66, 0x0f, 0xef, 0xc0]],
    ['x87', [0xd9, 0xe8, 0xdd, 0xd8]],
    ['MMX', [0x0f, 0xef, 0xc0]],
    ['AVX', [0xc5, 0xf9, 0xef, 0xc0]],
  ])('CR0.TS that is set under hot %s code makes it trap once', (_, code) => {
    const { state } = bench.cpu;
    state.setU64(L.CR4, state.u64(L.CR4) | 0x40000n);
    state.setU64(L.XCR0, 7n);
    bench.cpu.updateMode();
    const handler = DATA + 0x800;
    bench.gate(7, handler);
    // mov r8,[rsp]; inc rsi; clts; iretq
    bench.poke(handler, [0x4c, 0x8b, 0x04, 0x24, 0x48, 0xff, 0xc6, 0x0f, 0x06, ...IRETQ]);
    bench.poke(ONE, [...movEax(1), ...code, RET]);
    loop(ONE, [0x0f, 0x20, 0xc2, 0x83, 0xca, 0x08, 0x0f, 0x22, 0xc2]); // mov rdx,cr0; or edx,8; mov cr0,rdx
    bench.untilHalt();
    expect(reg(6)).toBe(1);
    expect(reg(8)).toBe(ONE + 5);
    expect(reg(EBX)).toBe(TURNS);
    expectCompiled();
  });

  test('hot code goes on over page faults of its own loads, with the page that the handler maps', () => {
    const lazy = 0x7a000;
    bench.map(BigInt(lazy), DATA, 0n);
    const handler = DATA + 0x800;
    bench.gate(PF, handler);
    // push rax; or byte [entry],3; pop rax; add rsp,8; iretq
    bench.poke(handler, [0x80, 0x0c, 0x25, ...le(bench.entry(BigInt(lazy)), 4), 0x03, 0xff, 0xc6, 0x48, 0x83, 0xc4, 0x08, ...IRETQ]);
    bench.poke64(DATA, 4n);
    // f: mov eax,[lazy]; ret
    bench.poke(ONE, [0x8b, 0x04, 0x25, ...le(lazy, 4), RET]);
    // and byte [entry],~1; mov edi,lazy; invlpg
    loop(ONE, [0x80, 0x24, 0x25, ...le(bench.entry(BigInt(lazy)), 4), 0xfe, 0xbf, ...le(lazy, 4), ...INVLPG_RDI]);
    bench.untilHalt();
    expect(reg(6)).toBe(2);
    expect(reg(EBX)).toBe(TURNS * 4);
    expect(reg(EDI)).toBe(lazy);
    expect(bench.reg(4)).toBe(BigInt(STACK + PAGE));
  });
});
