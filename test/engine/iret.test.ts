/** IRETQ: the runtime's short way, and the system routine, which an NMI in progress brings about, come to the same. */
import { beforeAll, describe, expect, test } from 'vitest';
import { AC, DF, ID, IF, IOPL, NT, RF, TF } from '../../src/x86/flags.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Random } from '../native/random.ts';
import { Bench, CODE, CODE64, CODE64_USER, DATA0, DATA_USER, P, RW, STACK, US, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const GDT = 0x1000;
const IRETQ = [0x48, 0xcf];
const TARGET = CODE + 0x200;
const FRAME = STACK + 0x800;
const SEED = 1;

/** Descriptors at 0x30 and 0x38: usual ones with a bit or two changed. */
const BITS_OF_ACCESS = [40n, 41n, 42n, 43n, 44n, 45n, 46n, 47n, 53n, 54n, 55n];

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let benches: Bench[];
  beforeAll(async () => {
    const runtime = await compileRuntime();
    benches = [new Bench(make(runtime)), new Bench(make(runtime))];
  }, 300_000);

  /** What both have come to after IRETQ with a frame. */
  function outcomes(prepare: (bench: Bench) => void): unknown[] {
    return benches.map((bench, n) => {
      bench.renew();
      for (const page of [CODE, STACK]) bench.map(BigInt(page), page, P | RW | US);
      bench.poke(TARGET, [0x90, 0xf4]);
      prepare(bench);
      bench.load(IRETQ);
      bench.setReg(4, BigInt(FRAME));
      bench.cpu.nmiBlocked = n === 1;
      // IRETQ and what it leads to; a fault goes to a stub.
      bench.cpu.run(1);
      const { cpu } = bench;
      const after = { registers: cpu.registers(), cpl: cpu.cpl, next: cpu.next, executed: cpu.executed, nmi: cpu.nmiBlocked && n === 0 };
      bench.cpu.run(2);
      return { after, later: bench.cpu.registers(), frame: [0, 1, 2, 3].map((word) => bench.frame(word)), halted: bench.cpu.halted };
    });
  }

  function frame(bench: Bench, words: readonly (number | bigint)[]): void {
    bench.poke(
      FRAME,
      words.flatMap((word) => le(word, 8)),
    );
  }

  test.each([
    ['the kernel', CODE64, DATA0],
    ['the kernel without a stack segment', CODE64, 0],
    ['user mode', CODE64_USER, DATA_USER],
  ])('goes back to %s', (_, code, stack) => {
    const [short, long] = outcomes((bench) => frame(bench, [TARGET, code, IF | 0x8d7, STACK + 0x100, stack]));
    expect(short).toEqual(long);
    expect(short).toMatchObject({ after: { next: BigInt(TARGET), cpl: code & 3 } });
  });

  test(`does the same with 500 frames and descriptors that are off by a little, seed ${SEED}`, () => {
    const random = new Random(SEED);
    const pick = <T>(...of: T[]): T => of[random.below(of.length)]!;
    const flip = (descriptor: bigint): bigint => (random.below(2) ? descriptor ^ (1n << pick(...BITS_OF_ACCESS)) : descriptor);
    let reached = 0;
    for (let n = 0; n < 500; n++) {
      const user = random.below(2) === 1;
      const descriptors = [
        flip(user ? 0x00af_fb00_0000_ffffn : 0x00af_9b00_0000_ffffn),
        flip(user ? 0x00cf_f300_0000_ffffn : 0x00cf_9300_0000_ffffn),
      ];
      const level = user ? 3 : 0;
      const code = pick(user ? CODE64_USER : CODE64, 0x30 | level, 0x30 | level, random.below(0x60));
      const stack = pick(user ? DATA_USER : DATA0, 0x38 | level, 0x38 | level, level, random.below(0x60));
      const flags = [TF, IF, DF, IOPL, NT, RF, AC, ID].reduce(
        (sum, bit) => (random.below(6) ? sum : sum | bit),
        random.below(0x1000) & 0x8d5,
      );
      const target = pick<bigint>(BigInt(TARGET), BigInt(TARGET), 1n << 47n, 0xffff_8000_0000_0000n);
      const old = pick(0, 0, 0, NT, AC, IF);
      const data = pick(DATA0, DATA_USER, 0);
      const [short, long] = outcomes((bench) => {
        bench.poke64(GDT + 0x30, descriptors[0]!);
        bench.poke64(GDT + 0x38, descriptors[1]!);
        frame(bench, [target, code, flags, STACK + 0x100, stack]);
        const { ds } = bench.cpu.registers().segments;
        const attributes = data === 0 ? 0x10000 : data === DATA0 ? ds.attributes : 0xc0f3;
        bench.cpu.setRegisters({
          rflags: BigInt(old | 2),
          segments: { ...bench.cpu.registers().segments, ds: { ...ds, selector: data, attributes } },
        });
      });
      expect(short, `case ${n}`).toEqual(long);
      if ((short as { after: { next: bigint } }).after.next === BigInt(TARGET)) reached++;
    }
    // Otherwise this compares faults only.
    expect(reached).toBeGreaterThan(50);
  });
});
