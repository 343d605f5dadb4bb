/** A whole machine moves between our processor and KVM while it is busy, back and forth, and loses nothing. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type CpuModel, identityOf, modelOf, TSC_KHZ } from '../../src/machine/cpu-model.ts';
import type { StateCodec } from '../../src/machine/saved-state.ts';
import { seededRandom } from '../../src/machine/testing/random.ts';
import type { Accelerator } from '../../src/machine/vcpu.ts';
import { KvmAccelerator } from '../../src/node/kvm/accelerator.ts';
import type { ThreadProgram } from '../../src/node/kvm/threaded-vcpu.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { interpreter, jit } from '../../src/x86/accelerator.ts';
import { buildInterpreter } from '../../src/x86/interpreter/build.ts';
import { Variants } from '../../src/x86/interpreter/variants.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { openKvm, type Kvm } from './guest.ts';
import { threadProgram } from './kernel-guest.ts';
import { DOT_EVERY, ENDED, movingGuest } from './moving-guest.ts';
import { contents, differences, Traveller } from './traveller.ts';

const MOVES = Number(process.env['DAYBREAK_MOVES'] ?? 6);
const SEED = Number(process.env['DAYBREAK_SEED'] ?? 1);
/** Many more than the moves wait for, so that the guest is at work at each, on a fast host, too. */
const ROUNDS = 300 * MOVES;
const TIMEOUT_MS = 600_000;
/** Besides what this host's KVM offers, for user mode: that is the processor itself, whatever KVM says of it. */
const AVX = ['sse3', 'ssse3', 'sse41', 'sse42', 'xsave', 'avx', 'avx2'];
/** Who has the machine, one after the other, over and over. */
const ORDER = ['jit', 'kvm', 'interpreter', 'kvm', 'kvm'] as const;

let kvm: Kvm | undefined;
let program: ThreadProgram;
let runtime: WebAssembly.Module;
let handlers: WebAssembly.Module;
let codec: StateCodec;
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

function make(name: (typeof ORDER)[number], cpu: CpuModel): Accelerator {
  if (name === 'interpreter') return interpreter(runtime, identityOf(cpu), { handlers });
  if (name === 'jit') return jit(runtime, identityOf(cpu), { handlers, threshold: 500, batch: 4 });
  const accelerator = new KvmAccelerator(kvm!.native, {
    program,
    completer: interpreter(runtime, 'max', { handlers }),
    cpu,
    makeshift: true,
  });
  open.push(accelerator);
  return accelerator;
}

test.for([
  ['x87 and SSE', false],
  ['x87, SSE and AVX', true],
] as const)(
  'a guest with timers, a virtio device and %s in use: every field equal after each move, and the same end',
  { timeout: TIMEOUT_MS },
  async ([, avx], context) => {
    if (!kvm) return context.skip('no KVM here');
    if (avx && !/^flags.* avx2 /m.test(readFileSync('/proc/cpuinfo', 'utf8'))) return context.skip('this processor has no AVX2');
    const { cpu: offered } = kvm.accelerator;
    const cpu = { ...modelOf(offered), features: new Set([...offered.features, ...(avx ? AVX : [])]), tscKhz: TSC_KHZ };
    const kernel = { kernel: movingGuest({ rounds: ROUNDS, avx, random: true }), name: 'moving', commandLine: '' };
    const settled = new Traveller(codec, { kernel });
    await settled.arrive(make('jit', cpu));
    expect(await settled.pc.machine.run()).toEqual({ kind: 'debug-exit', value: ENDED });
    expect(settled.printed).toMatch(new RegExp(`^\\.{${ROUNDS / DOT_EVERY}}[A-P]{64}$`));

    const random = seededRandom(SEED);
    const traveller = new Traveller(codec, { kernel });
    await traveller.arrive(make(ORDER[0], cpu));
    for (let move = 1; move <= MOVES; move++) {
      const { ended } = await traveller.goOn(1 + random(8), random(8));
      expect(traveller.pc.machine.over).toBe(false);
      const state = await traveller.save('end');
      expect(await ended).toEqual({ kind: 'stopped' });
      await traveller.arrive(make(ORDER[move % ORDER.length]!, cpu), state);
      expect(differences(contents(state, codec), contents(await traveller.save('go on'), codec)), `move ${move}`).toEqual([]);
    }
    expect(await traveller.pc.machine.run()).toEqual({ kind: 'debug-exit', value: ENDED });
    expect(traveller.printed).toBe(settled.printed);
  },
);
