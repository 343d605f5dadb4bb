/** Compiled code and interpreted code do the same, instruction for instruction, whatever the guest does. */
import { beforeAll, expect, test } from 'vitest';
import { compileRuntime } from '../engine/runtime.ts';
import { fuzz, SECONDS } from '../fuzz/seeds.ts';
import { explain } from './bisect.ts';
import { makeMachines, run, scenario, type Machines } from './lockstep.ts';

let machines: Machines;

beforeAll(async () => {
  machines = makeMachines(await compileRuntime());
}, 300_000);

test('random programs run the same interpreted and compiled', { timeout: 3_600_000 }, async () => {
  let executed = 0;
  const programs = await fuzz(
    'lockstep',
    (_random, seed) => {
      const made = scenario(seed);
      const failure = run(machines, made);
      if (failure) throw new Error(explain(machines, made, failure));
      executed += machines.reference.cpu.executed;
    },
    SECONDS * 4,
  );
  console.log(`lockstep: ${programs} programs, ${(executed / 1e6).toFixed(1)} million instructions on each`);
  expect(programs).toBeGreaterThan(0);
});
