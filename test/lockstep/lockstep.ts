/** Runs one program on several accelerators slice by slice, and compares after each. */
import { interpreter, jit } from '../../src/x86/accelerator.ts';
import { Random } from '../native/random.ts';
import * as A from './layout.ts';
import { LockstepMachine, type Settings } from './machine.ts';
import { generate, type Program } from './program.ts';

/** What happens before a slice. */
type Event =
  | { readonly kind: 'interrupt'; readonly vector: number }
  | { readonly kind: 'nmi' }
  | { readonly kind: 'start'; readonly seed: number; readonly kernel: boolean }
  | { readonly kind: 'restore'; readonly page: number; readonly pages: number }
  | { readonly kind: 'mutate'; readonly which: number; readonly value: number }
  | { readonly kind: 'break'; readonly dr7: number; readonly address: number }
  | { readonly kind: 'save' }
  | { readonly kind: 'full'; readonly left: number };

export interface Slice {
  readonly events: readonly Event[];
  readonly budget: number;
}

export interface Scenario {
  readonly seed: number;
  readonly program: Program;
  readonly settings: Settings;
  readonly slices: readonly Slice[];
}

/** Instructions that a scenario has about. */
const INSTRUCTIONS = 300_000;
/** Regions compiled in a scenario, after which it ends: code that changes all the time takes too long. */
const MOST_REGIONS = 1500;

export function scenario(seed: number): Scenario {
  const random = new Random(seed);
  const settings = { pcid: random.chance(50), global: random.chance(60), alignment: random.chance(10), seed: random.u32() };
  const program = generate(random);
  const slices: Slice[] = [];
  const most = random.pick([300, 1000, 3000, 20_000]);
  for (let sum = 0; sum < INSTRUCTIONS;) {
    const budget = 1 + random.below(random.pick([100, most, most]));
    sum += budget;
    slices.push({ events: events(random), budget });
    if (slices.length > 400) break;
  }
  return { seed, program, settings, slices };
}

function events(random: Random): Event[] {
  const list: Event[] = [];
  const add = (percent: number, event: () => Event): void => {
    if (random.chance(percent)) list.push(event());
  };
  add(3, () => ({ kind: 'restore', page: A.CODE >> 12, pages: A.CODE_PAGES }));
  add(1, () => ({ kind: 'restore', page: 0, pages: 0x80 }));
  add(35, () => ({ kind: 'start', seed: random.u32(), kernel: random.chance(40) }));
  add(60, () => ({ kind: 'interrupt', vector: random.chance(80) ? A.TICK : A.RESCHEDULE }));
  add(6, () => ({ kind: 'nmi' }));
  add(4, () => ({ kind: 'mutate', which: random.below(1000), value: random.below(256) }));
  // A breakpoint: on execution, writing or any access
  const condition = (): number => random.pick([0x0_0000, 0x1_0000, 0xd_0000, 0xf_0000]);
  const place = (): number => random.pick([A.CODE + random.below(0x4000), A.DATA + 0x100 + 4 * random.below(32), A.STACK_TOP - 0x108]);
  add(2, () => ({ kind: 'break', dr7: 0x401 | condition(), address: place() }));
  add(1, () => ({ kind: 'save' }));
  add(1, () => ({ kind: 'full', left: random.below(0x8000) }));
  return list;
}

function happen(machine: LockstepMachine, event: Event): void {
  switch (event.kind) {
    case 'interrupt':
      return machine.bench.interrupt(event.vector);
    case 'nmi':
      return machine.cpu.nmi();
    case 'start':
      return machine.start(event.seed, event.kernel);
    case 'restore':
      return machine.restore(event.page, event.pages);
    case 'mutate':
      return machine.mutate(event.which, event.value);
    case 'break':
      return machine.break(event.dr7, event.address);
    case 'save':
      return machine.cpu.restore(structuredClone(machine.cpu.save()));
    case 'full':
      return machine.fill(event.left);
  }
}

/** Does a slice on a machine. Answers how it ended. */
export function step(machine: LockstepMachine, { events: before, budget }: Slice): string {
  for (const event of before) happen(machine, event);
  const { kind } = machine.cpu.run(budget);
  if (kind === 'halt') machine.start(machine.cpu.executed, true);
  return kind;
}

/** The first slice after which a machine differs from the reference. */
export interface Failure {
  readonly machine: LockstepMachine;
  readonly slice: number;
  readonly differences: readonly string[];
}

export interface Machines {
  readonly reference: LockstepMachine;
  readonly others: readonly LockstepMachine[];
}

export function makeMachines(runtime: WebAssembly.Module): Machines {
  const compiling = [
    [1, 1],
    [3, 8],
    [20, 1],
  ].map(
    ([threshold, batch]) => new LockstepMachine(`jit/${threshold}/${batch}`, jit(runtime, 'max', { threshold: threshold!, batch: batch! })),
  );
  return { reference: new LockstepMachine('interpreter', interpreter(runtime)), others: compiling };
}

/** Runs a scenario on the reference and two others; undefined when they stay the same. */
export function run({ reference, others: all }: Machines, { seed, program, settings, slices }: Scenario): Failure | undefined {
  // The lowest threshold is the slowest by far.
  const others = all.filter((_, n) => n !== (seed % 3 === 0 ? 1 : 0));
  for (const machine of [reference, ...others]) machine.prepare(program, settings);
  const compiled = others.map(({ cpu }) => cpu.counts.compiler!.regions);
  for (const [n, slice] of slices.entries()) {
    const ended = step(reference, slice);
    for (const machine of others) {
      const its = step(machine, slice);
      const differences = machine.differences(reference);
      if (its !== ended) differences.unshift(`end: ${machine.name} ${its}, ${reference.name} ${ended}`);
      if (differences.length > 0) return { machine, slice: n, differences };
    }
    if (ended === 'shutdown' || others.some(({ cpu }, n) => cpu.counts.compiler!.regions - compiled[n]! > MOST_REGIONS)) return undefined;
  }
  return undefined;
}
