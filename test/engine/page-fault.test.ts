/** Page faults: the runtime's short way to the handler and the processor's, which a waiting NMI brings about, come to the same. */
import { beforeAll, describe, expect, test } from 'vitest';
import { DF, IF, NT } from '../../src/x86/flags.ts';
import * as L from '../../src/x86/runtime/layout.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Random } from '../native/random.ts';
import { Bench, CODE, CODE64, DATA, IDT, KERNEL_STACK, P, RW, STACK, TSS, US, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const GDT = 0x1000;
const AT = 0x4000_0000n;
const HANDLER = CODE + 0x200;
const SEED = 1;
const CASES = 400;
const READ = [0x8a, 0x07]; // mov al, [rdi]
const WRITE = [0x88, 0x07];
const JUMP = [0xff, 0xe7]; // jmp rdi
/** A flag-setting instruction before: its flags have to arrive. */
const SUB = [0x48, 0x29, 0xd8]; // sub rax, rbx

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let benches: Bench[];
  beforeAll(async () => {
    const runtime = await compileRuntime();
    benches = [new Bench(make(runtime)), new Bench(make(runtime))];
  }, 300_000);

  interface Outcome {
    readonly registers: unknown;
    readonly cpl: number;
    readonly next: bigint;
    readonly executed: number;
    readonly frame: bigint[];
    readonly exit: string;
  }

  /** What both have come to; `prepare` answers the code to run. Whether the first one left for a fault comes last. */
  function outcomes(prepare: (bench: Bench) => { code: readonly number[]; user: boolean; flags: number }): [Outcome, Outcome, boolean] {
    let short = false;
    const [first, second] = benches.map((bench, n): Outcome => {
      bench.renew();
      for (const page of [CODE, STACK, DATA]) bench.map(BigInt(page), page, P | RW | US);
      bench.poke(HANDLER, [0xf4]);
      bench.gate(14, HANDLER);
      const { code, user, flags } = prepare(bench);
      const { cpu } = bench;
      const faults = (): number => cpu.counts.exits['fault']!;
      const before = { faults: faults(), executed: cpu.executed };
      bench.load([...SUB, ...code]);
      if (user) bench.enterUser(CODE, BigInt(flags | 2));
      else cpu.setRegisters({ rflags: BigInt(flags | 2) });
      bench.setReg(7, AT);
      bench.setReg(3, 5n);
      if (n === 1) {
        cpu.nmiBlocked = true;
        cpu.nmi();
      }
      const { kind } = cpu.run(1000);
      if (n === 0) short = faults() === before.faults;
      const outcome = {
        registers: cpu.registers(),
        cpl: cpu.cpl,
        next: cpu.next,
        executed: cpu.executed - before.executed,
        frame: [0, 1, 2, 3, 4, 5].map((word) => bench.frame(word)),
        exit: kind,
      };
      cpu.reset();
      return outcome;
    });
    return [first!, second!, short];
  }

  test.each([
    ['a read by the kernel', READ, false],
    ['a write by a user', WRITE, true],
    ['a jump to where nothing is', JUMP, true],
  ])('%s goes to the handler', (_, code, user) => {
    const [short, long] = outcomes(() => ({ code, user, flags: IF }));
    expect(short).toEqual(long);
    expect(short.next).toBe(BigInt(HANDLER + 1));
    expect(short.cpl).toBe(0);
  });

  test(`${CASES} cases with gates, descriptors and stacks that are off by a little, seed ${SEED}`, () => {
    const random = new Random(SEED);
    const pick = <T>(...of: T[]): T => of[random.below(of.length)]!;
    let quick = 0;
    for (let n = 0; n < CASES; n++) {
      const user = random.below(2) === 1;
      const type = pick(0x8e, 0x8e, 0x8f, 0x8e, 0x8f, 0x0e, 0x8c, 0x8d);
      const stackTable = pick(0, 0, 0, 0, 1);
      const selector = pick(CODE64, CODE64, CODE64, CODE64 | 3, 0x10, 0, 0x78, CODE64 | 4);
      const codeBit = pick(undefined, undefined, undefined, 40n, 42n, 45n, 47n, 53n, 54n);
      const stack = pick(BigInt(KERNEL_STACK), BigInt(KERNEL_STACK), 0x8007n, 1n << 47n, AT, 8n);
      const limit = pick(0x67, 0x67, 0x67, 11, 10);
      const flags = [IF, DF, NT].reduce((sum, bit) => (random.below(2) ? sum : sum | bit), random.below(0x1000) & 0x8d5);
      const code = pick(READ, WRITE, JUMP);
      const [short, long, wasShort] = outcomes((bench) => {
        const gate = IDT + 14 * 16;
        bench.poke(gate, [...le(HANDLER, 2), ...le(selector, 2), stackTable, type | 0x60, ...le(HANDLER >>> 16, 2)]);
        bench.poke64(TSS + 4, stack);
        bench.poke64(TSS + 36, BigInt(KERNEL_STACK - 0x800));
        if (codeBit !== undefined) bench.poke64(GDT + 8, bench.peek64(GDT + 8) ^ (1n << codeBit));
        const { segments } = bench.cpu.registers();
        bench.cpu.setRegisters({ segments: { ...segments, tr: { ...segments.tr, limit } } });
        return { code, user, flags };
      });
      expect(short, `case ${n}`).toEqual(long);
      if (wasShort) quick++;
    }
    // Otherwise this compares one way with itself.
    expect(quick).toBeGreaterThan(CASES / 10);
  });

  test('the fault of an access that the handler mends leaves nothing undone, and the instruction runs again', () => {
    const [bench] = benches as [Bench];
    bench.renew();
    for (const page of [CODE, STACK]) bench.map(BigInt(page), page, P | RW | US);
    bench.poke(DATA, [42]);
    const entry = bench.entry(AT);
    // mov dword [entry], DATA | 7; add rsp, 8; iretq
    bench.poke(HANDLER, [0xc7, 0x04, 0x25, ...le(entry, 4), ...le(DATA | 7, 4), 0x48, 0x83, 0xc4, 0x08, 0x48, 0xcf]);
    bench.gate(14, HANDLER);
    bench.load([...READ, 0xf4]);
    bench.enterUser(CODE);
    bench.setReg(7, AT);
    bench.setReg(0, 0n);
    expect(bench.untilVector()).toBe(13); // HLT is not the user's
    expect(bench.reg(0)).toBe(42n);
    expect(bench.cpu.state.u64(L.CR2)).toBe(AT);
  });
});
