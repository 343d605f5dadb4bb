/** Events that another accelerator has accepted and not delivered, when a machine comes here. SDM vol. 3, 6.14. */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { EXCEPTION, EXTERNAL_INTERRUPT, NO_EVENT } from '../../src/machine/processor-state.ts';
import { ACCELERATORS } from '../accelerators.ts';
import { Bench, CODE } from './bench.ts';
import { compileRuntime } from './runtime.ts';

const NOP_HLT = [0x90, 0xf4];
const GP = 13;

let bench: Bench;
beforeAll(async () => void (bench = new Bench(ACCELERATORS[0]!.make(await compileRuntime()))), 300_000);
beforeEach(() => void bench.renew());

test.each([
  ['an interrupt', { kind: EXTERNAL_INTERRUPT, vector: 0x40, hasError: false, error: 0 }],
  ['an exception with its error code', { kind: EXCEPTION, vector: GP, hasError: true, error: 0x18 }],
] as const)('%s is delivered before anything else, and stays what it is while the machine stands still', (_, event) => {
  bench.load(NOP_HLT);
  bench.cpu.setArchitecture({ ...bench.cpu.architecture(), event });
  const state = bench.cpu.architecture();
  expect(state).toMatchObject({ event, rip: BigInt(CODE) });
  bench.cpu.setArchitecture(state);
  expect(bench.untilVector()).toBe(event.vector);
  const frame = event.hasError ? [BigInt(event.error), BigInt(CODE)] : [BigInt(CODE)];
  expect(frame.map((_word, n) => bench.frame(n))).toEqual(frame);
  expect(bench.cpu.architecture().event.kind).toBe(NO_EVENT);
});

test('a reset forgets them', () => {
  bench.cpu.setArchitecture({ ...bench.cpu.architecture(), event: { kind: EXTERNAL_INTERRUPT, vector: 0x40, hasError: false, error: 0 } });
  bench.cpu.reset();
  expect(bench.cpu.architecture().event.kind).toBe(NO_EVENT);
});
