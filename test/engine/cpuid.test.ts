/** What CPUID announces exists, and what it does not announce does not. SDM vol. 2, CPUID; vol. 4, table 2-2. */
import { beforeAll, expect, test } from 'vitest';
import { interpreter } from '../../src/x86/accelerator.ts';
import { GP } from '../../src/x86/faults.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const { make } = ACCELERATORS[0]!;
const [RAX, RDX] = [0, 2];
const SPEC_CTRL = 0x48;
const BHI_DIS_S = 1 << 10;
const ARCH_CAPABILITIES = 0x10a;
const HLT = 0xf4;

let runtime: WebAssembly.Module;
beforeAll(async () => void (runtime = await compileRuntime()), 300_000);

const cpuid = (leaf: number, subleaf: number): number[] => [0xb8, ...le(leaf, 4), 0xb9, ...le(subleaf, 4), 0x0f, 0xa2, HLT];
const rdmsr = (index: number): number[] => [0xb9, ...le(index, 4), 0x0f, 0x32, HLT];
const wrmsr = (index: number, value: number): number[] => [0xb9, ...le(index, 4), 0xb8, ...le(value, 4), 0x31, 0xd2, 0x0f, 0x30, HLT];

test.each(['x86-64', 'x86-64-v3', 'max'])('%s announces that Linux needs no mitigation in software', (model) => {
  const bench = new Bench(make(runtime, model));
  const run = (code: readonly number[]): number | undefined => {
    bench.load(code);
    return bench.untilVector();
  };
  run(cpuid(7, 0));
  expect(bench.reg(RAX)).toBeGreaterThanOrEqual(2n);
  run(cpuid(7, 2));
  expect(bench.reg(RDX) & 0x10n).toBe(0x10n); // BHI_CTRL
  run(rdmsr(ARCH_CAPABILITIES));
  expect(bench.reg(RAX) & (1n << 20n)).toBe(1n << 20n); // BHI_NO
  expect(run(wrmsr(SPEC_CTRL, BHI_DIS_S | 1))).toBeUndefined();
  expect(run(rdmsr(SPEC_CTRL))).toBeUndefined();
  expect(bench.reg(RAX)).toBe(BigInt(BHI_DIS_S | 1));
  expect(run(wrmsr(SPEC_CTRL, 4))).toBe(GP); // SSBD is not announced
});

test('portable, which has no BHI_CTRL, has the IBRS that IA32_ARCH_CAPABILITIES promises', () => {
  const bench = new Bench(make(runtime, 'portable'));
  const run = (code: readonly number[]): number | undefined => {
    bench.load(code);
    return bench.untilVector();
  };
  run(rdmsr(ARCH_CAPABILITIES));
  expect(bench.reg(RAX) & 2n).toBe(2n); // IBRS_ALL
  expect(run(wrmsr(SPEC_CTRL, 1))).toBeUndefined();
});

test('a processor that another accelerator has shown is had whole or refused; its ways around side channels do nothing', () => {
  const cpu = { name: 'max', features: ['fpu', 'tsc', 'lm', 'spec_ctrl', 'stibp', 'ssbd', 'md_clear'], tscKhz: 1_000_000 };
  const accelerator = interpreter(runtime, cpu);
  expect(accelerator.cpu).toEqual(cpu);
  const bench = new Bench(accelerator);
  const run = (code: readonly number[]): number | undefined => {
    bench.load(code);
    return bench.untilVector();
  };
  run(cpuid(7, 0));
  expect(bench.reg(RDX)).toBe(BigInt((1 << 10) | (1 << 26) | (1 << 27)) | (1n << 31n));
  expect(run(wrmsr(SPEC_CTRL, 7))).toBeUndefined();
  expect(run(wrmsr(SPEC_CTRL, BHI_DIS_S))).toBe(GP);
  expect(() => interpreter(runtime, { ...cpu, features: ['fpu', 'avx512f'] })).toThrow(/needs avx512f, which Daybreak’s own processor/);
  expect(() => interpreter(runtime, { ...cpu, tscKhz: 3_000_000 })).toThrow(/needs a TSC of 3000000 kHz/);
});
