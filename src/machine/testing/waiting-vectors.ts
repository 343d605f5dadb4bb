import type { VCpu } from '../vcpu.ts';

/** An interrupt controller as small as can be: vectors wait in line, and the vCPU's input is high while one does. */
export class WaitingVectors {
  #waiting: number[] = [];
  readonly #vcpu: () => VCpu;

  /** The vCPU may be made later: it names this in its host. */
  constructor(vcpu: () => VCpu) {
    this.#vcpu = vcpu;
  }

  raise(vector: number): void {
    this.#waiting.push(vector);
    this.#vcpu().setInterrupt(true);
  }

  /** A vCPU's host's. */
  readonly acknowledge = (): number => {
    const vector = this.#waiting.shift() ?? -1;
    this.#vcpu().setInterrupt(this.#waiting.length > 0);
    return vector;
  };

  clear(): void {
    this.#waiting = [];
    this.#vcpu().setInterrupt(false);
  }
}
