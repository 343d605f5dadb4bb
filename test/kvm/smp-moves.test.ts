/** A machine with several processors is saved under KVM while all of them are busy, goes on in another KVM, and loses nothing. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ProcessorState, STARTED, WAITS_FOR_INIT, WAITS_FOR_SIPI } from '../../src/machine/processor-state.ts';
import type { StateCodec } from '../../src/machine/saved-state.ts';
import { seededRandom } from '../../src/machine/testing/random.ts';
import { KvmAccelerator } from '../../src/node/kvm/accelerator.ts';
import type { ThreadProgram } from '../../src/node/kvm/threaded-vcpu.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { interpreter } from '../../src/x86/accelerator.ts';
import { buildInterpreter } from '../../src/x86/interpreter/build.ts';
import { Variants } from '../../src/x86/interpreter/variants.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { openKvm, type Kvm } from './guest.ts';
import { threadProgram } from './kernel-guest.ts';
import { SMP_DOT_EVERY, SMP_ENDED, SMP_PROCESSORS, smpGuest } from './smp-guest.ts';
import { contents, differences, Traveller } from './traveller.ts';

const MOVES = Number(process.env['DAYBREAK_MOVES'] ?? 6);
const SEED = Number(process.env['DAYBREAK_SEED'] ?? 1);
const TURNS = 40 * MOVES;
const TIMEOUT_MS = 600_000;

let kvm: Kvm | undefined;
let program: ThreadProgram;
let codec: StateCodec;
let runtime: WebAssembly.Module;
let handlers: WebAssembly.Module;
const open: KvmAccelerator[] = [];
beforeAll(async () => {
  kvm = await openKvm();
  [program, runtime, codec] = await Promise.all([threadProgram(), compileRuntime(), nodeStateCodec()]);
  const variants = new Variants();
  handlers = new WebAssembly.Module(buildInterpreter(variants));
});
afterAll(() => kvm?.accelerator.dispose());
beforeEach(() => () => {
  for (const accelerator of open.splice(0)) accelerator.dispose();
});

function make(): KvmAccelerator {
  const accelerator = new KvmAccelerator(kvm!.native, { program, completer: interpreter(runtime, 'max', { handlers }), makeshift: true });
  open.push(accelerator);
  return accelerator;
}

const kernel = { kernel: smpGuest(TURNS), name: 'smp', commandLine: '' };
const startups = (state: Uint8Array): number[] =>
  (contents(state, codec) as { processors: { data: ProcessorState }[] }).processors.map(({ data }) => data.startup);
const newTraveller = (): Traveller => new Traveller(codec, { cpus: SMP_PROCESSORS, kernel });

test(
  'four processors at different places of their lives: every field equal after each move, and the same end',
  { timeout: TIMEOUT_MS },
  async (context) => {
    if (!kvm) return context.skip('no KVM here');
    const settled = newTraveller();
    await settled.arrive(make());
    expect(await settled.pc.machine.run()).toEqual({ kind: 'debug-exit', value: SMP_ENDED });
    expect(settled.printed).toMatch(new RegExp(`^\\.{${TURNS / SMP_DOT_EVERY}}[A-P]{16}S$`));

    const random = seededRandom(SEED);
    const traveller = newTraveller();
    await traveller.arrive(make());
    for (let move = 1; move <= MOVES; move++) {
      const { ended } = await traveller.goOn(1 + random(8), random(8));
      expect(traveller.pc.machine.over).toBe(false);
      const state = await traveller.save('end');
      expect(await ended).toEqual({ kind: 'stopped' });
      expect(startups(state)).toEqual([STARTED, STARTED, WAITS_FOR_INIT, WAITS_FOR_SIPI]);
      await traveller.arrive(make(), state);
      expect(differences(contents(state, codec), contents(await traveller.save('go on'), codec)), `move ${move}`).toEqual([]);
    }
    expect(await traveller.pc.machine.run()).toEqual({ kind: 'debug-exit', value: SMP_ENDED });
    expect(traveller.printed).toBe(settled.printed);
  },
);
