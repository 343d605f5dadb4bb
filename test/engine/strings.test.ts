/** Repeated string instructions do many elements at once; nothing shows of it. */
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../../src/machine/testing/random.ts';
import * as L from '../../src/x86/runtime/layout.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, DATA, PAGE, P, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const SOURCE = DATA;
const DESTINATION = DATA + 8 * PAGE;
const STRETCH = 3 * PAGE;
const CASES = 400;
const [REPNE, REPE] = [0xf2, 0xf3];
const [CMPS, SCAS, LODS] = [0xa6, 0xae, 0xac];
/** Prefixes, and what to add to the byte form's opcode, by operand size. */
const SIZES = [
  { bytes: 1, prefixes: [], wide: 0 },
  { bytes: 2, prefixes: [0x66], wide: 1 },
  { bytes: 4, prefixes: [], wide: 1 },
  { bytes: 8, prefixes: [0x48], wide: 1 },
] as const;

describe.each(ACCELERATORS)('on $name', ({ make }) => {
  let bench: Bench;
  beforeAll(async () => {
    bench = new Bench(make(await compileRuntime()));
  }, 300_000);
  beforeEach(() => {
    bench.renew();
  });

  interface Start {
    readonly code: readonly number[];
    readonly rax: bigint;
    readonly count: number;
    readonly source: number;
    readonly destination: number;
    readonly flags: bigint;
  }

  /** All that the program can see afterwards. A breakpoint anywhere makes elements go one by one. */
  function run({ code, rax, count, source, destination, flags }: Start, breakpoint: boolean): unknown {
    const { cpu } = bench;
    bench.load([...code, 0xf4]);
    bench.setReg(0, rax);
    bench.setReg(1, BigInt(count));
    bench.setReg(4, BigInt(DATA + 0x1_0000 + PAGE));
    bench.setReg(6, BigInt(source));
    bench.setReg(7, BigInt(destination));
    cpu.setRegisters({ rflags: flags });
    cpu.state.setU32(L.DR7, breakpoint ? 0x401 : 0x400);
    const vector = bench.untilVector();
    const [error, rip, , frameFlags] = vector === undefined ? [] : [0, 1, 2, 3].map((n) => bench.frame(n));
    return { vector, error, rip, frameFlags, registers: [0, 1, 6, 7].map((n) => bench.reg(n)), flags: cpu.registers().rflags, cr2: cpu.state.u64(L.CR2) }; // prettier-ignore
  }

  test.each([
    ['REPE CMPS', REPE, CMPS],
    ['REPNE CMPS', REPNE, CMPS],
    ['REPE SCAS', REPE, SCAS],
    ['REPNE SCAS', REPNE, SCAS],
    ['REP LODS', REPE, LODS],
  ])('%s ends as it would one element at a time, on page borders and at faults, too', (_, prefix, opcode) => {
    const random = seededRandom(prefix * 256 + opcode);
    const lengths = new Set<bigint>();
    // Beyond the stretch there is nothing.
    for (const end of [SOURCE, DESTINATION]) bench.map(BigInt(end + STRETCH), 0, 0n);
    for (let n = 0; n < CASES; n++) {
      const { bytes, prefixes, wide } = SIZES[random(4)]!;
      // One value everywhere, or everywhere in one and nowhere in the other, but for a few bytes.
      const value = random(256);
      const same = prefix === REPE;
      bench.memory.view(SOURCE, STRETCH)!.fill(value);
      bench.memory.view(DESTINATION, STRETCH)!.fill(same ? value : value ^ 0x81);
      const source = SOURCE + (random(2) ? random(PAGE) : STRETCH - random(200));
      const destination = DESTINATION + (random(2) ? random(PAGE) : STRETCH - random(200));
      const count = random(3) === 0 ? random(6) : random(2 * PAGE);
      for (let changes = random(3); changes > 0; changes--) {
        const at = random(Math.min(count + 1, 300)) * bytes + random(bytes);
        for (let byte = at - (at % bytes); byte < at - (at % bytes) + bytes; byte++) {
          if (destination + byte >= DESTINATION + STRETCH) continue;
          if (!same || byte === at) bench.memory.view(destination + byte, 1)![0] = same ? value ^ random(256) : value;
        }
      }
      const address = random(8) === 0 ? [0x67] : [];
      const start = {
        code: [prefix, ...address, ...prefixes, opcode + wide],
        rax: BigInt(`0x${value.toString(16).padStart(2, '0').repeat(8)}`),
        count,
        source,
        destination,
        flags: random(8) === 0 ? 0x402n : BigInt(2 | (random(2) * 0x8d5)),
      };
      const expected = run(start, true);
      expect(run(start, false), `case ${n}`).toEqual(expected);
      lengths.add(BigInt(count) - (expected as { registers: bigint[] }).registers[1]!);
    }
    // The cases are not all alike.
    expect(lengths.size).toBeGreaterThan(CASES / 5);
  });

  test.each([
    ['REP LODSB', REPE, LODS],
    ['REP MOVSB', REPE, 0xa4],
    ['REPNE SCASB', REPNE, SCAS],
  ])('%s reads a device once for each element', (_, prefix, opcode) => {
    let reads = 0;
    bench.map(0x20_0000n, 0xd000_0000, P | 2n);
    bench.mmio.map(0xd000_0000, PAGE, 'counter', { read: () => ++reads, write() {} });
    const address = 0x20_0000;
    run(
      { code: [prefix, opcode], rax: 0n, count: 5, source: address, destination: opcode === SCAS ? address : DESTINATION, flags: 2n },
      false,
    );
    expect(reads).toBe(5);
    expect(bench.reg(1)).toBe(0n);
  });

  test('REP LODSB with 32-bit addresses leaves the last byte in AL', () => {
    const code = [0x67, REPE, LODS];
    bench.poke(SOURCE, le(0x0807060504030201n, 8));
    const start = { code, rax: 0n, count: 8, source: SOURCE, destination: 0, flags: 2n };
    expect(run(start, false)).toEqual(run(start, true));
    expect(bench.reg(0)).toBe(8n);
  });
});
