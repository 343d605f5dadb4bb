/** A whole machine moves between our processor and KVM while it is busy, back and forth, and loses nothing. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { concatBytes } from '../../src/base/bytes.ts';
import { createPc, type Pc } from '../../src/boards/pc.ts';
import { readSavedPc } from '../../src/boards/pc-state.ts';
import { type CpuModel, identityOf, modelOf, TSC_KHZ } from '../../src/machine/cpu-model.ts';
import type { MachineEnd } from '../../src/machine/machine.ts';
import { openState } from '../../src/machine/saved-state-file.ts';
import type { ByteSource, StateCodec } from '../../src/machine/saved-state.ts';
import { seededRandom } from '../../src/machine/testing/random.ts';
import type { Accelerator } from '../../src/machine/vcpu.ts';
import { KvmAccelerator } from '../../src/node/kvm/accelerator.ts';
import type { ThreadProgram } from '../../src/node/kvm/threaded-vcpu.ts';
import { NodePace } from '../../src/node/pace.ts';
import { nodeStateCodec } from '../../src/node/state-codec.ts';
import { interpreter, jit } from '../../src/x86/accelerator.ts';
import { buildInterpreter } from '../../src/x86/interpreter/build.ts';
import { Variants } from '../../src/x86/interpreter/variants.ts';
import { compileRuntime } from '../engine/runtime.ts';
import { openKvm, type Kvm } from './guest.ts';
import { threadProgram } from './kernel-guest.ts';
import { DOT_EVERY, ENDED, movingGuest } from './moving-guest.ts';

const MOVES = Number(process.env['DAYBREAK_MOVES'] ?? 6);
const SEED = Number(process.env['DAYBREAK_SEED'] ?? 1);
const ROUNDS = 60 * MOVES;
const EPOCH = Date.UTC(2026, 10, 22);
const TIMEOUT_MS = 600_000;
const PAGE = 4096;
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

/** One machine, wherever it is. */
class Traveller {
  printed = '';
  pc!: Pc;
  readonly #cpu: CpuModel;
  readonly #kernel: Uint8Array;

  constructor(cpu: CpuModel, kernel: Uint8Array) {
    this.#cpu = cpu;
    this.#kernel = kernel;
  }

  async arrive(name: (typeof ORDER)[number], from?: Uint8Array): Promise<void> {
    const state = from && readSavedPc(source(from), codec);
    this.pc = await createPc({
      memoryBytes: 4 << 20,
      accelerator: make(name, this.#cpu),
      pace: new NodePace(),
      epochMs: EPOCH,
      entropy: { fill: (into) => void into.fill(7) },
      serial: { write: (data) => void (this.printed += String.fromCharCode(...data)) },
      kernel: { kernel: this.#kernel, name: 'moving', commandLine: '' },
      debugExit: true,
      ...(state && { restore: { state, identity: 'same' } }),
    });
  }

  /** Runs until it has printed so much more, and then a little. */
  async goOn(dots: number, afterMs: number): Promise<{ readonly ended: Promise<MachineEnd> }> {
    const until = this.printed.length + dots;
    const running = { ended: this.pc.machine.run() };
    while (this.printed.length < until && !this.pc.machine.over) await new Promise((resolve) => setTimeout(resolve, 1));
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    return running;
  }

  async save(then: 'go on' | 'end'): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    await this.pc.save(codec, async (data) => void parts.push(...data), then);
    return concatBytes(parts);
  }
}

const source = (data: Uint8Array): ByteSource => ({
  name: 'machine.state',
  sizeBytes: data.length,
  read: (offset, length) => data.subarray(offset, offset + length),
});

/** All that a state says, but for the wall clock, which is the host's; and all of memory. */
function contents(data: Uint8Array): unknown {
  const opened = openState(source(data), codec);
  const page = (content: number): Uint8Array => opened.readFrame(content >> 4).slice((content & 15) * PAGE, (content & 15) * PAGE + PAGE);
  const memory = Object.fromEntries(Array.from(opened.pages, (number, n) => [number, page(opened.contents[n]!)]));
  return { ...(opened.description as object), wallMs: 0, memory };
}

/** Where two such differ, and how. */
function differences(one: unknown, other: unknown, path = ''): string[] {
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) {
    return one === other ? [] : [`${path}: ${String(one)} or ${String(other)}`];
  }
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].flatMap((name) => differences(one[name as never], other[name as never], `${path}.${name}`)).slice(0, 20);
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
    const kernel = movingGuest({ rounds: ROUNDS, avx, random: true });
    const settled = new Traveller(cpu, kernel);
    await settled.arrive('jit');
    expect(await settled.pc.machine.run()).toEqual({ kind: 'debug-exit', value: ENDED });
    expect(settled.printed).toMatch(new RegExp(`^\\.{${ROUNDS / DOT_EVERY}}[A-P]{64}$`));

    const random = seededRandom(SEED);
    const traveller = new Traveller(cpu, kernel);
    await traveller.arrive(ORDER[0]);
    for (let move = 1; move <= MOVES; move++) {
      const { ended } = await traveller.goOn(1 + random(8), random(8));
      expect(traveller.pc.machine.over).toBe(false);
      const state = await traveller.save('end');
      expect(await ended).toEqual({ kind: 'stopped' });
      await traveller.arrive(ORDER[move % ORDER.length]!, state);
      expect(differences(contents(state), contents(await traveller.save('go on'))), `move ${move}`).toEqual([]);
    }
    expect(await traveller.pc.machine.run()).toEqual({ kind: 'debug-exit', value: ENDED });
    expect(traveller.printed).toBe(settled.printed);
  },
);
