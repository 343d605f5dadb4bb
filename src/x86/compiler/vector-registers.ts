/**
 * Vector registers in compiled code: halves of YMM registers are variables, read when a region begins and written back
 * when it is left. Named by their addresses in the state.
 */
import * as L from '../runtime/layout.ts';
import type { Node, FunctionBuilder, Variable } from '../wasm/ir.ts';
import type { Region } from './region.ts';

const UPPER = 16;

export class VectorRegisters {
  readonly #b: FunctionBuilder;
  readonly #variables = new Map<number, Variable>();
  readonly #written = new Set<number>();
  /** Registers whose upper halves are operands in the region. */
  readonly #wide = new Set<number>();

  constructor(b: FunctionBuilder, region: Region) {
    this.#b = b;
    for (const { steps } of region.blocks) {
      for (const { variant, reg, rm, third, immediate } of steps) {
        if (!variant.encoding.vex) continue;
        for (const address of [reg, rm, third, Number(immediate)]) if (address >= L.YMM) this.#wide.add(address);
      }
    }
  }

  #variable(address: number): Variable {
    let variable = this.#variables.get(address);
    if (!variable) {
      variable = this.#b.lasting('v128');
      this.#variables.set(address, variable);
    }
    return variable;
  }

  read(address: number): Node {
    return this.#b.get(this.#variable(address));
  }

  write(address: number, value: Node): void {
    // VZEROUPPER clears many that nobody looks at.
    if ((address - L.YMM) & UPPER && !this.#wide.has(address - UPPER)) {
      this.#b.store('v128.store', this.#b.i32(0), value, address);
      return;
    }
    this.#written.add(address);
    this.#b.set(this.#variable(address), value);
  }

  /** Leaves it in the state, for whoever reads it there. */
  show(address: number): void {
    this.#b.store('v128.store', this.#b.i32(0), this.read(address), address);
  }

  /** When the region begins. */
  load(): void {
    for (const [address, variable] of this.#variables) this.#b.set(variable, this.#b.load('v128.load', this.#b.i32(0), address));
  }

  /** When it is left. */
  store(): void {
    for (const address of this.#written) this.#b.store('v128.store', this.#b.i32(0), this.read(address), address);
  }
}
