/** Guest time under KVM, one for all processors of a machine: the host's, but for the time that the machine stands still. */
import type { TimeScale } from '../../machine/vcpu.ts';
import type { KvmVm } from './system.ts';

const NS_PER_MS = 1e6;

export class VmTime {
  readonly #vm: KvmVm;
  readonly #scale: TimeScale;
  /** Nanoseconds executed up to `#since`; no `#since`: the machine stands still. */
  #before = 0;
  #since: number | undefined;

  constructor(vm: KvmVm, scale: TimeScale) {
    this.#vm = vm;
    this.#scale = scale;
  }

  get standsStill(): boolean {
    return this.#since === undefined;
  }

  /** Nanoseconds: KVM does not count instructions. */
  get executed(): number {
    return this.#since === undefined ? this.#before : this.#before + Math.floor((performance.now() - this.#since) * NS_PER_MS);
  }

  /** Guest time. */
  get now(): number {
    const { baseNs, start, rate } = this.#scale;
    return Math.max(0, baseNs + Math.floor((this.executed - start) * rate));
  }

  standStill(): void {
    if (this.#since === undefined) return;
    this.#before = this.executed;
    this.#since = undefined;
    // kvmclock, which KVM keeps on its own, may be a little ahead. It must not go back where guest time is all there is.
    this.#before += Math.max(0, Math.ceil(this.#vm.clockNs - this.now));
  }

  /** From where it was. */
  goOn(): void {
    if (this.#since !== undefined) return;
    this.setClock();
    this.#since = performance.now();
  }

  /** Has kvmclock show guest time. */
  setClock(): void {
    this.#vm.clockNs = this.now;
  }
}
