/**
 * All vCPUs of a machine whose interrupt controllers are in the host's kernel, as the one that the machine runs. Devices
 * live on the machine's thread, and vCPUs on their own: `run` serves exits as they come, waits a little for the next, and
 * then goes back to the event loop, which the next exit wakes. Guests go on meanwhile: `pause` ends that.
 */
import type { Disposable } from '../../base/disposable.ts';
import type { ProcessorState } from '../../machine/processor-state.ts';
import type { Architectural, Exit, Registers, VCpu, VCpuCounts } from '../../machine/vcpu.ts';
import type { DoorbellWatch } from './doorbells.ts';
import { ExitBursts } from './exit-bursts.ts';
import type { KernelLocalApic } from './local-apic.ts';
import { ASLEEP, BELL } from './thread-words.ts';
import type { ThreadedVCpu } from './threaded-vcpu.ts';

/** Exits come in bursts: that long after one, the next is waited for here. A way through the event loop costs about as much. */
const LINGER_MS = 0.05;
const BUDGET: Exit = { kind: 'budget' };
const HALT: Exit = { kind: 'halt' };
const NS_PER_MS = 1e6;

export interface ProcessorsParts {
  /** The bootstrap processor first. */
  readonly vcpus: readonly [ThreadedVCpu, ...ThreadedVCpu[]];
  /** Each vCPU's, in the same order. */
  readonly localApics: readonly KernelLocalApic[];
  readonly shared: Int32Array<SharedArrayBuffer>;
  readonly doorbells: DoorbellWatch;
}

export class Processors implements VCpu, Disposable {
  readonly unit = 'nanoseconds';
  readonly #first: ThreadedVCpu;
  readonly #vcpus: readonly ThreadedVCpu[];
  readonly #shared: Int32Array<SharedArrayBuffer>;
  readonly #bursts: ExitBursts;
  #stopAsked = false;
  #paused = true;

  readonly #doorbells: DoorbellWatch;

  readonly #localApics: readonly KernelLocalApic[];

  constructor({ vcpus, localApics, shared, doorbells }: ProcessorsParts) {
    this.#doorbells = doorbells;
    this.#localApics = localApics;
    for (const apic of localApics) apic.stop(() => {});
    this.#bursts = new ExitBursts(vcpus, doorbells, shared);
    this.#first = vcpus[0];
    this.#vcpus = vcpus;
    this.#shared = shared;
  }

  get executed(): number {
    return this.#first.executed;
  }

  get counts(): VCpuCounts {
    const all = this.#vcpus.map(({ counts }) => counts);
    const exits: Record<string, number> = {};
    for (const one of all) for (const [name, count] of Object.entries(one.exits)) exits[name] = (exits[name] ?? 0) + count;
    const instructions = all.reduce((sum, one) => sum + one.instructions, 0);
    return { ...all[0]!, instructions, interpreted: instructions, exits };
  }

  run(budget: number): Exit {
    const until = performance.now() + budget / NS_PER_MS;
    Atomics.store(this.#shared, ASLEEP, 0);
    this.#doorbells.answer();
    for (let linger = true; ;) {
      const bell = Atomics.load(this.#shared, BELL);
      let served = false;
      for (const vcpu of this.#vcpus) {
        if (vcpu.isRunning) continue;
        if (vcpu.isOut) {
          served = true;
          this.#bursts.note(vcpu, performance.now());
          const exit = vcpu.serveExit();
          if (exit) return this.#leave(exit);
        }
        if (this.#stopAsked) return this.#leave(BUDGET);
        this.#doorbells.update();
        if (this.#paused) this.#goOn();
        if (vcpu !== this.#bursts.here) vcpu.enter();
      }
      if (this.#stopAsked || performance.now() >= until) return this.#leave(BUDGET);
      const { here } = this.#bursts;
      if (here) {
        const exit = this.#bursts.run(here, until, bell, () => this.#stopAsked);
        if (exit) return this.#leave(exit);
        linger = true;
      } else if (served) linger = true;
      else if (linger) linger = Atomics.wait(this.#shared, BELL, bell, LINGER_MS) !== 'timed-out';
      else {
        Atomics.store(this.#shared, ASLEEP, 1);
        if (Atomics.load(this.#shared, BELL) === bell) return HALT;
        Atomics.store(this.#shared, ASLEEP, 0);
        linger = true;
      }
    }
  }

  #leave(exit: Exit): Exit {
    this.#stopAsked = false;
    return exit;
  }

  /** No vCPU executes anything more before the next `run`, and guest time stands still. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    for (const vcpu of this.#vcpus) vcpu.kickOut();
    for (const vcpu of this.#vcpus) vcpu.halt();
    for (const vcpu of this.#vcpus) vcpu.standStill();
    for (const vcpu of this.#vcpus) vcpu.takeStartup();
    this.#localApics.forEach((apic, n) => apic.stop(() => this.#vcpus[n]!.flush()));
    this.#doorbells.settle();
  }

  #goOn(): void {
    this.#paused = false;
    for (const vcpu of this.#vcpus) vcpu.goOn();
    for (const apic of this.#localApics) apic.goOn();
  }

  /** Devices' interrupts go to the kernel's controllers: nothing waits for a look. */
  kick(): void {}

  stop(): void {
    this.#stopAsked = true;
  }

  /** Nobody drives this input: the kernel's local APIC does. */
  setInterrupt(): void {}

  nmi(): void {
    this.pause();
    this.#first.nmi();
  }

  reset(): void {
    this.pause();
    for (const vcpu of this.#vcpus) vcpu.reset();
  }

  save(): unknown {
    this.pause();
    return this.#first.save();
  }

  restore(data: unknown): void {
    this.pause();
    this.#first.restore(data);
  }

  /** Each processor's state, by APIC id. */
  get each(): readonly Architectural[] {
    return this.#vcpus.map((vcpu) => ({
      architecture: () => {
        this.pause();
        return vcpu.architecture();
      },
      setArchitecture: (state) => {
        this.pause();
        vcpu.setArchitecture(state);
      },
    }));
  }

  architecture(): ProcessorState {
    this.pause();
    return this.#first.architecture();
  }

  setArchitecture(state: ProcessorState): void {
    this.pause();
    this.#first.setArchitecture(state);
  }

  registers(): Registers {
    this.pause();
    return this.#first.registers();
  }

  setRegisters(registers: Partial<Registers>): void {
    this.pause();
    this.#first.setRegisters(registers);
  }

  dispose(): void {
    this.pause();
    this.#bursts.dispose();
    this.#doorbells.dispose();
    for (const vcpu of this.#vcpus) vcpu.dispose();
  }
}
