/** Address spaces by PCID: each sees its own pages, and keeps its translations as long as it may. SDM vol. 3, 4.10. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as L from '../../src/x86/runtime/layout.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, CODE, DATA, P, PAGE, RW, TABLES, US, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const PCIDE = 1n << 17n;
const KEEP = 1n << 63n;
const AT = 0x4000_0000n;
const USER_CODE = 0x1_5000_0000;
/** What system calls do, at CPL 0: load CR3 from RAX, write a page table entry R9 at R8, and what a test wants. */
const CALLS: readonly (readonly number[])[] = [
  [0x0f, 0x22, 0xd8],
  [0x4d, 0x89, 0x08],
];
const HANDLERS = CODE + 0x800;
/** More than are kept. */
const SPACES = 10;
const HLT = 0xf4;
const IRETQ = [0x48, 0xcf];
const call = (n: number): number[] => [0xcd, 0x80 + n];
const READ = [0x48, 0xc1, 0xe3, 0x04, 0x0a, 0x1f]; // shl rbx, 4; or bl, [rdi]
const setRax = (value: bigint): number[] => [0x48, 0xb8, ...le(value, 8)];

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = new Bench(make(await compileRuntime()));
  }, 300_000);
  beforeEach(() => {
    bench.renew();
    bench.setReg(7, AT);
    bench.map(BigInt(USER_CODE), DATA, P | US);
    bench.map(AT, 0x100000, P | US | RW);
    bench.map(BigInt(tableOf(1)), tableOf(1), P | RW);
    for (let n = 0; n < SPACES; n++) makeSpace(n);
    CALLS.forEach((code, n) => handle(n, code));
    bench.cpu.setRegisters({ cr4: bench.cpu.state.u64(L.CR4) | PCIDE });
  });

  const pageOf = (n: number): number => 0x100000 + n * 0x8000;
  const rootOf = (n: number): number => pageOf(n) + PAGE;
  const tableOf = (n: number): number => pageOf(n) + 4 * PAGE;
  /** A value for CR3: space n under a PCID of its own. */
  const cr3 = (n: number, keep = KEEP, pcid = n + 1): bigint => BigInt(rootOf(n) | pcid) | keep;

  /** An address space like the bench's, but for the page at AT, which has the number n. */
  function makeSpace(n: number): void {
    const [root, pointers, directory] = [rootOf(n), rootOf(n) + PAGE, rootOf(n) + 2 * PAGE];
    bench.poke(pageOf(n), [n]);
    bench.poke(root, [...bench.memory.view(TABLES, PAGE)!]);
    bench.poke(pointers, [...bench.memory.view(Number(bench.peek64(TABLES) & 0xf_ffff_f000n), PAGE)!]);
    bench.poke64(root, BigInt(pointers) | 7n);
    bench.poke64(pointers + 8, BigInt(directory) | 7n);
    bench.poke64(directory, BigInt(tableOf(n)) | 7n);
    bench.poke64(tableOf(n), BigInt(pageOf(n)) | 7n);
  }

  function handle(n: number, code: readonly number[]): void {
    bench.poke(HANDLERS + n * 0x40, [...code, ...IRETQ]);
    bench.gate(0x80 + n, HANDLERS + n * 0x40);
  }

  /** Runs user code; answers RBX. Nothing is known of any translation before. */
  function run(code: readonly number[]): bigint {
    bench.poke(DATA, [...code, HLT]);
    bench.cpu.halted = false;
    bench.enterUser(USER_CODE);
    bench.setReg(3, 0n);
    expect(bench.untilVector()).toBe(13); // HLT is not the user's
    return bench.reg(3);
  }
  const visit = (n: number, keep = KEEP): number[] => [...setRax(cr3(n, keep)), ...call(0), ...READ];
  /** Has space 1 another page at AT from now on. */
  const change = (to: number): number[] => [
    ...[0x49, 0xb8, ...le(tableOf(1), 8)], // mov r8, …
    ...[0x49, 0xb9, ...le(pageOf(to) | 7, 8)], // mov r9, …
    ...call(1),
  ];
  const sequence = (...numbers: number[]): bigint => numbers.reduce((sum, n) => sum * 16n + BigInt(n), 0n);

  test('each sees its own page, however many there are and however often they take turns', () => {
    const order = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 9, 5, 5, 1];
    expect(run(order.flatMap((n) => visit(n)))).toBe(sequence(...order));
    expect(run(order.flatMap((n) => visit(n)))).toBe(sequence(...order));
  });

  test('one PCID for two address spaces in turn shows each its own page after a load that flushes', () => {
    const enter = (n: number): number[] => [...setRax(cr3(n, 0n, 7)), ...call(0), ...READ];
    expect(run([1, 2, 1, 2].flatMap(enter))).toBe(sequence(1, 2, 1, 2));
  });

  test('translations are kept by a load with bit 63, and dropped by one without', () => {
    expect(run([...visit(1), ...visit(2), ...change(4), ...visit(1), ...visit(2), ...visit(1, 0n)])).toBe(sequence(1, 2, 1, 2, 4));
  });

  describe('INVPCID', () => {
    /** Space 1's page changes while space 2 is the present one; INVPCID of a type, from there; what space 1 reads then. */
    function after(type: number, pcid: number): bigint {
      bench.poke(0x70000, [...le(pcid, 8), ...le(AT, 8)]);
      // mov ecx, type; invpcid rcx, [0x70000]
      handle(2, [0xb9, ...le(type, 4), 0x66, 0x0f, 0x38, 0x82, 0x0c, 0x25, ...le(0x70000, 4)]);
      return run([...visit(1), ...visit(2), ...change(4), ...call(2), ...visit(1)]) & 15n;
    }

    test.each([
      ['one address of one PCID', 0, 2],
      ['one PCID', 1, 2],
      ['everything', 2, 0],
      ['everything that is not global', 3, 0],
    ])('drops %s', (_, type, pcid) => {
      expect(after(type, pcid)).toBe(4n);
    });

    test('of another PCID drops nothing here', () => {
      expect(after(1, 3)).toBe(1n);
    });
  });

  test('INVLPG in one space leaves nothing behind in the others', () => {
    handle(2, [0x0f, 0x01, 0x3f]); // invlpg [rdi]
    // More than the manual asks for: a guest cannot rely on less.
    expect(run([...visit(1), ...visit(2), ...change(4), ...call(2), ...visit(1)])).toBe(sequence(1, 2, 4));
  });

  test('without PCIDE, every load flushes', () => {
    bench.cpu.setRegisters({ cr4: bench.cpu.state.u64(L.CR4) & ~PCIDE });
    const enter = (n: number): number[] => [...setRax(BigInt(rootOf(n))), ...call(0), ...READ];
    expect(run([...enter(1), ...enter(2), ...change(4), ...enter(1), ...enter(2)])).toBe(sequence(1, 2, 4, 2));
  });
});
