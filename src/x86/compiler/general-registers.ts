/**
 * General registers in compiled code.
 *
 * Where a region loops they are variables, read when it begins and written back when it is left. Elsewhere the state stays right all the
 * time: a register is written at once, and read when it is first needed since ways have met. Then a way through the region pays for the registers
 * that it uses, and no way out, and no place where ways meet, has to bring them all along, which V8's optimiser would pay for at each.
 */
import * as L from '../runtime/layout.ts';
import type { FunctionBuilder, Node, Variable } from '../wasm/ir.ts';

export class GeneralRegisters {
  readonly #b: FunctionBuilder;
  readonly #lasting: boolean;
  readonly #variables = new Map<number, Variable>();
  readonly #written = new Set<number>();
  /** Bits of the registers whose variables have their values here. Where registers last, all have. */
  known = 0;

  /** @param lasting they keep to their variables from the region's beginning to its end */
  constructor(b: FunctionBuilder, lasting: boolean) {
    this.#b = b;
    this.#lasting = lasting;
  }

  #variable(number: number): Variable {
    let variable = this.#variables.get(number);
    if (!variable) {
      variable = this.#b.lasting('i64');
      this.#variables.set(number, variable);
    }
    return variable;
  }

  #load(number: number): Node {
    return this.#b.load('i64.load', this.#b.i32(0), L.GPR + number * 8);
  }

  #store(number: number): void {
    this.#b.store('i64.store', this.#b.i32(0), this.#b.get(this.#variable(number)), L.GPR + number * 8);
  }

  /** @param always what is built now runs whenever its step does */
  read(number: number, always: boolean): Node {
    const b = this.#b;
    if (!this.#lasting && !(this.known & (1 << number))) {
      if (!always) return this.#load(number);
      b.set(this.#variable(number), this.#load(number));
      this.known |= 1 << number;
    }
    return b.get(this.#variable(number));
  }

  write(number: number, value: Node, always: boolean): void {
    this.#b.set(this.#variable(number), value);
    if (this.#lasting) this.#written.add(number);
    else {
      this.#store(number);
      if (always) this.known |= 1 << number;
    }
  }

  /** When the region begins. */
  load(): void {
    if (!this.#lasting) return;
    for (const [number, variable] of this.#variables) this.#b.set(variable, this.#load(number));
  }

  /** When it is left. */
  store(): void {
    for (const number of this.#written) this.#store(number);
  }
}
