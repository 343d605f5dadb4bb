/** Finds where a compiled program leaves the interpreted one, for people to look at. */
import * as L from '../../src/x86/runtime/layout.ts';
import { P } from '../engine/bench.ts';
import { step, type Failure, type Machines, type Scenario } from './lockstep.ts';
import type { LockstepMachine } from './machine.ts';

/** Instructions shown before the place. */
const SHOWN = 60;

function replay(machine: LockstepMachine, { program, settings, slices }: Scenario, until: number): void {
  machine.prepare(program, settings);
  for (const slice of slices.slice(0, until)) step(machine, slice);
}

/** A report: seed, slice, differences, the smallest budget of that slice that shows them, and what ran before. */
export function explain({ reference }: Machines, made: Scenario, { machine, slice, differences }: Failure): string {
  const { events, budget } = made.slices[slice]!;
  const differAfter = (count: number): string[] => {
    for (const each of [reference, machine]) {
      replay(each, made, slice);
      step(each, { events, budget: count });
    }
    return machine.differences(reference);
  };
  const repeated = differAfter(budget);
  let [low, high] = [0, budget];
  if (repeated.length > 0) {
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (differAfter(middle).length > 0) high = middle;
      else low = middle;
    }
  }
  const shown = repeated.length > 0 ? differAfter(high) : differences;
  const before = machine.cpu.counts.compiler;
  replay(reference, made, slice);
  step(reference, { events, budget: Math.max(0, high - SHOWN) });
  const trace: string[] = [];
  for (let n = Math.max(0, high - SHOWN); n < high; n++) {
    trace.push(place(reference));
    step(reference, { events: [], budget: 1 });
  }
  trace.push(`→ ${place(reference)}`);
  return [
    `slice ${slice} of ${made.slices.length}, ${JSON.stringify(events)}, budget ${high} of ${budget}`,
    ...(repeated.length > 0 ? [] : ['(does not happen again when the slice is repeated)']),
    ...shown,
    `regions ${before?.regions}, dropped ${before?.dropped}`,
    'The interpreter went:',
    ...trace,
  ].join('\n');
}

function place({ cpu, bench }: LockstepMachine): string {
  // Through the page tables of the moment, as far as they are there.
  let table = cpu.state.u64(L.CR3);
  for (const shift of [39n, 30n, 21n, 12n]) {
    const entry = Number(table & 0xf_ffff_f000n) + Number((cpu.next >> shift) & 0x1ffn) * 8;
    table = bench.memory.view(entry, 8) ? bench.peek64(entry) : 0n;
  }
  const bytes = table & P ? bench.memory.view(Number(table & 0xf_ffff_f000n) + Number(cpu.next & 0xfffn), 15) : undefined;
  const code = bytes ? Buffer.from(bytes).toString('hex') : '?';
  return `${cpu.next.toString(16)} cpl${cpu.cpl} ${code} flags ${cpu.rflags.toString(16)}`;
}
