/** The time-stamp counter, and what a guest adds to it. SDM vol. 3, 18.17.3. */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, le } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const { make } = ACCELERATORS[0]!;
const [RAX, RDX] = [0, 2];
const [TSC, TSC_ADJUST, SYSTEM_TIME] = [0x10, 0x3b, 0x4b56_4d01];
const HLT = 0xf4;
const TIME_PAGE = 0x5_0000;
const MINUTE = 60_000_000_000n;

let runtime: WebAssembly.Module;
let bench: Bench;
beforeAll(async () => {
  runtime = await compileRuntime();
  bench = new Bench(make(runtime));
}, 300_000);
beforeEach(() => void bench.renew());

function rdmsr(index: number): bigint {
  bench.load([0xb9, ...le(index, 4), 0x0f, 0x32, HLT]);
  bench.untilVector();
  return (bench.reg(RDX) << 32n) | bench.reg(RAX);
}

function wrmsr(index: number, value: bigint): void {
  const low = le(value & 0xffff_ffffn, 4);
  bench.load([0xb9, ...le(index, 4), 0xb8, ...low, 0xba, ...le(value >> 32n, 4), 0x0f, 0x30, HLT]);
  expect(bench.untilVector()).toBeUndefined();
}

test('what is written to the counter shows in TSC_ADJUST, and what is written there moves the counter', () => {
  wrmsr(TSC, MINUTE);
  const first = rdmsr(TSC);
  expect(first).toBeGreaterThanOrEqual(MINUTE);
  const adjust = rdmsr(TSC_ADJUST);
  // Not quite the value: the counter had come some way.
  expect(adjust).toBeLessThan(MINUTE);
  expect(adjust).toBeGreaterThan(MINUTE - 10_000n);
  wrmsr(TSC_ADJUST, adjust + MINUTE);
  expect(rdmsr(TSC) - first).toBeGreaterThanOrEqual(MINUTE);
});

test('a counter that goes on from elsewhere is no adjustment of the guest’s', () => {
  const state = bench.cpu.architecture();
  bench.cpu.setArchitecture({ ...state, tsc: state.tsc + MINUTE });
  expect(rdmsr(TSC)).toBeGreaterThanOrEqual(MINUTE);
  expect(rdmsr(TSC_ADJUST)).toBe(0n);
  expect(bench.cpu.architecture()).toMatchObject({ tscAdjust: 0n });
});

test('kvmclock goes on with guest time when the counter moves, and says that it has changed', () => {
  wrmsr(SYSTEM_TIME, BigInt(TIME_PAGE) | 1n);
  const { memory } = bench;
  const version = memory.read32(TIME_PAGE);
  expect(version % 2).toBe(0);
  expect(memory.read64(TIME_PAGE + 8)).toBe(0);
  const state = bench.cpu.architecture();
  bench.cpu.setArchitecture(state);
  expect(memory.read32(TIME_PAGE)).toBe(version);
  bench.cpu.setArchitecture({ ...state, tsc: state.tsc + MINUTE });
  expect(memory.read32(TIME_PAGE)).toBe(version + 2);
  expect(BigInt(memory.read64(TIME_PAGE + 8))).toBe(MINUTE);
});

test('a state with a register that only another accelerator has is refused, and the register is named', () => {
  const state = bench.cpu.architecture();
  bench.cpu.setArchitecture({ ...state, otherMsrs: [{ index: 0x1a0, value: 1n }] });
  const foreign = { ...state, rip: 0x1234n, otherMsrs: [{ index: 0x2ff, value: 0xc06n }] };
  expect(() => bench.cpu.setArchitecture(foreign)).toThrow(/MSR 0x2ff \(0xc06\).*own processor does not have: go on under KVM/);
  expect(bench.cpu.architecture().rip).toBe(state.rip);
});
