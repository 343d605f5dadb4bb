/** PAE paging outside long mode: its page-directory-pointer entries are registers. SDM vol. 3, 4.4.1. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { GP, PAGE_FAULT } from '../../src/x86/faults.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, CODE, LARGE, P, RW, le } from './bench.ts';
import { enterProtected } from './legacy.ts';
import { compileRuntime } from './runtime.ts';

const PDPT = 0x10_0000;
const LOW = 0x10_1000;
const HIGH = 0x10_2000;
const GIB = 0x4000_0000;
const CR4_PSE = 0x10n;
const CR4_PAE = 0x20n;
const CR4_PGE = 0x80n;
const CR4_TSD = 4n;
const PG = 0x8000_0033n;
const CD = 1n << 30n;

const mov = (value: bigint | number): number[] => [0xb8, ...le(BigInt(value), 4)]; // mov eax, value
const toCr0 = [0x0f, 0x22, 0xc0];
const toCr3 = [0x0f, 0x22, 0xd8];
const toCr4 = [0x0f, 0x22, 0xe0];
const INVLPG = [0x0f, 0x01, 0x3d, ...le(GIB, 4)];
const READ = [0xa1, ...le(GIB, 4)]; // mov eax, [GIB]
const HLT = 0xf4;

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let runtime: WebAssembly.Module;
  let bench: Bench;
  beforeAll(async () => {
    runtime = await compileRuntime();
    bench = new Bench(make(runtime));
  }, 300_000);

  beforeEach(() => {
    bench.renew();
    bench.poke64(PDPT, BigInt(LOW) | P);
    bench.poke64(PDPT + 8, BigInt(HIGH) | P);
    bench.poke64(LOW, LARGE | RW | P);
    bench.poke64(HIGH, 0x20_0000n | LARGE | RW | P);
    bench.poke64(0x20_0000, 0x1234n);
    enterProtected(bench, CR4_PAE);
    bench.cpu.setRegisters({ cr3: BigInt(PDPT), cr0: PG });
  });

  /** Vector that code ends with; undefined when it runs through. */
  function run(...code: readonly (readonly number[] | number)[]): number | undefined {
    bench.load([...code.flat(), HLT], CODE);
    return bench.untilVector();
  }

  test('a change in memory is seen with the next MOV to CR3 only', () => {
    expect(run(READ)).toBeUndefined();
    expect(bench.reg(0)).toBe(0x1234n);
    bench.poke64(PDPT + 8, 0n);
    expect(run(INVLPG, READ)).toBeUndefined();
    expect(bench.reg(0)).toBe(0x1234n);
    expect(run(mov(PDPT), toCr3, READ)).toBe(PAGE_FAULT);
  });

  test.each([
    ['PG, CD and NW of CR0', mov(PG | CD), toCr0],
    ['PSE, PAE, PGE and SMEP of CR4', mov(CR4_PAE | CR4_PGE), toCr4],
    ['PSE of CR4', mov(CR4_PAE | CR4_PSE), toCr4],
  ])('a change of %s loads them again', (_, value, write) => {
    bench.poke64(PDPT + 8, 0n);
    expect(run(value, write, READ)).toBe(PAGE_FAULT);
  });

  test('other changes of CR0 and CR4 do not', () => {
    bench.poke64(PDPT + 8, 0n);
    expect(run(mov(CR4_PAE | CR4_TSD), toCr4, mov(PG | 8n), toCr0, mov(PG), toCr0, INVLPG, READ)).toBeUndefined();
  });

  test.each([1n << 1n, 1n << 2n, 1n << 5n, 1n << 8n, 1n << 40n, 1n << 63n])(
    'bit mask %s of an entry that is present is reserved: MOV to CR3 is #GP(0) and loads nothing',
    (bit) => {
      bench.poke64(PDPT + 8, 0n);
      bench.poke64(PDPT + 24, P | bit);
      expect(run(mov(PDPT), toCr3)).toBe(GP);
      expect(run(INVLPG, READ)).toBeUndefined();
      bench.poke64(PDPT + 24, bit);
      expect(run(mov(PDPT), toCr3)).toBeUndefined();
    },
  );

  test('a saved state has them', () => {
    bench.poke64(PDPT + 8, 0n);
    const saved = bench.cpu.save();
    bench.cpu.reset();
    bench.cpu.restore(saved);
    expect(run(INVLPG, READ)).toBeUndefined();
    expect(bench.reg(0)).toBe(0x1234n);
  });
});
