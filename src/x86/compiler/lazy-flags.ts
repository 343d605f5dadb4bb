/**
 * The arithmetic flags while code is compiled: what set them last, as a kind and two values (LAZY_* in layout.ts). They
 * become flags only where somebody looks. Between blocks, kind and values are in variables.
 */
import * as L from '../runtime/layout.ts';
import type { FunctionBuilder, Node, Variable } from '../wasm/ir.ts';

/** What the flags are known to be. */
export interface Flags {
  /** LAZY_*; undefined: the variables tell. */
  readonly kind: number | undefined;
  readonly a: Node | undefined;
  readonly b: Node | undefined;
  /** CF by itself, as i64 0 or 1, where it is cheaper than from the kind. */
  readonly carry: Node | undefined;
  /** The variables say the same. */
  readonly stored: boolean;
}

/** The variables tell. */
export const DYNAMIC: Flags = { kind: undefined, a: undefined, b: undefined, carry: undefined, stored: true };

export class LazyFlags {
  now: Flags = DYNAMIC;
  readonly kind: Variable;
  readonly #a: Variable;
  readonly #b: Variable;
  readonly #builder: FunctionBuilder;

  constructor(b: FunctionBuilder) {
    this.#builder = b;
    this.kind = b.variable('i32');
    this.#a = b.variable('i64');
    this.#b = b.variable('i64');
  }

  /** Notes what sets the flags from now on. */
  set(kind: number, a?: Node, b?: Node, carry?: Node): void {
    this.now = { kind, a, b, carry, stored: false };
  }

  /** Puts them into the variables; for code that is built next to what goes on with `now` unchanged. */
  store(): void {
    const { kind, a, b, stored } = this.now;
    if (stored || kind === undefined) return;
    const builder = this.#builder;
    builder.set(this.kind, builder.i32(kind));
    if (a) builder.set(this.#a, a);
    if (b) builder.set(this.#b, b);
  }

  /** Puts them into the variables, and goes on knowing that. */
  settle(): void {
    if (this.now.stored) return;
    this.store();
    this.now = { ...this.now, stored: true };
  }

  /** The variables' kind and values, as arguments for `storeFlags` of the runtime. */
  arguments(): [Node, Node, Node] {
    const builder = this.#builder;
    return [builder.get(this.kind), builder.get(this.#a), builder.get(this.#b)];
  }

  /** Takes over what other compiled code has left in the state. */
  receive(): void {
    const b = this.#builder;
    const zero = b.i32(0);
    b.set(this.kind, b.load('i32.load', zero, L.LAZY_KIND));
    b.set(this.#a, b.load('i64.load', zero, L.LAZY_A));
    b.set(this.#b, b.load('i64.load', zero, L.LAZY_B));
  }

  /** Leaves what the variables tell in the state. */
  pass(): void {
    const b = this.#builder;
    const zero = b.i32(0);
    b.store('i32.store', zero, b.get(this.kind), L.LAZY_KIND);
    b.store('i64.store', zero, b.get(this.#a), L.LAZY_A);
    b.store('i64.store', zero, b.get(this.#b), L.LAZY_B);
  }

  /** The flags are where the interpreter has them. */
  inMemory(): void {
    this.set(L.LAZY_MEMORY);
  }
}
